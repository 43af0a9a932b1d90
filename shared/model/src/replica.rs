//! The record of one replica of a service, and what is wanted of it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::heal::Repair;
use crate::ids::{NodeId, ReplicaId, ServiceId};
use crate::time::Timestamp;

/// What the scheduler wants of a replica. It only moves forward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Goal {
    /// To run.
    #[default]
    Run,
    /// To get no new work and finish what it has.
    Drain,
    /// To end and go.
    Stop,
}

/// The record of one replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Its id.
    pub id: ReplicaId,
    /// Its service.
    pub service: ServiceId,
    /// Its number in the service, from 1 up.
    pub slot: u32,
    /// The revision that it runs.
    pub revision: u64,
    /// What is wanted of it.
    pub goal: Goal,
    /// Its node; `None` until it is placed.
    pub node: Option<NodeId>,
    /// Its address on each network, by the network's key.
    pub addresses: BTreeMap<String, Ipv4Addr>,
    /// The newest restart of its service that was asked of it.
    pub restart_sequence: u64,
    /// How often it was restarted in order to repair it.
    #[serde(default)]
    pub repairs: u32,
    /// The repair that is under way.
    #[serde(default)]
    pub repair: Option<Repair>,
    /// Why it is not placed.
    pub pending: Option<String>,
    /// Since when it drains.
    pub drain: Option<Drain>,
    /// Since when it is out of the tables in order to be restarted.
    #[serde(default)]
    pub pause: Option<Drain>,
    /// It is to run on another node, though nothing is wrong with this one.
    #[serde(default)]
    pub leave: bool,
    /// How it ended, if it runs once and has.
    pub outcome: Option<Outcome>,
    /// When it was wanted first.
    pub created_at: Timestamp,
}

impl Replica {
    /// The newest restart that its agent is to make, whoever asked for it. It only grows.
    pub fn asked_restarts(&self) -> u64 {
        self.restart_sequence + u64::from(self.repairs)
    }

    /// The name for its container.
    pub fn container_name(&self) -> String {
        format!("{}-{}-{}-{}", self.service.stack(), self.service.name(), self.slot, self.id)
    }
}

/// Since when a replica drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// The time.
    pub since: Timestamp,
    /// The stored change that began it: tables from there on do not have the replica.
    pub revision: u64,
}

/// How a replica that runs once ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The exit code.
    pub exit_code: i32,
    /// When this was seen.
    pub at: Timestamp,
}
