//! What is known of the ways to other nodes. Pure: rounds and answers go in, what is broken comes out.

use std::collections::{BTreeMap, BTreeSet};

use gantry_model::{BrokenPath, NodeId};

/// Probes of one round. Where there are more ways, they take turns.
const PER_ROUND: usize = 256;
/// Every so many probes of a way one is large.
const LARGE_EVERY: u32 = 4;
/// So many small ones in a row, lost, make a way broken. A node that is gone is known to be lost before.
const LOST: u32 = 5;
/// So many large ones in a row, lost while small ones arrive, make it too narrow.
const LOST_LARGE: u32 = 3;
/// So many in a row, arrived, make it well.
const ARRIVED: u32 = 2;

/// A way: to a node, over a network by its name on the engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path {
    /// The node.
    pub node: NodeId,
    /// The network.
    pub network: String,
}

/// One probe to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The way.
    pub path: Path,
    /// Its number, which the answer repeats.
    pub number: u64,
    /// As large as packets may be.
    pub large: bool,
}

/// All ways.
#[derive(Debug, Default)]
pub struct Paths {
    states: BTreeMap<Path, State>,
    /// Under way, by number.
    waiting: BTreeMap<u64, (Path, bool)>,
    /// The way that was tried last, where they take turns.
    last: Option<Path>,
    next: u64,
}

#[derive(Debug, Default)]
struct State {
    sent: u32,
    small: Judge,
    large: Judge,
}

/// What is thought of probes of one size.
#[derive(Debug, Default)]
struct Judge {
    lost: u32,
    arrived: u32,
    broken: bool,
}

impl Judge {
    fn loses(&mut self, bound: u32) {
        (self.lost, self.arrived) = (self.lost.saturating_add(1), 0);
        self.broken |= self.lost >= bound;
    }

    fn gets(&mut self) {
        (self.lost, self.arrived) = (0, self.arrived.saturating_add(1));
        self.broken &= self.arrived < ARRIVED;
    }
}

impl Paths {
    /// Numbers begin at `first`: answers to an earlier run are none to this one.
    pub fn new(first: u64) -> Self {
        Self { next: first, ..Self::default() }
    }

    /// Begins a round over these ways: what was not answered is lost. Answers with what to send.
    pub fn round(&mut self, wanted: &BTreeSet<Path>) -> Vec<Probe> {
        self.states.retain(|path, _| wanted.contains(path));
        for (path, large) in std::mem::take(&mut self.waiting).into_values() {
            if let Some(state) = self.states.get_mut(&path) {
                if large {
                    state.large.loses(LOST_LARGE);
                } else {
                    state.small.loses(LOST);
                }
            }
        }
        let turn: Vec<Path> = match &self.last {
            Some(last) if wanted.len() > PER_ROUND => {
                let later = wanted.iter().filter(|path| *path > last);
                later.chain(wanted.iter().filter(|path| *path <= last)).take(PER_ROUND).cloned().collect()
            }
            _ => wanted.iter().take(PER_ROUND).cloned().collect(),
        };
        self.last = turn.last().cloned();
        turn.into_iter().map(|path| self.probe(path)).collect()
    }

    fn probe(&mut self, path: Path) -> Probe {
        let state = self.states.entry(path.clone()).or_default();
        state.sent = state.sent.wrapping_add(1);
        // Where nothing arrives, large ones would tell nothing.
        let large = state.sent.is_multiple_of(LARGE_EVERY) && state.small.lost == 0;
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.waiting.insert(number, (path.clone(), large));
        Probe { path, number, large }
    }

    /// An answer to a probe of this round, from the node at the end of the way `from`; any other is ignored.
    pub fn answered(&mut self, number: u64, from: &Path) {
        if self.waiting.get(&number).is_none_or(|(path, _)| path != from) {
            return;
        }
        let Some((path, large)) = self.waiting.remove(&number) else { return };
        if let Some(state) = self.states.get_mut(&path) {
            if large {
                state.large.gets();
            } else {
                state.small.gets();
            }
        }
    }

    /// What is broken now.
    pub fn broken(&self) -> BTreeSet<BrokenPath> {
        let broken = self.states.iter().filter(|(_, state)| state.small.broken || state.large.broken);
        broken
            .map(|(path, state)| BrokenPath {
                node: path.node.clone(),
                network: path.network.clone(),
                only_large: !state.small.broken,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(node: usize) -> Path {
        Path { node: NodeId::new(format!("n{node:04}")).unwrap(), network: "shop_default".into() }
    }

    fn ways(count: usize) -> BTreeSet<Path> {
        (0..count).map(path).collect()
    }

    /// One round in which probes arrive by `arrives`.
    fn round(paths: &mut Paths, wanted: &BTreeSet<Path>, arrives: impl Fn(&Probe) -> bool) -> usize {
        let probes = paths.round(wanted);
        for probe in probes.iter().filter(|probe| arrives(probe)) {
            paths.answered(probe.number, &probe.path);
        }
        probes.len()
    }

    #[test]
    fn a_way_is_broken_when_several_in_a_row_are_lost_and_well_when_they_arrive_again() {
        let (mut paths, wanted) = (Paths::new(7), ways(2));
        for _ in 0..=LOST {
            assert!(paths.broken().is_empty());
            round(&mut paths, &wanted, |probe| probe.path == path(0));
        }
        let broken: Vec<_> = paths.broken().into_iter().collect();
        assert_eq!((broken.len(), &broken[0].node, broken[0].only_large), (1, &path(1).node, false));
        round(&mut paths, &wanted, |_| true);
        assert_eq!(paths.broken().len(), 1, "one swallow");
        for _ in 0..2 {
            round(&mut paths, &wanted, |_| true);
        }
        assert!(paths.broken().is_empty());
    }

    #[test]
    fn a_loss_now_and_then_breaks_nothing() {
        let (mut paths, wanted) = (Paths::new(0), ways(1));
        for turn in 0..100 {
            round(&mut paths, &wanted, |_| turn % 3 != 0);
            assert!(paths.broken().is_empty());
        }
    }

    #[test]
    fn a_way_that_is_too_narrow_is_told_from_one_that_is_broken() {
        let (mut paths, wanted) = (Paths::new(0), ways(1));
        for _ in 0..=LARGE_EVERY * LOST_LARGE {
            round(&mut paths, &wanted, |probe| !probe.large);
        }
        assert!(paths.broken().first().unwrap().only_large);
        for _ in 0..=LARGE_EVERY * ARRIVED {
            round(&mut paths, &wanted, |_| true);
        }
        assert!(paths.broken().is_empty());
    }

    #[test]
    fn answers_of_others_and_late_ones_count_for_nothing() {
        let (mut paths, wanted) = (Paths::new(0), ways(2));
        for _ in 0..=LOST {
            let probes = paths.round(&wanted);
            paths.answered(probes[0].number, &path(1));
            paths.answered(probes[1].number.wrapping_sub(2), &path(1));
        }
        assert_eq!(paths.broken().len(), 2);
    }

    #[test]
    fn many_ways_take_turns_and_none_is_forgotten() {
        let (mut paths, wanted) = (Paths::new(0), ways(600));
        let mut tried = BTreeSet::new();
        for _ in 0..3 {
            let probes = paths.round(&wanted);
            assert_eq!(probes.len(), PER_ROUND);
            tried.extend(probes.into_iter().map(|probe| probe.path));
        }
        assert_eq!(tried, wanted);
    }

    #[test]
    fn a_way_that_is_not_wanted_any_more_is_not_broken() {
        let mut paths = Paths::new(0);
        for _ in 0..=LOST {
            round(&mut paths, &ways(1), |_| false);
        }
        assert_eq!(paths.broken().len(), 1);
        assert_eq!(round(&mut paths, &BTreeSet::new(), |_| true), 0);
        assert!(paths.broken().is_empty());
    }
}
