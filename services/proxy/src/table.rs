//! What the proxy serves by: one immutable value, replaced whole.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gantry_api::Invalid;
use gantry_api::node::v1 as wire;
use ipnet::Ipv4Net;

/// A table, ready to be looked up in.
#[derive(Debug, Default)]
pub struct Table {
    /// Its version, to be acknowledged.
    pub version: wire::TableVersion,
    /// Networks by name.
    pub zones: HashMap<String, Zone>,
    /// Containers by address.
    askers: HashMap<Ipv4Addr, Arc<Asker>>,
}

/// The names of one network.
#[derive(Debug)]
pub struct Zone {
    /// This node's address in it.
    pub gateway: Ipv4Addr,
    /// Its range.
    pub subnet: Ipv4Net,
    /// It has no way out.
    internal: bool,
    names: HashMap<String, Name>,
}

/// What one name stands for.
#[derive(Debug)]
struct Name {
    all: bool,
    addresses: Vec<Ipv4Addr>,
    /// Whose turn it is; goes on from table to table.
    turn: Arc<AtomicU32>,
}

/// A container that may ask.
#[derive(Debug)]
struct Asker {
    networks: Vec<String>,
    forward_to: Vec<IpAddr>,
}

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// These addresses. None at all: the name is known, but nothing of it is ready.
    Addresses(Vec<Ipv4Addr>),
    /// Nothing; others may know it.
    Unknown,
}

impl Table {
    /// Reads a table. Names that `before` had too go on in their rotation.
    pub fn read(table: &wire::Table, before: &Self) -> Result<Self, Invalid> {
        let address = |field: &str, text: &str| {
            text.parse::<Ipv4Addr>()
                .map_err(|_| Invalid::new(field, format!("is {text:?}, not an IPv4 address")))
        };
        let mut zones = HashMap::new();
        for zone in &table.zones {
            let old = before.zones.get(&zone.network);
            let mut names = HashMap::new();
            for name in &zone.names {
                let turn = old
                    .and_then(|old| old.names.get(&name.name.to_lowercase()))
                    .map_or_else(|| Arc::new(AtomicU32::new(rand::random())), |old| old.turn.clone());
                let addresses = name
                    .addresses
                    .iter()
                    .map(|text| address("names.addresses", text))
                    .collect::<Result<_, _>>()?;
                names.insert(name.name.to_lowercase(), Name { all: name.all, addresses, turn });
            }
            let read = Zone {
                gateway: address("zones.gateway", &zone.gateway)?,
                subnet: zone.subnet.parse().map_err(|_| {
                    Invalid::new("zones.subnet", format!("is {:?}, not a range", zone.subnet))
                })?,
                internal: zone.internal,
                names,
            };
            zones.insert(zone.network.clone(), read);
        }
        let mut askers = HashMap::new();
        for asker in &table.askers {
            let forward_to = asker.forward_to.iter().filter_map(|text| text.parse().ok()).collect();
            let read = Arc::new(Asker { networks: asker.networks.clone(), forward_to });
            for text in &asker.addresses {
                askers.insert(address("askers.addresses", text)?, read.clone());
            }
        }
        Ok(Self { version: table.version.unwrap_or_default(), zones, askers })
    }

    /// What `name` (lower case, no dot at the end) stands for, for whoever asks from `asker` in
    /// `network`: only what its own networks know. `turn`: the next in the rotation, for questions that
    /// get an address.
    pub fn find(&self, asker: IpAddr, network: &str, name: &str, turn: bool) -> Found {
        self.visible(asker, network)
            .find_map(|zone| zone.names.get(name))
            .map_or(Found::Unknown, |name| Found::Addresses(name.answer(turn)))
    }

    /// Whether names of the world are for whoever asks from `asker` in `network`: one of its networks has a
    /// way out. Questions would be one otherwise.
    pub fn may_ask_the_world(&self, asker: IpAddr, network: &str) -> bool {
        self.visible(asker, network).any(|zone| !zone.internal)
    }

    /// The networks that an asker sees.
    fn visible<'a>(&'a self, asker: IpAddr, network: &'a str) -> impl Iterator<Item = &'a Zone> {
        let known = self.asker(asker).map(|asker| asker.networks.iter());
        // One that somebody attached by hand, or the host itself; nobody else is to ask here.
        let stray = self.zones.get(network).filter(|zone| known.is_none() && zone.holds(asker));
        let own = known.into_iter().flatten().filter_map(|network| self.zones.get(network));
        own.chain(stray)
    }

    /// The name servers that a container wants asked for names of the world; empty for the node's.
    pub fn forward_to(&self, asker: IpAddr) -> Vec<IpAddr> {
        self.asker(asker).map(|asker| asker.forward_to.clone()).unwrap_or_default()
    }

    /// The containers by address, with the networks that they are on.
    pub fn members(&self) -> HashMap<IpAddr, Vec<String>> {
        let askers = self.askers.iter();
        askers.map(|(address, asker)| (IpAddr::V4(*address), asker.networks.clone())).collect()
    }

    /// Whether an address lies in one of this node's networks.
    pub fn is_inside(&self, address: Ipv4Addr) -> bool {
        self.zones.values().any(|zone| zone.subnet.contains(&address))
    }

    fn asker(&self, address: IpAddr) -> Option<&Arc<Asker>> {
        match address {
            IpAddr::V4(address) => self.askers.get(&address),
            IpAddr::V6(_) => None,
        }
    }
}

impl Zone {
    fn holds(&self, asker: IpAddr) -> bool {
        matches!(asker, IpAddr::V4(asker) if self.subnet.contains(&asker) || asker.is_loopback())
    }
}

impl Name {
    /// What to answer with; `turn` goes on in the rotation, and is for questions that get an address.
    fn answer(&self, turn: bool) -> Vec<Ipv4Addr> {
        if self.all || self.addresses.len() < 2 || !turn {
            return self.addresses.clone();
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        vec![self.addresses[turn % self.addresses.len()]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str, all: bool, addresses: &[&str]) -> wire::Name {
        wire::Name {
            name: name.into(),
            all,
            addresses: addresses.iter().map(|text| (*text).into()).collect(),
        }
    }

    fn table() -> wire::Table {
        let zone = |network: &str, third: u8, names: Vec<wire::Name>| wire::Zone {
            network: network.into(),
            gateway: format!("10.192.{third}.1"),
            subnet: format!("10.192.{third}.0/24"),
            names,
            internal: network == "back",
        };
        let asker = |address: &str, networks: &[&str]| wire::Asker {
            addresses: vec![address.into()],
            networks: networks.iter().map(|text| (*text).into()).collect(),
            forward_to: vec![],
        };
        wire::Table {
            zones: vec![
                zone(
                    "front",
                    0,
                    vec![
                        name("web", false, &["10.192.0.2", "10.192.0.3"]),
                        name("tasks.web", true, &["10.192.0.2", "10.192.0.3"]),
                    ],
                ),
                zone("back", 1, vec![name("db", false, &[])]),
            ],
            askers: vec![asker("10.192.0.9", &["front"]), asker("10.192.0.8", &["front", "back"])],
            ..wire::Table::default()
        }
    }

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_goes_round_its_replicas_and_a_new_table_does_not_disturb_that() {
        let mut table = Table::read(&table(), &Table::default()).unwrap();
        let mut counts = HashMap::new();
        for _ in 0..10 {
            // The question for IPv6 that comes beside it takes no turn.
            let _ = table.find(at("10.192.0.9"), "front", "web", false);
            let Found::Addresses(found) = table.find(at("10.192.0.9"), "front", "web", true) else {
                panic!()
            };
            assert_eq!(found.len(), 1);
            *counts.entry(found[0]).or_insert(0) += 1;
            table = Table::read(&super::tests::table(), &table).unwrap();
        }
        assert_eq!(counts.into_values().collect::<Vec<_>>(), [5, 5]);
    }

    #[test]
    fn tasks_are_answered_all_at_once() {
        let table = Table::read(&table(), &Table::default()).unwrap();
        let Found::Addresses(found) = table.find(at("10.192.0.9"), "front", "tasks.web", true) else {
            panic!()
        };
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_container_sees_its_own_networks_only() {
        let table = Table::read(&table(), &Table::default()).unwrap();
        assert_eq!(table.find(at("10.192.0.9"), "front", "db", true), Found::Unknown);
        assert_eq!(
            table.find(at("10.192.0.8"), "front", "db", true),
            Found::Addresses(vec![]),
            "known, but nothing is ready"
        );
        assert_eq!(
            table.find(at("10.192.0.77"), "front", "db", true),
            Found::Unknown,
            "a stray sees the network that it asks in"
        );
        assert_eq!(table.find(at("10.192.1.77"), "back", "db", true), Found::Addresses(vec![]));
        for outsider in ["172.17.0.2", "10.192.0.77", "2001:db8::1"] {
            assert_eq!(table.find(at(outsider), "back", "db", true), Found::Unknown, "{outsider}");
        }
    }

    #[test]
    fn who_is_on_internal_networks_only_does_not_ask_the_world() {
        let mut wire = table();
        wire.askers.push(wire::Asker {
            addresses: vec!["10.192.1.7".into()],
            networks: vec!["back".into()],
            forward_to: Vec::new(),
        });
        let table = Table::read(&wire, &Table::default()).unwrap();
        let may = |asker: &str, network: &str| table.may_ask_the_world(at(asker), network);
        assert!(may("10.192.0.9", "front") && may("10.192.0.8", "back"), "a network of theirs has a way out");
        assert!(!may("10.192.1.7", "back") && !may("10.192.1.77", "back"));
        assert!(!may("172.17.0.2", "front"), "who is on none of them asks others");
    }

    #[test]
    fn a_table_that_makes_no_sense_is_refused() {
        let mut broken = table();
        broken.zones[0].gateway = "everywhere".into();
        assert!(Table::read(&broken, &Table::default()).unwrap_err().to_string().contains("everywhere"));
    }
}
