//! What rules look at, taken out of the feed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry_api::cluster::v1::{Goal, Traffic, TrafficReport};
use gantry_api::feed::v1::{Case, Condition, Course, End, Hearing, Presence};
use gantry_feed::Mirror;
use gantry_model::wire::{is_crash, read_end, read_time};
use gantry_model::{NO_ROOM, Timestamp};

use crate::decide::Outlook;
use crate::decide::breaker::Cause;

/// Ends of a replica's process count for so long.
pub const CRASH_WINDOW: Duration = Duration::from_mins(10);

/// After a change a service has this long until what is missing counts: images come, and services wait for
/// those that they need.
pub const SETTLES: Duration = Duration::from_mins(2);

/// Everything that rules look at, at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// Services by full name.
    pub services: BTreeMap<String, ServiceFacts>,
    /// Nodes by name.
    pub nodes: BTreeMap<String, NodeFacts>,
    /// Whether anything is known of traffic. If not, rules about it conclude nothing.
    pub traffic_known: bool,
    /// Whether it is known of which services repairs are trials.
    pub circuits_known: bool,
    /// When certificates expire, by their holder; only those that are known.
    pub certificates: BTreeMap<String, Timestamp>,
}

/// What is known of a service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceFacts {
    /// Replicas that it is to have; 0 while it is stopped.
    pub wanted: u32,
    /// Replicas that run.
    pub running: u32,
    /// Replicas that take traffic.
    pub ready: u32,
    /// It has done what it was to do, or is being removed.
    pub over: bool,
    /// None of its replicas has been ready since it was first deployed.
    pub never_ready: bool,
    /// Its load says how many it is to have.
    pub scaled: bool,
    /// Replicas of one that is scaled which have not been there for long, and have not failed: they may be on their way.
    pub coming: u32,
    /// A person has changed it of late: what is missing may be on its way.
    pub changed: bool,
    /// Restarts of the replicas that it has now.
    pub restarts: u32,
    /// Ends of their processes of late.
    pub crashes: u32,
    /// Replicas whose processes end again and again: slot, how often, and how the last time.
    pub looping: Vec<(u32, u32, String)>,
    /// Replicas that are to run and were judged.
    pub judged: u32,
    /// Those of them that are unhealthy.
    pub unhealthy: u32,
    /// Why repairs are only trials; empty where they are not.
    pub circuit: String,
    /// The nodes of the replicas that are to run and are not ready; an empty name where one is not placed.
    pub missing_on: BTreeSet<String>,
    /// What arrived for it.
    pub traffic: Option<Traffic>,
    /// Requests that wait for a replica.
    pub waiting: u64,
    /// Replicas that wait because no node has room for them.
    pub homeless: u32,
    /// What is said of one of those.
    pub no_room: Option<String>,
    /// What takes too long although replicas were added; empty as long as that is not so.
    pub bottleneck: String,
}

/// What is known of a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeFacts {
    /// Its agent is connected and heard.
    pub ready: bool,
    /// Somebody has judged whether it is there.
    pub judged: bool,
    /// It is gone.
    pub lost: bool,
    /// It is not given up only because more than half of the nodes went silent at once.
    pub held: bool,
    /// It gets nothing new.
    pub quarantined: bool,
    /// Replicas that are placed on it.
    pub replicas: u32,
    /// How often it went silent and came back, of late.
    pub flaps: u32,
    /// How much of its fullest disk is used, in per cent; `None`: not known.
    pub disk_used_percent: Option<u32>,
    /// What is wrong with its networks or its engine.
    pub conditions: Vec<String>,
    /// Which of its disks are nearly full.
    pub full_disks: Vec<String>,
}

/// What the feed tells watchdogs only.
#[derive(Debug, Clone, Copy)]
pub struct Health<'a> {
    /// The health of replicas, by id.
    pub cases: &'a BTreeMap<String, Case>,
    /// When nodes were heard, by id.
    pub hearings: &'a BTreeMap<String, Hearing>,
    /// How services are healed, by full name.
    pub courses: &'a BTreeMap<String, Course>,
    /// What the judge of repairs found in all that.
    pub found: Option<&'a Outlook>,
}

impl Health<'static> {
    /// Nothing is told.
    pub const NONE: Self = {
        static CASES: BTreeMap<String, Case> = BTreeMap::new();
        static HEARINGS: BTreeMap<String, Hearing> = BTreeMap::new();
        static COURSES: BTreeMap<String, Course> = BTreeMap::new();
        Self { cases: &CASES, hearings: &HEARINGS, courses: &COURSES, found: None }
    };
}

impl Facts {
    /// The facts at `now`, by the scheduler's clock.
    pub fn gather(
        mirror: &Mirror,
        health: Health<'_>,
        traffic: Option<&TrafficReport>,
        now: Timestamp,
    ) -> Self {
        let mut facts = Self::default();
        for (name, service) in &mirror.services {
            let stopped = service.stopped;
            facts.services.insert(
                name.clone(),
                ServiceFacts {
                    wanted: if stopped { 0 } else { service.wanted },
                    running: service.running,
                    ready: service.ready,
                    over: service.completed || service.removing,
                    scaled: service.spec.as_ref().is_some_and(|spec| spec.autoscale.is_some()),
                    never_ready: health.courses.get(name).is_some_and(|course| course.never_ready),
                    changed: service.updated_at.is_some_and(|at| now.since(read_time(at)) < SETTLES),
                    ..ServiceFacts::default()
                },
            );
        }
        for replica in mirror.replicas.values().filter(|replica| replica.goal() == Goal::Run) {
            let Some(service) = facts.services.get_mut(&replica.service) else { continue };
            service.restarts = service.restarts.saturating_add(replica.restarts);
            if replica.node.is_empty() && replica.message.contains(NO_ROOM) {
                service.homeless += 1;
                service.no_room.get_or_insert_with(|| replica.message.clone());
            }
            let is_new = replica.created_at.is_some_and(|at| now.since(read_time(at)) < SETTLES);
            if service.scaled && !replica.ready && is_new && replica.restarts == 0 {
                service.coming += 1;
            }
            if !replica.ready {
                service.missing_on.insert(replica.node.clone());
            }
        }
        for case in health.cases.values().filter(|case| case.wanted) {
            let Some(service) = facts.services.get_mut(&case.service) else { continue };
            service.take(case, now);
        }
        if let Some(found) = health.found.filter(|found| found.at.is_some()) {
            facts.circuits_known = true;
            for (service, cause) in &found.causes {
                // Of a service that is down the alert is its own.
                if let (Some(service), Cause::Many { .. }) =
                    (facts.services.get_mut(&service.to_string()), cause)
                {
                    service.circuit = cause.explain();
                }
            }
        }
        // Without proxies nothing is known, which is not the same as no traffic.
        let traffic = traffic.filter(|report| report.proxies > 0);
        facts.traffic_known = traffic.is_some();
        for of_service in traffic.iter().flat_map(|report| &report.services) {
            if let Some(service) = facts.services.get_mut(&of_service.service) {
                service.traffic = of_service.traffic;
                service.waiting = of_service.waiting;
                service.bottleneck.clone_from(&of_service.bottleneck);
            }
        }
        for (id, node) in &mirror.nodes {
            let hearing = health.hearings.get(id);
            facts.nodes.insert(node.name.clone(), of_node(node, hearing));
            if let Some(until) = hearing.and_then(|hearing| hearing.certificate_expires_at) {
                facts.certificates.insert(format!("node:{}", node.name), read_time(until));
            }
        }
        for (service, course) in health.courses {
            for certificate in &course.certificates {
                let Some(until) = certificate.expires_at else { continue };
                facts.certificates.insert(format!("{service}:{}", certificate.name), read_time(until));
            }
        }
        facts
    }

    /// The nodes that are not given up only because so many went at once.
    pub fn held(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().filter(|(_, node)| node.held).map(|(name, _)| name.as_str())
    }
}

impl ServiceFacts {
    fn take(&mut self, case: &Case, now: Timestamp) {
        self.judged += u32::from(case.reported);
        self.unhealthy += u32::from(case.condition() == Condition::Unhealthy);
        let is_recent = |end: &&End| end.at.is_some_and(|at| now.since(read_time(at)) < CRASH_WINDOW);
        let recent: Vec<&End> = case.ends.iter().filter(|end| is_crash(end)).filter(is_recent).collect();
        let count = u32::try_from(recent.len()).unwrap_or(u32::MAX);
        self.crashes = self.crashes.saturating_add(count);
        // Memory that ran out names them all: the engine does not notice it every time.
        let named_by = recent.iter().rfind(|end| end.oom_killed).or(recent.last());
        if let (Some(end), 3..) = (named_by, count) {
            self.looping.push((case.slot, count, read_end(end).words()));
        }
    }
}

fn of_node(node: &gantry_api::cluster::v1::Node, hearing: Option<&Hearing>) -> NodeFacts {
    let presence = hearing.map(Hearing::presence);
    let conditions = hearing.map_or(&node.conditions, |hearing| &hearing.conditions);
    NodeFacts {
        ready: node.ready,
        judged: hearing.is_some(),
        lost: presence == Some(Presence::Lost),
        held: hearing.is_some_and(|hearing| hearing.held),
        quarantined: hearing.is_some_and(|hearing| hearing.quarantined_since.is_some()),
        replicas: node.replicas,
        flaps: hearing.map_or(0, |hearing| hearing.flaps),
        disk_used_percent: hearing.and_then(|hearing| hearing.disk_used_percent),
        conditions: conditions.clone(),
        full_disks: hearing.map(|hearing| hearing.full_disks.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
