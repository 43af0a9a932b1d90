//! The proxy runs on every node. It answers the names of the node's networks today; balancing comes
//! beside it.
//!
//! [`control`] takes whole tables from the scheduler and acknowledges them; [`saved`] keeps the last
//! one, so that a proxy that starts without a scheduler serves at once; [`dns`] answers by it.

#![allow(clippy::result_large_err)] // A gRPC status is the error of the control stream.

pub mod config;
pub mod control;
pub mod dns;
pub mod metrics;
pub mod saved;
pub mod table;

mod run;

pub use run::{Error, run};
