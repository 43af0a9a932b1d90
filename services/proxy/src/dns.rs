//! Answers names, at this node's address in each of its networks, on UDP and TCP.

mod forward;
mod handler;
mod listen;

pub use forward::Forwarder;
pub use listen::Names;
