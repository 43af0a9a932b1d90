//! The scheduler's side towards the nodes: agents' sessions, relays to them, and proxies' tables and traffic.

mod agents;
mod assignments;
mod hearing;
mod paths;
mod relays;
mod routing;
mod sources;
mod traffic;

pub use agents::Agents;
pub use hearing::Hearing;
pub use relays::{Relay, Relays};
pub use routing::Routing;
