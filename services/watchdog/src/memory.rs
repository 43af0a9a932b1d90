//! What was handed over and does not show in the feed yet. All else that a watchdog goes by is in the
//! feed, so one that starts anew knows as much.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry_model::{NodeId, ReplicaId, Timestamp};

use crate::verdict::{Conclusion, Verdict};
use crate::world::{Presence, Snapshot};

/// What was taken shows in the feed within this time, or never will.
const SHOWS_WITHIN: Duration = Duration::from_secs(10);
/// What was refused is not said again before this time is over.
const REFUSED_FOR: Duration = Duration::from_secs(2);
/// What is said of a node is said again after this time, if it does not show.
const NODE_AGAIN: Duration = Duration::from_secs(1);
/// What people were told is not told again until it has not been so for this long.
const TOLD_FOR: Duration = Duration::from_mins(10);

/// A subject, and the reason why something was noted of it.
pub type Topic = (String, &'static str);

/// What a watchdog keeps in mind from one look to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    repairs: BTreeMap<ReplicaId, Sent>,
    nodes: BTreeMap<NodeId, Said>,
    quarantines: BTreeMap<NodeId, Timestamp>,
    notes: BTreeMap<Topic, Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    at: Timestamp,
    refused: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    presence: Presence,
    held: bool,
    at: Timestamp,
    refused: bool,
}

impl Memory {
    /// Notes that a verdict was handed over. One of which nobody knows whether it arrived counts, too.
    pub fn sent(&mut self, verdict: &Verdict, now: Timestamp) {
        self.remember(verdict, now, None);
    }

    /// Notes that a verdict was refused, and why.
    pub fn refused(&mut self, verdict: &Verdict, now: Timestamp, why: &str) {
        self.remember(verdict, now, Some(why.to_owned()));
    }

    fn remember(&mut self, verdict: &Verdict, at: Timestamp, refused: Option<String>) {
        match &verdict.conclusion {
            Conclusion::Repair { replica, .. } => {
                self.repairs.insert(replica.clone(), Sent { at, refused });
            }
            Conclusion::Node { node, presence, held, .. } => {
                let said = Said { presence: *presence, held: *held, at, refused: refused.is_some() };
                self.nodes.insert(node.clone(), said);
            }
            Conclusion::Quarantine { node, .. } => {
                self.quarantines.insert(node.clone(), at);
            }
            Conclusion::Note { subject, .. } => {
                self.notes.insert((subject.clone(), verdict.reason), at);
            }
        }
    }

    /// Forgets what the feed shows by now, and what it would have shown. `standing` are the topics of
    /// notes that are still so.
    pub fn settle(&mut self, snapshot: &Snapshot, standing: &BTreeSet<Topic>, now: Timestamp) {
        self.repairs.retain(|replica, sent| {
            let Some(case) = snapshot.cases.get(replica) else { return false };
            if sent.refused.is_some() {
                return now.since(sent.at) < REFUSED_FOR;
            }
            let repairs = snapshot.services.get(&case.service).map_or(&[][..], |course| &course.repairs);
            // A stamp of the scheduler beside what was reckoned here: a second is nothing.
            let shown = repairs
                .iter()
                .any(|repair| repair.replica == *replica && repair.at.after(NODE_AGAIN) >= sent.at);
            !case.in_repair && !shown && now.since(sent.at) < SHOWS_WITHIN
        });
        // While a node is held nothing of that shows in the feed: it is remembered as long as it is so.
        self.nodes.retain(|node, said| {
            snapshot.nodes.get(node).is_some_and(|hearing| hearing.silent_since.is_some() && said.held)
                || now.since(said.at) < NODE_AGAIN
        });
        self.quarantines.retain(|_, at| now.since(*at) < SHOWS_WITHIN);
        for topic in standing {
            if let Some(told) = self.notes.get_mut(topic) {
                *told = now;
            }
        }
        self.notes.retain(|_, at| now.since(*at) < TOLD_FOR);
    }

    /// A repair of this replica was handed over, and does not show yet.
    pub fn is_under_way(&self, replica: &ReplicaId) -> bool {
        self.repairs.get(replica).is_some_and(|sent| sent.refused.is_none())
    }

    /// Why a repair of this replica was refused a moment ago.
    pub fn refusal(&self, replica: &ReplicaId) -> Option<&str> {
        self.repairs.get(replica)?.refused.as_deref()
    }

    /// This was said of the node already.
    pub fn was_said(&self, node: &NodeId, presence: Presence, held: bool, now: Timestamp) -> bool {
        self.nodes.get(node).is_some_and(|said| {
            let same = (said.presence, said.held) == (presence, held);
            same && ((held && !said.refused) || now.since(said.at) < NODE_AGAIN)
        })
    }

    /// Something was said of the node's quarantine, and does not show yet.
    pub fn quarantine_is_under_way(&self, node: &NodeId) -> bool {
        self.quarantines.contains_key(node)
    }

    /// Something was said of any node's quarantine, and does not show yet.
    pub fn any_quarantine_is_under_way(&self) -> bool {
        !self.quarantines.is_empty()
    }

    /// People were told.
    pub fn was_told(&self, subject: &str, reason: &'static str) -> bool {
        self.notes.contains_key(&(subject.to_owned(), reason))
    }
}
