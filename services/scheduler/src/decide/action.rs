//! Decisions as values.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use gantry_model::{
    Change, Drain, Goal, Key, Network, NodeId, NodeSegment, Outcome, Record, Replica, ReplicaId, Service,
    ServiceId, Severity, Snapshot, StackName, Timestamp, Volume,
};

use super::moves::MoveStep;
use super::service_address::{is_direct, is_virtual};

/// An address is not given away again before caches of names have forgotten it and requests to it
/// have ended.
const COOLING: Duration = Duration::from_secs(15);

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Action {
    /// A replica is wanted in a slot; of the newest revision, where none is named.
    Create { service: ServiceId, slot: u32, revision: Option<u64>, why: String },
    /// The slots of a service that has one replica on every node.
    AssignSlots { service: ServiceId, slots: BTreeMap<NodeId, u32> },
    /// A replica gets its node and its addresses, by key of the network.
    Place {
        replica: ReplicaId,
        node: NodeId,
        addresses: BTreeMap<String, Ipv4Addr>,
        segments: BTreeMap<String, NodeSegment>,
        why: String,
    },
    /// Ports of a service for which its spec names no number get one.
    AssignPorts { service: ServiceId, ports: BTreeMap<String, u16> },
    /// A service gets its own address on a network.
    GiveAddress { stack: StackName, key: String, service: ServiceId, address: Ipv4Addr },
    /// A service needs its addresses on a network no more.
    ReleaseAddress { stack: StackName, key: String, service: String },
    /// A node gets its own part of a network on which it has no replica.
    JoinNetwork { stack: StackName, key: String, node: NodeId, segment: NodeSegment },
    /// A node's part of a network is taken back.
    LeaveNetwork { stack: StackName, key: String, node: NodeId },
    /// A replica cannot be placed.
    Wait { replica: ReplicaId, reason: String },
    /// What kept a replica from going elsewhere is over, or it need not go any more.
    Resume { replica: ReplicaId },
    /// A replica is to go elsewhere, so that nodes have as much to do as others.
    Leave { replica: ReplicaId },
    /// A replica that was to go elsewhere stays.
    Stay { replica: ReplicaId, why: String },
    /// Nobody waits for a proxy any more: its node is lost.
    ForgetProxy { instance: String },
    /// A replica gets no new work.
    Drain { replica: ReplicaId, why: String },
    /// A replica is to end.
    Stop { replica: ReplicaId, why: String },
    /// A replica is gone.
    Forget { replica: ReplicaId },
    /// A replica gets no new work, until it has been restarted.
    Pause { replica: ReplicaId },
    /// A replica's container is restarted in place.
    Restart { replica: ReplicaId, sequence: u64 },
    /// An update has begun to replace replicas of a service.
    BeginBatch { service: ServiceId },
    /// A replica that runs once has ended.
    Complete { replica: ReplicaId, outcome: Outcome },
    /// An old revision is not needed any more.
    ForgetRevision { service: ServiceId, number: u64 },
    /// The last replica of a removed service is gone.
    ForgetService { service: ServiceId },
    /// Nothing uses a network any more.
    ForgetNetwork { stack: StackName, key: String },
    /// A volume and what is in it are to go.
    RemoveVolume { stack: StackName, key: String },
    /// A volume's record is not needed any more.
    ForgetVolume { stack: StackName, key: String },
    /// The move of a volume goes on.
    Move { stack: StackName, key: String, step: MoveStep },
    /// All of a removed stack is gone.
    ForgetStack { stack: StackName },
}

impl Action {
    /// The kind of decision in one word, as events have it.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Create { .. } => "Created",
            Self::Place { .. } => "Placed",
            Self::AssignPorts { .. } => "PortsChosen",
            Self::GiveAddress { .. } => "AddressGiven",
            Self::ReleaseAddress { .. } => "AddressReleased",
            Self::JoinNetwork { .. } => "NetworkJoined",
            Self::LeaveNetwork { .. } => "NetworkLeft",
            Self::Pause { .. } => "Pausing",
            Self::Wait { .. } => "Pending",
            Self::AssignSlots { .. } => "NodesChosen",
            Self::Resume { .. } => "Resumed",
            Self::Leave { .. } => "Moving",
            Self::Stay { .. } => "Staying",
            Self::ForgetProxy { .. } => "ProxyForgotten",
            Self::Drain { .. } => "Draining",
            Self::Stop { .. } => "Stopping",
            Self::Forget { .. } => "Removed",
            Self::Restart { .. } => "Restarting",
            Self::BeginBatch { .. } => "Updating",
            Self::Complete { .. } => "Completed",
            Self::ForgetRevision { .. } => "RevisionRemoved",
            Self::ForgetService { .. } => "ServiceRemoved",
            Self::ForgetNetwork { .. } => "NetworkRemoved",
            Self::RemoveVolume { .. } => "VolumeRemoving",
            Self::ForgetVolume { .. } => "VolumeForgotten",
            Self::Move { step, .. } => step.reason(),
            Self::ForgetStack { .. } => "StackRemoved",
        }
    }

    /// What it changes in the store.
    pub fn changes(&self, snapshot: &Snapshot, now: Timestamp) -> Vec<Change> {
        match self {
            Self::Create { service, slot, revision, .. } => create(snapshot, service, *slot, *revision, now),
            Self::AssignSlots { service, slots } => {
                change_service(snapshot, service, |record| record.node_slots.clone_from(slots))
            }
            Self::Resume { replica } => change_replica(snapshot, replica, |record| record.pending = None),
            Self::Leave { replica } => change_replica(snapshot, replica, |record| record.leave = true),
            Self::Stay { replica, .. } => change_replica(snapshot, replica, |record| record.leave = false),
            Self::ForgetProxy { instance } => vec![Change::Delete(Key::Proxy(instance.clone()))],
            Self::Place { replica, node, addresses, segments, .. } => {
                place(snapshot, replica, node, addresses, segments)
            }
            Self::Wait { replica, reason } => {
                change_replica(snapshot, replica, |record| record.pending = Some(reason.clone()))
            }
            Self::Drain { replica, .. } => change_replica(snapshot, replica, |record| {
                record.goal = record.goal.max(Goal::Drain);
                record.pending = None;
                record.drain = Some(Drain { since: now, revision: snapshot.revision + 1 });
            }),
            Self::Stop { replica, .. } => {
                change_replica(snapshot, replica, |record| record.goal = Goal::Stop)
            }
            Self::Forget { replica } => forget(snapshot, replica, now),
            Self::Pause { replica } => change_replica(snapshot, replica, |record| {
                record.pause = Some(Drain { since: now, revision: snapshot.revision + 1 });
            }),
            // From here on it is out of the tables because its agent has not restarted it yet.
            Self::Restart { replica, sequence } => change_replica(snapshot, replica, |record| {
                record.restart_sequence = *sequence;
                record.pause = None;
                record.outcome = None;
            }),
            Self::BeginBatch { service } => {
                change_service(snapshot, service, |record| record.last_batch_at = Some(now))
            }
            Self::AssignPorts { service, ports } => {
                change_service(snapshot, service, |record| record.assigned_ports.clone_from(ports))
            }
            Self::GiveAddress { stack, key, service, address } => {
                change_network(snapshot, stack, key, |network| {
                    network.vips.insert(service.name().to_owned(), *address);
                    network.fixed.remove(service.name());
                })
            }
            Self::ReleaseAddress { stack, key, service } => release(snapshot, stack, key, service, now),
            Self::JoinNetwork { stack, key, node, segment } => {
                change_network(snapshot, stack, key, |network| {
                    network.cursor = offset(network, segment.gateway);
                    network.nodes.insert(node.clone(), segment.clone());
                })
            }
            Self::LeaveNetwork { stack, key, node } => change_network(snapshot, stack, key, |network| {
                let left = network.nodes.remove(node).map(|segment| (segment.gateway, now.after(COOLING)));
                network.cooling.retain(|(_, until)| *until > now);
                network.cooling.extend(left);
            }),
            Self::Complete { replica, outcome } => {
                change_replica(snapshot, replica, |record| record.outcome = Some(*outcome))
            }
            Self::ForgetRevision { service, number } => {
                vec![Change::Delete(Key::Revision(service.clone(), *number))]
            }
            Self::ForgetService { service } => {
                let of_service = snapshot.revisions.keys().filter(|(of, _)| of == service);
                let mut changes: Vec<_> = of_service
                    .map(|(of, number)| Change::Delete(Key::Revision(of.clone(), *number)))
                    .collect();
                changes.push(Change::Delete(Key::Service(service.clone())));
                changes
            }
            Self::ForgetNetwork { stack, key } => {
                vec![Change::Delete(Key::Network(stack.clone(), key.clone()))]
            }
            Self::RemoveVolume { stack, key } => {
                change_volume(snapshot, stack, key, |volume| volume.removing = true)
            }
            Self::ForgetVolume { stack, key } => {
                vec![Change::Delete(Key::Volume(stack.clone(), key.clone()))]
            }
            Self::Move { stack, key, step } => {
                change_volume(snapshot, stack, key, |volume| step.apply(volume))
            }
            Self::ForgetStack { stack } => vec![Change::Delete(Key::Stack(stack.clone()))],
        }
    }

    /// What people are told: how much it matters, about what, about which replica, in which words.
    /// Called with the changes already made. `None` for what nobody needs to know.
    pub fn event(&self, after: &Snapshot) -> Option<(Severity, String, Option<ReplicaId>, String)> {
        let message = self.to_string();
        let severity = match self {
            Self::Wait { .. } => Severity::Warning,
            Self::Move { step: MoveStep::GiveUp(_), .. } => Severity::Warning,
            Self::Complete { outcome, .. } if outcome.exit_code != 0 => Severity::Warning,
            _ => Severity::Normal,
        };
        match self {
            Self::Create { .. }
            | Self::AssignSlots { .. }
            | Self::Resume { .. }
            | Self::ForgetProxy { .. }
            | Self::BeginBatch { .. }
            | Self::ForgetRevision { .. }
            | Self::ForgetNetwork { .. }
            | Self::ForgetVolume { .. }
            | Self::ReleaseAddress { .. }
            | Self::JoinNetwork { .. }
            | Self::LeaveNetwork { .. }
            | Self::Forget { .. } => None,
            Self::AssignPorts { ports, .. } if ports.is_empty() => None,
            Self::AssignPorts { service, .. } | Self::GiveAddress { service, .. } => {
                Some((severity, service.to_string(), None, message))
            }
            Self::ForgetService { service } => Some((severity, service.to_string(), None, message)),
            Self::RemoveVolume { stack, .. } | Self::Move { stack, .. } | Self::ForgetStack { stack } => {
                Some((severity, stack.to_string(), None, message))
            }
            Self::Place { replica, .. }
            | Self::Wait { replica, .. }
            | Self::Leave { replica }
            | Self::Stay { replica, .. }
            | Self::Drain { replica, .. }
            | Self::Stop { replica, .. }
            | Self::Pause { replica }
            | Self::Restart { replica, .. }
            | Self::Complete { replica, .. } => {
                let record = after.replicas.get(replica)?;
                let slot = record.slot;
                let message = match self {
                    Self::Place { node, why, .. } => {
                        let name = after.nodes.get(node).map_or(node.as_str(), |node| node.name.as_str());
                        format!("replica {slot} placed on {name}: {why}")
                    }
                    Self::Wait { reason, .. } => format!("replica {slot}: {reason}"),
                    Self::Leave { .. } => format!("replica {slot} is to move, to even nodes out"),
                    Self::Stay { why, .. } => format!("replica {slot} stays where it is: {why}"),
                    Self::Drain { why, .. } => format!("replica {slot} gets no new work: {why}"),
                    Self::Stop { why, .. } => format!("replica {slot} is stopped: {why}"),
                    Self::Pause { .. } => {
                        format!("replica {slot} gets no new work: it is about to be restarted")
                    }
                    Self::Restart { .. } => format!("replica {slot} is restarted, as asked"),
                    Self::Complete { outcome, .. } => {
                        format!("replica {slot} ended with exit code {}", outcome.exit_code)
                    }
                    _ => message,
                };
                Some((severity, record.service.to_string(), Some(replica.clone()), message))
            }
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { service, slot, why, .. } => write!(f, "create replica {slot} of {service}: {why}"),
            Self::Place { replica, node, why, .. } => write!(f, "place {replica} on {node}: {why}"),
            Self::AssignPorts { service, ports } => {
                let ports: Vec<_> = ports.iter().map(|(port, number)| format!("{number}->{port}")).collect();
                write!(f, "the ports of {service} that were left to choose: {}", ports.join(", "))
            }
            Self::GiveAddress { key, service, address, .. } => {
                write!(f, "{service} has the address {address} on its network {key}")
            }
            Self::ReleaseAddress { stack, key, service } => {
                write!(f, "{stack}/{service} needs its address on the network {key} no more")
            }
            Self::JoinNetwork { stack, key, node, segment } => {
                write!(f, "{node} takes part in the network {stack}/{key} as {}", segment.gateway)
            }
            Self::LeaveNetwork { stack, key, node } => {
                write!(f, "{node} takes part in the network {stack}/{key} no more")
            }
            Self::Pause { replica } => write!(f, "take {replica} out of the tables, to restart it"),
            Self::Wait { replica, reason } => write!(f, "{replica} waits: {reason}"),
            Self::AssignSlots { service, slots } => write!(f, "{service} runs on {} nodes", slots.len()),
            Self::Resume { replica } => write!(f, "{replica} waits no more"),
            Self::Leave { replica } => write!(f, "{replica} is to move"),
            Self::Stay { replica, why } => write!(f, "{replica} stays: {why}"),
            Self::ForgetProxy { instance } => write!(f, "forget the proxy {instance}: its node is lost"),
            Self::Drain { replica, why } => write!(f, "drain {replica}: {why}"),
            Self::Stop { replica, why } => write!(f, "stop {replica}: {why}"),
            Self::Forget { replica } => write!(f, "forget {replica}: its container is gone"),
            Self::Restart { replica, .. } => write!(f, "restart {replica}, as asked"),
            Self::BeginBatch { service } => write!(f, "update the next replicas of {service}"),
            Self::Complete { replica, outcome } => {
                write!(f, "{replica} ended with exit code {}", outcome.exit_code)
            }
            Self::ForgetRevision { service, number } => write!(f, "forget revision {number} of {service}"),
            Self::ForgetService { service } => write!(f, "{service} is gone"),
            Self::ForgetNetwork { stack, key } => {
                write!(f, "forget the network {stack}/{key}: nothing uses it")
            }
            Self::RemoveVolume { stack, key } => {
                write!(f, "remove the volume {stack}/{key} and what is in it")
            }
            Self::Move { stack, key, step } => write!(f, "the volume {stack}/{key} {step}"),
            Self::ForgetVolume { stack, key } => write!(f, "forget the volume {stack}/{key}"),
            Self::ForgetStack { stack } => write!(f, "the stack {stack} is gone"),
        }
    }
}

fn create(
    snapshot: &Snapshot,
    service: &ServiceId,
    slot: u32,
    revision: Option<u64>,
    now: Timestamp,
) -> Vec<Change> {
    let Some(service) = snapshot.services.get(service) else { return Vec::new() };
    let Ok(id) = ReplicaId::new(service.next_replica_id()) else { return Vec::new() };
    let replica = Replica {
        id,
        service: service.id.clone(),
        slot,
        revision: revision.unwrap_or(service.revision),
        goal: Goal::Run,
        node: None,
        addresses: BTreeMap::new(),
        restart_sequence: service.restart_sequence,
        pending: None,
        drain: None,
        pause: None,
        leave: false,
        outcome: None,
        created_at: now,
    };
    let mut service = service.as_ref().clone();
    service.replicas_made += 1;
    vec![Change::Put(Record::Service(Arc::new(service))), Change::Put(Record::Replica(Arc::new(replica)))]
}

fn place(
    snapshot: &Snapshot,
    id: &ReplicaId,
    node: &NodeId,
    addresses: &BTreeMap<String, Ipv4Addr>,
    segments: &BTreeMap<String, NodeSegment>,
) -> Vec<Change> {
    let Some(replica) = snapshot.replicas.get(id) else { return Vec::new() };
    let stack = replica.service.stack();
    let mut changes = change_replica(snapshot, id, |record| {
        record.node = Some(node.clone());
        record.addresses.clone_from(addresses);
        record.pending = None;
    });
    for (key, address) in addresses {
        let service = snapshot.services.get(&replica.service);
        changes.extend(change_network(snapshot, stack, key, |network| {
            let name = replica.service.name();
            if network.fixed.get(name) != Some(address) {
                network.cursor = offset(network, *address);
            }
            if service.is_some_and(|service| is_direct(service, network)) {
                network.fixed.entry(name.to_owned()).or_insert(*address);
            }
            if let Some(segment) = segments.get(key) {
                network.nodes.insert(node.clone(), segment.clone());
            }
        }));
    }
    // The volume's node is recorded together with the first assignment (invariant 9).
    let template = snapshot.revision_of(replica).map(|revision| &revision.template);
    for key in template.into_iter().flat_map(super::filter::volume_keys) {
        let unplaced = snapshot
            .volumes
            .get(&(stack.clone(), key.to_owned()))
            .is_some_and(|volume| volume.node.is_none());
        if unplaced {
            changes.extend(change_volume(snapshot, stack, key, |volume| volume.node = Some(node.clone())));
        }
    }
    changes
}

/// Its address goes back into the pool, after a while.
fn forget(snapshot: &Snapshot, id: &ReplicaId, now: Timestamp) -> Vec<Change> {
    let Some(replica) = snapshot.replicas.get(id) else { return Vec::new() };
    let mut changes = Vec::new();
    for (key, address) in &replica.addresses {
        changes.extend(change_network(snapshot, replica.service.stack(), key, |network| {
            network.cooling.retain(|(_, until)| *until > now);
            network.cooling.push((*address, now.after(COOLING)));
        }));
    }
    changes.push(Change::Delete(Key::Replica(id.clone())));
    changes
}

/// A service's own address rests like any other.
fn release(snapshot: &Snapshot, stack: &StackName, key: &str, service: &str, now: Timestamp) -> Vec<Change> {
    let Some(network) = snapshot.networks.get(&(stack.clone(), key.to_owned())) else { return Vec::new() };
    let owner = ServiceId::new(stack.clone(), service).ok();
    let owner = owner.and_then(|owner| snapshot.services.get(&owner));
    let (is_virtual, is_direct) =
        owner.map(|owner| (is_virtual(owner, network), is_direct(owner, network))).unwrap_or_default();
    change_network(snapshot, stack, key, |network| {
        let vip = if is_virtual { None } else { network.vips.remove(service) };
        let fixed = if is_direct { None } else { network.fixed.remove(service) };
        network.cooling.retain(|(_, until)| *until > now);
        network.cooling.extend(vip.into_iter().chain(fixed).map(|address| (address, now.after(COOLING))));
    })
}

fn change_service(snapshot: &Snapshot, id: &ServiceId, change: impl FnOnce(&mut Service)) -> Vec<Change> {
    let Some(service) = snapshot.services.get(id) else { return Vec::new() };
    let mut service = service.as_ref().clone();
    change(&mut service);
    vec![Change::Put(Record::Service(Arc::new(service)))]
}

fn offset(network: &Network, address: Ipv4Addr) -> u32 {
    u32::from(address).saturating_sub(u32::from(network.subnet.network()))
}

fn change_replica(snapshot: &Snapshot, id: &ReplicaId, change: impl FnOnce(&mut Replica)) -> Vec<Change> {
    let Some(replica) = snapshot.replicas.get(id) else { return Vec::new() };
    let mut replica = replica.as_ref().clone();
    change(&mut replica);
    vec![Change::Put(Record::Replica(Arc::new(replica)))]
}

fn change_network(
    snapshot: &Snapshot,
    stack: &StackName,
    key: &str,
    change: impl FnOnce(&mut Network),
) -> Vec<Change> {
    let Some(network) = snapshot.networks.get(&(stack.clone(), key.to_owned())) else { return Vec::new() };
    let mut network = network.as_ref().clone();
    change(&mut network);
    vec![Change::Put(Record::Network(Arc::new(network)))]
}

fn change_volume(
    snapshot: &Snapshot,
    stack: &StackName,
    key: &str,
    change: impl FnOnce(&mut Volume),
) -> Vec<Change> {
    let Some(volume) = snapshot.volumes.get(&(stack.clone(), key.to_owned())) else { return Vec::new() };
    let mut volume = volume.as_ref().clone();
    change(&mut volume);
    vec![Change::Put(Record::Volume(Arc::new(volume)))]
}
