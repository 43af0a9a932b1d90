//! Checks that the agent runs on replicas, and what is done about those that fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::port::{Port, Protocol};
use crate::route::is_token;

/// A check that the agent runs on every replica of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthProbe {
    /// What is done.
    pub check: Check,
    /// Time from one check to the next.
    pub interval: Duration,
    /// A check that takes longer has failed.
    pub timeout: Duration,
    /// That many failed checks in a row make a replica unhealthy; at least 1.
    pub retries: u32,
    /// Failures in this time after a start do not count.
    pub start_period: Duration,
    /// Time from one check to the next until the first one passes.
    pub start_interval: Duration,
}

impl HealthProbe {
    /// A check with the timing that is used where nothing is said.
    pub fn new(check: Check) -> Self {
        Self {
            check,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            retries: 3,
            start_period: Duration::ZERO,
            start_interval: Duration::from_millis(500),
        }
    }
}

/// What a check does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// A request, which must be answered as expected.
    Http {
        /// The port in the container.
        port: u16,
        /// The path, with its query.
        path: String,
        /// Headers of the request.
        headers: BTreeMap<String, String>,
        /// The first and the last status code that pass.
        status: (u16, u16),
        /// Text that the answer must contain; empty is any.
        body: String,
    },
    /// A connection, which must be accepted.
    Tcp {
        /// The port in the container.
        port: u16,
    },
    /// A call of `grpc.health.v1.Health/Check`, which must say `SERVING`.
    Grpc {
        /// The port in the container.
        port: u16,
        /// The service to ask for; empty is the whole server.
        service: String,
    },
    /// A process in the container, which must exit with 0.
    Exec {
        /// Its words.
        command: Vec<String>,
    },
}

/// What is done about a replica that is unhealthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealPolicy {
    /// After so many restarts within the window it is replaced.
    pub restart_limit: u32,
    /// The window.
    pub window: Duration,
    /// Nothing is done: it only gets no traffic.
    pub disabled: bool,
}

impl Default for HealPolicy {
    fn default() -> Self {
        Self { restart_limit: 3, window: Duration::from_mins(10), disabled: false }
    }
}

/// How the replicas of one revision are checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checks {
    /// Whether a replica may take traffic.
    pub readiness: Option<HealthProbe>,
    /// Whether it needs a repair.
    pub liveness: Option<HealthProbe>,
    /// Ports of the container. Without any other check, also without one of the engine's that only agents
    /// know of, a connection to one of them must be accepted before a replica takes traffic.
    pub published: Vec<u16>,
}

impl Checks {
    /// Published ports that are tried at most.
    pub const PUBLISHED: usize = 8;
}

/// The port in the container of a service that has just one, published or else exposed.
pub fn only_port(ports: &[Port], expose: &[String]) -> Option<u16> {
    let published = ports.iter().filter(|port| port.protocol == Protocol::Tcp).map(|port| port.target);
    let mut found: BTreeSet<u16> = published.collect();
    if found.is_empty() {
        let tcp = expose.iter().filter(|port| !port.ends_with("/udp") && !port.ends_with("/sctp"));
        // A range is more than one.
        found = tcp.map(|port| port.trim_end_matches("/tcp").parse().ok()).collect::<Option<_>>()?;
    }
    if found.len() == 1 { found.pop_first() } else { None }
}

/// Whether a request can have this path, with its query.
pub fn is_probe_path(path: &str) -> bool {
    path.starts_with('/') && path.chars().all(|c| c.is_ascii_graphic() && c != '#')
}

/// Whether a request can have this header. What frames a request is not to be said.
pub fn is_probe_header(name: &str, value: &str) -> bool {
    let frames = ["content-length", "transfer-encoding", "connection", "upgrade", "expect"];
    is_token(name)
        && value.chars().all(|c| c == '\t' || c == ' ' || c.is_ascii_graphic())
        && !frames.contains(&name.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_port_is_the_published_one_else_the_exposed_one() {
        let port = |target| Port::new(target, None);
        let udp = Port { protocol: Protocol::Udp, ..port(53) };
        let expose = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(only_port(&[port(80), port(80), udp.clone()], &expose(&["9/tcp"])), Some(80));
        assert_eq!(only_port(&[udp], &expose(&["9/tcp", "53/udp"])), Some(9));
        assert_eq!(only_port(&[], &expose(&["9"])), Some(9));
        for expose in [expose(&[]), expose(&["9/tcp", "10/tcp"]), expose(&["9-12/tcp"])] {
            assert_eq!(only_port(&[], &expose), None, "{expose:?}");
        }
        assert_eq!(only_port(&[port(80), port(81)], &expose(&["9"])), None);
    }
}
