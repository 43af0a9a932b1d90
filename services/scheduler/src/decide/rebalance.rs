//! Which replicas move so that all nodes have their share, after nodes have joined or come back.
//!
//! Every move makes things more even, in this order: over what the service asks to be spread over, then
//! the service's replicas over nodes, then all replicas over nodes. So it comes to an end. Only what can
//! have its successor started first is moved, and nothing that its volume holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_model::{Change, Goal, NodeId, Replica, Revision, Service, Snapshot, Template, Timestamp};

use super::action::Action;
use super::filter::{FIXED, SHRINKING, Wanted, refusal};
use super::load::{Carried, Load};
use super::plan::Plan;
use super::relocate::{leaves, starts_first};

/// One replica that is to run elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The replica.
    pub replica: Arc<Replica>,
    /// Its node.
    pub from: NodeId,
    /// Where its successor is likely to be placed.
    pub to: NodeId,
}

/// How full a place is: replicas of the service by what it is spread over, then on the node, then all
/// replicas on the node. Less is better.
type Fullness = (Vec<u32>, u32, u32);

/// The moves that even nodes out, in order.
pub fn moves(snapshot: &Snapshot) -> Vec<Move> {
    let mut load = Load::new(snapshot);
    let mut moves = Vec::new();
    for service in snapshot.services.values() {
        if service.removing || service.stopped || service.is_global() || !starts_first(service) {
            continue;
        }
        let live: Vec<_> =
            snapshot.replicas_of(&service.id).filter(|replica| replica.goal == Goal::Run).collect();
        // A service that is being updated or moved already is left alone.
        let at_rest = live.iter().all(|replica| {
            replica.revision == service.revision && replica.node.is_some() && !leaves(snapshot, replica)
        });
        let Some(revision) = live.first().filter(|_| at_rest).and_then(|first| snapshot.revision_of(first))
        else {
            continue;
        };
        if live.len() == service.slots().len() {
            even_out(snapshot, service, revision, &live, &mut load, &mut moves);
        }
    }
    moves
}

/// What marks the replicas of `moves`: from then on they move, whatever becomes of the scheduler.
pub fn mark(snapshot: &Snapshot, moves: &[Move], now: Timestamp) -> Vec<Change> {
    let mut plan = Plan::new(snapshot, now);
    for planned in moves {
        plan.push(Action::Leave { replica: planned.replica.id.clone() });
    }
    plan.changes
}

fn even_out(
    snapshot: &Snapshot,
    service: &Service,
    revision: &Revision,
    live: &[&Arc<Replica>],
    load: &mut Load,
    moves: &mut Vec<Move>,
) {
    let Some(first) = live.first() else { return };
    let template = &revision.template;
    let mut wanted = Wanted::new(snapshot, service, revision, first);
    let fitting: Vec<usize> =
        (0..load.nodes().len()).filter(|at| refusal(&FIXED, &wanted, &load.nodes()[*at]).is_none()).collect();
    let mut movable: Vec<(&Arc<Replica>, usize)> = live
        .iter()
        .filter(|replica| replica.outcome.is_none() && snapshot.pinned_by(replica).is_none())
        .filter_map(|replica| Some((*replica, load.position(replica.node.as_ref()?)?)))
        .collect();
    // The newest slots move first, as they go first when a service becomes smaller.
    movable.sort_by_key(|(replica, _)| std::cmp::Reverse(replica.slot));
    let spread = |node: &Carried| -> Vec<String> {
        service.spec.placement.spread.iter().map(|attribute| attribute.group(&node.node)).collect()
    };
    let groups: Vec<Vec<String>> = load.nodes().iter().map(spread).collect();
    loop {
        let mut counts = Groups::count(&wanted, load, &groups);
        // The fullest place first; one look at each is enough.
        let mut places: BTreeMap<usize, usize> = BTreeMap::new();
        for (at, (_, node)) in movable.iter().enumerate() {
            places.entry(*node).or_insert(at);
        }
        let mut places: Vec<(Fullness, usize)> = places
            .into_iter()
            .map(|(node, at)| (counts.fullness(&wanted, load, &groups[node], node), at))
            .collect();
        places.sort_by(|a, b| b.cmp(a));
        let found = places.into_iter().find_map(|(_, at)| {
            let (replica, from) = movable[at];
            take(replica, template, from, load, &mut wanted, &mut counts, &groups);
            let here = counts.fullness(&wanted, load, &groups[from], from);
            let best = fitting
                .iter()
                .filter(|to| **to != from && refusal(&SHRINKING, &wanted, &load.nodes()[**to]).is_none())
                .map(|to| (counts.fullness(&wanted, load, &groups[*to], *to), *to))
                .min();
            match best {
                Some((there, to)) if there < here => Some((at, to)),
                _ => {
                    put(replica, template, from, load, &mut wanted, &mut counts, &groups);
                    None
                }
            }
        });
        let Some((at, to)) = found else { return };
        // Who has moved does not move again.
        let (replica, from) = movable.remove(at);
        put(replica, template, to, load, &mut wanted, &mut counts, &groups);
        let node = |at: usize| load.nodes()[at].node.id.clone();
        moves.push(Move { replica: replica.clone(), from: node(from), to: node(to) });
    }
}

/// How many replicas of a service there are by what it is spread over.
struct Groups(BTreeMap<Vec<String>, u32>);

impl Groups {
    fn count(wanted: &Wanted<'_>, load: &Load, groups: &[Vec<String>]) -> Self {
        let mut counts = Self(BTreeMap::new());
        for (at, values) in groups.iter().enumerate() {
            let own = wanted.count_on(&load.nodes()[at].node.id);
            counts.change(values, |count| *count += own);
        }
        counts
    }

    fn change(&mut self, values: &[String], change: impl Fn(&mut u32)) {
        for level in 1..=values.len() {
            change(self.0.entry(values[..level].to_vec()).or_default());
        }
    }

    fn fullness(&self, wanted: &Wanted<'_>, load: &Load, values: &[String], at: usize) -> Fullness {
        let groups = (1..=values.len()).map(|level| self.0.get(&values[..level]).copied().unwrap_or(0));
        let node = &load.nodes()[at];
        (groups.collect(), wanted.count_on(&node.node.id), node.replicas)
    }
}

fn take(
    replica: &Replica,
    template: &Template,
    at: usize,
    load: &mut Load,
    wanted: &mut Wanted<'_>,
    counts: &mut Groups,
    groups: &[Vec<String>],
) {
    load.remove(at, template, replica);
    let node = load.nodes()[at].node.id.clone();
    wanted.counts.entry(node).and_modify(|count| *count = count.saturating_sub(1));
    counts.change(&groups[at], |count| *count = count.saturating_sub(1));
}

fn put(
    replica: &Replica,
    template: &Template,
    at: usize,
    load: &mut Load,
    wanted: &mut Wanted<'_>,
    counts: &mut Groups,
    groups: &[Vec<String>],
) {
    load.add(at, template, replica);
    *wanted.counts.entry(load.nodes()[at].node.id.clone()).or_default() += 1;
    counts.change(&groups[at], |count| *count += 1);
}
