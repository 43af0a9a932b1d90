//! Membership as messages.

use gantry_api::cluster::v1 as cluster;
use gantry_api::node::v1 as node;

use super::parts::write_time;
use crate::membership::JoinToken;
use crate::node::Availability;
use crate::snapshot::Snapshot;

/// Writes what people let a node do.
pub fn write_availability(availability: Availability) -> cluster::Availability {
    match availability {
        Availability::Active => cluster::Availability::Active,
        Availability::Pause => cluster::Availability::Pause,
        Availability::Drain => cluster::Availability::Drain,
    }
}

/// Reads what people let a node do; `None` is not given.
pub fn read_availability(availability: cluster::Availability) -> Option<Availability> {
    match availability {
        cluster::Availability::Unspecified => None,
        cluster::Availability::Active => Some(Availability::Active),
        cluster::Availability::Pause => Some(Availability::Pause),
        cluster::Availability::Drain => Some(Availability::Drain),
    }
}

/// Writes a token for people.
pub fn write_token(token: &JoinToken) -> cluster::Token {
    cluster::Token {
        id: token.id.clone(),
        role: "node".to_owned(),
        created_by: token.created_by.clone(),
        created_at: Some(write_time(token.created_at)),
        expires_at: Some(write_time(token.expires_at)),
        used: token.used,
        uses: token.uses.unwrap_or(0),
        voided: token.voided,
    }
}

/// Writes what members keep of each other.
pub fn write_membership(snapshot: &Snapshot, scheduler_addresses: Vec<String>) -> node::Membership {
    node::Membership { scheduler_addresses, denied: snapshot.denied.keys().cloned().collect() }
}
