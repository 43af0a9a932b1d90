//! Sets how many replicas services have, by their load.
//!
//! Once a second, and at once when somebody waits for a service that sleeps: what was [`seen`] becomes the
//! [`signals`] of each service, `gantry_autoscale` decides, [`book`] remembers and [`act`] says what is stored.
//! All of that is pure; the handle [`Autoscaler`] has the clock, the lock and the loop.

mod act;
mod book;
mod seen;
mod signals;
mod spare;
#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry_boot::now;
use gantry_model::{ServiceId, Snapshot};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::history::History;
use crate::state::State;
use crate::traffic::Traffic;
use book::Step;
use spare::Spare;
use told::Note;

pub use book::{Book, Entry, is_scaled};
pub use seen::{Measured, Sample, Seen};
pub use signals::have_all_told;

const EVERY: Duration = Duration::from_secs(1);

/// A handle to what scales services; clones share it.
#[derive(Clone)]
pub struct Autoscaler {
    inner: Arc<Inner>,
}

struct Inner {
    state: State,
    traffic: Traffic,
    measured: Box<dyn Fn(&Snapshot) -> Measured + Send + Sync>,
    book: Mutex<Book>,
    spare: Mutex<Spare>,
    history: History,
    /// Services that somebody waits for; never more than there are services.
    wanted: Mutex<BTreeSet<ServiceId>>,
    wake: Notify,
}

impl Autoscaler {
    /// Scales the services of `state` by what `traffic` has of them, and by what `measured` says of their replicas.
    pub fn new(
        state: State,
        traffic: Traffic,
        measured: impl Fn(&Snapshot) -> Measured + Send + Sync + 'static,
    ) -> Self {
        let inner = Inner {
            state,
            traffic,
            measured: Box::new(measured),
            book: Mutex::default(),
            spare: Mutex::default(),
            history: History::default(),
            wanted: Mutex::default(),
            wake: Notify::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Somebody waits for these services. Those that do not sleep are none of this one's business.
    pub fn wanted(&self, services: impl IntoIterator<Item = ServiceId>) {
        let snapshot = self.inner.state.snapshot();
        let asleep = |id: &ServiceId| {
            snapshot.services.get(id).is_some_and(|service| is_scaled(service) && service.replicas == 0)
        };
        let mut wanted = lock(&self.inner.wanted);
        let before = wanted.len();
        wanted.extend(services.into_iter().filter(asleep));
        if wanted.len() > before {
            self.inner.wake.notify_one();
        }
    }

    /// Looks at what is remembered of services; nothing is decided meanwhile.
    pub fn look<T>(&self, look: impl FnOnce(&Snapshot, &Book) -> T) -> T {
        let snapshot = self.inner.state.snapshot();
        look(&snapshot, &lock(&self.inner.book))
    }

    /// What was seen in the last minutes, of services that are not scaled, too.
    pub fn history(&self) -> History {
        self.inner.history.clone()
    }

    /// Scales once a second until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut seconds = interval(EVERY);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            let all = tokio::select! {
                () = stop.cancelled() => return,
                _ = seconds.tick() => true,
                () = self.inner.wake.notified() => false,
            };
            match self.step(all).await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        tracing::error!(
                            error = gantry_boot::chain(&error),
                            "cannot store how many replicas services are to have; trying again"
                        );
                    }
                    failing = true;
                }
            }
        }
    }

    /// Decides on all services, or on those that somebody waits for, and stores what was decided.
    async fn step(&self, all: bool) -> Result<(), gantry_store::Error> {
        let inner = &self.inner;
        let wanted = std::mem::take(&mut *lock(&inner.wanted));
        let snapshot = inner.state.snapshot();
        let seen = Seen { loads: inner.traffic.loads(), wanted, measured: (inner.measured)(&snapshot) };
        if all {
            inner.history.record(&snapshot, &seen.loads, &inner.traffic, &seen.measured);
        }
        if !snapshot.services.values().any(|service| is_scaled(service)) {
            return Ok(());
        }
        let only = (!all).then_some(&seen.wanted);
        let steps = lock(&inner.book).judge(&snapshot, &seen, now(), only);
        let spare = lock(&inner.spare).of(&snapshot, &seen.measured, now());
        if steps.is_empty() && spare.is_none() {
            return Ok(());
        }
        let stored = self.store(&steps, spare).await;
        if stored.is_err() {
            lock(&inner.book).untold(&steps);
        }
        stored
    }

    async fn store(&self, steps: &[Step], spare: Option<(String, Note)>) -> Result<(), gantry_store::Error> {
        let actions = self
            .inner
            .state
            .commit::<_, gantry_store::Error>(|snapshot| {
                let mut plan = act::act(snapshot, steps, now());
                if let Some((subject, note)) = spare {
                    plan.event(note.severity, &subject, None, note.reason, note.message);
                }
                Ok((plan.changes, plan.actions))
            })
            .await?;
        for action in actions {
            tracing::info!(%action, "scaled by load");
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
