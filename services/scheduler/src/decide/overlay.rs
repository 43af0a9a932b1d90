//! Which nodes take part in a network.
//!
//! A node takes part where one of its replicas is on the network. Every node takes part in the networks
//! through which proxies reach published and routed services: any node serves any service, so its proxy
//! needs a way to their replicas even where none of them runs.

use std::collections::{BTreeMap, BTreeSet};

use gantry_model::{Network, NodeId, NodeSegment, NodeStatus, Replica, Snapshot, StackName, Verdict};

use super::action::Action;
use super::address;
use super::plan::Plan;

type NetworkId = (StackName, String);

/// Gives every node its own part of the networks that all of them take part in, and takes back what
/// nodes had that are not members any more.
pub fn spread(plan: &mut Plan) {
    for id in on_every_node(&plan.working) {
        let nodes: Vec<NodeId> = plan.working.nodes.keys().cloned().collect();
        for node in nodes {
            // A network that is full leaves the node without; it is tried again with every decision.
            if let Some(segment) = join(plan, &id, &node) {
                let (stack, key) = id.clone();
                plan.push(Action::JoinNetwork { stack, key, node, segment });
            }
        }
    }
    let gone: Vec<(NetworkId, NodeId)> = plan
        .working
        .networks
        .iter()
        .flat_map(|(id, network)| network.nodes.keys().map(move |node| (id.clone(), node.clone())))
        .filter(|(_, node)| !plan.working.nodes.contains_key(node))
        .collect();
    for ((stack, key), node) in gone {
        plan.push(Action::LeaveNetwork { stack, key, node });
    }
}

fn join(plan: &mut Plan, id: &NetworkId, node: &NodeId) -> Option<NodeSegment> {
    let network = plan.working.networks.get(id).filter(|network| !network.nodes.contains_key(node))?.clone();
    let now = plan.now;
    let used = plan.used_addresses(id);
    let segment = address::join(&network, used, now).ok()?;
    used.insert(segment.gateway);
    Some(segment)
}

/// The networks through which proxies reach services that are published or have routes.
pub fn on_every_node(snapshot: &Snapshot) -> BTreeSet<NetworkId> {
    let open = snapshot.services.values().filter(|service| {
        !service.removing
            && (service.spec.ingress_ports().next().is_some() || !service.spec.routes.is_empty())
    });
    open.flat_map(|service| {
        let entrances = snapshot.replicas_of(&service.id).filter_map(|replica| entrance(replica));
        entrances.map(|key| (service.id.stack().clone(), key.to_owned()))
    })
    .collect()
}

/// The network of a replica by which a proxy reaches it that shares no other with it.
pub fn entrance(replica: &Replica) -> Option<&str> {
    replica.addresses.keys().next().map(String::as_str)
}

/// The nodes that take part in each network.
pub fn participants(snapshot: &Snapshot) -> BTreeMap<NetworkId, BTreeSet<NodeId>> {
    let mut participants: BTreeMap<NetworkId, BTreeSet<NodeId>> = BTreeMap::new();
    for id in on_every_node(snapshot) {
        participants.insert(id, snapshot.nodes.keys().cloned().collect());
    }
    for replica in snapshot.replicas.values() {
        let Some(node) = &replica.node else { continue };
        for key in replica.addresses.keys() {
            let id = (replica.service.stack().clone(), key.clone());
            participants.entry(id).or_default().insert(node.clone());
        }
    }
    // Who has no address in it cannot take part, such as a node for which there was no room.
    participants.retain(|id, nodes| {
        let network: Option<&Network> = snapshot.networks.get(id).map(AsRef::as_ref);
        network.is_some_and(|network| {
            nodes.retain(|node| network.nodes.contains_key(node));
            !nodes.is_empty()
        })
    });
    participants
}

/// Nodes whose frames nobody is to take and who are sent none: lost ones, until they have ended what was
/// replaced meanwhile. Two containers with one address would disturb each other otherwise.
///
/// To be lost is a judgement, and stays one while a scheduler starts: a node that has merely not connected
/// yet is not apart, or a restart of the scheduler would cut the networks of all.
pub fn apart(snapshot: &Snapshot) -> BTreeSet<NodeId> {
    let is_apart = |status: &NodeStatus| {
        status.verdict == Verdict::Lost || (status.returned_at.is_some() && !status.reported)
    };
    let apart = snapshot.node_statuses.iter().filter(|(_, status)| is_apart(status));
    apart.map(|(node, _)| node.clone()).collect()
}

#[cfg(test)]
mod tests {
    use gantry_model::{Change, Key, Timestamp};
    use gantry_testkit::World;

    use super::*;
    use crate::decide::decide;

    fn settle(world: &mut World) {
        for _ in 0..20 {
            let plan = decide(&world.snapshot, world.now);
            if plan.changes.is_empty() {
                return;
            }
            world.commit(&plan.changes);
        }
        panic!("decisions do not come to an end");
    }

    fn world() -> World {
        World::new(Timestamp::from_millis(100_000)).node("n1").node("n2").node("n3")
    }

    fn network(world: &World) -> Network {
        world.snapshot.networks.values().next().unwrap().as_ref().clone()
    }

    fn taking_part(world: &World) -> usize {
        participants(&world.snapshot).values().next().map_or(0, BTreeSet::len)
    }

    #[test]
    fn every_node_has_a_way_to_what_is_published() {
        let mut world = world().service("shop/web", |service| service.port(80));
        settle(&mut world);
        let network = network(&world);
        assert_eq!((network.nodes.len(), taking_part(&world)), (3, 3));
        let gateways: BTreeSet<_> = network.nodes.values().map(|segment| segment.gateway).collect();
        let replica = &world.replicas("shop/web")[0];
        assert!(gateways.len() == 3 && !gateways.contains(&replica.addresses["default"]));
        // A node that joins later has it too.
        world = world.node("n4");
        settle(&mut world);
        assert_eq!(taking_part(&world), 4);
    }

    #[test]
    fn a_network_of_its_own_stays_where_its_replicas_are() {
        let mut world = world().service("shop/web", |service| service.replicas(2));
        settle(&mut world);
        assert_eq!((network(&world).nodes.len(), taking_part(&world)), (2, 2));
    }

    #[test]
    fn a_service_that_is_not_published_any_more_needs_no_way_in() {
        let mut world = world().service("shop/web", |service| service.port(80));
        settle(&mut world);
        world.change_service("shop/web", |service| service.spec.ports.clear());
        settle(&mut world);
        assert_eq!(taking_part(&world), 1);
    }

    #[test]
    fn what_a_node_had_goes_with_it_and_rests() {
        let mut world = world().service("shop/web", |service| service.port(80));
        settle(&mut world);
        let at = world.replicas("shop/web")[0].node.clone().unwrap();
        let other = world.snapshot.nodes.keys().find(|node| **node != at).cloned().unwrap();
        let gateway = network(&world).nodes[&other].gateway;
        world.commit(&[Change::Delete(Key::Node(other.clone()))]);
        settle(&mut world);
        let network = network(&world);
        assert!(!network.nodes.contains_key(&other));
        assert!(network.cooling.iter().any(|(address, until)| *address == gateway && *until > world.now));
    }

    #[test]
    fn a_full_network_leaves_later_nodes_out_and_everything_else_goes_on() {
        let mut world = World::new(Timestamp::from_millis(100_000));
        for node in 0..40 {
            world = world.node(&format!("n{node}"));
        }
        world = world.service("shop/web", |service| service.port(80));
        let mut small = network(&world);
        small.subnet = "10.192.0.0/27".parse().unwrap();
        world.commit(&[Change::Put(gantry_model::Record::Network(std::sync::Arc::new(small)))]);
        settle(&mut world);
        assert_eq!(network(&world).nodes.len(), 26, "27 addresses, one of them for the replica");
        assert_eq!(taking_part(&world), 26);
    }
}
