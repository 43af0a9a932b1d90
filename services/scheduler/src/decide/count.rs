//! How many replicas there are to be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gantry_model::{Availability, Goal, Node, NodeId, Replica, Service, Snapshot, Verdict};

use super::action::Action;
use super::plan::Plan;

/// Fills every empty slot that a service wants, and drains the slots above.
///
/// A slot is filled only when nothing of an earlier replica is left in it, so that two of them never
/// share a volume or a port. Start-first updates are the exception, and make theirs themselves.
pub fn count(plan: &mut Plan) {
    for service in plan.services() {
        let service = if service.is_global() { assign_slots(plan, service) } else { service };
        let (wanted, slots) = (service.wanted(), service.slots());
        let replicas = plan.replicas(&service.id);
        for replica in replicas
            .iter()
            .filter(|replica| replica.goal == Goal::Run && !has_slot(&service, &slots, replica))
        {
            let why = if service.removing {
                "the service is being removed".to_owned()
            } else if service.stopped {
                "the service was stopped".to_owned()
            } else if service.is_global() {
                "the service is not to run on its node".to_owned()
            } else {
                format!("the service is to have {wanted}")
            };
            // Who takes a removed service's replicas away, and in which order, is retire's business.
            if !service.removing {
                plan.push(Action::Drain { replica: replica.id.clone(), why });
            }
        }
        for slot in slots {
            if !replicas.iter().any(|replica| replica.slot == slot) {
                let why = format!("the service is to have {wanted}");
                plan.push(Action::Create { service: service.id.clone(), slot, revision: None, why });
            }
        }
    }
}

fn has_slot(service: &Service, slots: &[u32], replica: &Replica) -> bool {
    if slots.binary_search(&replica.slot).is_err() {
        return false;
    }
    // A replica of a service on every node is on the node of its slot.
    !service.is_global()
        || replica.node.as_ref().is_none_or(|node| service.node_slots.get(node) == Some(&replica.slot))
}

/// Gives every node on which a service is to run a slot, which it keeps as long as that is so.
fn assign_slots(plan: &mut Plan, service: Arc<Service>) -> Arc<Service> {
    if service.removing || service.stopped {
        return service;
    }
    let slots = node_slots(&plan.working, &service);
    if slots == service.node_slots {
        return service;
    }
    plan.push(Action::AssignSlots { service: service.id.clone(), slots });
    plan.working.services.get(&service.id).cloned().unwrap_or(service)
}

fn node_slots(snapshot: &Snapshot, service: &Service) -> BTreeMap<NodeId, u32> {
    let nodes: Vec<_> = snapshot.nodes.values().filter(|node| runs_on(snapshot, service, node)).collect();
    let mut slots: BTreeMap<NodeId, u32> = BTreeMap::new();
    let mut taken: BTreeSet<u32> = BTreeSet::new();
    // What a node has it keeps; a service that had a number of replicas before keeps those.
    let live = |node: &Node| {
        let mut own = snapshot.replicas_of(&service.id).filter(|replica| replica.goal == Goal::Run);
        own.find(|replica| replica.node.as_ref() == Some(&node.id)).map(|replica| replica.slot)
    };
    for node in &nodes {
        let known = service.node_slots.get(&node.id).copied().or_else(|| live(node));
        if let Some(slot) = known.filter(|slot| taken.insert(*slot)) {
            slots.insert(node.id.clone(), slot);
        }
    }
    // A slot in which something is left of a replica on another node is not given away yet.
    taken.extend(snapshot.replicas_of(&service.id).map(|replica| replica.slot));
    let mut free = (1..).filter(|slot| !taken.contains(slot));
    for node in nodes {
        if !slots.contains_key(&node.id)
            && let Some(slot) = free.next()
        {
            slots.insert(node.id.clone(), slot);
        }
    }
    slots
}

/// Whether a service that runs on every node runs on this one. Paused nodes and nodes that are not heard
/// keep what they have, and get nothing new.
fn runs_on(snapshot: &Snapshot, service: &Service, node: &Node) -> bool {
    if !service.spec.placement.constraints.iter().all(|constraint| constraint.matches(node)) {
        return false;
    }
    let has = service.node_slots.contains_key(&node.id);
    match node.availability {
        Availability::Drain => false,
        Availability::Pause => has,
        Availability::Active if node.quarantined_since.is_some() => has,
        Availability::Active => has || snapshot.verdict_on(&node.id) == Verdict::Ready,
    }
}
