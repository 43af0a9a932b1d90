//! Services, their revisions and their replicas.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::container::{Container, MountSource, NetworkMode, Port, Protocol, PublishMode, RestartPolicy};
use crate::ids::{NodeId, ReplicaId, ServiceId};
use crate::placement::{Mode, Placement};
use crate::route::{Policy, Route};
use crate::time::Timestamp;

/// What is asked for one service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceSpec {
    /// What its containers are made from. Volume mounts name keys of the stack's volumes.
    pub container: Container,
    /// The networks that it joins; empty is `default`.
    pub networks: Vec<ServiceNetwork>,
    /// The ports that it publishes.
    pub ports: Vec<Port>,
    /// What must be there before its replicas start, by service name.
    pub depends_on: BTreeMap<String, Dependency>,
    /// How many replicas; `None` is 1, or what it was last scaled to.
    pub replicas: Option<u32>,
    /// Whether it has that many, or one on every node.
    pub mode: Mode,
    /// Where they may run.
    pub placement: Placement,
    /// It never runs twice, even where a node is cut off.
    pub exclusive: bool,
    /// How replicas are replaced.
    pub update: UpdatePolicy,
    /// When the image is pulled.
    pub pull_policy: PullPolicy,
    /// Labels of the service itself.
    pub labels: BTreeMap<String, String>,
    /// What its name stands for; `None` is an address of its own where that is of use.
    pub endpoint_mode: Option<EndpointMode>,
    /// The requests from outside that lead to it.
    pub routes: Vec<Route>,
    /// How proxies choose among its replicas.
    pub policy: Policy,
}

impl ServiceSpec {
    /// The part that its containers see, with the image resolved to `digest`.
    pub fn template(&self, digest: Option<String>) -> Template {
        Template {
            container: self.container.clone(),
            networks: self.networks.clone(),
            ports: self
                .ports
                .iter()
                .filter(|port| port.mode == PublishMode::Host)
                .map(|port| Port { app_protocol: None, ..port.clone() })
                .collect(),
            image_digest: digest,
        }
    }

    /// The keys of the networks that it joins.
    pub fn network_keys(&self) -> Vec<String> {
        network_keys(&self.container, &self.networks)
    }

    /// Its ports on which the proxies listen.
    pub fn ingress_ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().filter(|port| port.mode == PublishMode::Ingress)
    }

    /// Whether it names ports for UDP, which its own address would not carry.
    fn speaks_udp(&self) -> bool {
        self.ports.iter().any(|port| port.protocol == Protocol::Udp)
            || self.container.expose.iter().any(|port| port.ends_with("/udp"))
    }

    /// The engine's restart policy for its containers. A service is a promise: where the file sets
    /// nothing, its containers are kept running.
    pub fn restart(&self) -> RestartPolicy {
        self.container.restart.unwrap_or(RestartPolicy::UnlessStopped)
    }
}

/// What the name of a service stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointMode {
    /// One virtual address, behind which the proxy balances.
    Vip,
    /// The addresses of ready replicas, in rotation.
    Dnsrr,
}

/// A service on one network of its stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceNetwork {
    /// The network's key.
    pub network: String,
    /// Further names for the service there.
    pub aliases: Vec<String>,
}

/// A service that must have reached something first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// What it must have reached.
    pub condition: Condition,
    /// Whether it is an error if it does not exist.
    pub required: bool,
}

/// What a dependency must have reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Condition {
    /// A replica runs.
    #[default]
    Started,
    /// A replica runs and its health check passes.
    Healthy,
    /// It ran once and ended with exit code 0.
    Completed,
}

/// How replicas are replaced when a service changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UpdatePolicy {
    /// How many at a time; 0 is all.
    pub parallelism: u32,
    /// Time between two batches.
    pub delay: Duration,
    /// Which comes first; `None` is start-first where neither a port nor a volume is in the way.
    pub order: Option<UpdateOrder>,
}

impl Default for UpdatePolicy {
    fn default() -> Self {
        Self { parallelism: 1, delay: Duration::ZERO, order: None }
    }
}

/// Which comes first, the old replica's end or the new one's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpdateOrder {
    /// The old one ends before the new one starts.
    StopFirst,
    /// The new one is ready before the old one ends.
    StartFirst,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PullPolicy {
    /// When it is not there.
    #[default]
    Missing,
    /// At every deployment.
    Always,
    /// Never.
    Never,
}

/// What a service's containers see. A change of it makes a new revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// What the container is made from.
    pub container: Container,
    /// The networks that it joins.
    pub networks: Vec<ServiceNetwork>,
    /// The ports of its host that lead to it. Those on which proxies listen are not its business.
    pub ports: Vec<Port>,
    /// What the image's name stood for at admission.
    pub image_digest: Option<String>,
}

impl Template {
    /// The keys of the networks that it joins.
    pub fn network_keys(&self) -> Vec<String> {
        network_keys(&self.container, &self.networks)
    }

    /// The keys of the named volumes that it mounts.
    pub fn volume_keys(&self) -> impl Iterator<Item = &str> {
        self.container.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume { name: Some(key), .. } => Some(key.as_str()),
            _ => None,
        })
    }

    /// A stable fingerprint: equal templates have equal ones, in every version of Gantry that has
    /// the same fields.
    pub fn hash(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        Sha256::digest(json).iter().take(8).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }
}

fn network_keys(container: &Container, networks: &[ServiceNetwork]) -> Vec<String> {
    if container.network_mode != NetworkMode::Networks {
        return Vec::new();
    }
    if networks.is_empty() {
        return vec!["default".to_owned()];
    }
    networks.iter().map(|network| network.network.clone()).collect()
}

/// A deployed service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its full name.
    pub id: ServiceId,
    /// Random, made at the first deployment, so that a later service of this name has other replica ids.
    pub incarnation: String,
    /// What was asked for.
    pub spec: ServiceSpec,
    /// Its newest revision.
    pub revision: u64,
    /// How many replicas it is to have while it is not stopped.
    pub replicas: u32,
    /// Stopped by a person.
    pub stopped: bool,
    /// On its way out.
    pub removing: bool,
    /// Counts the restarts that people asked for.
    pub restart_sequence: u64,
    /// How many replica records it has ever had; the next replica's id is made from it.
    pub replicas_made: u64,
    /// When an update last replaced a batch, for the delay between two.
    pub last_batch_at: Option<Timestamp>,
    /// When it was first deployed.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// Ports that were chosen where its spec names none, by the port as it shows itself, such as `80/tcp`.
    #[serde(default)]
    pub assigned_ports: BTreeMap<String, u16>,
    /// The slot of each node, for a service that has one replica on every node.
    #[serde(default)]
    pub node_slots: BTreeMap<NodeId, u32>,
}

impl Service {
    /// The ports on which proxies listen for it, with the ones that were chosen filled in.
    pub fn ingress_ports(&self) -> impl Iterator<Item = Port> {
        self.spec.ingress_ports().map(|port| {
            let chosen = || self.assigned_ports.get(&port.to_string()).copied();
            Port { published: port.published.or_else(chosen), ..port.clone() }
        })
    }

    /// Which comes first in an update, as asked or as ports and volumes allow.
    pub fn update_order(&self, template: &Template) -> UpdateOrder {
        let fixed_port = template.ports.iter().any(|port| port.published.is_some());
        self.order(fixed_port, &template.container)
    }

    fn order(&self, fixed_port: bool, container: &Container) -> UpdateOrder {
        let named_volume = container.mounts.iter().any(|mount| {
            matches!(&mount.source, MountSource::Volume { name: Some(_), .. }) && !mount.read_only
        });
        if fixed_port || self.spec.exclusive || self.spec.restart().runs_once() {
            return UpdateOrder::StopFirst;
        }
        self.spec.update.order.unwrap_or(if named_volume {
            UpdateOrder::StopFirst
        } else {
            UpdateOrder::StartFirst
        })
    }

    /// How it is reached by its name.
    pub fn reached(&self) -> Reached {
        if self.spec.container.network_mode != NetworkMode::Networks {
            return Reached::InRotation;
        }
        match self.spec.endpoint_mode {
            Some(EndpointMode::Vip) => Reached::Virtually,
            Some(EndpointMode::Dnsrr) => Reached::InRotation,
            None if self.spec.speaks_udp() => Reached::Directly,
            None if self.replicas > 1 || self.is_global() => Reached::Virtually,
            None => {
                let of_hosts = self.spec.ports.iter().filter(|port| port.mode == PublishMode::Host);
                let fixed_port = of_hosts.clone().any(|port| port.published.is_some());
                match self.order(fixed_port, &self.spec.container) {
                    UpdateOrder::StartFirst => Reached::Virtually,
                    UpdateOrder::StopFirst => Reached::Directly,
                }
            }
        }
    }

    /// How many replicas it is to have now.
    pub fn wanted(&self) -> u32 {
        match self.spec.mode {
            _ if self.stopped || self.removing => 0,
            Mode::Replicated => self.replicas,
            Mode::Global => u32::try_from(self.node_slots.len()).unwrap_or(u32::MAX),
        }
    }

    /// The slots that are to have a replica now, from the lowest up.
    pub fn slots(&self) -> Vec<u32> {
        match self.spec.mode {
            _ if self.stopped || self.removing => Vec::new(),
            Mode::Replicated => (1..=self.replicas).collect(),
            Mode::Global => {
                let mut slots: Vec<u32> = self.node_slots.values().copied().collect();
                slots.sort_unstable();
                slots
            }
        }
    }

    /// Whether it has one replica on every node.
    pub fn is_global(&self) -> bool {
        self.spec.mode == Mode::Global
    }

    /// The id of its next replica: unique, and without a random source.
    pub fn next_replica_id(&self) -> String {
        let seed = format!("{}\0{}\0{}", self.id, self.incarnation, self.replicas_made + 1);
        Sha256::digest(seed).iter().take(5).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }
}

/// How a service is reached by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// At an address of the service, which leads to the proxy.
    Virtually,
    /// At the address of its replica, which a replacement inherits.
    Directly,
    /// At the addresses of ready replicas, in rotation.
    InRotation,
}

/// One immutable, numbered version of what a service's containers see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// The service.
    pub service: ServiceId,
    /// Its number, from 1 up.
    pub number: u64,
    /// The template.
    pub template: Template,
    /// The template's fingerprint.
    pub hash: String,
    /// What its image runs on, such as `linux/amd64`, where that is known.
    #[serde(default)]
    pub platform: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Revision {
    /// Revisions of a service that are kept.
    pub const KEPT: u64 = 10;
}

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
    /// The newest restart that was asked of it.
    pub restart_sequence: u64,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_container_sees_changes_the_fingerprint() {
        let spec = ServiceSpec {
            container: Container { image: "redis".into(), ..Default::default() },
            ..Default::default()
        };
        let scaled = ServiceSpec { replicas: Some(5), ..spec.clone() };
        let changed = ServiceSpec {
            container: Container { user: Some("7".into()), ..spec.container.clone() },
            ..spec.clone()
        };
        assert_eq!(spec.template(None).hash(), scaled.template(None).hash());
        assert_ne!(spec.template(None).hash(), changed.template(None).hash());
        assert_ne!(spec.template(None).hash(), spec.template(Some("sha256:1".into())).hash());
    }

    #[test]
    fn the_fingerprint_does_not_change_between_versions() {
        // If this fails, every service of every user would be replaced at the next upgrade: add
        // fields so that their default is left out of the JSON instead.
        assert_eq!(ServiceSpec::default().template(None).hash(), "97ec423772921bfd");
    }

    #[test]
    fn a_port_of_the_proxies_is_not_what_the_container_sees() {
        let plain = ServiceSpec::default();
        let mut published = plain.clone();
        published.ports.push(Port::new(80, Some(8000)));
        assert_eq!(published.template(None).hash(), plain.template(None).hash());
        published.ports[0].mode = PublishMode::Host;
        assert_ne!(published.template(None).hash(), plain.template(None).hash());
    }

    #[test]
    fn replicas_of_two_services_of_one_name_have_different_ids() {
        let service = |incarnation: &str| Service {
            id: "shop/web".parse().unwrap(),
            incarnation: incarnation.into(),
            spec: ServiceSpec::default(),
            revision: 1,
            replicas: 1,
            stopped: false,
            removing: false,
            restart_sequence: 0,
            replicas_made: 0,
            last_batch_at: None,
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            assigned_ports: BTreeMap::new(),
            node_slots: BTreeMap::new(),
        };
        assert_ne!(service("a").next_replica_id(), service("b").next_replica_id());
        assert_eq!(service("a").next_replica_id().len(), 10);
    }
}
