//! One backend at one port, as one core sees it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::endpoint::Endpoint;
use super::state::{BackendState, millis};
use crate::spec::{Policy, Target};
use crate::upstream::Secure;

/// An endpoint that keeps failing is left out for at most so many times the first time.
const MAX_EJECTION: u32 = 16;
/// Retries that are always allowed, each second.
const RETRY_FLOOR: f64 = 10.0;
const RETRY_BURST: f64 = 100.0;

/// One backend at one port, as one core sees it.
pub struct Backend {
    /// Where requests go.
    pub target: Target,
    /// How endpoints are chosen and failures are met.
    pub policy: Policy,
    /// TLS to the endpoints.
    pub tls: Option<Arc<Secure>>,
    /// Groups with a share.
    pub groups: Vec<Group>,
    /// What is shared.
    pub state: Arc<BackendState>,
    retries: Cell<(f64, Instant)>,
}

/// A share of a backend.
pub struct Group {
    /// Its share.
    pub weight: u32,
    /// Its endpoints.
    pub endpoints: Vec<Rc<Endpoint>>,
    /// All endpoints have the same share.
    pub even: bool,
    pub(super) total: u64,
    pub(super) turn: Cell<i64>,
    pub(super) cursor: Cell<usize>,
    pub(super) turns: RefCell<Vec<i64>>,
}

impl Group {
    /// A group of `endpoints`.
    pub fn new(weight: u32, endpoints: Vec<Rc<Endpoint>>) -> Self {
        let even = endpoints.windows(2).all(|pair| pair[0].weight == pair[1].weight);
        let total = endpoints.iter().map(|endpoint| u64::from(endpoint.weight.get())).sum();
        let turns = RefCell::new(vec![0; endpoints.len()]);
        Self { weight, endpoints, even, total, turn: Cell::new(0), cursor: Cell::new(0), turns }
    }
}

impl Backend {
    /// A backend of `groups`; those without a share or without endpoints are left out.
    pub fn new(
        target: Target,
        policy: Policy,
        tls: Option<Arc<Secure>>,
        groups: Vec<Group>,
        state: Arc<BackendState>,
        now: Instant,
    ) -> Self {
        let groups = groups.into_iter().filter(|group| group.weight > 0 && !group.endpoints.is_empty());
        let retries = Cell::new((RETRY_FLOOR, now));
        Self { target, policy, tls, groups: groups.collect(), state, retries }
    }

    /// All endpoints that get requests.
    pub fn endpoints(&self) -> impl Iterator<Item = &Rc<Endpoint>> {
        self.groups.iter().flat_map(|group| &group.endpoints)
    }

    /// Counts a request towards the retries that are allowed.
    pub fn earn_retry(&self) {
        let (tokens, at) = self.retries.get();
        self.retries.set(((tokens + f64::from(self.policy.retry_percent) / 100.0).min(RETRY_BURST), at));
    }

    /// Whether one more retry is allowed: some per cent of the requests, and a few each second, so that
    /// a backend in trouble does not get its load twice.
    pub fn may_retry(&self, now: Instant) -> bool {
        let (tokens, at) = self.retries.get();
        let tokens =
            (tokens + now.saturating_duration_since(at).as_secs_f64() * RETRY_FLOOR).min(RETRY_BURST);
        let may = tokens >= 1.0;
        self.retries.set((if may { tokens - 1.0 } else { tokens }, now));
        may
    }

    /// An answer came: whatever failed before is over.
    pub fn succeeded(endpoint: &Endpoint) {
        if endpoint.state.failures.load(Relaxed) != 0 {
            endpoint.state.failures.store(0, Relaxed);
            endpoint.state.ejections.store(0, Relaxed);
        }
    }

    /// No answer came, or one that says that there is none. Too many in a row, and the endpoint is left
    /// out for a while, longer each time; the last one that is not left out never is.
    pub fn failed(&self, endpoint: &Endpoint, now: Instant) {
        super::state::Counters::add(&endpoint.counters().failures, 1);
        let failures = endpoint.state.failures.fetch_add(1, Relaxed) + 1;
        let now = millis(now);
        if self.policy.eject_after == 0
            || failures < self.policy.eject_after
            || endpoint.state.is_ejected(now)
        {
            return;
        }
        let others = self
            .endpoints()
            .filter(|other| !Arc::ptr_eq(&other.state, &endpoint.state) && !other.state.is_ejected(now))
            .count();
        if others == 0 {
            return;
        }
        let times = 1_u32.checked_shl(endpoint.state.ejections.fetch_add(1, Relaxed)).unwrap_or(u32::MAX);
        let pause: Duration = self.policy.eject_for.saturating_mul(times.min(MAX_EJECTION));
        let until = now.saturating_add(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
        endpoint.state.ejected.fetch_add(1, Relaxed);
        endpoint.state.ejected_until.store(until, Relaxed);
        endpoint.state.failures.store(0, Relaxed);
        self.state.ejected_until.fetch_max(until, Relaxed);
        tracing::warn!(
            backend = self.target.backend,
            endpoint = endpoint.state.name,
            pause = ?pause,
            "left out after {failures} failures in a row"
        );
    }
}
