//! What is concluded from the world as it is. Pure: it reads no clock and waits for nothing, so the same
//! world gives the same verdicts, whichever watchdog looks and however often it was started anew.

pub mod breaker;
pub mod budget;
pub mod crash;
pub mod errors;
pub mod flaps;
pub mod ladder;
pub mod nodes;
pub mod quarantine;
mod service;
mod ties;

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use gantry_model::{NodeId, ReplicaId, ServiceId, Timestamp};

use crate::memory::{Memory, Topic};
use crate::verdict::Verdict;
use crate::world::{Condition, RepairKind, Snapshot};

/// What is concluded, and what is waited for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outlook {
    /// When it was concluded; `None`: nothing is known.
    pub at: Option<Timestamp>,
    /// What is handed over now.
    pub verdicts: Vec<Verdict>,
    /// The replicas that are not well.
    pub prospects: Vec<Prospect>,
    /// What notes hold at this time, told already or not.
    pub standing: BTreeSet<Topic>,
    /// The services whose trouble likely comes from elsewhere, so that repairs are trials.
    pub causes: BTreeMap<ServiceId, breaker::Cause>,
}

/// Where a replica that is not well stands on the ladder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prospect {
    /// The replica.
    pub replica: ReplicaId,
    /// Its service.
    pub service: ServiceId,
    /// Its slot.
    pub slot: u32,
    /// Its node.
    pub node: Option<NodeId>,
    /// What its checks say.
    pub condition: Condition,
    /// What would be done about it next; `None` where nothing would.
    pub next: Option<RepairKind>,
    /// Why that waits, or what is seen where nothing would be done; empty where it is done now.
    pub waits_for: String,
    /// When it is looked at again at the latest, where that is known.
    pub due: Option<Timestamp>,
}

/// What is concluded now.
pub fn decide(snapshot: &Snapshot, memory: &Memory, now: Timestamp) -> Vec<Verdict> {
    outlook(snapshot, memory, now).verdicts
}

/// What is concluded now, and why the rest waits.
pub fn outlook(snapshot: &Snapshot, memory: &Memory, now: Timestamp) -> Outlook {
    let mut outlook = Outlook { at: Some(now), ..Outlook::default() };
    outlook.verdicts.extend(nodes::verdicts(snapshot, memory, now));
    let roster = snapshot.roster();
    outlook.verdicts.extend(quarantine::verdicts(snapshot, &roster, memory, now));
    let look = service::Look { snapshot, roster: &roster, memory, now };
    for (service, course) in &snapshot.services {
        look.at(service, course, &mut outlook);
    }
    outlook
}
