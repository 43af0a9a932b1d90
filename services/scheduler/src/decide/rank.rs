//! The best node for each of several replicas of one kind, one after the other.
//!
//! Nodes are looked at once for all replicas of a revision; from then on every choice costs the
//! logarithm of their number. Filters that depend on what is on a node are asked again when it is
//! about to be chosen. What they refuse stays refused, as nothing leaves a node meanwhile.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use gantry_model::{NodeId, Phase, RepairKind, Replica, ServiceId, Snapshot, Timestamp};

use super::filter::{FIXED, SHRINKING, Wanted, refusal};
use super::load::Load;

/// Lower is better: failures of the service there of late, replicas of this revision, how often the node
/// went and came back of late, replicas of all services. Ties break by the order of ids.
type Rank = (u32, u32, u32, u32, usize);

/// The nodes that may be chosen.
pub struct Ranking {
    groups: Vec<Group>,
    /// How many replicas each group has, by level of preference and values up to there.
    spread: BTreeMap<Vec<String>, u32>,
    fitting: usize,
}

/// Nodes that are alike in what replicas are spread over.
struct Group {
    values: Vec<String>,
    nodes: BinaryHeap<Reverse<Rank>>,
}

/// A node that was chosen.
pub struct Chosen {
    /// Where it stands in the load's list.
    pub at: usize,
    /// Why it was chosen.
    pub why: String,
    group: usize,
    rank: Rank,
}

impl Ranking {
    /// Ranks the nodes that fit as far as that does not change from replica to replica.
    pub fn new(wanted: &Wanted<'_>, load: &Load, failures: &HashMap<NodeId, u32>) -> Self {
        let preferences = &wanted.service.spec.placement.spread;
        let mut heaps: BTreeMap<Vec<String>, Vec<Reverse<Rank>>> = BTreeMap::new();
        let mut spread: BTreeMap<Vec<String>, u32> = BTreeMap::new();
        let mut fitting = 0;
        let only = wanted.only.as_ref().map(|only| load.position(only));
        let looked_at = match only {
            Some(Some(at)) => at..at + 1,
            Some(None) => 0..0,
            None => 0..load.nodes().len(),
        };
        for at in looked_at {
            let node = &load.nodes()[at];
            if refusal(&FIXED, wanted, node).is_some() {
                continue;
            }
            fitting += 1;
            let count = wanted.count_on(&node.node.id);
            let values: Vec<String> =
                preferences.iter().map(|attribute| attribute.group(&node.node)).collect();
            for level in 1..=values.len() {
                *spread.entry(values[..level].to_vec()).or_default() += count;
            }
            let failures = failures.get(&node.node.id).copied().unwrap_or(0);
            let rank = (failures, count, node.flaps, node.replicas, at);
            heaps.entry(values).or_default().push(Reverse(rank));
        }
        let groups = heaps.into_iter().map(|(values, nodes)| Group { values, nodes: nodes.into() }).collect();
        Self { groups, spread, fitting }
    }

    /// The best node that fits now, other than those in `left`.
    pub fn choose(&mut self, wanted: &Wanted<'_>, load: &Load, left: &[usize]) -> Option<Chosen> {
        let mut order: Vec<usize> = (0..self.groups.len()).collect();
        if order.len() > 1 {
            order.sort_by_key(|group| (self.counts(*group), *group));
        }
        order.into_iter().find_map(|group| self.choose_in(group, wanted, load, left))
    }

    /// How many replicas a group has, at each level of preference.
    fn counts(&self, group: usize) -> Vec<u32> {
        let values = &self.groups[group].values;
        (1..=values.len()).map(|level| self.spread.get(&values[..level]).copied().unwrap_or(0)).collect()
    }

    fn choose_in(
        &mut self,
        group: usize,
        wanted: &Wanted<'_>,
        load: &Load,
        left: &[usize],
    ) -> Option<Chosen> {
        let fitting = self.fitting;
        let nodes = &mut self.groups[group].nodes;
        let mut passed_over = Vec::new();
        let mut best = None;
        while let Some(Reverse(rank)) = nodes.pop() {
            let at = rank.4;
            if left.contains(&at) {
                passed_over.push(Reverse(rank));
            } else if refusal(&SHRINKING, wanted, &load.nodes()[at]).is_none() {
                best = Some(rank);
                break;
            } else {
                self.fitting -= 1;
            }
        }
        nodes.extend(passed_over);
        let rank = best?;
        let why = match fitting - left.len().min(fitting - 1) {
            1 => "the only node that fits".to_owned(),
            count => format!("the least loaded of {count} nodes that fit"),
        };
        Some(Chosen { at: rank.4, why, group, rank })
    }

    /// A replica of this kind is on the node that was chosen.
    pub fn placed(&mut self, chosen: &Chosen) {
        let (failures, count, flaps, replicas, at) = chosen.rank;
        let group = &mut self.groups[chosen.group];
        group.nodes.push(Reverse((failures, count + 1, flaps, replicas + 1, at)));
        for level in 1..=group.values.len() {
            if let Some(count) = self.spread.get_mut(&group.values[..level]) {
                *count += 1;
            }
        }
    }

    /// The node that was chosen is not used after all.
    pub fn put_back(&mut self, chosen: &Chosen) {
        self.groups[chosen.group].nodes.push(Reverse(chosen.rank));
    }
}

/// How many replicas of a service fail on each node, as far as is seen now, and how many were replaced
/// there of late because they did.
pub fn failures(snapshot: &Snapshot, id: &ServiceId, now: Timestamp) -> HashMap<NodeId, u32> {
    let mut failures = HashMap::new();
    let service = snapshot.services.get(id);
    for repair in service.into_iter().flat_map(|service| {
        let is_recent = |at| now.since(at) < service.spec.heal.window;
        service
            .repairs
            .iter()
            .filter(move |repair| repair.kind == RepairKind::Replace && is_recent(repair.at))
    }) {
        if let Some(node) = &repair.node {
            *failures.entry(node.clone()).or_default() += 1;
        }
    }
    let fails = |replica: &Replica| {
        snapshot
            .status_of(&replica.id)
            .is_some_and(|status| matches!(status.phase, Phase::Failed | Phase::Restarting))
    };
    for replica in snapshot.replicas_of(id).filter(|replica| fails(replica)) {
        if let Some(node) = &replica.node {
            *failures.entry(node.clone()).or_default() += 1;
        }
    }
    failures
}
