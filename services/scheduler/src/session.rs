//! The scheduler's side towards the nodes: agents' sessions, relays to them, and proxies' tables.

mod agents;
mod assignments;
mod relays;
mod routing;

pub use agents::Agents;
pub use relays::{Relay, Relays};
pub use routing::Routing;
