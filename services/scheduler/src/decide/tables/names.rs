//! The names of each network, and who may ask for them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use gantry_api::node::v1::{Asker, Name, Zone};
use gantry_model::{
    Goal, Network, NetworkMode, NodeId, Phase, Replica, Service, ServiceNetwork, Snapshot, StackName,
};

/// A container and what it may see; `None` for one that has no name server of Gantry's.
pub fn asker(snapshot: &Snapshot, replica: &Replica) -> Option<Asker> {
    let template = &snapshot.revision_of(replica)?.template;
    if template.container.network_mode != NetworkMode::Networks || replica.addresses.is_empty() {
        return None;
    }
    let stack = replica.service.stack();
    let names = template.network_keys();
    let networks = names.iter().filter_map(|key| snapshot.networks.get(&(stack.clone(), key.clone())));
    Some(Asker {
        addresses: replica.addresses.values().map(ToString::to_string).collect(),
        networks: networks.map(|network| network.engine_name()).collect(),
        forward_to: template.container.dns.iter().map(ToString::to_string).collect(),
    })
}

/// A network on a node; `None` if it is not there.
pub fn zone(snapshot: &Snapshot, node: &NodeId, id: &(StackName, String)) -> Option<Zone> {
    let network = snapshot.networks.get(id)?;
    let segment = network.nodes.get(node)?;
    // Where the node cannot lead virtual addresses to its proxy, they would lead nowhere.
    let has_vips = snapshot.node_statuses.get(node).is_none_or(|status| status.network_error.is_none());
    Some(Zone {
        network: network.engine_name(),
        gateway: segment.gateway.to_string(),
        subnet: network.subnet.to_string(),
        names: names(snapshot, network, has_vips),
        internal: network.internal,
    })
}

type Addresses = BTreeMap<String, BTreeSet<Ipv4Addr>>;

/// `web`, `web.shop` and aliases stand for the service's own address where it has one, whether anything
/// is ready behind it or not; else for the ready replicas in rotation. `tasks.web` stands for all that
/// run: peers of a cluster need each other before they are ready.
fn names(snapshot: &Snapshot, network: &Network, has_vips: bool) -> Vec<Name> {
    let (mut rotating, mut all) = (Addresses::new(), Addresses::new());
    for service in snapshot.services_of(&network.stack) {
        let vip = network.vips.get(service.id.name()).filter(|_| has_vips);
        if let Some(vip) = vip {
            for known in known_as(service, &service.spec.networks, network) {
                rotating.entry(known).or_default().insert(*vip);
            }
        }
        add_replicas(snapshot, network, service, vip.is_some(), &mut rotating, &mut all);
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

fn add_replicas(
    snapshot: &Snapshot,
    network: &Network,
    service: &Service,
    is_virtual: bool,
    rotating: &mut Addresses,
    all: &mut Addresses,
) {
    for replica in snapshot.replicas_of(&service.id).filter(|replica| replica.goal == Goal::Run) {
        let Some(address) = replica.addresses.get(&network.key) else { continue };
        if !is_virtual && let Some(revision) = snapshot.revision_of(replica) {
            let ready = snapshot.is_endpoint(replica);
            for known in known_as(service, &revision.template.networks, network) {
                let addresses = rotating.entry(known).or_default();
                if ready {
                    addresses.insert(*address);
                }
            }
        }
        let running = snapshot.status_of(&replica.id).is_some_and(|status| status.phase == Phase::Running)
            && !snapshot.is_lost(replica);
        let name = service.id.name().to_lowercase();
        for known in [format!("tasks.{name}"), format!("tasks.{name}.{}", network.stack)] {
            let addresses = all.entry(known).or_default();
            if running {
                addresses.insert(*address);
            }
        }
    }
}

/// All names of a service on a network that it joined with `joined`.
fn known_as(service: &Service, joined: &[ServiceNetwork], network: &Network) -> Vec<String> {
    let name = service.id.name().to_lowercase();
    let aliases = joined
        .iter()
        .filter(|joined| joined.network == network.key)
        .flat_map(|joined| joined.aliases.iter().map(|alias| alias.to_lowercase()));
    let full = format!("{name}.{}", network.stack);
    [name, full].into_iter().chain(aliases).collect()
}
