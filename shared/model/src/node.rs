//! Nodes and the proxies on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::NodeId;
use crate::time::Timestamp;

/// The record of one Docker host with an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its id, as in its certificate.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where other members reach it.
    pub addresses: Vec<String>,
    /// The port of its agent's own API.
    pub agent_port: u16,
    /// Labels set by people.
    pub labels: BTreeMap<String, String>,
    /// What people let it do.
    #[serde(default)]
    pub availability: Availability,
    /// Since when it gets nothing new, because too much failed there.
    #[serde(default)]
    pub quarantined_since: Option<Timestamp>,
    /// What it is in the cluster.
    #[serde(default)]
    pub role: NodeRole,
    /// The host, as its agent last described it.
    pub host: Host,
    /// When it joined.
    pub joined_at: Timestamp,
}

/// What people let a node do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// It runs replicas.
    #[default]
    Active,
    /// It keeps the replicas that it has and gets no new ones.
    Pause,
    /// Its replicas are to run on other nodes.
    Drain,
}

/// What a node is in the cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeRole {
    /// It runs replicas.
    #[default]
    Worker,
    /// It also runs the scheduler.
    Manager,
}

impl NodeRole {
    /// The role of a word; `None` if there is no such role.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Worker, Self::Manager].into_iter().find(|role| role.word().eq_ignore_ascii_case(word))
    }

    /// As people write it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Manager => "manager",
        }
    }
}

/// A machine and its engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// Its host name.
    pub hostname: String,
    /// Its operating system in its own words.
    pub operating_system: String,
    /// `linux`, and the like.
    pub os: String,
    /// `amd64`, `arm64`, and the like.
    pub architecture: String,
    /// The kernel's version.
    pub kernel: String,
    /// The engine's version.
    pub engine_version: String,
    /// The newest API version that the engine speaks.
    pub api_version: String,
    /// Cores.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// The engine's labels, each `name=value`.
    pub engine_labels: Vec<String>,
    /// The storage driver.
    pub storage_driver: String,
    /// 1 or 2: the version of the kernel's control groups.
    pub cgroup_version: u32,
    /// The version of the agent.
    pub agent_version: String,
}

/// A proxy process on record: no replica is stopped before it knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proxy {
    /// Random, one a run of the process.
    pub instance: String,
    /// Its node.
    pub node: NodeId,
    /// When it came.
    pub since: Timestamp,
}
