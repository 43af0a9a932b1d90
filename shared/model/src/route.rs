//! How traffic reaches a service: the routes that lead to it, and how proxies choose among its replicas.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Requests of one host and path that lead to a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Route {
    /// `shop.example.com`, `*.example.com`, or empty for all; lower case.
    pub host: String,
    /// A prefix by whole segments; begins with `/`.
    pub path: String,
    /// Headers that must be there, by name in lower case; an empty value is any.
    pub headers: BTreeMap<String, String>,
    /// The port in the containers.
    pub target: u16,
    /// What is done on the way.
    pub filters: RouteFilters,
    /// The certificate for its host.
    pub certificate: Option<Certificate>,
}

impl Route {
    /// A path prefix as routes have it, without a slash at its end; `None` if it is none.
    pub fn normal_path(path: &str) -> Option<String> {
        let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '?' | '#');
        if !path.starts_with('/') || path.contains(bad) {
            return None;
        }
        let kept = path.trim_end_matches('/');
        Some(if kept.is_empty() { "/".to_owned() } else { kept.to_owned() })
    }

    /// Whether no request could tell the two apart.
    pub fn is_same_as(&self, other: &Self) -> bool {
        (&self.host, &self.path, &self.headers) == (&other.host, &other.path, &other.headers)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.is_empty() { "*" } else { &self.host };
        write!(f, "{host}{}", self.path)?;
        for (name, value) in &self.headers {
            write!(f, " [{name}: {value}]")?;
        }
        Ok(())
    }
}

/// Whether `host` is a name, or `*.` and a name.
pub fn is_host_pattern(host: &str) -> bool {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let label =
        |label: &str| (1..=63).contains(&label.len()) && label.chars().all(letter) && !label.starts_with('-');
    name.len() <= 253 && name.split('.').all(label)
}

/// What is done to requests and responses of a route.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteFilters {
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
    /// Lines of an htpasswd file; empty: everybody may. Not shown by `Debug`.
    pub basic_auth: Vec<String>,
    /// Requests a second from one client address; 0 is no limit.
    pub rate: f64,
    /// How many may come at once above that; 0: as many as in one second.
    pub burst: u32,
    /// Responses are compressed.
    pub compress: bool,
    /// How long an endpoint may take to begin its answer; `None` is the proxy's default.
    pub timeout: Option<Duration>,
}

impl fmt::Debug for RouteFilters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteFilters")
            .field("strip_prefix", &self.strip_prefix)
            .field("redirect_https", &self.redirect_https)
            .field("basic_auth", &self.basic_auth.len())
            .finish_non_exhaustive()
    }
}

/// A certificate with its key. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// For messages: the file that it comes from.
    pub name: String,
    /// The chain in PEM, the leaf first.
    pub cert_pem: String,
    /// The key in PEM.
    pub key_pem: String,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.name)
    }
}

/// How proxies choose among a service's replicas and meet their failures. `None` is the proxy's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// How a replica is chosen.
    pub balance: Option<Balance>,
    /// What is hashed with [`Balance::Hash`].
    pub hash_on: Option<HashOn>,
    /// Clients stay with their replica by a signed cookie of this name.
    pub sticky_cookie: Option<String>,
    /// How long a connection may take.
    pub connect_timeout: Option<Duration>,
    /// How long a connection may be silent.
    pub idle_timeout: Option<Duration>,
    /// Requests in flight on one replica at most.
    pub max_concurrency: Option<u32>,
    /// Requests that may wait while no replica can take them.
    pub queue_length: Option<u32>,
    /// How long they may wait.
    pub queue_timeout: Option<Duration>,
    /// Retries in per cent of requests.
    pub retry_percent: Option<u32>,
    /// A new replica gets its full share after this time.
    pub slow_start: Option<Duration>,
    /// Failures in a row after which a replica is left out; 0 is never.
    pub eject_after: Option<u32>,
    /// For how long the first time.
    pub eject_for: Option<Duration>,
    /// What replicas speak.
    pub protocol: Option<UpstreamProtocol>,
    /// How long requests may go on after their replica has left.
    pub drain_timeout: Option<Duration>,
}

/// How a replica is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Balance {
    /// Of two at random the one with fewer requests in flight.
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// At random.
    Random,
    /// By a hash of the request.
    Hash,
}

/// What of a request is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HashOn {
    /// The client's address.
    Source,
    /// A header.
    Header(String),
    /// A cookie.
    Cookie(String),
}

impl HashOn {
    /// Reads `source`, `header:NAME` or `cookie:NAME`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "source" => Some(Self::Source),
            Some(("header", name)) if is_token(name) => Some(Self::Header(name.to_ascii_lowercase())),
            Some(("cookie", name)) if is_token(name) => Some(Self::Cookie(name.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for HashOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source => f.write_str("source"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

/// What replicas speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// Whether `text` can be the name of a header or a cookie (RFC 9110, section 5.6.2).
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_shows_a_key_or_a_password() {
        let route = Route {
            filters: RouteFilters { basic_auth: vec!["ada:hunter2".into()], ..RouteFilters::default() },
            certificate: Some(Certificate {
                name: "a.pem".into(),
                cert_pem: "CERT".into(),
                key_pem: "KEY".into(),
            }),
            ..Route::default()
        };
        let shown = format!("{route:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("KEY") && shown.contains("a.pem"), "{shown}");
    }

    #[test]
    fn a_host_is_a_name_or_a_wildcard_and_a_name() {
        for good in ["shop.example.com", "*.example.com", "localhost", "a_b.c"] {
            assert!(is_host_pattern(good), "{good}");
        }
        for bad in ["", "*", "a.*.b", "shop.example.com:80", "http://x", "a..b", "Shop.example.com", "-a"] {
            assert!(!is_host_pattern(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_hashed_reads_back_as_it_is_written() {
        for text in ["source", "header:x-user", "cookie:Session"] {
            assert_eq!(HashOn::parse(text).unwrap().to_string(), text);
        }
        assert!(["", "header:", "cookie: x", "query:a"].iter().all(|text| HashOn::parse(text).is_none()));
    }
}
