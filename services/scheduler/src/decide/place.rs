//! Gives replicas their node and their addresses.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use gantry_model::{Goal, Network, Node, NodeId, NodeSegment, Replica, ServiceId, Snapshot};

use super::action::Action;
use super::address;
use super::depends;
use super::filter::{self, Context, Fit};
use super::plan::Plan;
use super::service_address;

/// Places every replica that can be placed, and says of every other why not.
pub fn place(plan: &mut Plan) {
    let pending: Vec<_> = plan
        .working
        .replicas
        .values()
        .filter(|replica| replica.goal == Goal::Run && replica.node.is_none())
        .cloned()
        .collect();
    let mut pending = pending;
    pending.sort_by(|a, b| (&a.service, a.slot, &a.id).cmp(&(&b.service, b.slot, &b.id)));
    for replica in pending {
        let action = match try_place(plan, &replica) {
            Ok(action) => action,
            Err(reason) if replica.pending.as_ref() == Some(&reason) => continue,
            Err(reason) => Action::Wait { replica: replica.id.clone(), reason },
        };
        plan.push(action);
    }
}

fn try_place(plan: &mut Plan, replica: &Arc<Replica>) -> Result<Action, String> {
    let (node, why) = choose(&plan.working, replica)?;
    let revision = plan.working.revision_of(replica).cloned().ok_or("its revision is not known")?;
    let mut addresses = BTreeMap::new();
    let mut segments = BTreeMap::new();
    for key in revision.template.network_keys() {
        let (segment, address) = join(plan, &replica.service, &key, &node)?;
        addresses.insert(key.clone(), address);
        if let Some(segment) = segment {
            segments.insert(key, segment);
        }
    }
    Ok(Action::Place { replica: replica.id.clone(), node, addresses, segments, why })
}

/// The best node, and why it is the best.
fn choose(snapshot: &Snapshot, replica: &Replica) -> Result<(NodeId, String), String> {
    let service = snapshot.services.get(&replica.service).ok_or("its service is not known")?;
    if let Some(what) = depends::unmet(snapshot, service) {
        return Err(format!("waits for {what}"));
    }
    let revision = snapshot.revision_of(replica).ok_or("its revision is not known")?;
    let context = Context { snapshot, service, template: &revision.template };
    let mut fitting = Vec::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for node in snapshot.nodes.values() {
        match filter::fit(&context, node) {
            Fit::Yes => fitting.push(node),
            Fit::No(reason) => *reasons.entry(reason).or_default() += 1,
        }
    }
    // Ties break by id, so that the same state always gives the same answer.
    let best = fitting.iter().min_by_key(|node| (load(snapshot, replica, node), &node.id));
    match best {
        Some(node) => {
            let why = match fitting.len() {
                1 => "the only node that fits".to_owned(),
                count => format!("the least loaded of {count} nodes that fit"),
            };
            Ok((node.id.clone(), why))
        }
        None if reasons.is_empty() => Err("the cluster has no nodes".to_owned()),
        None => Err(format!("no node fits: {}", tally(&reasons))),
    }
}

/// Spread by service first, then by number of replicas.
fn load(snapshot: &Snapshot, replica: &Replica, node: &Arc<Node>) -> (usize, usize) {
    let of_service = snapshot.replicas_on(&node.id).filter(|other| other.service == replica.service).count();
    (of_service, snapshot.replicas_on(&node.id).count())
}

fn tally(reasons: &BTreeMap<String, usize>) -> String {
    let lines: Vec<_> = reasons
        .iter()
        .map(|(reason, count)| match count {
            1 => format!("{reason} (1 node)"),
            count => format!("{reason} ({count} nodes)"),
        })
        .collect();
    lines.join("; ")
}

/// What every filter says about a replica that is not placed, one line a reason, with the number of
/// nodes that it holds for. Empty for one that is placed.
pub fn explain(snapshot: &Snapshot, replica: &Replica) -> Vec<String> {
    if replica.node.is_some() {
        return Vec::new();
    }
    let (Some(service), Some(revision)) =
        (snapshot.services.get(&replica.service), snapshot.revision_of(replica))
    else {
        return vec!["its service is not known".to_owned()];
    };
    if let Some(what) = depends::unmet(snapshot, service) {
        return vec![format!("it waits for {what}")];
    }
    let context = Context { snapshot, service, template: &revision.template };
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for node in snapshot.nodes.values() {
        for filter in filter::FILTERS {
            let reason = match filter(&context, node) {
                Fit::Yes => continue,
                Fit::No(reason) => reason,
            };
            *reasons.entry(reason).or_default() += 1;
        }
    }
    let total = snapshot.nodes.size();
    if total == 0 {
        return vec!["the cluster has no nodes".to_owned()];
    }
    reasons.into_iter().map(|(reason, count)| format!("{count} of {total} nodes: {reason}")).collect()
}

/// An address on the network, and the node's own part of it if the node had none yet.
fn join(
    plan: &mut Plan,
    service: &ServiceId,
    key: &str,
    node: &NodeId,
) -> Result<(Option<NodeSegment>, Ipv4Addr), String> {
    let id = (service.stack().clone(), key.to_owned());
    let Some(mut network) = plan.working.networks.get(&id).map(|network| network.as_ref().clone()) else {
        return Err(format!("the network {key} is not there"));
    };
    let now = plan.now;
    let inherited = inherited(&plan.working, service, &network);
    let used = plan.used_addresses(&id);
    let segment = if network.nodes.contains_key(node) {
        None
    } else {
        let segment = address::join(&network, used, now).map_err(|full| full.to_string())?;
        used.insert(segment.gateway);
        network.cursor = u32::from(segment.gateway) - u32::from(network.subnet.network());
        Some(segment)
    };
    let address = match inherited {
        Some(address) => address,
        None => address::allocate(&network, used, now).map_err(|full| full.to_string())?,
    };
    used.insert(address);
    Ok((segment, address))
}

/// The address that a replica takes over from the one before it, so that clients which resolved the
/// service's name once go on working. `None` while somebody still has it.
fn inherited(snapshot: &Snapshot, id: &ServiceId, network: &Network) -> Option<Ipv4Addr> {
    let service = snapshot.services.get(id)?;
    let address = network.fixed.get(id.name()).filter(|_| service_address::is_direct(service, network))?;
    let held = snapshot.replicas_of(id).any(|replica| replica.addresses.get(&network.key) == Some(address));
    (!held).then_some(*address)
}
