//! The last 15 minutes of each service that has traffic or is scaled by load, second by second; in memory only.
//!
//! Once a second, what the autoscaler has seen becomes a [`Point`] of each service ([`seen`]). The [`Book`] has a
//! [`Ring`] of them for each, forgets services that are gone or idle, and counts what was answered since it knows
//! one. All of that is pure and takes the second as an argument; the handle [`History`] has the clock and the lock.
//!
//! A service takes 72 kB once it was seen for 15 minutes, and up to 8 kB more for each number of its own that it is
//! scaled by. The book remembers 1,000 services at most.

mod book;
mod point;
mod ring;
mod seen;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry_model::{Service, Snapshot};
use tokio::time::Instant;

use crate::autoscale::Measured;
use crate::traffic::{Loads, Traffic};

pub use book::{Book, Newest};
pub use point::{Point, Requests, Time, Used};
pub use ring::Ring;

/// For so long is remembered what was seen.
pub const LONGEST: Duration = Duration::from_secs(ring::KEPT);

/// What is remembered of one service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recorded {
    /// What the numbers of its own are called, in the order of each point's.
    pub metrics: Vec<String>,
    /// How many seconds ago, and what was seen then; oldest first, without seconds of which nothing is known.
    pub points: Vec<(u64, Point)>,
}

/// A handle to what is remembered; clones share it.
#[derive(Clone)]
pub struct History {
    inner: Arc<Mutex<Inner>>,
    /// Seconds are counted from here, by a clock that nobody sets.
    started: Instant,
}

#[derive(Default)]
struct Inner {
    book: Book,
    /// Answers are counted up to this second of the traffic's.
    counted: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { inner: Arc::default(), started: Instant::now() }
    }
}

impl History {
    /// Takes what was seen in the last second: the `loads`, what `traffic` has counted, and what was `measured`.
    pub fn record(&self, snapshot: &Snapshot, loads: &Loads, traffic: &Traffic, measured: &Measured) {
        let second = self.second();
        let mut inner = self.inner();
        let (answers, counted) = traffic.answers(inner.counted);
        inner.counted = counted;
        let seconds = seen::services(snapshot, loads, &answers, measured);
        if inner.book.take(second, seconds) {
            tracing::warn!(
                services = book::MOST,
                "no more services are remembered second by second: others have no history and no metrics of their traffic"
            );
        }
        inner.book.sweep(second, |id, incarnation| {
            snapshot.services.get(id).is_some_and(|service| service.incarnation == incarnation)
        });
    }

    /// What is remembered of the last `time` of a service; nothing where it had no traffic and is not scaled.
    pub fn of(&self, service: &Service, time: Duration) -> Recorded {
        let second = self.second();
        let from = (second + 1).saturating_sub(time.as_secs());
        self.inner().book.of(&service.id, &service.incarnation, from, second).unwrap_or_default()
    }

    /// The newest of every service, and what was counted since it is known.
    pub fn newest(&self) -> Vec<Newest> {
        self.inner().book.newest(self.second())
    }

    /// Later than anything is kept, so that nothing is asked for that lies before the first second.
    fn second(&self) -> u64 {
        self.started.elapsed().as_secs() + ring::KEPT
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
