//! What is measured.

use super::machine::{LARGE, MEDIUM, SMALL};
use super::peers::Kind;

/// A kind of load, measured with every proxy.
pub struct Row {
    /// As the tables have it.
    pub name: &'static str,
    pub load: Load,
    /// The most that Gantry may cost, as a share of the better of nginx and haproxy.
    pub budget: f64,
}

pub enum Load {
    Wrk(Wrk),
    /// HTTP/2 over TLS with small bodies.
    H2 {
        connections: u16,
        streams: u16,
    },
    /// Connections that asked once and then keep still.
    Idle {
        connections: u16,
    },
}

pub struct Wrk {
    /// Path and length.
    pub body: (&'static str, usize),
    pub connections: u16,
    pub tls: bool,
    /// A new connection for each request.
    pub close: bool,
}

const fn wrk(body: (&'static str, usize), connections: u16) -> Wrk {
    Wrk { body, connections, tls: false, close: false }
}

/// The first is the one by which proxies are compared.
pub const ROWS: [Row; 8] = [
    Row { name: "100 B at 64 connections", load: Load::Wrk(wrk(SMALL, 64)), budget: 1.0 },
    Row { name: "100 B at 512 connections", load: Load::Wrk(wrk(SMALL, 512)), budget: 1.15 },
    Row { name: "10 KB at 64 connections", load: Load::Wrk(wrk(MEDIUM, 64)), budget: 1.15 },
    Row { name: "1 MB at 16 connections", load: Load::Wrk(wrk(LARGE, 16)), budget: 1.15 },
    Row {
        name: "a new connection each",
        load: Load::Wrk(Wrk { close: true, ..wrk(SMALL, 64) }),
        budget: 1.15,
    },
    Row { name: "TLS at 64 connections", load: Load::Wrk(Wrk { tls: true, ..wrk(SMALL, 64) }), budget: 1.15 },
    Row { name: "HTTP/2 at 16 × 10", load: Load::H2 { connections: 16, streams: 10 }, budget: 1.15 },
    Row { name: "10,000 idle connections", load: Load::Idle { connections: 10_000 }, budget: 2.0 },
];

impl Row {
    /// Whether a proxy takes part: the relay speaks no TLS, and holding a connection to the backend for
    /// each of 10,000 says nothing.
    pub fn suits(&self, kind: Kind) -> bool {
        kind != Kind::Relay || matches!(self.load, Load::Wrk(Wrk { tls: false, .. }))
    }
}
