//! Keeps what is known of endpoints and backends from one plan to the next.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::state::{BackendState, State};

/// What is known of every endpoint and backend that is in use, shared by all cores.
pub struct Registry {
    cores: usize,
    known: Mutex<Known>,
}

/// A backend's name and port.
pub type BackendKey = (String, Option<u16>);

#[derive(Default)]
struct Known {
    endpoints: HashMap<(String, String, SocketAddr), Arc<State>>,
    backends: HashMap<BackendKey, Arc<BackendState>>,
}

impl Registry {
    /// For so many cores.
    pub fn new(cores: usize) -> Self {
        Self { cores, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of an endpoint; a new one has been ready for `ready_for`.
    pub fn endpoint(
        &self,
        backend: &str,
        name: &str,
        address: SocketAddr,
        ready_for: Duration,
    ) -> Arc<State> {
        let key = (backend.to_owned(), name.to_owned(), address);
        let fresh =
            || Arc::new(State::new(backend.to_owned(), name.to_owned(), address, self.cores, ready_for));
        self.known().endpoints.entry(key).or_insert_with(fresh).clone()
    }

    /// The state of a backend at one port.
    pub fn backend(&self, name: &str, port: Option<u16>) -> Arc<BackendState> {
        self.known().backends.entry((name.to_owned(), port)).or_default().clone()
    }

    /// Every endpoint that is known, also those that are leaving.
    pub fn endpoints(&self) -> Vec<Arc<State>> {
        self.known().endpoints.values().cloned().collect()
    }

    /// The names of endpoints that have left and still have requests in flight, in order.
    pub fn still_serving(&self) -> Vec<String> {
        let known = self.known();
        let serving =
            known.endpoints.values().filter(|state| state.leaving.load(Relaxed) && state.in_flight() > 0);
        let mut names: Vec<String> = serving.map(|state| state.name.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Every backend that is known.
    pub fn backends(&self) -> Vec<(BackendKey, Arc<BackendState>)> {
        self.known().backends.iter().map(|(key, state)| (key.clone(), state.clone())).collect()
    }

    /// Forgets what nobody uses any more.
    pub fn sweep(&self) {
        let mut known = self.known();
        known.endpoints.retain(|_, state| Arc::strong_count(state) > 1 || state.in_flight() > 0);
        known.backends.retain(|_, state| Arc::strong_count(state) > 1);
    }
}
