//! What a decision changes in the store.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use gantry_model::{
    Change, Drain, Goal, Key, Network, Node, NodeId, NodeSegment, PastRepair, Record, Repair, RepairKind,
    Replica, ReplicaId, Service, ServiceId, Snapshot, StackName, Timestamp, Volume,
};

use super::Action;
use crate::decide::filter::volume_keys;
use crate::decide::service_address::{is_direct, is_virtual};

/// An address is not given away again before caches of names have forgotten it and requests to it
/// have ended.
const COOLING: Duration = Duration::from_secs(15);

impl Action {
    /// What it changes in the store.
    pub fn changes(&self, snapshot: &Snapshot, now: Timestamp) -> Vec<Change> {
        match self {
            // No person has changed it, so `updated_at` stays: what is missing of it meanwhile is missing.
            Self::Scale { service, replicas, .. } => {
                change_service(snapshot, service, |record| record.replicas = *replicas)
            }
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
                // Who asked for this knows better.
                record.repair = None;
            }),
            Self::Repair { replica, kind, reason, .. } => repair(snapshot, replica, *kind, reason, now),
            Self::RestartInPlace { replica, .. } => change_replica(snapshot, replica, |record| {
                record.repairs = record.repairs.saturating_add(1);
                record.pause = None;
            }),
            Self::Healed { replica, .. } | Self::NotHealed { replica, .. } => {
                change_replica(snapshot, replica, |record| (record.repair, record.pause) = (None, None))
            }
            Self::Quarantine { node, .. } => {
                change_node(snapshot, node, |record| record.quarantined_since = Some(now))
            }
            Self::EndQuarantine { node, .. } => {
                change_node(snapshot, node, |record| record.quarantined_since = None)
            }
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
        repairs: 0,
        repair: None,
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
    for key in template.into_iter().flat_map(volume_keys) {
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

/// Notes a repair with the replica, and with its service for as long as judging the next one needs it.
fn repair(
    snapshot: &Snapshot,
    id: &ReplicaId,
    kind: RepairKind,
    reason: &str,
    now: Timestamp,
) -> Vec<Change> {
    let Some(replica) = snapshot.replicas.get(id) else { return Vec::new() };
    let mut changes = change_replica(snapshot, id, |record| {
        record.repair = Some(Repair { kind, since: now, reason: reason.to_owned() });
        if kind == RepairKind::Restart {
            record.pause = Some(Drain { since: now, revision: snapshot.revision + 1 });
        }
    });
    changes.extend(change_service(snapshot, &replica.service, |service| {
        service.repairs.retain(|past| now.since(past.at) < PastRepair::KEPT_FOR);
        let surplus = (service.repairs.len() + 1).saturating_sub(PastRepair::KEPT);
        service.repairs.drain(..surplus);
        service.repairs.push(PastRepair {
            at: now,
            revision: snapshot.revision + 1,
            replica: id.clone(),
            slot: replica.slot,
            node: replica.node.clone(),
            kind,
            reason: reason.to_owned(),
        });
    }));
    changes
}

fn change_node(snapshot: &Snapshot, id: &NodeId, change: impl FnOnce(&mut Node)) -> Vec<Change> {
    let Some(node) = snapshot.nodes.get(id) else { return Vec::new() };
    let mut node = node.as_ref().clone();
    change(&mut node);
    vec![Change::Put(Record::Node(Arc::new(node)))]
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
