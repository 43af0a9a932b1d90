//! Checks on the health of this node's replicas, which need nothing inside their images.
//!
//! [`plan`] says what of a replica is checked, [`gauge`] what results come to: both pure. [`ask`] does one
//! check. A supervisor holds a [`Prober`], which checks its replica as long as its process runs, with the
//! scheduler or without it, and tells only when the [`Outcome`] becomes another.

mod ask;
mod gauge;
mod outcome;
mod plan;
mod prober;
#[cfg(test)]
pub(crate) mod tests;

pub use ask::read;
pub use outcome::Outcome;
pub use plan::address;
pub use prober::{Places, Prober, Tell};
#[cfg(test)]
pub(crate) use tests::assignment;
