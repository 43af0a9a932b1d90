//! The proxy runs on every node. It answers the names of the node's networks today; balancing comes
//! beside it.
//!
//! [`control`] takes whole tables from the scheduler and acknowledges them; [`saved`] keeps the last
//! one, so that a proxy that starts without a scheduler serves at once; [`dns`] answers by it. `traffic`
//! says once a second what was served; `pages` and `public` show people what this proxy believes.

#![allow(clippy::result_large_err)] // A gRPC status is the error of the control stream.

pub mod access;
pub mod config;
pub mod control;
pub mod dns;
pub mod engine;
pub mod file;
pub mod handover;
pub mod http;
pub mod metrics;
pub mod plan;
pub mod saved;
pub mod spec;
pub mod table;
pub mod worker;

mod balance;
mod beliefs;
mod connection;
mod core;
#[cfg(test)]
mod fuzz;
mod l4;
mod local;
mod pages;
mod public;
mod pulse;
mod redirect;
mod run;
mod tls;
mod traffic;
mod upstream;

pub use run::{Error, run};
