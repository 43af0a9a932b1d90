//! The scheduler's side towards the nodes: agents' sessions, relays to them, and proxies' tables and traffic.

mod agents;
mod assignments;
mod hearing;
mod lease;
mod paths;
mod relays;
mod routing;
mod sources;
mod traffic;
mod verdicts;

use gantry_api::node::v1::Membership;
use gantry_model::{Snapshot, wire};

use crate::membership::Office;

pub use agents::Agents;
pub use hearing::Hearing;
pub use lease::Lease;
pub use relays::{Relay, Relays};
pub use routing::Routing;
pub use verdicts::Verdicts;

/// What a member has to be told of the others, if it is not what it was `told` last.
fn news_of_members(
    office: &Office,
    snapshot: &Snapshot,
    told: &mut Option<Membership>,
) -> Option<Membership> {
    let now = wire::write_membership(snapshot, office.places(snapshot));
    if told.as_ref() == Some(&now) {
        return None;
    }
    *told = Some(now.clone());
    Some(now)
}
