//! The scheduler's state as a stream.
//!
//! [`Feed`] serves it: the whole state first, then what changed. It keeps no queue: each reader's
//! next message is the difference between what it was sent and what is true now, so a slow reader
//! gets changes combined. [`follow`] reads it: it reconnects by itself, and hands out a [`Mirror`]
//! that is always one consistent moment of the state.

mod certificates;
mod client;
mod mirror;
mod server;

pub use client::follow;
pub use mirror::Mirror;
pub use server::{Failures, Feed};
