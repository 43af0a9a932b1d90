//! What traffic there was in the last minute, as the proxies tell it; in memory only.
//!
//! A [`Report`] is one proxy's second. The [`Ring`] adds the reports of all proxies up, second by second,
//! and gives a [`Window`] of the last ones; [`Rates`] is what people want to know of it. All of that is
//! pure and takes the second as an argument; the handle [`Traffic`] has the clock and the lock.

mod histogram;
mod rates;
mod report;
mod ring;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry_model::ServiceId;
use tokio::time::Instant;

pub use rates::Rates;
pub use report::Report;
pub use ring::{Counts, OfReplica, Ring, Window};

/// The longest window that can be asked for.
pub const LONGEST: Duration = Duration::from_secs(ring::KEPT);

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

    /// Later than any window is long, so that no window begins before the first second.
    fn second(&self) -> u64 {
        self.started.elapsed().as_secs() + ring::KEPT
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
