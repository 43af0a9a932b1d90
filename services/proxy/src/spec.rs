//! What is to be served, as the cluster or a file says it: plain values, not yet looked up in.
//!
//! [`wire`](self) reads them from the scheduler's table; the file of a proxy that runs alone is read
//! into the same types, so both have the same words and the same defaults.

mod wire;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

pub use wire::read;

/// Everything that a proxy serves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spec {
    /// The ports to open.
    pub listeners: Vec<Listener>,
    /// Routes of listeners that are `routed`.
    pub routes: Vec<Route>,
    /// Who answers, by name: `shop/web` in a cluster, as named in the file elsewhere.
    pub backends: BTreeMap<String, Backend>,
    /// Virtual addresses of services.
    pub addresses: Vec<VirtualAddress>,
    /// Certificates for listeners with TLS.
    pub certificates: Vec<Certificate>,
}

impl Spec {
    /// The endpoints of all backends.
    pub fn endpoints_mut(&mut self) -> impl Iterator<Item = &mut Endpoint> {
        self.backends
            .values_mut()
            .flat_map(|backend| &mut backend.groups)
            .flat_map(|group| &mut group.endpoints)
    }
}

/// Where requests go: a backend, and the port of its endpoints.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The backend's name.
    pub backend: String,
    /// The port; `None` where the endpoints have ports of their own.
    pub port: Option<u16>,
}

/// A port that is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address; `None` is all.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// UDP instead of TCP.
    pub udp: bool,
    /// What clients speak.
    pub protocol: Protocol,
    /// Where everything goes for which no route says otherwise.
    pub target: Option<Target>,
    /// Routes apply.
    pub routed: bool,
    /// Clients speak TLS.
    pub tls: bool,
    /// Clients of these ranges send a PROXY protocol header first.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Clients of these ranges are proxies, whose X-Forwarded headers are kept.
    pub trusted_proxies: Vec<IpNet>,
    /// Who asked for it.
    pub owner: String,
}

/// What clients of a listener speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Whatever their first bytes show.
    #[default]
    Detect,
    /// HTTP/1.1 or HTTP/2.
    Http,
    /// Anything; not looked at.
    Tcp,
}

/// Requests of one host and path, and where they go.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// For messages.
    pub name: String,
    /// `shop.example.com`, `*.example.com`, or empty for all.
    pub host: String,
    /// A prefix by whole segments; begins with `/`.
    pub path: String,
    /// Headers that must be there; an empty value is any.
    pub headers: BTreeMap<String, String>,
    /// Where they go.
    pub target: Target,
    /// What is done on the way.
    pub filters: Filters,
}

/// What is done to requests and responses on their way.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filters {
    /// The path prefix is taken off.
    pub strip_prefix: bool,
    /// Plain HTTP is redirected to https.
    pub redirect_https: bool,
    /// Headers set on requests; an empty value removes one.
    pub request_headers: BTreeMap<String, String>,
    /// Headers set on responses; an empty value removes one.
    pub response_headers: BTreeMap<String, String>,
    /// The largest request body in bytes; 0 is no limit.
    pub max_body: u64,
    /// Only clients of these ranges; empty is all.
    pub allow: Vec<IpNet>,
    /// No clients of these.
    pub deny: Vec<IpNet>,
    /// Lines of an htpasswd file; empty: everybody may.
    pub basic_auth: Vec<String>,
    /// Requests a second from one client address; 0 is no limit.
    pub rate: f64,
    /// How many may come at once above that; 0: as many as in one second, at least 1.
    pub burst: u32,
    /// Responses are compressed for clients that ask for it.
    pub compress: bool,
    /// How long an endpoint may take to begin its answer; `None`: as the backend says.
    #[serde(with = "duration::option")]
    pub response_timeout: Option<Duration>,
}

/// Who answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Backend {
    /// Requests are split between groups by weight.
    pub groups: Vec<Group>,
    /// How endpoints are chosen and failures are met.
    pub policy: Policy,
}

/// A share of a backend.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// For people.
    pub name: String,
    /// Its share.
    pub weight: u32,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// One address that answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// A replica's id, or the address again.
    pub name: String,
    /// The address; port 0: the target's.
    pub address: SocketAddr,
    /// Its share inside its group, at least 1.
    pub weight: u32,
    /// How long it has been ready already.
    pub ready_for: Duration,
}

/// How endpoints are chosen and failures are met.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// What is hashed with [`Balance::Hash`].
    pub hash_on: HashOn,
    /// Clients stay with their endpoint by a signed cookie of this name.
    pub sticky_cookie: Option<String>,
    /// How long a connection may take.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How long an endpoint may take to begin its answer; zero is no limit.
    #[serde(with = "duration")]
    pub response_timeout: Duration,
    /// How long a connection may be silent in the middle of a body or a tunnel.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
    /// Requests in flight on one endpoint at most; 0 is no limit.
    pub max_concurrency: u32,
    /// Requests that may wait while no endpoint can take them.
    pub queue_length: u32,
    /// How long they may wait.
    #[serde(with = "duration")]
    pub queue_timeout: Duration,
    /// Retries in per cent of requests.
    pub retry_percent: u32,
    /// A new endpoint gets its full share after this time.
    #[serde(with = "duration")]
    pub slow_start: Duration,
    /// Failures in a row after which an endpoint is left out; 0 is never.
    pub eject_after: u32,
    /// For how long the first time.
    #[serde(with = "duration")]
    pub eject_for: Duration,
    /// What endpoints speak.
    pub protocol: UpstreamProtocol,
    /// TLS to the endpoints. A file names other files here, which its reader looks after.
    #[serde(skip)]
    pub tls: Option<UpstreamTls>,
    /// Version of the PROXY protocol header that endpoints get; 0 is none.
    pub send_proxy_protocol: u8,
    /// How long requests may go on after their endpoint has left.
    #[serde(with = "duration")]
    pub drain_timeout: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            balance: Balance::default(),
            hash_on: HashOn::default(),
            sticky_cookie: None,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_mins(1),
            idle_timeout: Duration::from_mins(5),
            max_concurrency: 0,
            queue_length: 1000,
            queue_timeout: Duration::from_secs(10),
            retry_percent: 20,
            slow_start: Duration::ZERO,
            eject_after: 5,
            eject_for: Duration::from_secs(10),
            protocol: UpstreamProtocol::default(),
            tls: None,
            send_proxy_protocol: 0,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Of two at random the one with fewer requests in flight: the power of two choices
    /// (Mitzenmacher 2001).
    #[default]
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// At random.
    Random,
    /// By a hash of the request.
    Hash,
}

/// What of a request is hashed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashOn {
    /// The client's address.
    #[default]
    Source,
    /// A header.
    Header(String),
    /// A cookie.
    Cookie(String),
}

/// What endpoints speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamProtocol {
    /// As the client speaks: gRPC, and HTTP/2 by prior knowledge, over HTTP/2; else HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// TLS to endpoints.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name that their certificates must have.
    pub server_name: String,
    /// Authorities in PEM; empty: certificates are not checked.
    pub ca_pem: String,
    /// This side's chain in PEM; empty: none.
    pub cert_pem: String,
    /// This side's key in PEM.
    pub key_pem: String,
}

/// A virtual address: any TCP port of it leads to that port of a service's endpoints.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// The network whose members may connect.
    pub network: String,
    /// The service's name among the backends, for its policy.
    pub backend: String,
    /// Its endpoints on that network.
    pub groups: Vec<Group>,
}

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// For messages.
    pub name: String,
    /// The chain in PEM.
    pub cert_pem: String,
    /// The key in PEM.
    pub key_pem: String,
}

impl std::fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UpstreamTls({})", self.server_name)
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({})", self.name)
    }
}

/// Durations as people write them, such as `1s` or `5m`.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, de::Error as _};

    /// No clock has an end that is nearer: a time in the future can always be told.
    const LONGEST: Duration = Duration::from_hours(24 * 3660);

    /// Reads one.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        let duration = humantime::parse_duration(&text)
            .map_err(|_| D::Error::custom(format!("{text:?} is not a duration: write 500ms, 10s or 5m")))?;
        if duration > LONGEST {
            return Err(D::Error::custom(format!("{text:?} is too long: ten years are the most")));
        }
        Ok(duration)
    }

    /// One that may be left out.
    pub mod option {
        use std::time::Duration;

        use serde::Deserializer;

        /// Reads one.
        pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
            super::deserialize(deserializer).map(Some)
        }
    }
}
