//! A harness for tests on real Docker Engines.
//!
//! [`Cluster`] is a whole cluster as containers on this machine's engine, beside whatever else runs
//! there, with its own name, ports and address range; it is gone when the test ends, also when it
//! fails, and what a killed test left behind is cleared away by the next. [`Run`] is a command that
//! ended. [`eventually`] waits for a condition.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)] // A test that cannot be set up has failed.

mod cluster;
mod command;
mod wait;
mod web;

pub use cluster::Cluster;
pub use command::{Run, docker, docker_may_fail};
pub use wait::{eventually, eventually_within};
pub use web::{Page, get, post};
