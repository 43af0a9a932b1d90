//! What traffic there was in the last minute, as the proxies tell it; in memory only.
//!
//! A [`Report`] is one proxy's second. The [`Ring`] adds the reports of all proxies up, second by second,
//! and gives a [`Window`] of the last ones; [`Rates`] is what people want to know of it. All of that is
//! pure and takes the second as an argument; the handle [`Traffic`] has the clock and the lock.

mod histogram;
mod loads;
mod rates;
mod report;
mod ring;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry_model::{ReplicaId, ServiceId};
use tokio::time::Instant;

pub use loads::{Load, Loads};
pub use rates::Rates;
pub use report::{OfEndpoint, OfService, Report};
pub use ring::{Answers, Counts, OfReplica, Ring, Window};

/// The longest window that can be asked for.
pub const LONGEST: Duration = Duration::from_secs(ring::KEPT);
/// The window in which watchdogs are told of failures.
const FAILURES: Duration = Duration::from_secs(10);

/// A handle to what is known of the traffic; clones share it.
#[derive(Clone)]
pub struct Traffic {
    ring: Arc<Mutex<Ring>>,
    /// Seconds are counted from here, by a clock that nobody sets.
    started: Instant,
}

impl Default for Traffic {
    fn default() -> Self {
        Self { ring: Arc::default(), started: Instant::now() }
    }
}

impl Traffic {
    /// Takes what the proxy `instance` saw in the last second.
    pub fn add(&self, instance: &str, report: Report) {
        self.ring().add(self.second(), instance, report);
    }

    /// A proxy that is gone has nothing in flight any more.
    pub fn forget(&self, instance: &str) {
        self.ring().forget(instance);
    }

    /// The last `window`, in whole seconds, service by service, and how many proxies it is of.
    pub fn window(&self, window: Duration) -> (BTreeMap<ServiceId, Window>, usize) {
        let ring = self.ring();
        let second = self.second();
        (ring.window(second, window.as_secs()), ring.proxies(second))
    }

    /// What arrives now, by the last report of each proxy.
    pub fn loads(&self) -> Loads {
        self.ring().loads(self.second())
    }

    /// What has ended in the second `from` and after it, service by service, and the second to go on from: the one
    /// that is filling is left for the next time, so that nothing is counted twice.
    pub fn answers(&self, from: u64) -> (BTreeMap<ServiceId, Answers>, u64) {
        let second = self.second();
        (self.ring().answers(from, second), second)
    }

    /// The replicas of which proxies have told failures in the last seconds: how many of how many requests
    /// were not answered at all.
    pub fn failures(&self) -> BTreeMap<ReplicaId, (u64, u64)> {
        let (windows, _) = self.window(FAILURES);
        let replicas = windows.into_values().flat_map(|window| window.replicas);
        let counted = replicas.map(|(replica, of)| {
            let classes = of.counts.classes.map(u64::from);
            (replica, (classes[0], classes.iter().sum()))
        });
        counted.filter(|(_, (failed, _))| *failed > 0).collect()
    }

    /// Later than any window is long, so that no window begins before the first second.
    fn second(&self) -> u64 {
        self.started.elapsed().as_secs() + ring::KEPT
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
