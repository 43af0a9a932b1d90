//! Tells a scheduler's state that lacks changes from one that has them all.
//!
//! An agent removes a container only on the word of a state that contains everything the agent has
//! seen before. A number alone cannot say that: a state restored from a backup goes on counting and
//! soon has a higher one. So the state keeps the list of scheduler runs ("terms") that wrote it, each
//! with a random id and its first revision. An agent remembers the term and revision it saw last; in
//! the list of a state that contains them, that term is there and lasted at least to that revision.
//! The idea is Raft's log matching (Ongaro and Ousterhout 2014, section 5.3), with one entry a term.

use serde::{Deserialize, Serialize};

use crate::ids::ClusterId;

/// Which history of changes a state has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// The cluster.
    pub cluster: ClusterId,
    /// Counts deliberate breaks of history, each made by a person.
    pub epoch: u64,
    /// The runs of schedulers on the state, oldest first. The last one speaks.
    pub terms: Vec<Term>,
    /// The newest stored change.
    pub revision: u64,
}

/// One run of a scheduler on a state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Term {
    /// Random.
    pub id: String,
    /// Its first change.
    pub first_revision: u64,
}

/// Why a state's word is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// It is another cluster's.
    #[error("this node belongs to cluster {ours}, the scheduler to cluster {theirs}")]
    OtherCluster {
        /// The node's cluster.
        ours: ClusterId,
        /// The scheduler's cluster.
        theirs: ClusterId,
    },
    /// It comes from before a restore that this node knows of.
    #[error("the scheduler's state is of epoch {theirs}, this node has seen epoch {ours}")]
    OlderEpoch {
        /// The newest epoch that the node saw.
        ours: u64,
        /// The state's epoch.
        theirs: u64,
    },
    /// It lacks changes that this node has seen.
    #[error(
        "the scheduler's state lacks changes that this node has seen (up to {ours}; it shares only {theirs})"
    )]
    LacksChanges {
        /// The newest change that the node saw.
        ours: u64,
        /// The newest change that both have.
        theirs: u64,
    },
}

impl Lineage {
    /// Terms that a state keeps. More restarts than this between two sights of an agent make it
    /// refuse, which is the safe side.
    pub const MAX_TERMS: usize = 1000;

    /// Whether this state contains everything that `seen` did.
    ///
    /// A higher epoch is a person's word that this state counts, whatever was seen before.
    pub fn contains(&self, seen: &Self) -> Result<(), Stale> {
        if self.cluster != seen.cluster {
            return Err(Stale::OtherCluster { ours: seen.cluster.clone(), theirs: self.cluster.clone() });
        }
        if self.epoch != seen.epoch {
            return if self.epoch > seen.epoch {
                Ok(())
            } else {
                Err(Stale::OlderEpoch { ours: seen.epoch, theirs: self.epoch })
            };
        }
        let Some(last) = seen.terms.last() else { return Ok(()) };
        let position = self.terms.iter().position(|term| term.id == last.id);
        let shared = match position {
            None => 0,
            // The term ended where the next began; the newest one goes on until now.
            Some(at) => self.terms.get(at + 1).map_or(self.revision, |next| next.first_revision - 1),
        };
        if position.is_some() && shared >= seen.revision {
            Ok(())
        } else {
            Err(Stale::LacksChanges { ours: seen.revision, theirs: shared.min(seen.revision) })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lineage(terms: &[(&str, u64)], revision: u64) -> Lineage {
        Lineage {
            cluster: ClusterId::new("c1").unwrap(),
            epoch: 1,
            terms: terms
                .iter()
                .map(|(id, first)| Term { id: (*id).into(), first_revision: *first })
                .collect(),
            revision,
        }
    }

    #[test]
    fn a_state_that_went_on_contains_what_was_seen() {
        let seen = lineage(&[("a", 1)], 40);
        assert_eq!(lineage(&[("a", 1)], 40).contains(&seen), Ok(()));
        assert_eq!(lineage(&[("a", 1), ("b", 41)], 50).contains(&seen), Ok(()));
    }

    #[test]
    fn a_restored_backup_does_not_even_after_it_counted_past_it() {
        let seen = lineage(&[("a", 1)], 40);
        let restored = lineage(&[("a", 1), ("b", 21)], 90);
        assert_eq!(restored.contains(&seen), Err(Stale::LacksChanges { ours: 40, theirs: 20 }));
    }

    #[test]
    fn an_empty_state_does_not() {
        let seen = lineage(&[("a", 1)], 40);
        assert!(lineage(&[("z", 1)], 500).contains(&seen).is_err());
    }

    #[test]
    fn a_new_epoch_is_believed_and_an_old_one_is_not() {
        let seen = lineage(&[("a", 1)], 40);
        let newer = Lineage { epoch: 2, ..lineage(&[("z", 1)], 1) };
        assert_eq!(newer.contains(&seen), Ok(()));
        assert_eq!(seen.contains(&newer), Err(Stale::OlderEpoch { ours: 2, theirs: 1 }));
    }

    #[test]
    fn another_cluster_is_never_believed() {
        let seen = lineage(&[("a", 1)], 40);
        let other = Lineage { cluster: ClusterId::new("c2").unwrap(), epoch: 9, ..lineage(&[("a", 1)], 99) };
        assert!(matches!(other.contains(&seen), Err(Stale::OtherCluster { .. })));
    }

    proptest! {
        /// Whatever runs and changes there were: a state contains what was seen exactly if the
        /// sight was at or before the point at which the two histories parted.
        #[test]
        fn only_the_shared_part_of_a_history_is_contained(
            lengths in prop::collection::vec(1u64..20, 1..8),
            seen_at in 1u64..150,
            cut_at in 1u64..150,
        ) {
            let total: u64 = lengths.iter().sum();
            let (seen_at, cut_at) = (seen_at.min(total), cut_at.min(total));
            let mut first = 1;
            let history: Vec<(String, u64)> = lengths.iter().enumerate().map(|(n, length)| {
                let term = (format!("t{n}"), first);
                first += length;
                term
            }).collect();
            let until = |revision: u64| -> Vec<(&str, u64)> {
                history.iter().filter(|(_, first)| *first <= revision).map(|(id, first)| (id.as_str(), *first)).collect()
            };
            let seen = lineage(&until(seen_at), seen_at);
            let mut terms = until(cut_at);
            terms.push(("restored", cut_at + 1));
            let restored = lineage(&terms, cut_at + 100);
            prop_assert_eq!(restored.contains(&seen).is_ok(), seen_at <= cut_at);
        }
    }
}
