//! The scheduler keeps the cluster's state, decides what runs where, and serves the API for people.
//!
//! One loop: people and agents change or report something ([`api`], [`session`]); [`decide`] turns the
//! whole state into actions; [`apply`] stores them; agents and proxies hear of it. [`state`] is where
//! it all meets; [`membership`] says who takes part; [`traffic`] remembers a minute of what the proxies count,
//! [`usage`] a quarter of an hour of what the agents measure; [`alerts`] keeps what people want to be told of, and
//! what fired; [`autoscale`] sets how many replicas services have by their load, and [`history`] remembers what it has
//! seen for a quarter of an hour.

#![allow(clippy::result_large_err)] // A gRPC status is the error of every handler here.

pub mod alerts;
pub mod api;
pub mod apply;
pub mod autoscale;
pub mod config;
pub mod credentials;
pub mod decide;
pub mod history;
pub mod membership;
pub mod metrics;
pub mod open;
pub mod restore;
pub mod session;
pub mod state;
pub mod traffic;
pub mod usage;

mod run;

pub use run::{Error, run};
