//! What one Compose file asks for, and the record of a deployed stack.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::ids::StackName;
use crate::spec::ServiceSpec;
use crate::time::Timestamp;

/// What one Compose file asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StackSpec {
    /// The stack's name.
    pub name: StackName,
    /// Its services by name.
    pub services: BTreeMap<String, ServiceSpec>,
    /// Its networks by key.
    pub networks: BTreeMap<String, NetworkSpec>,
    /// Its named volumes by key.
    pub volumes: BTreeMap<String, VolumeSpec>,
}

/// What is asked for one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkSpec {
    /// Has no way out.
    pub internal: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The range; `None` takes one from the cluster's pool.
    pub subnet: Option<Ipv4Net>,
}

/// What is asked for one named volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeSpec {
    /// Its name on the engine; `None` is `STACK_KEY`.
    pub name: Option<String>,
    /// It exists already: neither made nor removed.
    pub external: bool,
    /// The driver; `None` is `local`.
    pub driver: Option<String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A stack that is deployed, or on its way out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Its name.
    pub name: StackName,
    /// When it was first deployed.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// Set when a person has asked for its removal.
    pub removing: bool,
    /// Whether its volumes go with it.
    pub remove_volumes: bool,
}
