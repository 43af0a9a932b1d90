//! Alerts: keeps what people set and what fired, and stands between people and the watchdog, who dials
//! the scheduler as everybody does. Nothing is judged and nothing is sent from here.
//!
//! [`book`] says, purely, what a report changes, [`check`] what people likely did not mean; [`feed`] is what the watchdog calls, [`people`] what
//! people call; [`trials`] are the test notices that somebody waits for, [`waiting`] is what rules find and
//! is not an alert yet.

mod book;
mod check;
mod feed;
mod people;
mod trials;
mod waiting;

pub use feed::AlertFeed;
pub use people::AlertDesk;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gantry_boot::now;
use gantry_model::{Change, Snapshot};
use tokio::sync::watch;

use crate::state::State;
use trials::Trials;
use waiting::Waiting;

/// What the two services share. Clones share it.
#[derive(Clone)]
pub struct Alerts {
    state: State,
    /// Changes whenever the watchdog has to hear something.
    news: Arc<watch::Sender<u64>>,
    trials: Trials,
    waiting: Arc<Mutex<Waiting>>,
}

impl Alerts {
    /// The alerts of `state`.
    pub fn new(state: State) -> Self {
        let (news, _) = watch::channel(0);
        Self { state, news: Arc::new(news), trials: Trials::default(), waiting: Arc::default() }
    }

    /// Decides on changes, stores them, and lets the watchdog know.
    async fn commit<T, E: From<gantry_store::Error>>(
        &self,
        decide: impl FnOnce(&Snapshot) -> Result<(Vec<Change>, T), E>,
    ) -> Result<T, E> {
        let answer = self.state.commit(decide).await;
        self.tell();
        answer
    }

    fn tell(&self) {
        self.news.send_modify(|number| *number += 1);
    }

    /// Whether a watchdog is connected.
    fn is_watched(&self) -> bool {
        self.waiting().is_watched()
    }

    /// What watchdogs said that waits. It is kept for a moment only: nobody may wait with it.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a watchdog until the guard is dropped.
    fn watcher(&self) -> Watcher {
        self.waiting().come(now());
        Watcher(self.clone())
    }
}

struct Watcher(Alerts);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.waiting().leave(now());
    }
}
