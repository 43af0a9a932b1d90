//! From what is to be there and what is there to what is to be done. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::PORT;
use super::device::{Device, Mac};

/// What the kernel has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Interfaces by name.
    pub links: BTreeMap<String, Link>,
    /// The host's own addresses.
    pub addresses: BTreeSet<IpAddr>,
}

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// The largest packet.
    pub mtu: u32,
    /// Whether it is on.
    pub up: bool,
    /// The number of the bridge that it is a port of.
    pub bridge: Option<u32>,
    /// What it is called beside its name.
    pub alias: String,
    /// What it is a tunnel of, if it is one.
    pub tunnel: Option<Tunnel>,
    /// Behind which nodes hardware addresses are; for [`Mac::ALL`] there may be several.
    pub entries: BTreeSet<(Mac, IpAddr)>,
}

/// What cannot be changed of a tunnel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tunnel {
    /// The network's number.
    pub vni: u32,
    /// The port.
    pub port: u16,
    /// The address that it sends from; `None` where the kernel chooses.
    pub local: Option<IpAddr>,
}

/// Where containers were said to be at the last look, by device and hardware address.
pub type Entered = BTreeMap<(String, Mac), IpAddr>;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Take a device away.
    Remove { name: String, index: u32 },
    /// Make a device.
    Add { name: String, alias: String, tunnel: Tunnel, v6: bool, mtu: u32 },
    /// Set the largest packet of a device or a bridge.
    SetMtu { name: String, mtu: u32 },
    /// Make a device a port of a bridge.
    Enslave { name: String, bridge: String, index: u32 },
    /// Turn a device on.
    TurnOn { name: String },
    /// Send frames to nobody in particular to this node too.
    Flood { name: String, peer: IpAddr },
    /// Say behind which node a container is, until something else is learned.
    Enter { name: String, mac: Mac, peer: IpAddr },
    /// Forget what was entered or learned.
    Forget { name: String, mac: Mac, peer: IpAddr },
}

/// What to do, in this order. An error says what stands in the way and what a person can do.
///
/// Devices known by `alias` that are not wanted go. A device whose bridge is not there yet waits for it.
/// Where a container is said to be is entered when that is news, and not kept up: what is learned from its
/// frames is newer than what a scheduler said that may be out of reach. `entered` is `None` at the first look
/// of an agent, which cannot tell what is news and enters only what nothing is known of.
pub fn plan(
    wanted: &[Device],
    seen: &Seen,
    alias: &str,
    entered: Option<&Entered>,
) -> Result<Vec<Change>, String> {
    let mut changes = Vec::new();
    for (name, link) in &seen.links {
        let own = link.alias == alias && link.tunnel.is_some();
        if own && !wanted.iter().any(|device| device.name == *name) {
            changes.push(Change::Remove { name: name.clone(), index: link.index });
        }
    }
    for device in wanted {
        let Some(bridge) = seen.links.get(&device.bridge) else { continue };
        let link = seen.links.get(&device.name);
        if let Some(link) = link
            && link.alias != alias
            && !is_unfinished(link, device)
        {
            return Err(format!(
                "this host has an interface {} that is not this cluster's: remove it with `ip link del {}`",
                device.name, device.name
            ));
        }
        plan_device(device, bridge, link, seen, entered, &mut changes);
    }
    Ok(changes)
}

/// Whether it was made, and its maker ended before it was called ours.
fn is_unfinished(link: &Link, device: &Device) -> bool {
    let tunnel = link.tunnel.as_ref();
    link.alias.is_empty() && tunnel.is_some_and(|tunnel| tunnel.vni == device.vni && tunnel.port == PORT)
}

fn plan_device(
    device: &Device,
    bridge: &Link,
    link: Option<&Link>,
    seen: &Seen,
    entered: Option<&Entered>,
    changes: &mut Vec<Change>,
) {
    let name = || device.name.clone();
    // Behind a NAT that maps addresses one to one, the advertised address is none of the host's.
    let local = Some(device.local).filter(|local| seen.addresses.contains(local));
    let tunnel = Tunnel { vni: device.vni, port: PORT, local };
    let kept = link.filter(|link| link.tunnel.as_ref() == Some(&tunnel) && link.alias == device.alias);
    if let (Some(link), None) = (link, kept) {
        changes.push(Change::Remove { name: name(), index: link.index });
    }
    if kept.is_none() {
        let v6 = device.local.is_ipv6();
        let alias = device.alias.clone();
        changes.push(Change::Add { name: name(), alias, tunnel, v6, mtu: device.mtu });
    }
    if kept.is_some_and(|link| link.mtu != device.mtu) {
        changes.push(Change::SetMtu { name: name(), mtu: device.mtu });
    }
    let nothing = BTreeSet::new();
    let entries = kept.map_or(&nothing, |link| &link.entries);
    plan_entries(device, entries, kept.and(entered), kept.is_none(), changes);
    // Its table first: a port that is on without one loses the first frames.
    if kept.is_none_or(|link| link.bridge != Some(bridge.index)) {
        let (bridge, index) = (device.bridge.clone(), bridge.index);
        changes.push(Change::Enslave { name: name(), bridge, index });
    }
    if kept.is_none_or(|link| !link.up) {
        changes.push(Change::TurnOn { name: name() });
    }
    if bridge.mtu != device.mtu {
        changes.push(Change::SetMtu { name: device.bridge.clone(), mtu: device.mtu });
    }
}

fn plan_entries(
    device: &Device,
    entries: &BTreeSet<(Mac, IpAddr)>,
    entered: Option<&Entered>,
    is_new: bool,
    changes: &mut Vec<Change>,
) {
    let name = || device.name.clone();
    for (mac, peer) in entries.iter().filter(|(_, peer)| !device.peers.contains(peer)) {
        changes.push(Change::Forget { name: name(), mac: *mac, peer: *peer });
    }
    for peer in device.peers.iter().filter(|peer| !entries.contains(&(Mac::ALL, **peer))) {
        changes.push(Change::Flood { name: name(), peer: *peer });
    }
    for (mac, peer) in &device.endpoints {
        let known = entries.iter().any(|(other, at)| other == mac && device.peers.contains(at));
        let is_news = match entered {
            Some(entered) => entered.get(&(name(), *mac)) != Some(peer),
            None => is_new || !known,
        };
        if is_news && !entries.contains(&(*mac, *peer)) {
            changes.push(Change::Enter { name: name(), mac: *mac, peer: *peer });
        }
    }
}

/// Where containers are said to be by `wanted`.
pub fn entered(wanted: &[Device]) -> Entered {
    let of_device = |device: &Device| {
        let name = device.name.clone();
        device.endpoints.clone().into_iter().map(move |(mac, peer)| ((name.clone(), mac), peer))
    };
    wanted.iter().flat_map(of_device).collect()
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remove { name, .. } => write!(f, "remove the interface {name}"),
            Self::Add { name, tunnel, .. } => {
                write!(f, "make the interface {name} (VXLAN {}, UDP port {})", tunnel.vni, tunnel.port)
            }
            Self::SetMtu { name, mtu } => write!(f, "set the largest packet of {name} to {mtu}"),
            Self::Enslave { name, bridge, .. } => write!(f, "make {name} a port of {bridge}"),
            Self::TurnOn { name } => write!(f, "turn {name} on"),
            Self::Flood { name, peer } => write!(f, "send {name}'s frames to {peer}"),
            Self::Enter { name, mac, peer } => write!(f, "enter in {name} that {mac} is behind {peer}"),
            Self::Forget { name, mac, peer } => write!(f, "forget in {name} that {mac} is behind {peer}"),
        }
    }
}

#[cfg(test)]
mod tests;
