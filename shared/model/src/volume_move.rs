//! Volumes that lie on a node, and how they get to another.

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::record::Volume;

/// A volume on its way from one node to another. It is part of the volume's record, so that the volume's
/// node and the stage of its move change together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMove {
    /// Random: what an earlier move left behind is not mistaken for this one's.
    pub id: String,
    /// The node that it leaves.
    pub from: NodeId,
    /// The node where it is to lie.
    pub to: NodeId,
    /// How far it has come. It only goes forward, or is given up before anything is removed.
    pub stage: MoveStage,
}

/// How far a move has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveStage {
    /// The replicas that use the volume end; none is started.
    Stopping,
    /// Nobody uses it. Its content goes to the other node, and is compared there.
    Copying,
    /// It lies on its new node, and is used there. The old copy goes.
    Removing,
}

impl VolumeMove {
    /// Whether nobody may use the volume now.
    pub fn blocks(&self) -> bool {
        self.stage < MoveStage::Removing
    }
}

/// How far the copy of a volume has come, as the node that gets it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeCopy {
    /// Bytes that have come.
    pub done: u64,
    /// It is whole, and was compared with the original.
    pub verified: bool,
    /// Why the last try failed.
    pub error: Option<String>,
    /// How many tries have failed.
    pub failures: u32,
}

impl Volume {
    /// Whether its content lies on a node's disk. What a driver keeps elsewhere, such as on a file server, is
    /// the same on every node, and there is nothing to pin or to move.
    pub fn lies_on_node(&self) -> bool {
        const ELSEWHERE: [&str; 6] = ["nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs"];
        let local = self.driver.as_deref().is_none_or(|driver| driver == "local" || driver.is_empty());
        let kind = self.options.get("type").map(String::as_str).unwrap_or_default();
        local && !ELSEWHERE.contains(&kind)
    }
}
