//! What was seen. Nothing here is stored: whoever saw it says it again when asked.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::health::Health;
use crate::ids::NodeId;
use crate::port::Port;
use crate::time::Timestamp;
use crate::volume_move::VolumeCopy;

/// What an agent sees of a replica.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Its image, networks and volumes are being made ready.
    #[default]
    Preparing,
    /// Its container is being made and started.
    Starting,
    /// Its process runs.
    Running,
    /// It ended, and the engine will start it again.
    Restarting,
    /// Its processes are frozen.
    Paused,
    /// It ended.
    Exited,
    /// It could not be made or started, and is tried again.
    Failed,
    /// It is being stopped.
    Stopping,
    /// Its container is gone.
    Removed,
}

/// What an agent sees of one replica.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicaStatus {
    /// The phase.
    pub phase: Phase,
    /// The engine's id of its container.
    pub container_id: String,
    /// Why it is as it is, in the engine's words.
    pub message: String,
    /// The exit code of its last end.
    pub exit_code: Option<i32>,
    /// Whether the kernel killed it because its memory ran out.
    pub oom_killed: bool,
    /// How often its process was started again.
    pub restarts: u32,
    /// Its health.
    pub health: Health,
    /// When its process was started last.
    pub started_at: Option<Timestamp>,
    /// When its process ended last.
    pub finished_at: Option<Timestamp>,
    /// The newest restart that was asked for and is done.
    pub restart_sequence: u64,
    /// The ports of the host that lead to it.
    pub ports: Vec<Port>,
    /// What the agent's own checks say about traffic; `None` where there are none.
    pub probe_ready: Option<bool>,
    /// What the last failed check said.
    pub probe_message: String,
    /// Its last ends, oldest first.
    pub ends: Vec<End>,
}

/// One end of a replica's process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When, by the clock of its engine. Held only against other ends of the same replica.
    pub at: Timestamp,
    /// When, by the scheduler's clock; `None` with the agent.
    #[serde(skip)]
    pub heard_at: Option<Timestamp>,
    /// The exit code.
    pub exit_code: i32,
    /// The kernel killed it because its memory ran out.
    pub oom_killed: bool,
    /// The last lines that it wrote.
    pub last_lines: String,
    /// Its agent had asked it to end.
    #[serde(default)]
    pub asked: bool,
    /// It was asked to end, did not within its grace, and was killed.
    #[serde(default)]
    pub killed_after_grace: bool,
}

impl End {
    /// Ends of a replica that are kept.
    pub const KEPT: usize = 8;
    /// Bytes of its last lines that are kept.
    pub const LINES: usize = 4 << 10;
}

impl ReplicaStatus {
    /// Whether it may take traffic.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Running && self.health.permits_traffic() && self.probe_ready != Some(false)
    }
}

/// What the scheduler knows of a node's agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its session is open.
    pub connected: bool,
    /// It has said what it runs since the session opened.
    pub reported: bool,
    /// Since when `connected` is as it is.
    pub since: Timestamp,
    /// Why its engine cannot be used.
    pub engine_error: Option<String>,
    /// Why it does not believe this scheduler's state.
    pub refused: Option<String>,
    /// Why service addresses do not work there. Containers can be started all the same.
    pub network_error: Option<String>,
    /// Why its networks cannot be joined to those of other nodes.
    pub overlay_error: Option<String>,
    /// The nodes that it does not reach over a network they share.
    pub broken_paths: BTreeSet<BrokenPath>,
    /// Disks that are nearly full: whose, and how much of them is used, in per cent.
    pub full_disks: BTreeMap<String, u32>,
    /// How much of the fullest of its disks is used, in per cent; `None`: not known.
    pub disk_used_percent: Option<u32>,
    /// When its agent's certificate ends.
    pub certificate_expires_at: Option<Timestamp>,
    /// Since when nothing was heard of its agent; `None` while its heartbeats come.
    pub silent_since: Option<Timestamp>,
    /// Something was heard of its proxy of late.
    pub proxy_heard: bool,
    /// Since when its agent, or its engine, is being restarted, as it has announced.
    pub restarting_since: Option<Timestamp>,
    /// How often it went silent and came back, of late.
    pub flaps: u32,
    /// When it came back last.
    pub returned_at: Option<Timestamp>,
    /// What was concluded of it.
    pub verdict: Verdict,
    /// It would be lost, had not more than half of the nodes gone at once.
    pub held: bool,
    /// The images of the cluster that it has, by the digests of their configs.
    pub images: BTreeSet<String>,
    /// The images that it is fetching from other nodes, by the digests of their configs.
    pub copies: BTreeMap<String, ImageCopy>,
    /// The volumes that move there, by the ids of their moves.
    pub volume_copies: BTreeMap<String, VolumeCopy>,
}

/// A network over which a node does not reach another one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BrokenPath {
    /// The other node.
    pub node: NodeId,
    /// The network's name on the engine.
    pub network: String,
    /// Small packets arrive, and those as large as the cluster allows do not.
    pub only_large: bool,
}

/// What is concluded of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is there.
    #[default]
    Ready,
    /// It may be gone: it gets nothing new, and keeps what it has.
    Suspect,
    /// It is gone: what it ran is replaced elsewhere.
    Lost,
}

/// An image on its way from one node to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageCopy {
    /// The node that it comes from.
    pub from: NodeId,
    /// Bytes that have come.
    pub done: u64,
    /// About how many bytes there are; 0 when not known.
    pub total: u64,
}

impl ImageCopy {
    /// How much of it has come, in per cent; `None` when it is not known how much there is.
    pub fn percent(&self) -> Option<u64> {
        // What is left is never nothing: the total is an estimate.
        (self.total > 0).then(|| (self.done.saturating_mul(100) / self.total).min(99))
    }
}

impl NodeStatus {
    /// Why nothing can be started there; `None` if it can.
    pub fn problem(&self) -> Option<String> {
        if self.verdict == Verdict::Lost {
            Some("it is lost: neither its agent nor its proxy is heard".to_owned())
        } else if !self.connected {
            Some("its agent is not connected".to_owned())
        } else if self.verdict == Verdict::Suspect {
            Some(match self.silent_since {
                Some(_) => "its agent is not heard".to_owned(),
                None => "it comes and goes, and is not trusted yet".to_owned(),
            })
        } else if let Some(error) = &self.engine_error {
            Some(format!("its engine cannot be used: {error}"))
        } else if let Some(reason) = &self.refused {
            Some(format!("its agent refuses this scheduler: {reason}"))
        } else if !self.reported {
            Some("its agent has not reported yet".to_owned())
        } else {
            None
        }
    }
}

/// Orders the tables that proxies get: later ones are greater.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableVersion {
    /// The newest stored change that the table reflects.
    pub revision: u64,
    /// Counts what agents reported, in this run of the scheduler.
    pub sequence: u64,
}
