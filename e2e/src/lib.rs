//! A harness for tests on real Docker Engines.
//!
//! [`Cluster`] is a whole cluster as containers on this machine's engine, beside whatever else runs
//! there, with its own name, ports and address range; it is gone when the test ends, also when it
//! fails, and what a killed test left behind is cleared away by the next. [`Run`] is a command that
//! ended. [`Hosts`] are whole hosts of the test's own, each with a
//! cable and an engine that may be taken away, and [`HostCluster`] is a cluster of them. [`eventually`] waits for a
//! condition. [`Lives`] writes down when containers start and end. [`Hook`] is a web server that is told of alerts. [`Load`] sends requests all the time, and every one must be answered. [`report`] prints what a bench measured.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)] // A test that cannot be set up has failed.

mod bench;
mod client;
mod cluster;
mod command;
mod dice;
mod hook;
mod hosts;
mod lives;
mod load;
mod wait;
mod web;

pub use bench::{Figure, median, report};
pub use client::{Client, gantry};
pub use cluster::{Cluster, PARTS};
pub use command::{Run, docker, docker_may_fail};
pub use dice::Dice;
pub use hook::{Hook, Notice};
pub use hosts::{Host, HostCluster, Hosts, Site};
pub use lives::{Lives, Moment};
pub use load::{Failure, Load, Report, Running};
pub use wait::{after, comes_true, eventually, eventually_within, throughout};
pub use web::{Page, get, post};
