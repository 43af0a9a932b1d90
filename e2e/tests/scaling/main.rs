//! Services get the replicas that their load needs, keep them while it stays, and give them back when it is
//! over: never fewer or more than they may have. Nothing is asked here how fast this machine is.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

mod database;
mod latency;
mod metric;
mod missing;
mod processor;
mod requests;
mod room;
mod sleep;
mod update;
mod usage;
mod world;
