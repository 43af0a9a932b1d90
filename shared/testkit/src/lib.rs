//! Small worlds for tests.
//!
//! A [`World`] is a snapshot with a clock: builders put nodes and services in, and verbs such as
//! [`run_all`](World::run_all) let happen what agents and proxies would report.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]

mod service;
mod world;

pub use service::ServiceBuilder;
pub use world::World;
