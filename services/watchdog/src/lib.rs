//! The watchdog reads the feed and judges: which replicas need a repair, which nodes are gone, what
//! people are told. It writes verdicts; the scheduler acts on them.
//!
//! The way of a verdict, file by file: `world` (what is judged, from the feed) → `decide` (what is
//! concluded, pure) → `judge` (when it is looked) → `submit` (handed over). `lead` says whether this
//! watchdog may act; `memory` holds what was handed over and does not show yet.

pub mod alerts;
pub mod config;
pub mod decide;
mod judge;
mod lead;
mod memory;
mod metrics;
mod public;
mod run;
mod seat;
mod submit;
mod verdict;
pub mod world;

pub use lead::Lead;
pub use memory::Memory;
pub use run::{Error, Running, run, start};
pub use seat::Seat;
pub use verdict::{Conclusion, Verdict};
