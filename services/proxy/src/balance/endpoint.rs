//! One endpoint, as one core sees it.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::backend::Backend;
use super::state::{Counters, State};
use crate::upstream::Connections;

/// One endpoint, as one core sees it.
pub struct Endpoint {
    /// What is shared.
    pub state: Arc<State>,
    /// Its share, at least 1.
    pub weight: Cell<u32>,
    /// How long what is in flight may go on after it has left.
    pub drain_timeout: Cell<Duration>,
    /// What is still in flight ends now.
    pub cut: Cell<bool>,
    /// This core.
    core: usize,
    /// What this core has in flight on it.
    in_flight: Cell<u32>,
    /// This core's connections to it.
    pub connections: Connections,
}

impl Endpoint {
    /// An endpoint that this core has not used yet.
    pub fn new(state: Arc<State>, core: usize) -> Self {
        Self {
            state,
            weight: Cell::new(1),
            drain_timeout: Cell::new(Duration::ZERO),
            cut: Cell::new(false),
            core,
            in_flight: Cell::new(0),
            connections: Connections::default(),
        }
    }

    /// This core's counters.
    pub fn counters(&self) -> &Counters {
        &self.state.cores[self.core]
    }

    /// What this core has in flight on it.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }
}

/// A request that is on its way to an endpoint; dropped when its last byte is through.
pub struct InFlight {
    /// Where it is.
    pub endpoint: Rc<Endpoint>,
    backend: Rc<Backend>,
    limited: bool,
}

impl InFlight {
    /// Takes a place on `endpoint`; `None` if it is at its limit.
    pub fn new(backend: &Rc<Backend>, endpoint: &Rc<Endpoint>) -> Option<Self> {
        let limit = backend.policy.max_concurrency;
        if limit > 0 && endpoint.state.limited.fetch_add(1, Relaxed) >= limit {
            endpoint.state.limited.fetch_sub(1, Relaxed);
            return None;
        }
        endpoint.in_flight.set(endpoint.in_flight.get() + 1);
        Counters::add(&endpoint.counters().in_flight, 1);
        Some(Self { endpoint: endpoint.clone(), backend: backend.clone(), limited: limit > 0 })
    }

    /// The backend.
    pub fn backend(&self) -> &Rc<Backend> {
        &self.backend
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let endpoint = &self.endpoint;
        endpoint.in_flight.set(endpoint.in_flight.get() - 1);
        Counters::take(&endpoint.counters().in_flight, 1);
        if self.limited {
            endpoint.state.limited.fetch_sub(1, Relaxed);
            self.backend.state.room.notify_one();
        }
    }
}
