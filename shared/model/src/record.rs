//! Everything that is stored, under one key each.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::alert::{Alert, AlertConfig, Silence};
use crate::ids::{ClusterId, NodeId, ReplicaId, ServiceId, StackName};
use crate::lineage::Term;
use crate::membership::{Denied, JoinToken};
use crate::node::{Node, Proxy};
use crate::replica::Replica;
use crate::revision::Revision;
use crate::service::Service;
use crate::stack::Stack;
use crate::time::Timestamp;
use crate::volume_move::VolumeMove;

/// What is known of the cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Its id.
    pub id: ClusterId,
    /// Its name.
    pub name: String,
    /// Counts deliberate breaks of history.
    pub epoch: u64,
    /// The runs of schedulers on this state.
    pub terms: Vec<Term>,
    /// The range from which networks are made.
    pub pool: Ipv4Net,
    /// The prefix length of a network.
    pub prefix: u8,
    /// The largest packet on its networks in bytes.
    pub mtu: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// What proxies sign cookies with.
    #[serde(default)]
    pub cookie_secret: Secret,
}

/// Text that is not shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// A network of a stack and what was given out of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The stack.
    pub stack: StackName,
    /// Its key in the stack.
    pub key: String,
    /// Its number in the cluster: the VXLAN id, and part of the bridge's name.
    pub vni: u32,
    /// Its range.
    pub subnet: Ipv4Net,
    /// Has no way out.
    pub internal: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What each node has of it.
    pub nodes: BTreeMap<NodeId, NodeSegment>,
    /// Offset in the range of the address that was given out last.
    pub cursor: u32,
    /// Addresses that may not be used again before that time.
    pub cooling: Vec<(Ipv4Addr, Timestamp)>,
    /// The virtual addresses of services, by name.
    #[serde(default)]
    pub vips: BTreeMap<String, Ipv4Addr>,
    /// The addresses that replicas of services inherit, by the service's name.
    #[serde(default)]
    pub fixed: BTreeMap<String, Ipv4Addr>,
}

impl Network {
    /// Its name on every engine.
    pub fn engine_name(&self) -> String {
        format!("{}_{}", self.stack, self.key)
    }

    /// The name of its bridge interface, at most 15 characters.
    pub fn bridge(&self) -> String {
        format!("gt-{:06x}", self.vni)
    }
}

/// A network on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSegment {
    /// The node's own address in it.
    pub gateway: Ipv4Addr,
    /// The small part of the range that the node's engine may give away by itself.
    pub strays: Ipv4Net,
}

/// A named volume of a stack. It outlives the stack unless a person says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The stack.
    pub stack: StackName,
    /// Its key in the stack.
    pub key: String,
    /// Its name on the engine.
    pub name: String,
    /// It exists already: neither made nor removed.
    pub external: bool,
    /// The driver; `None` is `local`.
    pub driver: Option<String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The node where it lies, from its first use on.
    pub node: Option<NodeId>,
    /// A person has asked for its removal.
    pub removing: bool,
    /// It is on its way to another node.
    #[serde(default)]
    pub moving: Option<VolumeMove>,
}

/// One fact or decision, with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number.
    pub sequence: u64,
    /// When it happened.
    pub time: Timestamp,
    /// How much it matters.
    pub severity: Severity,
    /// What it happened to: `stack/service`, `stack`, `node:NAME` or `cluster`.
    pub subject: String,
    /// The replica, if it was one.
    pub replica: Option<ReplicaId>,
    /// One word.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Event {
    /// Events that are kept.
    pub const KEPT: u64 = 10_000;

    /// Whether it is about `subject`: that very thing, or a service of that stack.
    pub fn is_about(&self, subject: &str) -> bool {
        subject.is_empty()
            || self.subject == subject
            || self.subject.strip_prefix(subject).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// All is as it should be.
    Normal,
    /// A person may want to look.
    Warning,
}

/// One stored thing.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum Record {
    Cluster(Arc<Cluster>),
    Stack(Arc<Stack>),
    Service(Arc<Service>),
    Revision(Arc<Revision>),
    Replica(Arc<Replica>),
    Node(Arc<Node>),
    Proxy(Arc<Proxy>),
    Network(Arc<Network>),
    Volume(Arc<Volume>),
    Event(Arc<Event>),
    Token(Arc<JoinToken>),
    Denied(Arc<Denied>),
    AlertConfig(Arc<AlertConfig>),
    Alert(Arc<Alert>),
    Silence(Arc<Silence>),
}

/// Under what a thing is stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Key {
    Cluster,
    Stack(StackName),
    Service(ServiceId),
    Revision(ServiceId, u64),
    Replica(ReplicaId),
    Node(NodeId),
    Proxy(String),
    Network(StackName, String),
    Volume(StackName, String),
    Event(u64),
    Token(String),
    Denied(String),
    AlertConfig,
    Alert(u64),
    Silence(String),
}

/// A stored key or value that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the stored {path}: {problem}")]
pub struct Unreadable {
    path: String,
    problem: String,
}

impl Key {
    /// The key as the store has it. Numbers are padded, so that they sort.
    pub fn path(&self) -> String {
        match self {
            Self::Cluster => "cluster".to_owned(),
            Self::Stack(name) => format!("stacks/{name}"),
            Self::Service(id) => format!("services/{id}"),
            Self::Revision(id, number) => format!("revisions/{id}/{number:020}"),
            Self::Replica(id) => format!("replicas/{id}"),
            Self::Node(id) => format!("nodes/{id}"),
            Self::Proxy(instance) => format!("proxies/{instance}"),
            Self::Network(stack, key) => format!("networks/{stack}/{key}"),
            Self::Volume(stack, key) => format!("volumes/{stack}/{key}"),
            Self::Event(sequence) => format!("events/{sequence:020}"),
            Self::Token(id) => format!("tokens/{id}"),
            Self::Denied(holder) => format!("denied/{holder}"),
            Self::AlertConfig => "alert-config".to_owned(),
            Self::Alert(id) => format!("alerts/{id:020}"),
            Self::Silence(id) => format!("silences/{id}"),
        }
    }
}

impl Record {
    /// Its key.
    pub fn key(&self) -> Key {
        match self {
            Self::Cluster(_) => Key::Cluster,
            Self::Stack(stack) => Key::Stack(stack.name.clone()),
            Self::Service(service) => Key::Service(service.id.clone()),
            Self::Revision(revision) => Key::Revision(revision.service.clone(), revision.number),
            Self::Replica(replica) => Key::Replica(replica.id.clone()),
            Self::Node(node) => Key::Node(node.id.clone()),
            Self::Proxy(proxy) => Key::Proxy(proxy.instance.clone()),
            Self::Network(network) => Key::Network(network.stack.clone(), network.key.clone()),
            Self::Volume(volume) => Key::Volume(volume.stack.clone(), volume.key.clone()),
            Self::Event(event) => Key::Event(event.sequence),
            Self::Token(token) => Key::Token(token.id.clone()),
            Self::Denied(denied) => Key::Denied(denied.holder.clone()),
            Self::AlertConfig(_) => Key::AlertConfig,
            Self::Alert(alert) => Key::Alert(alert.id),
            Self::Silence(silence) => Key::Silence(silence.id.clone()),
        }
    }

    /// The record as the store has it: JSON, so that a later version can add fields.
    pub fn encode(&self) -> Vec<u8> {
        let encoded = match self {
            Self::Cluster(record) => serde_json::to_vec(record),
            Self::Stack(record) => serde_json::to_vec(record),
            Self::Service(record) => serde_json::to_vec(record),
            Self::Revision(record) => serde_json::to_vec(record),
            Self::Replica(record) => serde_json::to_vec(record),
            Self::Node(record) => serde_json::to_vec(record),
            Self::Proxy(record) => serde_json::to_vec(record),
            Self::Network(record) => serde_json::to_vec(record),
            Self::Volume(record) => serde_json::to_vec(record),
            Self::Event(record) => serde_json::to_vec(record),
            Self::Token(record) => serde_json::to_vec(record),
            Self::Denied(record) => serde_json::to_vec(record),
            Self::AlertConfig(record) => serde_json::to_vec(record),
            Self::Alert(record) => serde_json::to_vec(record),
            Self::Silence(record) => serde_json::to_vec(record),
        };
        // Maps have text keys and every field is a plain value: this cannot fail.
        encoded.unwrap_or_default()
    }

    /// Reads a record back.
    pub fn decode(path: &str, value: &[u8]) -> Result<Self, Unreadable> {
        fn read<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<Arc<T>, serde_json::Error> {
            serde_json::from_slice(value).map(Arc::new)
        }
        let record = match path.split('/').next().unwrap_or_default() {
            "cluster" => read(value).map(Self::Cluster),
            "stacks" => read(value).map(Self::Stack),
            "services" => read(value).map(Self::Service),
            "revisions" => read(value).map(Self::Revision),
            "replicas" => read(value).map(Self::Replica),
            "nodes" => read(value).map(Self::Node),
            "proxies" => read(value).map(Self::Proxy),
            "networks" => read(value).map(Self::Network),
            "volumes" => read(value).map(Self::Volume),
            "events" => read(value).map(Self::Event),
            "tokens" => read(value).map(Self::Token),
            "denied" => read(value).map(Self::Denied),
            "alert-config" => read(value).map(Self::AlertConfig),
            "alerts" => read(value).map(Self::Alert),
            "silences" => read(value).map(Self::Silence),
            _ => {
                return Err(Unreadable {
                    path: path.to_owned(),
                    problem:
                        "this version of Gantry does not know such records; run the version that wrote it"
                            .to_owned(),
                });
            }
        };
        record.map_err(|error| Unreadable { path: path.to_owned(), problem: error.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let stack = Stack {
            name: StackName::new("shop").unwrap(),
            created_at: Timestamp::from_millis(1),
            updated_at: Timestamp::from_millis(2),
            removing: false,
            remove_volumes: false,
        };
        let record = Record::Stack(Arc::new(stack));
        let path = record.key().path();
        assert_eq!(path, "stacks/shop");
        assert_eq!(Record::decode(&path, &record.encode()).unwrap(), record);
    }

    #[test]
    fn an_unknown_kind_of_record_says_which_version_to_run() {
        let error = Record::decode("rockets/1", b"{}").unwrap_err();
        assert!(error.to_string().contains("run the version that wrote it"), "{error}");
    }

    #[test]
    fn a_stack_hears_of_its_services_and_not_of_its_namesakes() {
        let event = |subject: &str| Event {
            sequence: 1,
            time: Timestamp::default(),
            severity: Severity::Normal,
            subject: subject.into(),
            replica: None,
            reason: String::new(),
            message: String::new(),
        };
        assert!(event("shop/web").is_about("shop"));
        assert!(event("shop").is_about("shop"));
        assert!(!event("shop2/web").is_about("shop"));
        assert!(event("shop2/web").is_about(""));
    }
}
