//! The agent runs on every node and drives its Docker Engine.
//!
//! Two halves share [`engine`]: [`public`] is a lifecycle API for people, [`managed`] makes the node
//! run what the scheduler assigned. [`session`] connects the latter to the scheduler, [`relay`]
//! carries logs, processes and the like to people through it, [`transfer`] takes images and volumes from
//! other agents. [`sampling`] measures what replicas use, [`scrape`] reads the numbers that they tell
//! themselves. [`firewall`] leads service addresses to the node's proxy, [`overlay`] joins networks to
//! those of other nodes. [`probes`] checks the health of replicas, [`autoheal`] restarts plain containers that
//! ask for it. [`disks`] sees which disks are nearly full. [`task`] is what the command-line tool has done on a host: [`join`] makes it a node.

#![allow(clippy::result_large_err)] // A gRPC status is the error of every handler here.

pub mod autoheal;
pub mod config;
pub mod disks;
pub mod engine;
pub mod firewall;
pub mod host;
pub mod images;
pub mod join;
pub mod managed;
pub mod metrics;
pub mod overlay;
pub mod probes;
pub mod public;
pub mod relay;
pub mod sampling;
pub mod scrape;
pub mod session;
pub mod task;
pub mod transfer;

mod run;

pub use run::{Error, run};
