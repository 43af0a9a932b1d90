//! What is asked for one service.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::autoscale::Autoscale;
use crate::container::{Container, Healthcheck, NetworkMode, RestartPolicy};
use crate::placement::{Mode, Placement};
use crate::port::{Port, Protocol, PublishMode};
use crate::probe::{Checks, HealPolicy, HealthProbe};
use crate::revision::Template;
use crate::route::{Policy, Route};

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
    /// Whether a replica may take traffic.
    pub readiness: Option<HealthProbe>,
    /// Whether a replica needs a repair.
    pub liveness: Option<HealthProbe>,
    /// What is done about a replica that is unhealthy.
    pub heal: HealPolicy,
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
    /// How many replicas it has by its load.
    pub autoscale: Option<Autoscale>,
}

impl ServiceSpec {
    /// How many replicas it has when it slept and nobody is to wake it any more.
    pub fn replicas_awake(&self) -> u32 {
        self.replicas.unwrap_or(1).max(1)
    }

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

    /// How its replicas are checked, with what goes without saying filled in.
    pub fn checks(&self) -> Checks {
        let none = self.readiness.is_none() && self.liveness.is_none();
        // Whoever switches the image's health check off wants none.
        let switched_off = self.container.healthcheck.as_ref().is_some_and(Healthcheck::is_none);
        let mut published = Vec::new();
        if none && !switched_off && self.container.network_mode != NetworkMode::None {
            for port in self.ingress_ports().filter(|port| port.protocol == Protocol::Tcp) {
                if published.len() < Checks::PUBLISHED && !published.contains(&port.target) {
                    published.push(port.target);
                }
            }
        }
        let readiness = self.readiness.clone().or_else(|| self.liveness.clone());
        Checks { readiness, liveness: self.liveness.clone(), published }
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
    pub(crate) fn speaks_udp(&self) -> bool {
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

/// The keys of the networks that a container joins, with what goes without saying filled in.
pub(crate) fn network_keys(container: &Container, networks: &[ServiceNetwork]) -> Vec<String> {
    if container.network_mode != NetworkMode::Networks {
        return Vec::new();
    }
    if networks.is_empty() {
        return vec!["default".to_owned()];
    }
    networks.iter().map(|network| network.network.clone()).collect()
}
