//! What each node's proxy answers names with.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use gantry_api::node::v1::{Asker, Name, Table, Zone};
use gantry_model::{Goal, NetworkMode, NodeId, Phase, Replica, Snapshot, StackName, wire};

/// The table for the proxy on `node`: the names of every network that has a replica there, and who
/// there may ask for them.
pub fn table(snapshot: &Snapshot, node: &NodeId) -> Table {
    let mut networks: BTreeSet<(StackName, String)> = BTreeSet::new();
    let mut askers = Vec::new();
    for replica in snapshot.replicas_on(node) {
        let stack = replica.service.stack();
        networks.extend(replica.addresses.keys().map(|key| (stack.clone(), key.clone())));
        askers.extend(asker(snapshot, replica));
    }
    let zones = networks.iter().filter_map(|network| zone(snapshot, node, network)).collect();
    Table {
        version: Some(wire::write_table_version(snapshot.table_version())),
        cluster_id: snapshot.cluster.id.to_string(),
        zones,
        askers,
        ..Table::default()
    }
}

fn asker(snapshot: &Snapshot, replica: &Replica) -> Option<Asker> {
    let template = &snapshot.revision_of(replica)?.template;
    if template.container.network_mode != NetworkMode::Networks || replica.addresses.is_empty() {
        return None;
    }
    let stack = replica.service.stack();
    let names = super::place::network_keys(template);
    let networks = names.iter().filter_map(|key| snapshot.networks.get(&(stack.clone(), key.clone())));
    Some(Asker {
        addresses: replica.addresses.values().map(ToString::to_string).collect(),
        networks: networks.map(|network| network.engine_name()).collect(),
        forward_to: template.container.dns.iter().map(ToString::to_string).collect(),
    })
}

fn zone(snapshot: &Snapshot, node: &NodeId, id: &(StackName, String)) -> Option<Zone> {
    let network = snapshot.networks.get(id)?;
    let segment = network.nodes.get(node)?;
    Some(Zone {
        network: network.engine_name(),
        gateway: segment.gateway.to_string(),
        subnet: network.subnet.to_string(),
        names: names(snapshot, id),
    })
}

/// `web`, `web.shop` and aliases stand for the ready replicas in rotation, `tasks.web` for all that
/// run: peers of a cluster need each other before they are ready.
fn names(snapshot: &Snapshot, (stack, key): &(StackName, String)) -> Vec<Name> {
    let mut rotating: BTreeMap<String, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    let mut all: BTreeMap<String, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    for service in snapshot.services_of(stack) {
        let name = service.id.name().to_lowercase();
        for replica in snapshot.replicas_of(&service.id) {
            let Some(address) = replica.addresses.get(key).filter(|_| replica.goal == Goal::Run) else {
                continue;
            };
            let aliases = snapshot.revision_of(replica).into_iter().flat_map(|revision| {
                let joined = revision.template.networks.iter().filter(|network| network.network == *key);
                joined.flat_map(|network| network.aliases.iter().map(|alias| alias.to_lowercase()))
            });
            let ready = snapshot.is_ready(replica);
            for known in [name.clone(), format!("{name}.{stack}")].into_iter().chain(aliases) {
                let addresses = rotating.entry(known).or_default();
                if ready {
                    addresses.insert(*address);
                }
            }
            let running =
                snapshot.status_of(&replica.id).is_some_and(|status| status.phase == Phase::Running);
            for known in [format!("tasks.{name}"), format!("tasks.{name}.{stack}")] {
                let addresses = all.entry(known).or_default();
                if running {
                    addresses.insert(*address);
                }
            }
        }
    }
    let name = |all: bool| {
        move |(name, addresses): (String, BTreeSet<Ipv4Addr>)| Name {
            name,
            all,
            addresses: addresses.iter().map(ToString::to_string).collect(),
        }
    };
    rotating.into_iter().map(name(false)).chain(all.into_iter().map(name(true))).collect()
}
