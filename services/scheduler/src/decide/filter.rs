//! Which nodes can take a replica. Every filter answers and explains.

use std::collections::HashMap;

use gantry_model::{
    Attribute, Availability, Constraint, Goal, NO_ROOM, NodeId, Port, Replica, Revision, Service, Snapshot,
    Template, architecture,
};

use super::load::{Carried, Held};

/// What filters look at, besides the node.
pub struct Wanted<'a> {
    /// The replica's service.
    pub service: &'a Service,
    /// What its container sees.
    pub template: &'a Template,
    /// The node of its slot, for a service that has one replica on every node.
    pub only: Option<NodeId>,
    /// What its image runs on.
    platform: Option<&'a str>,
    /// Some node has that architecture. Where none has, engines may be able to emulate it.
    has_architecture: bool,
    volumes: Vec<VolumeAt<'a>>,
    /// How many replicas of this revision each node has.
    pub counts: HashMap<NodeId, u32>,
}

struct VolumeAt<'a> {
    key: &'a str,
    state: VolumeState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum VolumeState {
    Missing,
    Removing,
    /// To the node of this name.
    Moving(String),
    Anywhere,
    On(NodeId, String),
}

impl<'a> Wanted<'a> {
    /// What a replica of that revision in that slot wants.
    pub fn new(snapshot: &Snapshot, service: &'a Service, revision: &'a Revision, replica: &Replica) -> Self {
        let template = &revision.template;
        let mut counts = HashMap::new();
        for other in snapshot.replicas_of(&service.id) {
            // Those of other revisions are on their way out, and what counts is where the new ones are.
            if other.goal == Goal::Run
                && other.revision == replica.revision
                && let Some(node) = &other.node
            {
                *counts.entry(node.clone()).or_default() += 1;
            }
        }
        let state = |key: &str| match snapshot.volumes.get(&(service.id.stack().clone(), key.to_owned())) {
            None => VolumeState::Missing,
            Some(volume) if volume.removing => VolumeState::Removing,
            Some(volume) if let Some(moving) = volume.moving.as_ref().filter(|moving| moving.blocks()) => {
                let to = snapshot.nodes.get(&moving.to);
                VolumeState::Moving(to.map_or_else(|| moving.to.to_string(), |node| node.name.clone()))
            }
            Some(volume) if !volume.lies_on_node() => VolumeState::Anywhere,
            Some(volume) => volume.node.as_ref().map_or(VolumeState::Anywhere, |node| {
                let name = snapshot.nodes.get(node).map_or(node.as_str(), |node| node.name.as_str());
                VolumeState::On(node.clone(), name.to_owned())
            }),
        };
        let only = service.is_global().then(|| {
            let of_slot = service.node_slots.iter().find(|(_, slot)| **slot == replica.slot);
            of_slot.map(|(node, _)| node.clone())
        });
        let platform = template.container.platform.as_deref().or(revision.platform.as_deref());
        let has_architecture = platform.is_some_and(|platform| {
            let (_, arch) = split_platform(platform);
            snapshot
                .nodes
                .values()
                .any(|node| !node.host.architecture.is_empty() && !differs(arch, &node.host.architecture))
        });
        Self {
            service,
            template,
            only: only.flatten(),
            platform,
            has_architecture,
            volumes: template.volume_keys().map(|key| VolumeAt { key, state: state(key) }).collect(),
            counts,
        }
    }

    /// How many replicas of this revision a node has.
    pub fn count_on(&self, node: &NodeId) -> u32 {
        self.counts.get(node).copied().unwrap_or(0)
    }
}

/// Why a node cannot take a replica.
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub enum Refusal<'a> {
    NotTheNodeOfItsSlot,
    Paused,
    Draining,
    Quarantined,
    NotReady(&'a str),
    Constraint(&'a Constraint),
    Platform { wanted: &'a str, node: &'a Carried },
    NoVolume(&'a str),
    VolumeGoes(&'a str),
    VolumeMoves { key: &'a str, to: &'a str },
    VolumeElsewhere { key: &'a str, node: &'a str },
    Most(u32),
    Port { port: &'a Port, holder: &'a Held },
    Cpus { wanted: i64, free: i64 },
    Memory { wanted: i64, free: i64 },
}

type Filter = for<'a> fn(&'a Wanted<'a>, &'a Carried) -> Option<Refusal<'a>>;

/// What does not change while replicas are placed, in the order in which answers are shown.
pub const FIXED: [Filter; 6] = [is_of_its_slot, is_available, is_ready, matches, has_platform, has_volumes];
/// What every further replica on the node makes less.
pub const SHRINKING: [Filter; 3] = [has_place, has_ports, has_room];

/// The first reason of `filters` why a node cannot take it.
pub fn refusal<'a>(filters: &[Filter], wanted: &'a Wanted<'a>, node: &'a Carried) -> Option<Refusal<'a>> {
    filters.iter().find_map(|filter| filter(wanted, node))
}

fn is_of_its_slot<'a>(wanted: &'a Wanted<'a>, node: &'a Carried) -> Option<Refusal<'a>> {
    wanted.only.as_ref().filter(|only| **only != node.node.id).map(|_| Refusal::NotTheNodeOfItsSlot)
}

fn is_available<'a>(_: &'a Wanted<'a>, node: &'a Carried) -> Option<Refusal<'a>> {
    match node.node.availability {
        Availability::Active => node.node.quarantined_since.map(|_| Refusal::Quarantined),
        Availability::Pause => Some(Refusal::Paused),
        Availability::Drain => Some(Refusal::Draining),
    }
}

fn is_ready<'a>(_: &'a Wanted<'a>, node: &'a Carried) -> Option<Refusal<'a>> {
    node.problem.as_deref().map(Refusal::NotReady)
}

fn matches<'a>(wanted: &'a Wanted<'a>, node: &'a Carried) -> Option<Refusal<'a>> {
    let constraints = &wanted.service.spec.placement.constraints;
    constraints.iter().find(|constraint| !constraint.matches(&node.node)).map(Refusal::Constraint)
}

/// The platform that the file names, or that of the image.
fn has_platform<'a>(wanted: &'a Wanted<'a>, node: &'a Carried) -> Option<Refusal<'a>> {
    let platform = wanted.platform?;
    let (os, arch) = split_platform(platform);
    let host = &node.node.host;
    let refused = differs(os, &host.os) || wanted.has_architecture && differs(arch, &host.architecture);
    refused.then_some(Refusal::Platform { wanted: platform, node })
}

/// System and architecture. A variant, as in linux/arm/v7, says which instructions of one are used.
fn split_platform(platform: &str) -> (&str, &str) {
    let (os, rest) = platform.split_once('/').unwrap_or((platform, ""));
    (os, rest.split('/').next().unwrap_or_default())
}

fn differs(asked: &str, known: &str) -> bool {
    !asked.is_empty() && !known.is_empty() && !architecture(asked).eq_ignore_ascii_case(architecture(known))
}

/// The keys of the named volumes that a template mounts.
pub fn volume_keys(template: &Template) -> impl Iterator<Item = &str> {
    template.volume_keys()
}

/// A replica runs where its volumes are.
fn has_volumes<'a>(wanted: &'a Wanted<'a>, node: &'a Carried) -> Option<Refusal<'a>> {
    wanted.volumes.iter().find_map(|volume| match &volume.state {
        VolumeState::Missing => Some(Refusal::NoVolume(volume.key)),
        VolumeState::Removing => Some(Refusal::VolumeGoes(volume.key)),
        VolumeState::Moving(to) => Some(Refusal::VolumeMoves { key: volume.key, to }),
        VolumeState::On(at, name) if *at != node.node.id => {
            Some(Refusal::VolumeElsewhere { key: volume.key, node: name })
        }
        VolumeState::On(..) | VolumeState::Anywhere => None,
    })
}

fn has_place<'a>(wanted: &'a Wanted<'a>, node: &'a Carried) -> Option<Refusal<'a>> {
    let most = wanted.service.spec.placement.max_replicas_per_node?;
    (wanted.count_on(&node.node.id) >= most).then_some(Refusal::Most(most))
}

/// No two containers listen on one port of a node. Ports on which proxies listen are on every node
/// anyway: two services that want the same one are refused at admission.
fn has_ports<'a>(wanted: &'a Wanted<'a>, node: &'a Carried) -> Option<Refusal<'a>> {
    let ports = wanted.template.ports.iter().filter(|port| port.published.is_some());
    ports.into_iter().find_map(|port| Some(Refusal::Port { port, holder: node.holder(port)? }))
}

/// Reservations never exceed what the node has.
fn has_room<'a>(wanted: &'a Wanted<'a>, node: &'a Carried) -> Option<Refusal<'a>> {
    let resources = &wanted.template.container.resources;
    if let Some(wanted) = resources.reserved_nano_cpus {
        let free = node.free_nano_cpus();
        if wanted > free {
            return Some(Refusal::Cpus { wanted, free });
        }
    }
    let wanted = resources.reserved_memory?;
    let free = node.free_memory();
    (wanted > free).then_some(Refusal::Memory { wanted, free })
}

impl Refusal<'_> {
    /// What is said of one node, or of many; the same for all nodes that are counted together.
    pub fn phrase(&self, many: bool) -> String {
        let (is, has, does) = if many { ("are", "have", "do") } else { ("is", "has", "does") };
        match self {
            Self::NotTheNodeOfItsSlot => format!("{is} not the node of its slot"),
            Self::Paused => format!("{is} paused"),
            Self::Draining => format!("{is} being drained"),
            Self::Quarantined => format!("{is} in quarantine, as too much failed there"),
            Self::NotReady(_) => format!("{is} not ready"),
            Self::Constraint(constraint) => format!("{does} not match {constraint}"),
            Self::Platform { wanted, .. } => format!("{does} not run {wanted}"),
            Self::NoVolume(key) => format!("{does} not have the volume {key}, which is not there"),
            Self::VolumeGoes(key) => format!("{does} not have the volume {key}, which is being removed"),
            Self::VolumeMoves { key, to } => {
                format!("{does} not have the volume {key}, which is being moved to {to}")
            }
            Self::VolumeElsewhere { key, node } => {
                format!("{does} not have the volume {key}, which is on {node}")
            }
            Self::Most(most) => format!("{has} {most} of it already, as many as it allows on one node"),
            Self::Port { port, .. } => {
                let published = port.published.unwrap_or_default();
                format!("{has} port {published}/{} taken", port.protocol)
            }
            Self::Cpus { .. } | Self::Memory { .. } => format!("{has} {NO_ROOM}"),
        }
    }

    /// What is special about this node.
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::NotReady(why) => Some((*why).to_owned()),
            Self::Platform { node, .. } => {
                let values = |attribute: Attribute| attribute.group(&node.node);
                Some(format!("{}/{}", values(Attribute::PlatformOs), values(Attribute::PlatformArch)))
            }
            Self::Port { holder, .. } => Some(format!("by {}, replica {}", holder.service, holder.slot)),
            Self::Cpus { wanted, free } => {
                Some(format!("it reserves {} cores and {} are free", cores(*wanted), cores(*free)))
            }
            Self::Memory { wanted, free } => {
                Some(format!("it reserves {} MiB of memory and {} MiB are free", wanted >> 20, free >> 20))
            }
            _ => None,
        }
    }

    /// What is missing, where one node lacks more than another: of many nodes, the best is shown.
    pub fn lacks(&self) -> i64 {
        match self {
            Self::Cpus { wanted, free } | Self::Memory { wanted, free } => wanted - free,
            _ => 0,
        }
    }
}

fn cores(nano: i64) -> String {
    let nano = nano.max(0);
    format!("{}.{:02}", nano / 1_000_000_000, (nano % 1_000_000_000) / 10_000_000)
}
