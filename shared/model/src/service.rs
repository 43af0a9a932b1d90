//! A deployed service: what was asked for, and what became of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::autoscale::AutoscaleMode;
use crate::container::{Container, MountSource, NetworkMode};
use crate::heal::PastRepair;
use crate::ids::{NodeId, ServiceId};
use crate::placement::Mode;
use crate::port::{Port, PublishMode};
use crate::revision::Template;
use crate::spec::{EndpointMode, ServiceSpec, UpdateOrder};
use crate::time::Timestamp;

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
    /// The repairs of late, oldest first.
    #[serde(default)]
    pub repairs: Vec<PastRepair>,
}

impl Service {
    /// A change that has not gone on for this long is stuck, and holds up no repair of what serves meanwhile.
    pub const STUCK: Duration = Duration::from_mins(2);

    /// When its newest change went on last: it was asked for then, or a batch of replicas was replaced.
    pub fn progressed_at(&self) -> Timestamp {
        self.last_batch_at.map_or(self.updated_at, |last| last.max(self.updated_at))
    }

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
            // It may have more at any time, or none: then the proxy takes what comes.
            None if self.spec.autoscale.is_some() => Reached::Virtually,
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

    /// Whether it is scaled to zero: it has no replica until somebody wants something of it.
    pub fn sleeps(&self) -> bool {
        let on = self.spec.autoscale.as_ref().is_some_and(|rules| rules.mode == AutoscaleMode::Auto);
        on && self.replicas == 0 && !self.stopped && !self.removing && !self.is_global()
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

#[cfg(test)]
mod tests {
    use super::*;

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
            repairs: Vec::new(),
        };
        assert_ne!(service("a").next_replica_id(), service("b").next_replica_id());
        assert_eq!(service("a").next_replica_id().len(), 10);
    }
}
