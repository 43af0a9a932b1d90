//! What a fleet remembers of how its replicas ended, and the lease of the exclusive ones.

use std::time::Duration;

use gantry_model::{ReplicaId, Timestamp};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Fleet;
use crate::managed::history::History;
use crate::managed::lease::{self, LEASE};
use crate::managed::runtime::{Changed, Runtime};

/// How long the log of an ended process may take to be read.
const READING: Duration = Duration::from_secs(3);
/// The end of the lease is noticed within this time.
const LEASE_TICK: Duration = Duration::from_millis(100);
const LEASE_SAVED: Duration = Duration::from_secs(1);

impl<R: Runtime> Fleet<R> {
    /// Remembers what has happened to a container of a replica that is known here.
    pub async fn note(&self, changed: &Changed) {
        if self.inner.lock().await.supervisors.contains_key(&changed.replica) {
            let at = gantry_model::wire::read_time(changed.time);
            self.remember(&changed.replica, &changed.id, |history| history.note(at, changed.what));
        }
    }

    /// Changes what is remembered of a replica; of an end that is new, it is looked up what it wrote last.
    pub(super) fn remember(
        &self,
        replica: &ReplicaId,
        container: &str,
        change: impl FnOnce(&mut History) -> Option<Timestamp>,
    ) {
        let lives = &self.shared.lives;
        let ended = lives.change(replica, |history| {
            let at = change(history)?;
            Some((history.before(at), at))
        });
        let Some((before, at)) = ended else { return };
        let (shared, replica, container) = (self.shared.clone(), replica.clone(), container.to_owned());
        tokio::spawn(async move {
            let _permit = shared.readings.acquire().await;
            let reading = shared.runtime.last_lines(&container, before, at);
            // What is gone, or has a log that cannot be read, has no last lines.
            if let Ok(Ok(lines)) = timeout(READING, reading).await {
                shared.lives.change(&replica, |history| history.wrote(at, lines));
            }
        });
    }

    /// When the newest end was that is known: the engine is asked for what has happened since.
    pub fn newest_end(&self) -> Option<Timestamp> {
        self.shared.lives.newest()
    }

    /// Something was heard of a scheduler that is believed. False if it came too late for the lease of
    /// exclusive replicas: then only a new session helps.
    pub async fn renew(&self) -> bool {
        let mut inner = self.inner.lock().await;
        let now = inner.clock.now();
        inner.lease.renew(now)
    }

    /// Keeps what is remembered, and ends exclusive replicas when their lease is over, until `stop`.
    pub async fn keep_promises(&self, stop: CancellationToken) {
        tokio::join!(
            self.shared.lives.keep(stop.clone()),
            self.keep_lease(stop.clone()),
            self.save_lease(stop)
        );
    }

    async fn keep_lease(&self, stop: CancellationToken) {
        let mut ticks = interval(LEASE_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let mut inner = self.inner.lock().await;
            let standing = inner.lease.standing(inner.clock.now());
            if before.replace(standing) != Some(standing) {
                inner.supervise(&self.shared);
            }
        }
    }

    /// Saves when the scheduler was heard, for an agent that starts anew before the lease is over.
    async fn save_lease(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LEASE_SAVED) => {}
            }
            let ago = {
                let inner = self.inner.lock().await;
                let needed = inner.disk.assignments.values().any(|assignment| assignment.exclusive);
                inner.lease.age(inner.clock.now()).filter(|ago| needed && *ago < LEASE)
            };
            let Some(ago) = ago else { continue };
            let folder = self.shared.folders.own.clone();
            let saved = tokio::task::spawn_blocking(move || lease::save(&folder, ago)).await;
            if let Ok(Err(error)) = saved {
                tracing::warn!(%error, "cannot save when the scheduler was heard last");
            }
        }
    }
}
