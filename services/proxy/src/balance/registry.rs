//! Keeps what is known of endpoints and backends from one plan to the next.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::state::{BackendState, State};

/// What is known of every endpoint and backend that is in use, shared by all cores.
pub struct Registry {
    cores: usize,
    known: Mutex<Known>,
    begun: Arc<Notify>,
}

/// A backend's name and port.
pub type BackendKey = (String, Option<u16>);

/// So many of those that are forgotten wait at most until somebody has read their last counts.
const MAX_FORGOTTEN: usize = 10_000;

#[derive(Default)]
struct Known {
    endpoints: HashMap<(String, String, SocketAddr), Arc<State>>,
    backends: HashMap<BackendKey, Arc<BackendState>>,
    /// Forgotten since somebody read the counts; `None` where nobody does.
    forgotten: Option<Vec<Arc<State>>>,
}

impl Registry {
    /// For so many cores.
    pub fn new(cores: usize) -> Self {
        Self { cores, known: Mutex::default(), begun: Arc::default() }
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
        let fresh = || Arc::new(BackendState { begun: self.begun.clone(), ..BackendState::default() });
        self.known().backends.entry((name.to_owned(), port)).or_insert_with(fresh).clone()
    }

    /// Ends when somebody begins to wait for a backend without endpoints.
    pub async fn waiting_began(&self) {
        self.begun.notified().await;
    }

    /// Of these backends, those for which somebody waits.
    pub fn waited_for(&self, names: &BTreeSet<String>) -> Vec<String> {
        if names.is_empty() {
            return Vec::new();
        }
        let known = self.known();
        let waited = known.backends.iter().filter(|(_, state)| state.waiting.load(Relaxed) > 0);
        let waited: BTreeSet<&String> = waited.map(|((name, _), _)| name).collect();
        names.iter().filter(|name| waited.contains(name)).cloned().collect()
    }

    /// Every endpoint that is known, also those that are leaving.
    pub fn endpoints(&self) -> Vec<Arc<State>> {
        self.known().endpoints.values().cloned().collect()
    }

    /// Every endpoint that is known, and once more those that were forgotten since this was asked last:
    /// whoever asks again and again misses nothing that was counted.
    pub fn counted(&self) -> Vec<Arc<State>> {
        let mut known = self.known();
        let forgotten = known.forgotten.replace(Vec::new()).unwrap_or_default();
        known.endpoints.values().cloned().chain(forgotten).collect()
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
        let Known { endpoints, forgotten, .. } = &mut *known;
        endpoints.retain(|_, state| {
            let used = Arc::strong_count(state) > 1 || state.in_flight() > 0;
            if let Some(forgotten) = forgotten.as_mut().filter(|list| !used && list.len() < MAX_FORGOTTEN) {
                forgotten.push(state.clone());
            }
            used
        });
        known.backends.retain(|_, state| Arc::strong_count(state) > 1);
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Instant;

    use super::*;
    use crate::balance::{Backend, Waiting};
    use crate::spec::{Policy, Target};

    #[test]
    fn the_last_counts_of_a_forgotten_endpoint_are_read_once() {
        let registry = Registry::new(1);
        assert!(registry.counted().is_empty());
        let state = registry.endpoint("shop/web", "r1", ([10, 0, 0, 1], 80).into(), Duration::ZERO);
        state.cores[0].ended(2);
        drop(state);
        registry.sweep();
        assert!(registry.endpoints().is_empty());
        let counts =
            || registry.counted().iter().map(|state| state.sum(|core| &core.classes[2])).sum::<u64>();
        assert_eq!((counts(), counts()), (1, 0));
    }

    #[tokio::test]
    async fn whoever_waits_for_a_backend_without_endpoints_is_told_at_once() {
        let registry = Registry::new(1);
        let backend = |name: &str| {
            let target = Target { backend: name.to_owned(), port: None };
            let policy = Policy { queue_length: 2, ..Policy::default() };
            let state = registry.backend(name, None);
            Rc::new(Backend::new(target, policy, None, Vec::new(), state, Instant::now()))
        };
        let (web, other) = (backend("shop/web"), backend("shop/other"));
        let asleep = BTreeSet::from(["shop/web".to_owned(), "shop/idle".to_owned()]);
        assert!(registry.waited_for(&asleep).is_empty());
        let first = Waiting::begin(&web, Instant::now()).unwrap();
        tokio::time::timeout(Duration::from_secs(10), registry.waiting_began()).await.unwrap();
        let second = Waiting::begin(&web, Instant::now()).unwrap();
        assert!(Waiting::begin(&web, Instant::now()).is_none(), "the queue is full");
        let elsewhere = Waiting::begin(&other, Instant::now()).unwrap();
        assert_eq!(registry.waited_for(&asleep), ["shop/web"]);
        drop((first, second));
        assert!(registry.waited_for(&asleep).is_empty());
        drop(elsewhere);
    }

    #[test]
    fn where_nobody_reads_counts_nothing_is_kept_for_them() {
        let registry = Registry::new(1);
        drop(registry.endpoint("shop/web", "r1", ([10, 0, 0, 1], 80).into(), Duration::ZERO));
        registry.sweep();
        assert!(registry.counted().is_empty());
    }
}
