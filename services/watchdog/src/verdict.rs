//! What a watchdog concludes, and why. Verdicts are values: they print themselves, and become messages.

use std::fmt;

use gantry_api::feed::v1 as wire;
use gantry_model::wire::write_time;
use gantry_model::{NodeId, ReplicaId, Timestamp};

use crate::world::{Presence, RepairKind};

/// A conclusion with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The state's revision that it is based on.
    pub revision: u64,
    /// One word.
    pub reason: &'static str,
    /// For people: what was seen, and what follows.
    pub message: String,
    /// What is concluded.
    pub conclusion: Conclusion,
}

/// What is concluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conclusion {
    /// A node is there, or is not.
    Node {
        /// The node.
        node: NodeId,
        /// What is concluded of it.
        presence: Presence,
        /// Since when it was silent.
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
    /// Only to be told.
    Note {
        /// `stack/service`, `node:NAME` or `cluster`.
        subject: String,
        /// Something is wrong, rather than normal.
        warning: bool,
    },
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.conclusion {
            Conclusion::Node { node, presence, .. } => write!(f, "node {node} is {}", presence.as_str())?,
            Conclusion::Repair { replica, kind } => write!(f, "{} replica {replica}", kind.as_str())?,
            Conclusion::Quarantine { node, begins: true } => write!(f, "put node {node} into quarantine")?,
            Conclusion::Quarantine { node, begins: false } => write!(f, "end the quarantine of node {node}")?,
            Conclusion::Note { subject, .. } => write!(f, "note on {subject}")?,
        }
        write!(f, " ({}: {})", self.reason, self.message)
    }
}

impl From<&Verdict> for wire::Verdict {
    fn from(verdict: &Verdict) -> Self {
        use wire::verdict::Conclusion as Wire;
        let conclusion = match &verdict.conclusion {
            Conclusion::Node { node, presence, silent_since, held } => Wire::Node(wire::NodeVerdict {
                node_id: node.to_string(),
                presence: match presence {
                    Presence::Ready => wire::Presence::Ready,
                    Presence::Suspect => wire::Presence::Suspect,
                    Presence::Lost => wire::Presence::Lost,
                }
                .into(),
                silent_since: silent_since.map(write_time),
                held: *held,
            }),
            Conclusion::Repair { replica, kind } => Wire::Repair(wire::Repair {
                replica_id: replica.to_string(),
                kind: match kind {
                    RepairKind::Restart => wire::RepairKind::Restart,
                    RepairKind::Replace => wire::RepairKind::Replace,
                }
                .into(),
            }),
            Conclusion::Quarantine { node, begins } => {
                Wire::Quarantine(wire::Quarantine { node_id: node.to_string(), begins: *begins })
            }
            Conclusion::Note { subject, warning } => {
                Wire::Note(wire::Note { subject: subject.clone(), warning: *warning })
            }
        };
        Self {
            revision: verdict.revision,
            reason: verdict.reason.to_owned(),
            message: verdict.message.clone(),
            conclusion: Some(conclusion),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_prints_what_follows_and_why() {
        let verdict = Verdict {
            revision: 3,
            reason: "Unhealthy",
            message: "shop/web.2 is unhealthy".into(),
            conclusion: Conclusion::Repair {
                replica: ReplicaId::new("r1").unwrap(),
                kind: RepairKind::Restart,
            },
        };
        assert_eq!(verdict.to_string(), "restart replica r1 (Unhealthy: shop/web.2 is unhealthy)");
        let wire = wire::Verdict::from(&verdict);
        assert_eq!((wire.revision, wire.reason.as_str()), (3, "Unhealthy"));
    }
}
