//! What the scheduler wants of this node, parsed and ready to be kept.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::time::Duration;

use gantry_api::Invalid;
use gantry_api::cluster::v1 as cluster;
use gantry_api::node::v1 as wire;
use gantry_model::{
    BadName, Checks, Container, Goal, HealthProbe, Ipv4Net, NodeId, Port, ReplicaId, ServiceId, StackName,
    Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::engine::Attachment;
use crate::overlay::Mac;

/// One replica that this node is to run, or to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    /// The replica.
    pub replica: ReplicaId,
    /// Its service.
    pub service: ServiceId,
    /// Its slot.
    pub slot: u32,
    /// What is wanted.
    pub goal: Goal,
    /// The name for its container.
    pub name: String,
    /// What the container is made from. Volumes carry names of the engine.
    pub container: Container,
    /// What the image's name stood for at admission; empty if it was not resolved.
    pub image_digest: String,
    /// The networks that it joins.
    pub networks: Vec<Attachment>,
    /// The ports of the host that lead to it.
    pub ports: Vec<Port>,
    /// The newest restart that was asked for.
    pub restart_sequence: u64,
    /// When this agent first heard of that restart; a container that was started later has had it.
    pub restart_asked_at: Option<Timestamp>,
    /// How long its process has to end when it is restarted or stopped because it hangs; `None`: as for any stop.
    #[serde(default)]
    pub repair_grace: Option<Duration>,
    /// It ran once and has ended.
    pub completed: bool,
    /// Whether it may take traffic.
    #[serde(default)]
    pub readiness: Option<HealthProbe>,
    /// Whether it needs a repair.
    #[serde(default)]
    pub liveness: Option<HealthProbe>,
    /// Its ports that say whether it may take traffic, where nothing else does.
    #[serde(default)]
    pub published_ports: Vec<u16>,
    /// It never runs twice: only as long as the node's lease lasts.
    #[serde(default)]
    pub exclusive: bool,
}

/// One network on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its name on the engine.
    pub name: String,
    /// The name of its bridge.
    pub bridge: String,
    /// Its range.
    pub subnet: String,
    /// This node's address in it.
    pub gateway: String,
    /// What the engine may give away by itself.
    pub ip_range: String,
    /// The largest packet.
    pub mtu: u32,
    /// Has no way out.
    pub internal: bool,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// How it is joined to its parts on other nodes; `None` where it is on this node only.
    #[serde(default)]
    pub overlay: Option<Joint>,
}

/// How a network is joined to its parts on other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joint {
    /// The network's number.
    pub vni: u32,
    /// This node's address on the underlay.
    pub local: IpAddr,
    /// The network's other nodes.
    pub peers: Vec<Peer>,
    /// Containers on other nodes: hardware address, and address of the node.
    pub endpoints: Vec<(Mac, IpAddr)>,
}

/// Another node of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// Its address on the underlay.
    pub underlay: IpAddr,
    /// Its own address in the network.
    pub gateway: Ipv4Addr,
}

/// One volume on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeUse {
    /// Its name on the engine.
    pub name: String,
    /// The driver.
    pub driver: String,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// It must be there already.
    pub external: bool,
}

/// How service addresses lead to the node's proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redirect {
    /// The range of service addresses.
    pub range: Ipv4Net,
    /// The port of the proxy.
    pub port: u16,
}

/// What this node's networks are to be, as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    /// The networks.
    pub segments: Vec<Segment>,
    /// How service addresses lead to the node's proxy.
    pub redirect: Option<Redirect>,
    /// The addresses of the cluster's other nodes.
    pub members: Vec<IpAddr>,
}

impl TryFrom<wire::Redirect> for Redirect {
    type Error = Invalid;

    fn try_from(redirect: wire::Redirect) -> Result<Self, Invalid> {
        Ok(Self {
            range: redirect.range.parse().map_err(|_| Invalid::new("redirect.range", "is no range"))?,
            port: u16::try_from(redirect.port).map_err(|_| Invalid::new("redirect.port", "is no port"))?,
        })
    }
}

impl TryFrom<wire::Assignment> for Assignment {
    type Error = Invalid;

    fn try_from(assignment: wire::Assignment) -> Result<Self, Invalid> {
        let bad = |field: &'static str| move |bad: BadName| Invalid::new(field, bad.to_string());
        let mut spec = assignment.container.ok_or_else(|| Invalid::missing("container"))?;
        let text = |text: String| (!text.is_empty()).then_some(text);
        let networks = std::mem::take(&mut spec.networks)
            .into_iter()
            .map(|network| Attachment {
                network: network.network,
                aliases: network.aliases,
                ipv4_address: text(network.ipv4_address),
                mac_address: text(network.mac_address),
            })
            .collect();
        let ports = gantry_model::wire::read_ports(&spec.ports)?;
        Ok(Self {
            replica: ReplicaId::new(&assignment.replica_id).map_err(bad("replica_id"))?,
            service: ServiceId::new(
                StackName::new(&assignment.stack).map_err(bad("stack"))?,
                &assignment.service,
            )
            .map_err(bad("service"))?,
            slot: assignment.slot,
            goal: match cluster::Goal::try_from(assignment.goal) {
                Ok(cluster::Goal::Run) => Goal::Run,
                Ok(cluster::Goal::Drain) => Goal::Drain,
                Ok(cluster::Goal::Stop) => Goal::Stop,
                Ok(cluster::Goal::Unspecified) | Err(_) => {
                    return Err(Invalid::new("goal", "is not known to this version"));
                }
            },
            name: assignment.container_name,
            container: gantry_model::wire::read_container(spec)?,
            image_digest: assignment.image_digest,
            networks,
            ports,
            restart_sequence: assignment.restart_sequence,
            restart_asked_at: None,
            repair_grace: assignment.repair_grace.and_then(|grace| Duration::try_from(grace).ok()),
            completed: assignment.completed,
            readiness: assignment.readiness.and_then(|probe| probe_of("readiness", probe)),
            liveness: assignment.liveness.and_then(|probe| probe_of("liveness", probe)),
            published_ports: assignment
                .published_ports
                .into_iter()
                .filter_map(|port| u16::try_from(port).ok().filter(|port| *port > 0))
                .take(Checks::PUBLISHED)
                .collect(),
            exclusive: assignment.exclusive,
        })
    }
}

/// A check that cannot be read is none: its replica runs all the same.
fn probe_of(field: &str, probe: cluster::HealthProbe) -> Option<HealthProbe> {
    let read = gantry_model::wire::read_probe(field, probe);
    read.map_err(|problem| tracing::error!(%problem, "cannot read how a replica is checked")).ok()
}

impl From<wire::Segment> for Segment {
    /// A network whose joint cannot be read is one of this node only: its containers run all the same.
    fn from(segment: wire::Segment) -> Self {
        let overlay = segment.overlay.and_then(|overlay| match Joint::try_from(overlay) {
            Ok(joint) => Some(joint),
            Err(problem) => {
                tracing::error!(network = segment.name, %problem, "cannot read how a network is joined");
                None
            }
        });
        Self {
            name: segment.name,
            bridge: segment.bridge,
            subnet: segment.subnet,
            gateway: segment.gateway,
            ip_range: segment.ip_range,
            mtu: segment.mtu,
            internal: segment.internal,
            labels: segment.labels,
            overlay,
        }
    }
}

impl TryFrom<wire::Overlay> for Joint {
    type Error = Invalid;

    fn try_from(overlay: wire::Overlay) -> Result<Self, Invalid> {
        fn read<T: FromStr>(field: &'static str, text: &str) -> Result<T, Invalid> {
            text.parse().map_err(|_| Invalid::new(field, format!("is {text:?}, which is no address")))
        }
        let peer = |peer: wire::OverlayPeer| {
            Ok(Peer {
                node: NodeId::new(&peer.node_id)
                    .map_err(|bad| Invalid::new("peers.node_id", bad.to_string()))?,
                underlay: read("peers.underlay", &peer.underlay)?,
                gateway: read("peers.gateway", &peer.gateway)?,
            })
        };
        let endpoint = |endpoint: wire::OverlayEndpoint| {
            Ok((read("endpoints.mac", &endpoint.mac)?, read("endpoints.underlay", &endpoint.underlay)?))
        };
        if overlay.vni == 0 || overlay.vni >= 1 << 24 {
            return Err(Invalid::new("vni", format!("is {}, not a number of 24 bits", overlay.vni)));
        }
        Ok(Self {
            vni: overlay.vni,
            local: read("local", &overlay.local)?,
            peers: overlay.peers.into_iter().map(peer).collect::<Result<_, _>>()?,
            endpoints: overlay.endpoints.into_iter().map(endpoint).collect::<Result<_, _>>()?,
        })
    }
}

impl From<wire::VolumeUse> for VolumeUse {
    fn from(volume: wire::VolumeUse) -> Self {
        Self {
            name: volume.name,
            driver: volume.driver,
            options: volume.options,
            labels: volume.labels,
            external: volume.external,
        }
    }
}
