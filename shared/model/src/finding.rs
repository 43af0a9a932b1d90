//! What a watchdog concludes, as the scheduler acts on it.

use crate::heal::RepairKind;
use crate::ids::{NodeId, ReplicaId};
use crate::status::Verdict;
use crate::time::Timestamp;

/// One conclusion of a watchdog, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The state's revision that it is based on.
    pub revision: u64,
    /// One word, such as `Unhealthy`.
    pub reason: String,
    /// For people: what was seen and what follows.
    pub message: String,
    /// What is concluded.
    pub conclusion: Conclusion,
}

/// What a watchdog concludes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// A node is there, or is not.
    Node {
        /// The node.
        node: NodeId,
        /// What is concluded.
        presence: Verdict,
        /// Since when it was silent when that was concluded; `None`: it was heard.
        silent_since: Option<Timestamp>,
        /// It would be lost, had not more than half of the nodes gone at once.
        held: bool,
    },
    /// A replica needs a repair.
    Repair {
        /// The replica.
        replica: ReplicaId,
        /// What is to be done.
        kind: RepairKind,
    },
    /// A node gets nothing new for a while, or is trusted again.
    Quarantine {
        /// The node.
        node: NodeId,
        /// It begins, rather than ends.
        begins: bool,
    },
    /// People are told something, and nothing follows.
    Note {
        /// `stack/service`, `node:NAME` or `cluster`.
        subject: String,
        /// Something is wrong, rather than normal.
        warning: bool,
    },
}
