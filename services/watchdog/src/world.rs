//! The world as a watchdog judges it: replicas, nodes and services, with the scheduler's stamps.

pub(crate) mod read;

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_model::{End, NodeId, ReplicaId, Service, ServiceId, Timestamp};

pub use read::read;

/// Everything that is judged, at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The newest stored change that is included.
    pub revision: u64,
    /// The health of replicas.
    pub cases: BTreeMap<ReplicaId, Case>,
    /// When nodes were heard.
    pub nodes: BTreeMap<NodeId, Hearing>,
    /// How services are healed.
    pub services: BTreeMap<ServiceId, Course>,
}

impl Snapshot {
    /// Who belongs to which service: made once for a look, since every service is asked for again and again.
    pub fn roster(&self) -> Roster<'_> {
        let mut of: BTreeMap<&ServiceId, Vec<&Case>> = BTreeMap::new();
        for case in self.cases.values() {
            of.entry(&case.service).or_default().push(case);
        }
        Roster { of }
    }
}

/// The replicas of a snapshot by service.
#[derive(Debug)]
pub struct Roster<'a> {
    of: BTreeMap<&'a ServiceId, Vec<&'a Case>>,
}

impl<'a> Roster<'a> {
    /// The replicas of a service.
    pub fn all(&self, service: &ServiceId) -> impl Iterator<Item = &'a Case> {
        self.of.get(service).into_iter().flatten().copied()
    }

    /// Those that it is to have, and that have a place.
    pub fn wanted(&self, service: &ServiceId) -> impl Iterator<Item = &'a Case> {
        self.all(service).filter(|case| case.wanted)
    }
}

/// The health of one replica.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The replica.
    pub replica: ReplicaId,
    /// Its service.
    pub service: ServiceId,
    /// Its slot.
    pub slot: u32,
    /// Its revision.
    pub revision: u64,
    /// Its node; `None` while it is not placed.
    pub node: Option<NodeId>,
    /// Its agent has said how it is since it connected.
    pub reported: bool,
    /// It is to run, and may be repaired.
    pub wanted: bool,
    /// It is being restarted or replaced already.
    pub in_repair: bool,
    /// It takes traffic.
    pub ready: bool,
    /// Since when `ready` is as it is.
    pub ready_since: Timestamp,
    /// What its checks say.
    pub condition: Condition,
    /// Since when `condition` is as it is.
    pub condition_since: Timestamp,
    /// What its last failed check said, or why its container does not run.
    pub message: String,
    /// Its last ends, oldest first.
    pub ends: Vec<End>,
    /// Requests of the last seconds that proxies sent to it and that failed.
    pub failed_requests: u64,
    /// Of so many.
    pub requests: u64,
}

impl Case {
    /// `shop/web.2`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.service, self.slot)
    }

    /// Its own checks, or the engine, say that it needs something done.
    pub fn is_broken(&self) -> bool {
        !self.ready
            && matches!(self.condition, Condition::Unhealthy | Condition::Restarting | Condition::Failed)
    }
}

/// What the checks of a replica say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Condition {
    /// Not known.
    #[default]
    Unknown,
    /// It is being made or started, and has its start period.
    Starting,
    /// It runs, and its checks pass, where it has any.
    Healthy,
    /// The last check failed, not yet as often as its retries allow.
    Failing,
    /// As many checks in a row failed as its retries allow.
    Unhealthy,
    /// It ended, and is started again by the engine or the agent.
    Restarting,
    /// It cannot be made or started.
    Failed,
    /// It has ended as it should, is paused by a person, or is being stopped.
    AtRest,
}

impl Condition {
    /// In a word, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Failing => "failing",
            Self::Unhealthy => "unhealthy",
            Self::Restarting => "restarting",
            Self::Failed => "failed",
            Self::AtRest => "at rest",
        }
    }
}

/// When a node was heard.
#[derive(Debug, Clone, PartialEq)]
pub struct Hearing {
    /// Its name.
    pub name: String,
    /// Its agent's session is open.
    pub connected: bool,
    /// Since when nothing was heard of its agent; `None` while its heartbeats come.
    pub silent_since: Option<Timestamp>,
    /// It would have been lost, had not more than half of the nodes gone at once.
    pub held: bool,
    /// Something was heard of its proxy in the lost time.
    pub proxy_heard: bool,
    /// Since when its agent or its engine is being restarted, as it has announced.
    pub restarting_since: Option<Timestamp>,
    /// How often it went silent and came back, of late.
    pub flaps: u32,
    /// When it came back last.
    pub returned_at: Option<Timestamp>,
    /// What is concluded of it now.
    pub presence: Presence,
    /// People let it run new replicas.
    pub schedulable: bool,
    /// Since when it is in quarantine.
    pub quarantined_since: Option<Timestamp>,
}

impl Hearing {
    /// What it says of its replicas is what is true now.
    pub fn is_heard(&self) -> bool {
        self.connected && self.silent_since.is_none()
    }
}

/// What is concluded of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Presence {
    /// It is there.
    #[default]
    Ready,
    /// It may be gone: it gets nothing new, and keeps what it has.
    Suspect,
    /// It is gone: what it ran is replaced elsewhere.
    Lost,
}

impl Presence {
    /// In a word, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Suspect => "suspect",
            Self::Lost => "lost",
        }
    }
}

/// How a service is healed, and how that went.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// How many replicas it is to have.
    pub wanted: u32,
    /// Its newest revision.
    pub revision: u64,
    /// An update, a scaling or a person's restart is under way, stuck or not.
    pub changing: bool,
    /// When that went on last.
    pub progressed_at: Timestamp,
    /// It runs once, and has ended.
    pub finished: bool,
    /// After so many restarts within the window a replica is replaced.
    pub restart_limit: u32,
    /// The window.
    pub window: Duration,
    /// Nothing is to be repaired.
    pub disabled: bool,
    /// The services that it needs.
    pub depends_on: Vec<ServiceId>,
    /// The repairs of late, oldest first.
    pub repairs: Vec<PastRepair>,
}

impl Course {
    /// Whether a change is under way and goes on: what is stuck holds up no repair.
    pub fn is_changing(&self, now: Timestamp) -> bool {
        self.changing && now.since(self.progressed_at) < Service::STUCK
    }
}

/// One repair of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRepair {
    /// When it began.
    pub at: Timestamp,
    /// The replica.
    pub replica: ReplicaId,
    /// Its slot.
    pub slot: u32,
    /// The node where it ran.
    pub node: Option<NodeId>,
    /// What was done.
    pub kind: RepairKind,
    /// Why, in one word.
    pub reason: String,
}

/// What is done about a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RepairKind {
    /// It is taken out of the routes, drained, and its process started again.
    Restart,
    /// It gets a successor, on another node where that is possible.
    Replace,
}

impl RepairKind {
    /// In a word, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Replace => "replace",
        }
    }
}
