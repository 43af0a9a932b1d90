//! Ports that lead to a container or a service: their numbers, who listens, what is spoken.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// A port of the host that leads to a port of a container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port {
    /// The port in the container.
    pub target: u16,
    /// The port on the host; `None` lets the engine choose.
    pub published: Option<u16>,
    /// The transport.
    pub protocol: Protocol,
    /// The address of the host; `None` is all.
    pub host_ip: Option<Ipv4Addr>,
    /// Who listens. Left out of JSON where it is the default: see `Template::hash`.
    #[serde(default, skip_serializing_if = "PublishMode::is_ingress")]
    pub mode: PublishMode,
    /// What is spoken on it; `None` looks at the first bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<AppProtocol>,
}

impl Port {
    /// A TCP port, for all to see. `published` is `None` where somebody chooses one.
    pub fn new(target: u16, published: Option<u16>) -> Self {
        Self {
            target,
            published,
            protocol: Protocol::Tcp,
            host_ip: None,
            mode: PublishMode::Ingress,
            app_protocol: None,
        }
    }

    /// Whether both cannot be listened on at the same time.
    pub fn collides(&self, other: &Self) -> bool {
        self.published.is_some()
            && self.published == other.published
            && self.protocol == other.protocol
            && (self.host_ip.is_none() || other.host_ip.is_none() || self.host_ip == other.host_ip)
    }
}

impl fmt::Display for Port {
    /// Docker's short form: `127.0.0.1:8000->5000/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(ip) = self.host_ip {
            write!(f, "{ip}:")?;
        }
        if let Some(published) = self.published {
            write!(f, "{published}->")?;
        }
        write!(f, "{}/{}", self.target, self.protocol)
    }
}

/// The transport of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP; only on the agent's own lifecycle API.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// Who listens on a published port of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PublishMode {
    /// The proxy of every node.
    #[default]
    Ingress,
    /// The engine, on nodes that run a replica.
    Host,
}

impl PublishMode {
    /// Whether it is the default. By reference, as serde asks.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    fn is_ingress(&self) -> bool {
        *self == Self::Ingress
    }
}

/// What is spoken on a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AppProtocol {
    /// HTTP/1.1 or HTTP/2.
    Http,
    /// HTTP/2.
    Http2,
    /// gRPC.
    Grpc,
    /// Anything; not looked at.
    Tcp,
}

impl AppProtocol {
    /// All words of `app_protocol`.
    pub const WORDS: [&str; 4] = ["http", "http2", "grpc", "tcp"];

    /// Reads one of [`WORDS`](Self::WORDS).
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "http" => Some(Self::Http),
            "http2" => Some(Self::Http2),
            "grpc" => Some(Self::Grpc),
            "tcp" => Some(Self::Tcp),
            _ => None,
        }
    }
}

impl fmt::Display for AppProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Http => "http",
            Self::Http2 => "http2",
            Self::Grpc => "grpc",
            Self::Tcp => "tcp",
        })
    }
}
