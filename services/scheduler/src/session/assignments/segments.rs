//! The networks of a node, and how each is joined to its parts on other nodes.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use gantry_api::node::v1::{Overlay, OverlayEndpoint, OverlayPeer, Segment};
use gantry_model::{Network, Node, NodeId, Snapshot};

use crate::decide::participants;

/// Endpoints that are told of a network. Where there are more, nodes learn who is where: the list only
/// saves the first packets a detour, and is sent whole when one of them changes.
const ENDPOINTS: usize = 256;

/// The networks that `node` takes part in. Nodes that are `apart` are nobody's peers.
pub fn segments(snapshot: &Snapshot, node: &NodeId, apart: &BTreeSet<NodeId>) -> Vec<Segment> {
    participants(snapshot)
        .iter()
        .filter(|(_, nodes)| nodes.contains(node))
        .filter_map(|(id, nodes)| {
            let peers: Vec<&Node> = nodes
                .iter()
                .filter(|other| *other != node && !apart.contains(*other))
                .filter_map(|other| snapshot.nodes.get(other).map(AsRef::as_ref))
                .collect();
            segment(snapshot, snapshot.networks.get(id)?, node, &peers)
        })
        .collect()
}

/// The addresses from which `node` takes frames of the overlay.
pub fn members(snapshot: &Snapshot, node: &NodeId, apart: &BTreeSet<NodeId>) -> Vec<String> {
    let others = snapshot.nodes.values().filter(|other| other.id != *node && !apart.contains(&other.id));
    let addresses: BTreeSet<IpAddr> =
        others.flat_map(|other| &other.addresses).filter_map(|address| address.parse().ok()).collect();
    addresses.iter().map(ToString::to_string).collect()
}

/// The hardware address that belongs to an address: what engines choose that are not told one.
pub fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

fn segment(snapshot: &Snapshot, network: &Network, node: &NodeId, peers: &[&Node]) -> Option<Segment> {
    let own = network.nodes.get(node)?;
    let mut labels = network.labels.clone();
    labels.insert("gantry.cluster".to_owned(), snapshot.cluster.id.to_string());
    labels.insert("gantry.network".to_owned(), format!("{}/{}", network.stack, network.key));
    labels.insert("com.docker.compose.project".to_owned(), network.stack.to_string());
    labels.insert("com.docker.compose.network".to_owned(), network.key.clone());
    Some(Segment {
        name: network.engine_name(),
        bridge: network.bridge(),
        subnet: network.subnet.to_string(),
        gateway: own.gateway.to_string(),
        ip_range: own.strays.to_string(),
        mtu: snapshot.cluster.mtu,
        internal: network.internal,
        labels,
        overlay: overlay(snapshot, network, node, peers),
    })
}

/// `None` where there is nobody to be joined with.
fn overlay(snapshot: &Snapshot, network: &Network, node: &NodeId, peers: &[&Node]) -> Option<Overlay> {
    let local = underlay(snapshot.nodes.get(node)?)?;
    // A tunnel goes over IPv4 or over IPv6. A node that has only the other cannot be told of here; that
    // the path to it is missing shows where containers are, on the other node as on this one.
    let reached: Vec<(&Node, IpAddr)> = peers
        .iter()
        .filter_map(|peer| Some((*peer, underlay(peer)?)))
        .filter(|(_, address)| address.is_ipv4() == local.is_ipv4())
        .collect();
    if reached.is_empty() {
        return None;
    }
    let peers = reached.iter().filter_map(|(peer, underlay)| {
        Some(OverlayPeer {
            node_id: peer.id.to_string(),
            underlay: underlay.to_string(),
            gateway: network.nodes.get(&peer.id)?.gateway.to_string(),
        })
    });
    let endpoints = reached.iter().flat_map(|(peer, underlay)| {
        let on_it =
            snapshot.replicas_on(&peer.id).filter(|replica| *replica.service.stack() == network.stack);
        on_it
            .filter_map(|replica| replica.addresses.get(&network.key))
            .map(|address| OverlayEndpoint { mac: mac(*address), underlay: underlay.to_string() })
    });
    let mut endpoints: Vec<OverlayEndpoint> = endpoints.take(ENDPOINTS + 1).collect();
    if endpoints.len() > ENDPOINTS {
        endpoints.clear();
    }
    Some(Overlay { vni: network.vni, local: local.to_string(), peers: peers.collect(), endpoints })
}

/// The address at which the other nodes reach a node: the one that it advertises first.
fn underlay(node: &Node) -> Option<IpAddr> {
    node.addresses.first()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gantry_model::{Change, Record, Timestamp};
    use gantry_testkit::World;

    use super::*;
    use crate::decide::decide;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn settled(mut world: World) -> World {
        for _ in 0..5 {
            let plan = decide(&world.snapshot, world.now);
            world.commit(&plan.changes);
        }
        world
    }

    fn world(nodes: usize) -> World {
        let mut world = World::new(Timestamp::from_millis(1));
        for node in 1..=nodes {
            world = world.node(&format!("n{node}"));
        }
        world
    }

    fn address(world: &mut World, node: &str, address: &str) {
        let mut record = world.snapshot.nodes[&id(node)].as_ref().clone();
        record.addresses = vec![address.to_owned()];
        world.commit(&[Change::Put(Record::Node(Arc::new(record)))]);
    }

    fn only(world: &World, node: &str) -> Segment {
        let mut all = segments(&world.snapshot, &id(node), &BTreeSet::new());
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    #[test]
    fn a_single_node_has_no_tunnel() {
        let world = settled(world(1).service("shop/web", |service| service.port(80).replicas(3)));
        assert_eq!(only(&world, "n1").overlay, None);
        assert!(members(&world.snapshot, &id("n1"), &BTreeSet::new()).is_empty());
    }

    #[test]
    fn nodes_of_a_network_know_each_other_and_their_containers() {
        let world = settled(world(3).service("shop/web", |service| service.replicas(2)));
        let replicas = world.replicas("shop/web");
        let on = |node: &str| replicas.iter().find(|replica| replica.node == Some(id(node))).unwrap();
        let (here, there) = (only(&world, "n1"), only(&world, "n2"));
        let overlay = here.overlay.unwrap();
        assert_eq!((overlay.vni, overlay.local.as_str()), (1 << 20, "192.0.2.1"));
        assert_eq!(
            overlay.peers,
            [OverlayPeer { node_id: "n2".into(), underlay: "192.0.2.2".into(), gateway: there.gateway }]
        );
        let mac = mac(on("n2").addresses["default"]);
        assert_eq!(overlay.endpoints, [OverlayEndpoint { mac, underlay: "192.0.2.2".into() }]);
        assert_ne!(here.ip_range, there.ip_range);
        assert!(segments(&world.snapshot, &id("n3"), &BTreeSet::new()).is_empty(), "nothing of it is there");
    }

    #[test]
    fn a_node_without_a_replica_has_its_part_of_what_is_published() {
        let world = settled(world(3).service("shop/web", |service| service.port(80)));
        for node in ["n1", "n2", "n3"] {
            assert_eq!(only(&world, node).overlay.unwrap().peers.len(), 2, "{node}");
        }
    }

    #[test]
    fn who_is_apart_gets_no_frames_and_none_are_taken_from_it() {
        let world = settled(world(3).service("shop/web", |service| service.port(80).replicas(3)));
        let apart = BTreeSet::from([id("n2")]);
        let here = segments(&world.snapshot, &id("n1"), &apart).remove(0).overlay.unwrap();
        assert_eq!(here.peers.len(), 1);
        assert!(here.endpoints.iter().all(|endpoint| endpoint.underlay == "192.0.2.3"));
        assert_eq!(members(&world.snapshot, &id("n1"), &apart), ["192.0.2.3"]);
    }

    #[test]
    fn a_tunnel_goes_over_one_version_of_ip() {
        let mut world = world(3);
        address(&mut world, "n1", "2001:db8::1");
        address(&mut world, "n2", "2001:db8::2");
        let world = settled(world.service("shop/web", |service| service.port(80)));
        let six = only(&world, "n1").overlay.unwrap();
        assert_eq!((six.local.as_str(), six.peers[0].underlay.as_str()), ("2001:db8::1", "2001:db8::2"));
        assert_eq!(six.peers.len(), 1, "n3 has no such address");
        assert_eq!(only(&world, "n3").overlay, None);
    }

    #[test]
    fn a_long_list_of_containers_is_left_to_learning() {
        let told = |replicas: u32| {
            let mut world = world(2).service("shop/web", |service| service.replicas(replicas));
            let mut network = world.snapshot.networks.values().next().unwrap().as_ref().clone();
            network.subnet = "10.192.0.0/20".parse().unwrap();
            world.commit(&[Change::Put(Record::Network(Arc::new(network)))]);
            only(&settled(world), "n1").overlay.unwrap().endpoints.len()
        };
        assert_eq!((told(2 * 256), told(2 * 257)), (256, 0));
    }

    #[test]
    fn a_hardware_address_follows_from_the_address() {
        assert_eq!(mac(Ipv4Addr::new(10, 192, 3, 250)), "02:42:0a:c0:03:fa");
    }
}
