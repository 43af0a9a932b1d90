//! When it is looked, and what is done with what is found: on every change of the feed, and as time
//! passes. Every watchdog looks; the one that leads hands over what it concludes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gantry_feed::Mirror;
use gantry_model::Timestamp;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::decide::{Outlook, outlook};
use crate::memory::{Memory, Topic};
use crate::seat::Seat;
use crate::submit::{Outcome, submit};
use crate::world::{self, Snapshot};

/// Time passes also while nothing changes.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Changes that come together are looked at together.
const GATHER: Duration = Duration::from_millis(20);

/// What a judge has done.
#[derive(Debug, Default)]
pub struct Counts {
    /// Verdicts that were taken.
    pub taken: AtomicU64,
    /// Verdicts that were refused.
    pub refused: AtomicU64,
    /// Verdicts of which it is not known.
    pub unknown: AtomicU64,
    /// Looks.
    pub looks: AtomicU64,
}

/// Looks and acts.
pub struct Judge {
    seat: Seat,
    found: watch::Sender<Arc<Outlook>>,
    counts: Arc<Counts>,
    memory: Memory,
    standing: BTreeSet<Topic>,
    /// What was read last, and when that was heard.
    read: Option<(Instant, Snapshot)>,
}

impl Judge {
    /// A judge that shows what it `found`, and counts.
    pub fn new(seat: Seat, found: watch::Sender<Arc<Outlook>>, counts: Arc<Counts>) -> Self {
        Self { seat, found, counts, memory: Memory::default(), standing: BTreeSet::new(), read: None }
    }

    /// Judges until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.seat.mirrors.changed() => if changed.is_err() { return },
                changed = self.seat.lead.changed() => if changed.is_err() { return },
                _ = ticks.tick() => {}
            }
            if let Some((mirror, now)) = self.seat.look() {
                self.look(&mirror, now).await;
            } else {
                // What was found holds no longer, and is not known to hold again.
                self.found.send_replace(Arc::default());
            }
            sleep(GATHER).await;
        }
    }

    async fn look(&mut self, mirror: &Mirror, now: Timestamp) {
        let snapshot = match self.read.take() {
            Some((heard, snapshot)) if mirror.heard == Some(heard) => snapshot,
            _ => world::read(mirror),
        };
        self.counts.looks.fetch_add(1, Relaxed);
        self.memory.settle(&snapshot, &self.standing, now);
        let found = outlook(&snapshot, &self.memory, now);
        self.standing.clone_from(&found.standing);
        self.read = mirror.heard.map(|heard| (heard, snapshot));
        let found = Arc::new(found);
        self.found.send_replace(found.clone());
        if found.verdicts.is_empty() || !self.seat.leads() {
            return;
        }
        let outcomes = submit(&self.seat, &found.verdicts).await;
        for (verdict, outcome) in found.verdicts.iter().zip(outcomes) {
            match outcome {
                Outcome::Taken => {
                    tracing::info!(revision = verdict.revision, "{verdict}");
                    self.counts.taken.fetch_add(1, Relaxed);
                    self.memory.sent(verdict, now);
                }
                Outcome::Refused(why) => {
                    tracing::info!(revision = verdict.revision, why, "refused: {verdict}");
                    self.counts.refused.fetch_add(1, Relaxed);
                    self.memory.refused(verdict, now, &why);
                }
                Outcome::Unknown(problem) => {
                    tracing::warn!(
                        revision = verdict.revision,
                        problem,
                        "not known to have arrived: {verdict}"
                    );
                    self.counts.unknown.fetch_add(1, Relaxed);
                    self.memory.sent(verdict, now);
                }
            }
        }
    }
}
