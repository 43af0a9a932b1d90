//! A real scheduler on a real store, with clients over mutual TLS and an agent whose containers are only a map.
//!
//! Those who take part are in `people`, `agent` and `proxy`; the tests are in the other files, by subject.

#![allow(clippy::unwrap_used)] // A test that cannot be set up has failed.

mod support;

#[path = "over_the_wire/agent.rs"]
mod agent;
#[path = "over_the_wire/autoscale.rs"]
mod autoscale;
#[path = "over_the_wire/connecting.rs"]
mod connecting;
#[path = "over_the_wire/deploy.rs"]
mod deploy;
#[path = "over_the_wire/drain.rs"]
mod drain;
#[path = "over_the_wire/health.rs"]
mod health;
#[path = "over_the_wire/lost.rs"]
mod lost;
#[path = "over_the_wire/people.rs"]
mod people;
#[path = "over_the_wire/proxy.rs"]
mod proxy;
#[path = "over_the_wire/traffic.rs"]
mod traffic;
#[path = "over_the_wire/usage.rs"]
mod usage;
