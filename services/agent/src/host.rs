//! What this host says of its network, asked from the kernel.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::TryStreamExt as _;
use gantry_model::{HostFacts, Interface, RouteFact};
use rtnetlink::packet_route::address::{AddressAttribute, AddressScope};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder, new_connection};

/// Asks for interfaces, addresses and routes.
pub async fn facts() -> Result<HostFacts, String> {
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    let (connection, handle, _) =
        new_connection().map_err(|error| format!("cannot ask the kernel about its network: {error}"))?;
    let talking = tokio::spawn(connection);
    let found =
        ask(&handle).await.map_err(|error| format!("cannot ask the kernel about its network: {error}"));
    talking.abort();
    let (interfaces, routes) = found?;
    Ok(HostFacts { hostname, interfaces, routes })
}

async fn ask(handle: &Handle) -> Result<(Vec<Interface>, Vec<RouteFact>), rtnetlink::Error> {
    let mut interfaces: BTreeMap<u32, Interface> = BTreeMap::new();
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await? {
        let mut interface = Interface { name: String::new(), mtu: 0, addresses: Vec::new() };
        for attribute in link.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name = name,
                LinkAttribute::Mtu(mtu) => interface.mtu = mtu,
                _ => {}
            }
        }
        if !link.header.flags.contains(LinkFlags::Loopback) {
            interfaces.insert(link.header.index, interface);
        }
    }
    let mut addresses = handle.address().get().execute();
    while let Some(message) = addresses.try_next().await? {
        if message.header.scope != AddressScope::Universe {
            continue;
        }
        // The peer of a tunnel has an address of its own, and `Local` is this host's.
        let find = |local: bool| {
            message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(ip) if local => Some(*ip),
                AddressAttribute::Address(ip) if !local => Some(*ip),
                _ => None,
            })
        };
        let address = find(true).or_else(|| find(false));
        if let (Some(address), Some(interface)) = (address, interfaces.get_mut(&message.header.index)) {
            interface.addresses.push(address);
        }
    }
    let mut routes = Vec::new();
    for request in
        [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()]
    {
        let mut found = handle.route().get(request).execute();
        while let Some(message) = found.try_next().await? {
            routes.extend(read_route(&message, &interfaces));
        }
    }
    Ok((interfaces.into_values().collect(), routes))
}

fn read_route(message: &RouteMessage, interfaces: &BTreeMap<u32, Interface>) -> Option<RouteFact> {
    if message.header.kind != RouteType::Unicast {
        return None;
    }
    let mut index = None;
    let mut destination = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => index = Some(*oif),
            RouteAttribute::Destination(RouteAddress::Inet(ip)) => destination = Some(IpAddr::from(*ip)),
            RouteAttribute::Destination(RouteAddress::Inet6(ip)) => destination = Some(IpAddr::from(*ip)),
            _ => {}
        }
    }
    let length = message.header.destination_prefix_length;
    let any = match message.header.address_family {
        rtnetlink::packet_route::AddressFamily::Inet6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        _ => IpAddr::from(Ipv4Addr::UNSPECIFIED),
    };
    // Ranges that nobody has an address in from elsewhere do not count: each interface has its own.
    let destination = destination.unwrap_or(any);
    let link_local = matches!(destination, IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80);
    if link_local || destination.is_multicast() {
        return None;
    }
    let text = format!("{destination}/{length}");
    Some(RouteFact { range: text.parse().ok()?, interface: interfaces.get(&index?)?.name.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_host_has_a_name_and_no_loopback_among_its_interfaces() {
        let facts = facts().await.unwrap();
        assert!(!facts.hostname.is_empty());
        assert!(facts.interfaces.iter().all(|interface| interface.name != "lo"), "{facts:?}");
        assert!(facts.interfaces.iter().all(|interface| interface.mtu > 0), "{facts:?}");
        let known = |name: &str| facts.interfaces.iter().any(|interface| interface.name == name);
        assert!(facts.routes.iter().all(|route| known(&route.interface)), "{facts:?}");
    }
}
