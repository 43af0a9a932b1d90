//! Whether a machine may join. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::cluster::v1::JoinRequest;
use gantry_identity::{Fingerprint, Token};
use gantry_model::{
    Change, Host, Ipv4Net, JoinToken, Key, Node, NodeId, NodeRole, Record, Severity, Snapshot, Timestamp,
    wire,
};
use tonic::Status;

use super::remove::revoke;
use crate::decide::record_event;

/// Clocks may differ by this much.
const CLOCKS: Duration = Duration::from_mins(5);
/// What the overlay adds to each packet: VXLAN over IPv4, and over IPv6.
const OVERHEAD: u32 = 50;
const OVERHEAD_IPV6: u32 = 70;
const MOST_ADDRESSES: usize = 16;
const MOST_LABELS: usize = 64;
const LONGEST: usize = 256;

/// What is asked, once it is known to make sense.
#[derive(Debug, Clone)]
pub struct Asked {
    token: Token,
    name: String,
    addresses: Vec<IpAddr>,
    labels: BTreeMap<String, String>,
    routes: Vec<(Ipv4Net, String)>,
    interface: String,
    mtu: u32,
    time: Timestamp,
}

impl Asked {
    /// Reads a request that came from the address `from`.
    pub fn read(request: &JoinRequest, from: Option<IpAddr>) -> Result<Self, Status> {
        let invalid = |problem: String| Status::invalid_argument(problem);
        let token =
            request.token.parse().map_err(|error: gantry_identity::BadToken| invalid(error.to_string()))?;
        check_name(&request.name).map_err(invalid)?;
        check_labels(&request.labels).map_err(invalid)?;
        if request.addresses.len() > MOST_ADDRESSES {
            return Err(invalid(format!("{} addresses are too many", request.addresses.len())));
        }
        let mut addresses = Vec::new();
        for text in &request.addresses {
            let address: IpAddr =
                text.parse().map_err(|_| invalid(format!("{text:?} is not an IP address")))?;
            if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
                return Err(invalid(format!(
                    "other nodes cannot reach this one at {address}: give one that they can with --advertise-addr"
                )));
            }
            addresses.push(address);
        }
        if addresses.is_empty() {
            addresses.extend(from);
        }
        // Routes over IPv6 cannot be in the way: networks are made from IPv4.
        let routes = request.routes.iter();
        let routes = routes.filter_map(|route| Some((route.range.parse().ok()?, route.interface.clone())));
        let time =
            request.time.map(wire::read_time).ok_or_else(|| invalid("the time is missing".to_owned()))?;
        Ok(Self {
            token,
            name: request.name.clone(),
            addresses,
            labels: request.labels.clone(),
            routes: routes.collect(),
            interface: request.interface.clone(),
            mtu: request.interface_mtu,
            time,
        })
    }
}

/// A node's name is used in commands, constraints and container names.
pub fn check_name(name: &str) -> Result<(), String> {
    let fine = (1..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if fine {
        return Ok(());
    }
    Err(format!(
        "{name:?} is no name for a node: use letters, digits, '-', '_' and '.', at most 63: --node-name"
    ))
}

/// Labels are bounded, and their names can be written in a constraint.
pub fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), String> {
    if labels.len() > MOST_LABELS {
        return Err(format!("{} labels are too many: at most {MOST_LABELS}", labels.len()));
    }
    for (name, value) in labels {
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if name.is_empty() || name.len() > LONGEST || !name.chars().all(known) {
            return Err(format!(
                "{name:?} is no name for a label: use letters, digits, '-', '_', '.' and '/'"
            ));
        }
        if value.len() > LONGEST || value.chars().any(char::is_control) {
            return Err(format!("the value of the label {name} is too long, or not printable"));
        }
    }
    Ok(())
}

/// Admits a machine as the node `id`, or says why not. `own` is the CA's fingerprint; a certificate that
/// was made just before `now` is good until `until`.
///
/// What concerns the token comes first: nobody else is told anything about the cluster.
pub fn admit(
    snapshot: &Snapshot,
    own: &Fingerprint,
    asked: &Asked,
    id: &NodeId,
    until: Timestamp,
    now: Timestamp,
) -> Result<Vec<Change>, Status> {
    let token = check_token(snapshot, own, &asked.token, now)?;
    check_clock(asked.time, now)?;
    let replaced = check_namesake(snapshot, &asked.name)?;
    check_routes(snapshot, asked)?;
    check_mtu(snapshot, asked)?;

    let mut changes = Vec::new();
    if let Some(replaced) = replaced {
        changes.push(Change::Delete(Key::Node(replaced.id.clone())));
        changes.push(revoke(replaced, until, now));
    }
    let node = Node {
        id: id.clone(),
        name: asked.name.clone(),
        addresses: asked.addresses.iter().map(ToString::to_string).collect(),
        agent_port: 0,
        labels: asked.labels.clone(),
        availability: Default::default(),
        quarantined_since: None,
        role: NodeRole::Worker,
        host: Host::default(),
        joined_at: now,
    };
    changes.push(Change::Put(Record::Node(Arc::new(node))));
    changes.push(Change::Put(Record::Token(Arc::new(JoinToken { used: token.used + 1, ..token.clone() }))));
    let subject = format!("node:{}", asked.name);
    let message = format!("node {} joined with a token of {}", asked.name, token.created_by);
    changes.extend(record_event(snapshot, now, Severity::Normal, &subject, None, "Joined", message));
    Ok(changes)
}

fn check_token<'a>(
    snapshot: &'a Snapshot,
    own: &Fingerprint,
    token: &Token,
    now: Timestamp,
) -> Result<&'a JoinToken, Status> {
    if token.fingerprint != *own {
        return Err(Status::permission_denied(format!(
            "this join token is of another cluster: it names the CA {}, this cluster's is {own}",
            token.fingerprint
        )));
    }
    let known = snapshot.tokens.get(&token.id).filter(|known| token.hash().matches(&known.hash));
    let known = known.ok_or_else(|| {
        Status::permission_denied(
            "there is no such join token: `gantry token` on an admin's machine makes one",
        )
    })?;
    match known.over(now) {
        None => Ok(known),
        Some(over) => Err(Status::permission_denied(format!("{over}: `gantry token` makes a new one"))),
    }
}

fn check_clock(theirs: Timestamp, ours: Timestamp) -> Result<(), Status> {
    let apart = theirs.since(ours).max(ours.since(theirs));
    if apart <= CLOCKS {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "the clocks are too far apart: the new node says {theirs}, the scheduler {ours}; certificates need them within {} min: set the wrong one right, such as with NTP",
        CLOCKS.as_secs() / 60
    )))
}

/// A node of that name that never came may be replaced: its join was cut short.
fn check_namesake<'a>(snapshot: &'a Snapshot, name: &str) -> Result<Option<&'a Node>, Status> {
    let Some(other) = snapshot.nodes.values().find(|node| node.name == name) else { return Ok(None) };
    if other.host == Host::default() && !snapshot.node_statuses.contains_key(&other.id) {
        return Ok(Some(other));
    }
    let connected = snapshot.node_statuses.get(&other.id).is_some_and(|status| status.connected);
    let how = if connected { "is connected" } else { "is not connected now" };
    let at = other.addresses.first().map(|address| format!(" at {address}")).unwrap_or_default();
    Err(Status::already_exists(format!(
        "there is a node {name} already{at}, which {how}: join with another --node-name, or remove that one with `gantry node rm {name}`"
    )))
}

fn check_routes(snapshot: &Snapshot, asked: &Asked) -> Result<(), Status> {
    let pool = snapshot.cluster.pool;
    let overlaps =
        |range: &Ipv4Net| range.prefix_len() > 0 && (range.contains(&pool) || pool.contains(range));
    match asked.routes.iter().find(|(range, _)| overlaps(range)) {
        None => Ok(()),
        Some((range, interface)) => Err(Status::failed_precondition(format!(
            "the cluster makes its networks from {pool}, and this host reaches {range} through {interface}: both cannot be; remove that route, or make the cluster with another range (`gantry init --pool`)"
        ))),
    }
}

fn check_mtu(snapshot: &Snapshot, asked: &Asked) -> Result<(), Status> {
    let overhead =
        if asked.addresses.first().is_some_and(IpAddr::is_ipv6) { OVERHEAD_IPV6 } else { OVERHEAD };
    let (wanted, there) = (snapshot.cluster.mtu + overhead, asked.mtu);
    if there == 0 || there >= wanted {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "the interface {} takes packets of {there} bytes at most, and this cluster's networks (MTU {}) need {wanted}: raise it, join through another interface (--advertise-addr), or make the cluster with a smaller --mtu",
        asked.interface, snapshot.cluster.mtu
    )))
}

#[cfg(test)]
#[path = "admit_tests.rs"]
mod tests;
