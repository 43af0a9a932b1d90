//! How many replicas a service needs.
//!
//! [`decide`] is a pure function: the [`Rules`] of a service, the [`Signals`] of the last second, what is
//! remembered of the seconds before ([`Memory`]) and a time that is passed in give a [`Decision`], which says
//! why in words. It is called once a second for each service. [`simulate`] replays a load through it.
//!
//! Each signal says how many replicas it would take to meet its target, as a fraction: `sum / target`.
//! The largest counts. What is remembered of it decides: replicas are added when every second of a short
//! time asked for more, and taken away when no moment of a long time asked for as many.

mod bounds;
mod decide;
mod decision;
mod history;
mod lesson;
mod memory;
mod number;
mod pace;
mod proven;
mod reading;
mod signal;
mod signals;
/// Loads, a model of a service, and what becomes of both.
pub mod simulate;
mod zero;

pub use bounds::{Base, Bounds, Rules};
pub use decide::decide;
pub use decision::{Alert, Cause, Change, Decision, Held, Limit};
pub use memory::Memory;
pub use reading::{Measure, Reading, Value, measures};
pub use signal::Signal;
pub use signals::{Replica, Signals, Stage, Traffic, Usage};
