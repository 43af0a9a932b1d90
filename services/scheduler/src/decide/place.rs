//! Gives replicas their node and their addresses.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use gantry_model::{
    Goal, Network, NodeId, NodeSegment, Replica, Revision, Service, ServiceId, Snapshot, Template,
};

use super::action::Action;
use super::address;
use super::depends;
use super::explain;
use super::filter::Wanted;
use super::load::Load;
use super::plan::Plan;
use super::rank::{Ranking, failures};
use super::service_address;

/// Places every replica that can be placed, and says of every other why not.
pub fn place(plan: &mut Plan) {
    let mut pending: Vec<_> = plan
        .working
        .replicas
        .values()
        .filter(|replica| replica.goal == Goal::Run && replica.node.is_none())
        .cloned()
        .collect();
    pending.sort_by(|a, b| {
        (&a.service, a.revision, a.slot, &a.id).cmp(&(&b.service, b.revision, b.slot, &b.id))
    });
    for alike in pending.chunk_by(|a, b| a.service == b.service && a.revision == b.revision) {
        if let Err(reason) = place_alike(plan, alike) {
            for replica in alike {
                wait(plan, replica, &reason);
            }
        }
    }
}

fn wait(plan: &mut Plan, replica: &Replica, reason: &str) {
    if replica.pending.as_deref() != Some(reason) {
        plan.push(Action::Wait { replica: replica.id.clone(), reason: reason.to_owned() });
    }
}

/// Places replicas of one revision.
fn place_alike(plan: &mut Plan, alike: &[Arc<Replica>]) -> Result<(), String> {
    let Some(first) = alike.first() else { return Ok(()) };
    let service = plan.working.services.get(&first.service).cloned().ok_or("its service is not known")?;
    if let Some(what) = depends::unmet(&plan.working, &service) {
        return Err(format!("waits for {what}"));
    }
    let revision = plan.working.revision_of(first).cloned().ok_or("its revision is not known")?;
    let template = &revision.template;
    let mut load = plan.take_load();
    // The first replica decides where a volume is, and each of a service on every node has its own node.
    let apart = service.is_global() || template.volume_keys().next().is_some();
    for some in alike.chunks(if apart { 1 } else { alike.len() }) {
        place_some(plan, &mut load, &service, &revision, some);
    }
    plan.keep_load(load);
    Ok(())
}

/// Places replicas among which nothing differs but the slot.
fn place_some(
    plan: &mut Plan,
    load: &mut Load,
    service: &Service,
    revision: &Revision,
    replicas: &[Arc<Replica>],
) {
    let Some(first) = replicas.first() else { return };
    let template = &revision.template;
    let mut wanted = Wanted::new(&plan.working, service, revision, first);
    let mut ranking = Ranking::new(&wanted, load, &failures(&plan.working, &service.id, plan.now));
    let mut nobody: Option<String> = None;
    for replica in replicas {
        let left =
            if service.is_global() { Vec::new() } else { left_by_predecessors(&plan.working, load, replica) };
        let Some(chosen) = ranking.choose(&wanted, load, &left) else {
            let reason = nobody.get_or_insert_with(|| explain::pending(&wanted, load));
            wait(plan, replica, &*reason);
            continue;
        };
        let node = load.nodes()[chosen.at].node.id.clone();
        match join_all(plan, replica, template, &node) {
            Ok((addresses, segments)) => {
                ranking.placed(&chosen);
                *wanted.counts.entry(node.clone()).or_default() += 1;
                load.add(chosen.at, template, replica);
                let (replica, why) = (replica.id.clone(), chosen.why);
                plan.push(Action::Place { replica, node, addresses, segments, why });
            }
            Err(reason) => {
                ranking.put_back(&chosen);
                wait(plan, replica, &reason);
            }
        }
    }
}

/// Whether some node, its own as well, could take another one like a replica.
pub fn could_double(snapshot: &Snapshot, load: &Load, replica: &Replica) -> bool {
    let service = snapshot.services.get(&replica.service);
    let Some((service, revision)) = service.zip(snapshot.revision_of(replica)) else { return false };
    let wanted = Wanted::new(snapshot, service, revision, replica);
    Ranking::new(&wanted, load, &HashMap::new()).choose(&wanted, load, &[]).is_some()
}

/// Whether a node other than its own could take a replica, were it not placed; if none, why.
pub fn could_move(snapshot: &Snapshot, load: &Load, replica: &Replica) -> Result<(), String> {
    let service = snapshot.services.get(&replica.service).ok_or("its service is not known")?;
    let revision = snapshot.revision_of(replica).ok_or("its revision is not known")?;
    let wanted = Wanted::new(snapshot, service, revision, replica);
    let left: Vec<usize> = replica.node.iter().filter_map(|node| load.position(node)).collect();
    let mut ranking = Ranking::new(&wanted, load, &HashMap::new());
    match ranking.choose(&wanted, load, &left) {
        Some(_) => Ok(()),
        None => Err(explain::pending(&wanted, load)),
    }
}

/// The nodes that replicas of its slot are to leave: their successor does not go there.
fn left_by_predecessors(snapshot: &Snapshot, load: &Load, replica: &Replica) -> Vec<usize> {
    let of_slot = snapshot.replicas_in(&replica.service, replica.slot);
    of_slot
        .filter(|other| other.leave && other.id != replica.id)
        .filter_map(|other| load.position(other.node.as_ref()?))
        .collect()
}

type Joined = (BTreeMap<String, Ipv4Addr>, BTreeMap<String, NodeSegment>);

/// An address on every network, and what the node gets of those that it had no part in.
fn join_all(
    plan: &mut Plan,
    replica: &Replica,
    template: &Template,
    node: &NodeId,
) -> Result<Joined, String> {
    let mut joined = Joined::default();
    for key in template.network_keys() {
        let (segment, address) = join(plan, &replica.service, &key, node)?;
        joined.0.insert(key.clone(), address);
        if let Some(segment) = segment {
            joined.1.insert(key, segment);
        }
    }
    Ok(joined)
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
