//! The wait for an endpoint: bounded in number and in time, and told to whoever can make one.

use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::Backend;

/// A request, or a connection that is not HTTP, that waits for an endpoint.
pub struct Waiting {
    backend: Rc<Backend>,
    until: Instant,
}

impl Waiting {
    /// One more waits, for as long as may be since `started`; `None` where too many wait already. The first
    /// one for a backend that has no endpoint is told at once.
    pub fn begin(backend: &Rc<Backend>, started: Instant) -> Option<Self> {
        let state = &backend.state;
        let others = state.waiting.fetch_add(1, Relaxed);
        if others >= backend.policy.queue_length {
            state.waiting.fetch_sub(1, Relaxed);
            state.turned_away.fetch_add(1, Relaxed);
            return None;
        }
        state.queued.fetch_add(1, Relaxed);
        if others == 0 && backend.endpoints().next().is_none() {
            state.begun.notify_one();
        }
        Some(Self { backend: backend.clone(), until: started + backend.policy.queue_timeout })
    }

    /// How long it may go on waiting.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// It has waited in vain.
    pub fn turn_away(&self) {
        self.backend.state.turned_away.fetch_add(1, Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.backend.state.waiting.fetch_sub(1, Relaxed);
    }
}
