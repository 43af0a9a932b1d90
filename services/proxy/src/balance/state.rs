//! What all cores share of an endpoint and of a backend.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Classes of responses: no response at all, 1xx, 2xx, 3xx, 4xx, 5xx.
pub const CLASSES: usize = 6;

/// Upper bounds of the latency histogram in milliseconds; what is above all falls into one more.
pub const LATENCY_BOUNDS: [f64; 16] =
    [0.5, 1.0, 2.0, 4.0, 7.0, 10.0, 15.0, 25.0, 50.0, 100.0, 200.0, 400.0, 800.0, 2_000.0, 5_000.0, 20_000.0];

/// What one core has counted for one endpoint. One core writes, everybody may read.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Counters {
    /// Requests, or connections where it is not HTTP, that are being answered.
    pub in_flight: AtomicU64,
    /// Those that ended, by class of the response.
    pub classes: [AtomicU64; CLASSES],
    /// Those that ended, by how long the response took to begin; see [`LATENCY_BOUNDS`].
    pub latency: [AtomicU64; LATENCY_BOUNDS.len() + 1],
    /// The sum of those times in microseconds.
    pub latency_sum: AtomicU64,
    /// Bytes of bodies to the endpoint.
    pub bytes_in: AtomicU64,
    /// Bytes of bodies from the endpoint.
    pub bytes_out: AtomicU64,
    /// Tries that went to another endpoint after this one had failed.
    pub retries: AtomicU64,
    /// Tries that failed.
    pub failures: AtomicU64,
}

impl Counters {
    /// Adds to a counter that only this core writes.
    pub fn add(counter: &AtomicU64, count: u64) {
        counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// Takes from a counter that only this core writes.
    pub fn take(counter: &AtomicU64, count: u64) {
        counter.store(counter.load(Relaxed).wrapping_sub(count), Relaxed);
    }

    /// Counts what ended without a time that would say anything: a request that was not answered
    /// (class 0), or a connection that is not HTTP.
    pub fn ended(&self, class: usize) {
        Self::add(&self.classes[class.min(CLASSES - 1)], 1);
    }

    /// Counts a response that began after `took`.
    pub fn response(&self, class: usize, took: Duration) {
        self.ended(class);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        Self::add(&self.latency_sum, micros);
        let millis = took.as_secs_f64() * 1_000.0;
        let bucket = LATENCY_BOUNDS.partition_point(|bound| *bound < millis);
        Self::add(&self.latency[bucket], 1);
    }
}

/// A number that nothing else in this process has: what goes and comes back under the same name is new,
/// and so are its counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Life(pub u64);

impl Default for Life {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Relaxed))
    }
}

/// What all cores share of an endpoint.
#[derive(Debug)]
pub struct State {
    /// Whose counters these are.
    pub life: Life,
    /// The backend's name.
    pub backend: String,
    /// The endpoint's name.
    pub name: String,
    /// Its address.
    pub address: SocketAddr,
    /// Since when it is ready, as far as this proxy knows.
    pub since: Instant,
    /// What each core has counted.
    pub cores: Box<[Counters]>,
    /// Failures in a row.
    pub failures: AtomicU32,
    /// Left out until then, in milliseconds of [`millis`].
    pub ejected_until: AtomicU64,
    /// How often in a row it was left out.
    pub ejections: AtomicU32,
    /// How often in all.
    pub ejected: AtomicU64,
    /// In flight on all cores; counted only where there is a limit.
    pub limited: AtomicU32,
    /// It has left the table: what is in flight may end, for a while.
    pub leaving: AtomicBool,
}

impl State {
    /// Nothing is known of it yet. It has been ready for `ready_for`.
    pub fn new(
        backend: String,
        name: String,
        address: SocketAddr,
        cores: usize,
        ready_for: Duration,
    ) -> Self {
        let now = Instant::now();
        Self {
            life: Life::default(),
            backend,
            name,
            address,
            since: now.checked_sub(ready_for).unwrap_or(now),
            cores: (0..cores).map(|_| Counters::default()).collect(),
            failures: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            ejections: AtomicU32::new(0),
            ejected: AtomicU64::new(0),
            limited: AtomicU32::new(0),
            leaving: AtomicBool::new(false),
        }
    }

    /// What is in flight on all cores.
    pub fn in_flight(&self) -> u64 {
        self.cores.iter().map(|core| core.in_flight.load(Relaxed)).sum()
    }

    /// One number of all cores together.
    pub fn sum(&self, of: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        self.cores.iter().map(|core| of(core).load(Relaxed)).sum()
    }

    /// Whether it is left out at `now`.
    pub fn is_ejected(&self, now: u64) -> bool {
        self.ejected_until.load(Relaxed) > now
    }
}

/// What all cores share of a backend.
#[derive(Debug, Default)]
pub struct BackendState {
    /// Whose counters these are.
    pub life: Life,
    /// Wakes those that wait for an endpoint.
    pub room: Notify,
    /// Wakes whoever wants to know that somebody waits although there is no endpoint; shared by all backends.
    pub begun: Arc<Notify>,
    /// How many wait.
    pub waiting: AtomicU32,
    /// How many ever had to wait.
    pub queued: AtomicU64,
    /// How many were sent away because too many waited, or waited too long.
    pub turned_away: AtomicU64,
    /// Some endpoint is left out until then: before that, everyone has to look.
    pub ejected_until: AtomicU64,
}

/// Milliseconds since this process began.
pub fn millis(now: Instant) -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = *START.get_or_init(|| now.checked_sub(Duration::from_secs(1)).unwrap_or(now));
    u64::try_from(now.saturating_duration_since(start).as_millis()).unwrap_or(u64::MAX)
}
