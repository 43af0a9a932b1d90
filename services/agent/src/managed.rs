//! The agent's managed half: makes this node run what the scheduler assigned, and goes on doing so
//! without a scheduler.
//!
//! A [`Fleet`] holds one supervisor per replica. Each supervisor compares what is wanted with what is
//! seen ([`lifecycle`]) and takes one step at a time. The [`watch`] keeps what is seen up to date.
//! What is wanted is on disk before it is acted on ([`Disk`]).

mod assignment;
mod board;
mod clock;
mod disk;
mod docker;
mod fleet;
mod history;
mod hooks;
mod lease;
mod lifecycle;
mod lives;
mod resolv;
mod runtime;
mod segments;
#[cfg(test)]
pub(crate) mod simulated;
mod status;
mod supervisor;
#[cfg(test)]
mod tests;
mod watch;

pub use assignment::{Assignment, Joint, Networks, Peer, Redirect, Segment, VolumeUse};
pub use board::Board;
pub use disk::Disk;
pub use docker::DockerRuntime;
pub use fleet::{Assigned, Fleet};
pub use lease::LEASE;
pub use resolv::Folders;
pub use runtime::Runtime;
pub use watch::watch;
