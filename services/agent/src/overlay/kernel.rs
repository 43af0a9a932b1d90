//! The kernel's interfaces, through netlink.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use futures_util::{StreamExt as _, TryStreamExt as _};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Error, Handle, LinkMessageBuilder, LinkUnspec, LinkVxlan};
use tokio::task::JoinHandle;

use super::device::Mac;
use super::plan::{Change, Link, Seen, Tunnel};

/// A conversation with the kernel about the interfaces of this network namespace.
pub struct Kernel {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Kernel {
    /// Begins one.
    pub fn open() -> Result<Self, String> {
        let (connection, handle, _) =
            rtnetlink::new_connection().map_err(|error| format!("cannot speak with the kernel: {error}"))?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// All that matters of what is there.
    pub async fn look(&self) -> Result<Seen, String> {
        self.read().await.map_err(|error| format!("cannot read this host's interfaces: {}", describe(&error)))
    }

    async fn read(&self) -> Result<Seen, Error> {
        let mut seen = Seen::default();
        let mut names = BTreeMap::new();
        let mut links = self.handle.link().get().execute();
        while let Some(message) = links.try_next().await? {
            if let Some((name, link)) = read_link(&message) {
                names.insert(link.index, name.clone());
                seen.links.insert(name, link);
            }
        }
        let mut addresses = self.handle.address().get().execute();
        while let Some(message) = addresses.try_next().await? {
            seen.addresses.extend(message.attributes.into_iter().filter_map(|attribute| match attribute {
                // On a point-to-point link the address is that of the other end, the local one is its own.
                AddressAttribute::Local(address) | AddressAttribute::Address(address) => Some(address),
                _ => None,
            }));
        }
        // Only tunnels have entries of this kind.
        if seen.links.values().any(|link| link.tunnel.is_some()) {
            let all = self.handle.neighbours().get().set_address_family(AddressFamily::Bridge);
            let mut entries = Box::pin(all.execute());
            while let Some(message) = entries.try_next().await? {
                let link = names.get(&message.header.ifindex).and_then(|name| seen.links.get_mut(name));
                if let (Some(link), Some(entry)) = (link, read_entry(&message)) {
                    link.entries.insert(entry);
                }
            }
        }
        Ok(seen)
    }

    /// Makes one change.
    pub async fn apply(&self, change: &Change) -> Result<(), String> {
        self.make(change).await.map_err(|error| describe(&error))
    }

    async fn make(&self, change: &Change) -> Result<(), Error> {
        match change {
            Change::Remove { index, .. } => self.handle.link().del(*index).execute().await,
            Change::Add { name, alias, tunnel, v6, mtu } => {
                let link = add(name, tunnel, *v6, *mtu);
                self.handle.link().add(link).execute().await?;
                // Not taken while a device is made.
                let known_as =
                    LinkMessageBuilder::<LinkUnspec>::default().name(name.as_str()).alias(alias.as_str());
                self.handle.link().change(known_as.build()).execute().await
            }
            Change::SetMtu { name, mtu } => self.change(name, |link| link.mtu(*mtu)).await,
            Change::Enslave { name, index, .. } => self.change(name, |link| link.controller(*index)).await,
            Change::TurnOn { name } => self.change(name, LinkMessageBuilder::up).await,
            Change::Flood { name, peer } => {
                let entry = self.entry(name, Mac::ALL, *peer, NeighbourState::Permanent).await?;
                self.send(RouteNetlinkMessage::NewNeighbour(entry), NLM_F_CREATE | NLM_F_APPEND).await
            }
            Change::Enter { name, mac, peer } => {
                // Not a permanent one: frames from elsewhere are to correct it.
                let entry = self.entry(name, *mac, *peer, NeighbourState::Reachable).await?;
                self.send(RouteNetlinkMessage::NewNeighbour(entry), NLM_F_CREATE | NLM_F_REPLACE).await
            }
            Change::Forget { name, mac, peer } => {
                let entry = self.entry(name, *mac, *peer, NeighbourState::None).await?;
                self.send(RouteNetlinkMessage::DelNeighbour(entry), 0).await
            }
        }
    }

    async fn change(
        &self,
        name: &str,
        what: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec>,
    ) -> Result<(), Error> {
        let link = what(LinkUnspec::new_with_name(name)).build();
        self.handle.link().change(link).execute().await
    }

    async fn entry(
        &self,
        name: &str,
        mac: Mac,
        peer: IpAddr,
        state: NeighbourState,
    ) -> Result<NeighbourMessage, Error> {
        let mut found = self.handle.link().get().match_name(name).execute();
        let link = found.try_next().await?.ok_or(Error::RequestFailed)?;
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = link.header.index;
        message.header.state = state;
        message.header.flags = NeighbourFlags::Own;
        let peer = match peer {
            IpAddr::V4(peer) => NeighbourAddress::Inet(peer),
            IpAddr::V6(peer) => NeighbourAddress::Inet6(peer),
        };
        message.attributes =
            vec![NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()), NeighbourAttribute::Destination(peer)];
        Ok(message)
    }

    async fn send(&self, message: RouteNetlinkMessage, flags: u16) -> Result<(), Error> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        let mut answers = self.handle.clone().request(request)?;
        while let Some(answer) = answers.next().await {
            if let NetlinkPayload::Error(error) = answer.payload
                && error.code.is_some()
            {
                return Err(Error::NetlinkError(error));
            }
        }
        Ok(())
    }
}

fn add(name: &str, tunnel: &Tunnel, v6: bool, mtu: u32) -> LinkMessage {
    let link = LinkVxlan::new(name, tunnel.vni).port(tunnel.port).learning(true);
    let link = match tunnel.local {
        Some(IpAddr::V4(local)) => link.local(local),
        Some(IpAddr::V6(local)) => link.local6(local),
        None if v6 => link.local6(Ipv6Addr::UNSPECIFIED),
        None => link.local(Ipv4Addr::UNSPECIFIED),
    };
    link.mtu(mtu).build()
}

fn read_link(message: &LinkMessage) -> Option<(String, Link)> {
    let mut link = Link {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        ..Link::default()
    };
    let mut name = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.bridge = Some(*index),
            LinkAttribute::IfAlias(alias) => link.alias.clone_from(alias),
            LinkAttribute::LinkInfo(info) if info.contains(&LinkInfo::Kind(InfoKind::Vxlan)) => {
                link.tunnel = Some(read_tunnel(info));
            }
            _ => {}
        }
    }
    name.map(|name| (name, link))
}

fn read_tunnel(info: &[LinkInfo]) -> Tunnel {
    let mut tunnel = Tunnel::default();
    let data = info.iter().filter_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(data)) => Some(data),
        _ => None,
    });
    for value in data.flatten() {
        match value {
            InfoVxlan::Id(vni) => tunnel.vni = *vni,
            InfoVxlan::Port(port) => tunnel.port = *port,
            InfoVxlan::Local(local) => tunnel.local = Some((*local).into()),
            InfoVxlan::Local6(local) => tunnel.local = Some((*local).into()),
            _ => {}
        }
    }
    tunnel
}

fn read_entry(message: &NeighbourMessage) -> Option<(Mac, IpAddr)> {
    let mut mac = None;
    let mut peer = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(Mac);
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
                peer = Some((*address).into());
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
                peer = Some((*address).into());
            }
            // In this family the library does not know what an address is.
            NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
                let four = <[u8; 4]>::try_from(bytes.as_slice()).ok().map(IpAddr::from);
                peer = four.or_else(|| <[u8; 16]>::try_from(bytes.as_slice()).ok().map(IpAddr::from));
            }
            _ => {}
        }
    }
    Some((mac?, peer?))
}

fn describe(error: &Error) -> String {
    match error {
        Error::NetlinkError(message) => message.to_io().to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
