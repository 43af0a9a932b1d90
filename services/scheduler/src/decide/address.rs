//! Who gets which address.
//!
//! A network's range is used from the bottom for replicas and nodes, next-fit, so that an address
//! rests as long as possible before it is used again. Its last eighth is cut into slices of four, one
//! a node: what that node's engine may give to containers that somebody attaches by hand.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use gantry_model::{Network, NodeSegment, Snapshot, Timestamp};
use ipnet::Ipv4Net;

use super::service_address::vip_range;

/// No address is left.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} has no free address left in {range}")]
pub struct Exhausted {
    /// Which network, or the pool.
    pub what: String,
    /// The range.
    pub range: Ipv4Net,
}

/// The smallest range that a network may have: fewer addresses would not hold the slices.
pub const SMALLEST_PREFIX: u8 = 27;

const SLICE: u32 = 4;

/// The next free address of a network, after the one that was given out last.
pub fn allocate(network: &Network, used: &HashSet<Ipv4Addr>, now: Timestamp) -> Result<Ipv4Addr, Exhausted> {
    let first = u32::from(network.subnet.network());
    let usable = slices_start(network.subnet) - 1;
    let resting: HashSet<_> =
        network.cooling.iter().filter(|(_, until)| *until > now).map(|(address, _)| *address).collect();
    (0..usable)
        .map(|step| 1 + (network.cursor + step) % usable)
        .map(|offset| Ipv4Addr::from(first + offset))
        .find(|address| !used.contains(address) && !resting.contains(address))
        .ok_or_else(|| Exhausted {
            what: format!("the network {}/{}", network.stack, network.key),
            range: network.subnet,
        })
}

/// What a node gets of a network when it begins to take part in it. Where no slice is left, nothing of the
/// range is for containers that somebody attaches by hand.
pub fn join(network: &Network, used: &HashSet<Ipv4Addr>, now: Timestamp) -> Result<NodeSegment, Exhausted> {
    let gateway = allocate(network, used, now)?;
    let first = u32::from(network.subnet.network());
    let taken: HashSet<_> = network.nodes.values().map(|segment| segment.strays.network()).collect();
    let strays = (slices_start(network.subnet)..size(network.subnet))
        .step_by(SLICE as usize)
        .map(|offset| Ipv4Addr::from(first + offset))
        .find(|slice| !taken.contains(slice))
        .and_then(|slice| Ipv4Net::new(slice, 30).ok())
        .unwrap_or_else(|| Ipv4Net::from(gateway));
    Ok(NodeSegment { gateway, strays })
}

fn size(subnet: Ipv4Net) -> u32 {
    1 << (32 - u32::from(subnet.prefix_len()))
}

fn slices_start(subnet: Ipv4Net) -> u32 {
    size(subnet) - size(subnet) / 8
}

/// The cluster's range, from which networks are made.
pub struct Pool<'a>(pub &'a Snapshot);

impl Pool<'_> {
    /// The lowest free range for a network, and a free number for it. `taken` are ranges given out
    /// in the same step.
    pub fn next(&self, taken: &[Ipv4Net]) -> Result<Ipv4Net, Exhausted> {
        let cluster = &self.0.cluster;
        let in_use = |range: &Ipv4Net| {
            let overlaps = |other: &Ipv4Net| other.contains(range) || range.contains(other);
            self.0.networks.values().any(|network| overlaps(&network.subnet))
                || taken.iter().any(overlaps)
                || vip_range(cluster).as_ref().is_some_and(overlaps)
        };
        cluster
            .pool
            .subnets(cluster.prefix)
            .ok()
            .and_then(|mut ranges| ranges.find(|range| !in_use(range)))
            .ok_or_else(|| Exhausted { what: "the cluster's pool".to_owned(), range: cluster.pool })
    }

    /// A free network number. Numbers begin at 2^20, out of the way of Swarm and flannel, and every
    /// cluster begins somewhere else, so that two of them fit on one host.
    pub fn next_vni(&self, taken: &[u32]) -> u32 {
        const FIRST: u32 = 1 << 20;
        const COUNT: u32 = (1 << 24) - FIRST;
        let used: HashSet<u32> =
            self.0.networks.values().map(|network| network.vni).chain(taken.iter().copied()).collect();
        let start = self.0.cluster.id.number() % COUNT;
        let mut candidates = (0..COUNT).map(|step| FIRST + (start + step) % COUNT);
        candidates.find(|vni| !used.contains(vni)).unwrap_or(FIRST)
    }
}

#[cfg(test)]
mod tests {
    use gantry_model::{NodeId, StackName};

    use super::*;

    fn network(subnet: &str, cursor: u32) -> Network {
        Network {
            stack: StackName::new("s").unwrap(),
            key: "default".into(),
            vni: 1 << 20,
            subnet: subnet.parse().unwrap(),
            internal: false,
            labels: Default::default(),
            nodes: Default::default(),
            cursor,
            cooling: Vec::new(),
            vips: Default::default(),
            fixed: Default::default(),
        }
    }

    fn at(address: &str) -> Ipv4Addr {
        address.parse().unwrap()
    }

    #[test]
    fn an_address_rests_before_it_is_used_again() {
        let mut network = network("10.0.0.0/27", 0);
        let now = Timestamp::from_millis(1_000);
        assert_eq!(allocate(&network, &HashSet::new(), now).unwrap(), at("10.0.0.1"));
        network.cursor = 1;
        assert_eq!(allocate(&network, &HashSet::new(), now).unwrap(), at("10.0.0.2"));
        // The end of the range wraps around, past what is in use and what rests.
        network.cursor = 27;
        network.cooling = vec![(at("10.0.0.2"), Timestamp::from_millis(2_000))];
        let used = HashSet::from([at("10.0.0.1")]);
        assert_eq!(allocate(&network, &used, now).unwrap(), at("10.0.0.3"));
        assert_eq!(allocate(&network, &used, Timestamp::from_millis(2_000)).unwrap(), at("10.0.0.2"));
    }

    #[test]
    fn a_full_network_says_so() {
        let network = network("10.0.0.0/27", 0);
        let used: HashSet<_> = (1..28).map(|last| Ipv4Addr::new(10, 0, 0, last)).collect();
        let error = allocate(&network, &used, Timestamp::default()).unwrap_err();
        assert_eq!(error.to_string(), "the network s/default has no free address left in 10.0.0.0/27");
    }

    #[test]
    fn the_addresses_of_services_are_no_network() {
        let mut world = gantry_testkit::World::new(Timestamp::default());
        let mut cluster = world.snapshot.cluster.as_ref().clone();
        (cluster.pool, cluster.prefix) = ("10.9.0.0/24".parse().unwrap(), 27);
        world.snapshot.cluster = std::sync::Arc::new(cluster);
        let mut taken = Vec::new();
        while let Ok(range) = Pool(&world.snapshot).next(&taken) {
            taken.push(range);
        }
        assert_eq!(taken.len(), 7, "the eighth holds them: {taken:?}");
        assert!(taken.iter().all(|range| !range.contains(&at("10.9.0.248"))));
    }

    #[test]
    fn every_node_has_a_gateway_and_a_slice_of_its_own() {
        let mut network = network("10.0.0.0/24", 0);
        let mut used = HashSet::new();
        let mut slices = HashSet::new();
        for node in 0..8 {
            let segment = join(&network, &used, Timestamp::default()).unwrap();
            assert!(used.insert(segment.gateway) && slices.insert(segment.strays), "{segment:?}");
            assert!(network.subnet.contains(&segment.strays) && !segment.strays.contains(&segment.gateway));
            network.nodes.insert(NodeId::new(format!("n{node}")).unwrap(), segment);
        }
        let ninth = join(&network, &used, Timestamp::default()).unwrap();
        assert_eq!(ninth.strays, Ipv4Net::from(ninth.gateway), "no slice is left");
    }
}
