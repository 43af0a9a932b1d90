//! Which nodes are there: the simple rule, on what was heard of them.
//!
//! A node that is silent for a while gets nothing new; one of which neither the agent nor the proxy is
//! heard for longer is lost, and what it ran is replaced. The guards are what matters: a scheduler that
//! has just started, or that is cut off itself, must not take its own trouble for that of the nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_model::{NodeId, Timestamp};

use crate::memory::Memory;
use crate::verdict::{Conclusion, Verdict};
use crate::world::{Hearing, Presence, Snapshot};

/// A node that is silent for this long gets nothing new.
pub const SUSPECT: Duration = Duration::from_secs(3);
/// A node of which nothing is heard for this long is lost.
pub const LOST: Duration = Duration::from_secs(6);
/// A restart that was announced may take this long.
const ANNOUNCED: Duration = Duration::from_mins(1);
/// From so many nodes on, more than half of them do not go at once by chance.
pub const MANY: usize = 3;
/// Nodes that went at once do not come back at once: while some do, the others are given this time.
const RETURNING: Duration = Duration::from_secs(20);
/// How long a node is watched after it came back for the second time; twice as long every further time.
const WATCHED: Duration = Duration::from_secs(5);
const WATCHED_LONGEST: Duration = Duration::from_mins(5);

/// What is concluded of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// The conclusion.
    pub presence: Presence,
    /// It would be lost, had not more than half of the nodes gone at once.
    pub held: bool,
}

/// What is concluded of every node.
pub fn judge(nodes: &BTreeMap<NodeId, Hearing>, now: Timestamp) -> BTreeMap<NodeId, Judgement> {
    let mut silences: Vec<Timestamp> = nodes.values().filter_map(|hearing| hearing.silent_since).collect();
    silences.sort_unstable();
    let is_back = |hearing: &&Hearing| hearing.silent_since.is_none();
    let returns = nodes.values().filter(is_back).filter_map(|hearing| hearing.returned_at);
    let returns: Vec<Timestamp> = returns.filter(|back| now.since(*back) < RETURNING).collect();
    let each = nodes.iter().map(|(node, hearing)| {
        let presence = judge_one(hearing, now);
        let held = presence == Presence::Lost
            && hearing.silent_since.is_some_and(|since| {
                // After a start of the scheduler all nodes come back: only who was held has a while to follow.
                let returns = if hearing.held { &returns[..] } else { &[] };
                most_went(&silences, returns, since, nodes.len())
            });
        let presence = if held { Presence::Suspect } else { presence };
        (node.clone(), Judgement { presence, held })
    });
    each.collect()
}

fn judge_one(hearing: &Hearing, now: Timestamp) -> Presence {
    let Some(since) = hearing.silent_since else {
        let watched = hearing.returned_at.is_some_and(|back| now.since(back) < watched_for(hearing.flaps));
        return if watched { Presence::Suspect } else { Presence::Ready };
    };
    let silent = now.since(since);
    let announced = hearing.restarting_since.is_some_and(|since| now.since(since) < ANNOUNCED);
    if silent >= LOST && !hearing.connected && !hearing.proxy_heard && !announced {
        Presence::Lost
    } else if silent >= SUSPECT {
        Presence::Suspect
    } else {
        Presence::Ready
    }
}

/// Whether more than half of the nodes that were there went silent when this one did, with those that are
/// back since then.
fn most_went(silences: &[Timestamp], returns: &[Timestamp], since: Timestamp, nodes: usize) -> bool {
    let before = silences.partition_point(|other| since.since(*other) > LOST);
    let until = silences.partition_point(|other| *other <= since.after(LOST));
    let were_there = nodes - before;
    let back = returns.iter().filter(|back| **back >= since).count();
    were_there >= MANY && (until - before + back) * 2 > were_there
}

fn watched_for(flaps: u32) -> Duration {
    match flaps.checked_sub(2) {
        None => Duration::ZERO,
        Some(more) => WATCHED.saturating_mul(1 << more.min(10)).min(WATCHED_LONGEST),
    }
}

/// What is new about nodes.
pub fn verdicts(snapshot: &Snapshot, memory: &Memory, now: Timestamp) -> Vec<Verdict> {
    let new = judge(&snapshot.nodes, now).into_iter().filter_map(|(node, judgement)| {
        let hearing = &snapshot.nodes[&node];
        let Judgement { presence, held } = judgement;
        let known = hearing.presence == presence && !held;
        if known || memory.was_said(&node, presence, held, now) {
            return None;
        }
        let (reason, message) = explain(hearing, judgement, now);
        let conclusion = Conclusion::Node { node, presence, silent_since: hearing.silent_since, held };
        Some(Verdict { revision: snapshot.revision, reason, message, conclusion })
    });
    new.collect()
}

fn explain(hearing: &Hearing, judgement: Judgement, now: Timestamp) -> (&'static str, String) {
    let name = &hearing.name;
    let silent = hearing.silent_since.map_or(0, |since| now.since(since).as_secs());
    match (judgement.presence, hearing.silent_since) {
        (_, _) if judgement.held => (
            "NodesVanished",
            format!(
                "node {name} has been silent for {silent} s, as have more than half of the nodes since the same time; \
                 the fault is likely on the scheduler's side, and nothing is moved"
            ),
        ),
        (Presence::Lost, _) => (
            "NodeLost",
            format!("nothing was heard of node {name} for {silent} s; what it ran is replaced elsewhere"),
        ),
        (Presence::Suspect, Some(_)) => (
            "NodeSuspect",
            format!("nothing was heard of node {name}'s agent for {silent} s; nothing new is placed there"),
        ),
        (Presence::Suspect, None) => (
            "NodeFlaps",
            format!(
                "node {name} went silent and came back {} times of late; nothing new is placed there for a while",
                hearing.flaps
            ),
        ),
        (Presence::Ready, _) => ("NodeReady", format!("node {name} is heard")),
    }
}

#[cfg(test)]
mod tests;
