//! Which nodes can take a replica. Every filter answers and explains.

use std::sync::Arc;

use gantry_model::{MountSource, Node, Port, Replica, Service, Snapshot, Template};

/// What a filter says of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// The node can take it.
    Yes,
    /// It cannot, because of this.
    No(String),
}

/// What filters look at.
pub struct Context<'a> {
    /// Everything.
    pub snapshot: &'a Snapshot,
    /// The replica's service.
    pub service: &'a Service,
    /// What its container sees.
    pub template: &'a Template,
}

/// All filters, in the order in which their answers are shown.
pub const FILTERS: [fn(&Context<'_>, &Node) -> Fit; 4] = [is_ready, has_volumes, has_ports, has_room];

/// The first reason why `node` cannot take it.
pub fn fit(context: &Context<'_>, node: &Node) -> Fit {
    FILTERS.iter().map(|filter| filter(context, node)).find(|fit| *fit != Fit::Yes).unwrap_or(Fit::Yes)
}

fn is_ready(context: &Context<'_>, node: &Node) -> Fit {
    match context.snapshot.node_statuses.get(&node.id) {
        Some(status) => status.problem().map_or(Fit::Yes, Fit::No),
        None => Fit::No("its agent has not connected since the scheduler started".to_owned()),
    }
}

/// The keys of the named volumes that a template mounts.
pub fn volume_keys(template: &Template) -> impl Iterator<Item = &str> {
    template.container.mounts.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume { name: Some(key), .. } => Some(key.as_str()),
        _ => None,
    })
}

/// A replica runs where its volumes are.
fn has_volumes(context: &Context<'_>, node: &Node) -> Fit {
    for key in volume_keys(context.template) {
        let Some(volume) =
            context.snapshot.volumes.get(&(context.service.id.stack().clone(), key.to_owned()))
        else {
            return Fit::No(format!("the volume {key} is not there"));
        };
        if volume.removing {
            return Fit::No(format!("the volume {key} is being removed"));
        }
        if let Some(moving) = volume.moving.as_ref().filter(|moving| moving.blocks()) {
            let to = context.snapshot.nodes.get(&moving.to).map_or(moving.to.as_str(), |node| &node.name);
            return Fit::No(format!("the volume {key} is being moved to {to}"));
        }
        if volume.lies_on_node() && volume.node.as_ref().is_some_and(|at| *at != node.id) {
            return Fit::No(format!("the volume {key} is on another node"));
        }
    }
    Fit::Yes
}

/// No two containers listen on one port of a node. Ports on which proxies listen are on every node
/// anyway: two services that want the same one are refused at admission.
fn has_ports(context: &Context<'_>, node: &Node) -> Fit {
    for port in context.template.ports.iter().filter(|port| port.published.is_some()) {
        let holder =
            context.snapshot.replicas_on(&node.id).find(|replica| holds(context.snapshot, replica, port));
        if let Some(holder) = holder {
            let published = port.published.unwrap_or_default();
            return Fit::No(format!(
                "port {published}/{} is taken by {} (replica {})",
                port.protocol, holder.service, holder.slot
            ));
        }
    }
    Fit::Yes
}

fn holds(snapshot: &Snapshot, replica: &Arc<Replica>, port: &Port) -> bool {
    snapshot
        .revision_of(replica)
        .is_some_and(|revision| revision.template.ports.iter().any(|held| held.collides(port)))
}

/// Reservations never exceed what the node has.
fn has_room(context: &Context<'_>, node: &Node) -> Fit {
    let wanted = &context.template.container.resources;
    if wanted.reserved_nano_cpus.is_none() && wanted.reserved_memory.is_none() {
        return Fit::Yes;
    }
    let (mut cpus, mut memory) = (0_i64, 0_i64);
    for replica in context.snapshot.replicas_on(&node.id) {
        if let Some(revision) = context.snapshot.revision_of(replica) {
            let reserved = &revision.template.container.resources;
            cpus = cpus.saturating_add(reserved.reserved_nano_cpus.unwrap_or(0));
            memory = memory.saturating_add(reserved.reserved_memory.unwrap_or(0));
        }
    }
    let free_cpus = i64::from(node.host.cpus) * 1_000_000_000 - cpus;
    let free_memory = i64::try_from(node.host.memory).unwrap_or(i64::MAX).saturating_sub(memory);
    if wanted.reserved_nano_cpus.unwrap_or(0) > free_cpus {
        return Fit::No(format!(
            "it reserves {} cores and {} are free",
            cores(wanted.reserved_nano_cpus.unwrap_or(0)),
            cores(free_cpus)
        ));
    }
    if wanted.reserved_memory.unwrap_or(0) > free_memory {
        return Fit::No(format!(
            "it reserves {} MiB of memory and {} MiB are free",
            wanted.reserved_memory.unwrap_or(0) >> 20,
            free_memory >> 20
        ));
    }
    Fit::Yes
}

fn cores(nano: i64) -> String {
    format!("{}.{:02}", nano / 1_000_000_000, (nano.rem_euclid(1_000_000_000)) / 10_000_000)
}
