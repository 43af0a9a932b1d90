//! What one node has and another needs goes from agent to agent: images, and volumes that move.
//!
//! The node that needs something dials the agent of a node that has it ([`Dial`]) and gets an archive in
//! pieces ([`pieces`]), which it hands on to its engine as they come. Nothing that arrived damaged or cut
//! off is taken for whole. [`Transfers`] is the side that sends, [`Copies`] the one that decides where an
//! image comes from: it is here, another node has it, or a registry. [`Moves`] copies volumes.

mod copies;
mod dial;
mod fetch;
mod fingerprint;
mod moves;
mod pieces;
mod serve;
#[cfg(test)]
mod tests;

pub use copies::{Copies, Copy, ImageNeeded};
pub use dial::{Dial, Peer};
pub use moves::Moves;
pub use serve::Transfers;
