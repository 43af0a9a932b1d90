//! What a host says of its network before it is a node: the agent finds it out on the host itself, the
//! command-line tool decides by it, wherever that runs.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

/// The network of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Its host name.
    pub hostname: String,
    /// Its interfaces, without loopback.
    pub interfaces: Vec<Interface>,
    /// Where it reaches what; a default route has the length 0.
    pub routes: Vec<RouteFact>,
}

/// An interface of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// The largest packet in bytes.
    pub mtu: u32,
    /// Its addresses that others may reach, without those of its link only.
    pub addresses: Vec<IpAddr>,
}

/// A route of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteFact {
    /// The range that is reached.
    pub range: IpNet,
    /// The interface it leads to.
    pub interface: String,
}

/// Gantry's own bridges are in nobody's way.
const OWN_BRIDGES: &str = "gt-";

/// It is not clear which address others reach the host at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this host has several addresses that others may reach it at: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
pub struct Ambiguous(pub Vec<IpAddr>);

impl HostFacts {
    /// The one address that others reach the host at: that of the interface of its default route, IPv4
    /// first. `None` if there is no such interface, or it has none.
    pub fn advertised(&self) -> Result<Option<IpAddr>, Ambiguous> {
        let outward = |interface: &&Interface| {
            self.routes.iter().any(|route| route.range.prefix_len() == 0 && route.interface == interface.name)
        };
        let all: Vec<IpAddr> = self
            .interfaces
            .iter()
            .filter(outward)
            .flat_map(|interface| interface.addresses.clone())
            .collect();
        let of = |v4: bool| all.iter().copied().filter(|ip| ip.is_ipv4() == v4).collect::<Vec<_>>();
        let preferred = Some(of(true)).filter(|v4| !v4.is_empty()).unwrap_or_else(|| of(false));
        match preferred.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            _ => Err(Ambiguous(preferred)),
        }
    }

    /// The interface by which packets to and from `address` go: the one that has it, else that of the
    /// default route (the address is then one that somebody translates).
    pub fn interface_of(&self, address: IpAddr) -> Option<&Interface> {
        let has = self.interfaces.iter().find(|interface| interface.addresses.contains(&address));
        has.or_else(|| {
            let default = self.routes.iter().find(|route| route.range.prefix_len() == 0)?;
            self.interfaces.iter().find(|interface| interface.name == default.interface)
        })
    }

    /// Routes other than defaults and Gantry's own.
    pub fn foreign_routes(&self) -> impl Iterator<Item = &RouteFact> {
        self.routes
            .iter()
            .filter(|route| route.range.prefix_len() > 0 && !route.interface.starts_with(OWN_BRIDGES))
    }

    /// A route that is in the way of networks made from `pool`.
    pub fn in_the_way(&self, pool: Ipv4Net) -> Option<&RouteFact> {
        let pool = IpNet::V4(pool);
        self.foreign_routes().find(|route| route.range.contains(&pool) || pool.contains(&route.range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, mtu: u32, addresses: &[&str]) -> Interface {
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        Interface { name: name.into(), mtu, addresses }
    }

    fn route(range: &str, interface: &str) -> RouteFact {
        RouteFact { range: range.parse().unwrap(), interface: interface.into() }
    }

    fn host() -> HostFacts {
        HostFacts {
            hostname: "h".into(),
            interfaces: vec![
                interface("eth0", 1500, &["192.0.2.1", "2001:db8::1"]),
                interface("eth1", 9000, &["198.51.100.1"]),
            ],
            routes: vec![
                route("0.0.0.0/0", "eth0"),
                route("172.17.0.0/16", "docker0"),
                route("10.192.0.0/19", "gt-100000"),
            ],
        }
    }

    #[test]
    fn a_host_is_reached_where_its_default_route_goes_unless_that_has_several_addresses() {
        let mut host = host();
        assert_eq!(host.advertised().unwrap(), Some("192.0.2.1".parse().unwrap()));
        host.routes.push(route("::/0", "eth1"));
        let words = host.advertised().unwrap_err().to_string();
        assert!(words.contains("192.0.2.1, 198.51.100.1"), "{words}");
        host.routes.clear();
        assert_eq!(host.advertised(), Ok(None));
    }

    #[test]
    fn an_address_of_no_interface_goes_by_the_default_route() {
        let host = host();
        let name = |ip: &str| host.interface_of(ip.parse().unwrap()).unwrap().name.clone();
        assert_eq!((name("198.51.100.1"), name("203.0.113.5")), ("eth1".into(), "eth0".into()));
    }

    #[test]
    fn only_routes_of_others_are_in_the_way_of_a_pool() {
        let mut host = host();
        let pool = "10.192.0.0/11".parse().unwrap();
        assert_eq!(host.in_the_way(pool), None, "Gantry's own bridge is not");
        host.routes.push(route("10.0.0.0/8", "wg0"));
        assert_eq!(host.in_the_way(pool).unwrap().interface, "wg0");
    }
}
