//! What is served at one place.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use super::router::Router;
use crate::spec::{Listener, Protocol};

/// Where connections come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A TCP port.
    Tcp(Option<IpAddr>, u16),
    /// A UDP port.
    Udp(Option<IpAddr>, u16),
    /// A port of a virtual address.
    Virtual(Ipv4Addr, u16),
}

impl Place {
    /// The place of a listener.
    pub fn of(listener: &Listener) -> Self {
        if listener.udp {
            Self::Udp(listener.address, listener.port)
        } else {
            Self::Tcp(listener.address, listener.port)
        }
    }

    /// A name that can be read again.
    pub fn name(self) -> String {
        let ip = |address: Option<IpAddr>| address.map_or_else(|| "*".to_owned(), |ip| ip.to_string());
        match self {
            Self::Tcp(address, port) => format!("tcp {} {port}", ip(address)),
            Self::Udp(address, port) => format!("udp {} {port}", ip(address)),
            Self::Virtual(address, port) => format!("virtual {address} {port}"),
        }
    }

    /// The address to bind; all addresses of IPv4 where none is given.
    pub fn address(self) -> SocketAddr {
        match self {
            Self::Tcp(address, port) | Self::Udp(address, port) => {
                (address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), port).into()
            }
            Self::Virtual(address, port) => (address, port).into(),
        }
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let words: Vec<_> = name.split(' ').collect();
        let [kind, ip, port] = words.as_slice() else { return Err(()) };
        let port = port.parse().map_err(|_| ())?;
        let address = match *ip {
            "*" => None,
            ip => Some(ip.parse::<IpAddr>().map_err(|_| ())?),
        };
        match (*kind, address) {
            ("tcp", address) => Ok(Self::Tcp(address, port)),
            ("udp", address) => Ok(Self::Udp(address, port)),
            ("virtual", Some(IpAddr::V4(address))) => Ok(Self::Virtual(address, port)),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Tcp(..) | Self::Virtual(..) => "tcp",
            Self::Udp(..) => "udp",
        };
        write!(f, "{}/{name}", self.address())
    }
}

/// What is served at one place.
pub struct Site {
    /// What clients speak.
    pub protocol: Protocol,
    /// Where requests go.
    pub router: Router,
    /// Clients speak TLS, with this.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The port that clients connect to.
    pub port: u16,
    /// Clients of these ranges send a PROXY protocol header first.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Clients of these ranges are proxies.
    pub trusted_proxies: Vec<IpNet>,
    /// Who asked for it.
    pub owner: String,
}

impl Site {
    /// Whether a client of this address says whom it speaks for.
    pub fn sends_proxy_header(&self, peer: IpAddr) -> bool {
        self.proxy_protocol_from.iter().any(|range| range.contains(&peer))
    }

    /// Whether what a client of this address says of others is believed.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|range| range.contains(&peer))
    }
}
