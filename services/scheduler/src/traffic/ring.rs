//! The last seconds, added up over all proxies.
//!
//! Counts go to the second in which they arrive, on the scheduler's clock. What is in flight or waits is
//! no count: it is kept as each proxy said it last, and a proxy that says nothing any more fades out.

use std::collections::BTreeMap;

use gantry_model::{ReplicaId, ServiceId};

use super::histogram::{Histogram, add};
use super::loads::{Load, Loads};
use super::report::{OfService, Report};

/// Classes of answers: none at all, 1xx, 2xx, 3xx, 4xx, 5xx.
pub const CLASSES: usize = 6;
/// So many whole seconds are kept, beside the one that is filling.
pub const KEPT: u64 = 60;
/// A proxy that has said nothing for more than so many seconds has nothing in flight.
const SILENT: u64 = 3;
/// Latencies are of so many whole seconds and the one that is filling: one alone may have few answers.
const LATENCY: u64 = 5;
/// Replicas that one second, or one proxy, remembers at most; others count for their services only.
const MAX_REPLICAS: usize = 10_000;

/// Requests that ended. Counts stop at their largest number instead of beginning anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// By class of the answer.
    pub classes: [u32; CLASSES],
    /// By how long the answer took to begin.
    pub latency: Histogram,
}

impl Counts {
    /// Adds others to these.
    pub fn add(&mut self, other: &Self) {
        let mine = self.classes.iter_mut().chain(&mut self.latency);
        for (mine, other) in mine.zip(other.classes.iter().chain(&other.latency)) {
            *mine = mine.saturating_add(*other);
        }
    }

    /// How many there were, and how many of them failed.
    fn answers(&self) -> Answers {
        let [unanswered, .., failed] = self.classes;
        Answers { answered: self.requests(), errors: u64::from(unanswered) + u64::from(failed) }
    }

    /// How many there were.
    fn requests(&self) -> u64 {
        self.classes.iter().map(|count| u64::from(*count)).sum()
    }
}

/// Requests that ended, by what matters most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    /// All of them, also those that found no replica.
    pub answered: u64,
    /// Those that were answered with 5xx or not at all.
    pub errors: u64,
}

impl Answers {
    /// Adds others to these.
    pub fn add(&mut self, other: Self) {
        self.answered = self.answered.saturating_add(other.answered);
        self.errors = self.errors.saturating_add(other.errors);
    }
}

/// The last seconds.
#[derive(Debug, Default)]
pub struct Ring {
    seconds: BTreeMap<u64, Second>,
    proxies: BTreeMap<String, Proxy>,
}

/// What was reported in one second, by all proxies.
#[derive(Debug, Default)]
struct Second {
    services: BTreeMap<ServiceId, Tally>,
    replicas: usize,
}

#[derive(Debug, Default)]
struct Tally {
    counts: Counts,
    replicas: BTreeMap<ReplicaId, Counts>,
}

/// What one proxy said last.
#[derive(Debug, Default)]
struct Proxy {
    at: u64,
    services: BTreeMap<ServiceId, Now>,
}

#[derive(Debug, Default)]
struct Now {
    in_flight: u64,
    waiting: u64,
    /// What has come in since the report before: what has ended, and what there is more of than there was.
    arrived: u64,
    /// What was in flight, between this report and the one before.
    mean_in_flight: f64,
    replicas: BTreeMap<ReplicaId, u32>,
}

/// The traffic of one service in the last seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Window {
    /// What has ended, also what found no replica.
    pub counts: Counts,
    /// What is being answered.
    pub in_flight: u64,
    /// What waits for a replica.
    pub waiting: u64,
    /// Replica by replica.
    pub replicas: BTreeMap<ReplicaId, OfReplica>,
}

/// The traffic of one replica in the last seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OfReplica {
    /// What has ended.
    pub counts: Counts,
    /// What is being answered.
    pub in_flight: u64,
}

impl Ring {
    /// Takes what the proxy `instance` told in the second `at`.
    pub fn add(&mut self, at: u64, instance: &str, report: Report) {
        self.seconds.retain(|second, _| *second + KEPT >= at);
        self.proxies.retain(|_, proxy| proxy.at + SILENT >= at);
        let second = self.seconds.entry(at).or_default();
        let before = self.proxies.remove(instance);
        let mut proxy = Proxy { at, services: BTreeMap::new() };
        let mut remembered = 0;
        for (id, service) in report.services {
            let mut now = now(&service, &mut remembered);
            // What a proxy has in flight when it is heard first has come at some time before.
            let were = before.as_ref().map_or((now.in_flight, now.waiting), |before| {
                before.services.get(&id).map_or((0, 0), |then| (then.in_flight, then.waiting))
            });
            now.follow(were, ended(&service));
            proxy.services.insert(id.clone(), now);
            second.count(id, service);
        }
        self.proxies.insert(instance.to_owned(), proxy);
    }

    /// A proxy that is gone has nothing in flight any more; what it has counted stays.
    pub fn forget(&mut self, instance: &str) {
        self.proxies.remove(instance);
    }

    /// How many proxies have told something lately.
    pub fn proxies(&self, at: u64) -> usize {
        self.heard(at).count()
    }

    /// The last `seconds` before the second `at`, which is not over yet.
    pub fn window(&self, at: u64, seconds: u64) -> BTreeMap<ServiceId, Window> {
        let mut windows: BTreeMap<ServiceId, Window> = BTreeMap::new();
        for second in self.seconds.range(at.saturating_sub(seconds)..at).map(|(_, second)| second) {
            for (id, tally) in &second.services {
                let window = windows.entry(id.clone()).or_default();
                window.counts.add(&tally.counts);
                for (replica, counts) in &tally.replicas {
                    window.replicas.entry(replica.clone()).or_default().counts.add(counts);
                }
            }
        }
        for (id, now) in self.heard(at).flat_map(|proxy| &proxy.services) {
            let window = windows.entry(id.clone()).or_default();
            window.in_flight += now.in_flight;
            window.waiting += now.waiting;
            for (replica, in_flight) in &now.replicas {
                window.replicas.entry(replica.clone()).or_default().in_flight += u64::from(*in_flight);
            }
        }
        windows
    }

    /// What has ended in the second `from` and after it, before the second `at`.
    pub fn answers(&self, from: u64, at: u64) -> BTreeMap<ServiceId, Answers> {
        let mut answers: BTreeMap<ServiceId, Answers> = BTreeMap::new();
        for second in self.seconds.range(from.min(at)..at).map(|(_, second)| second) {
            for (id, tally) in &second.services {
                answers.entry(id.clone()).or_default().add(tally.counts.answers());
            }
        }
        answers
    }

    /// What arrives now, by the last report of each proxy: seconds of proxies do not begin with ours, and
    /// what one tells in a second of ours may be two of its own, or none.
    pub fn loads(&self, at: u64) -> Loads {
        let mut loads = Loads { proxies: self.proxies(at), services: BTreeMap::new() };
        for (id, now) in self.heard(at).flat_map(|proxy| &proxy.services) {
            let load: &mut Load = loads.services.entry(id.clone()).or_default();
            load.arrived += now.arrived;
            load.in_flight += now.mean_in_flight;
            load.waiting += now.waiting;
        }
        for second in self.seconds.range(at.saturating_sub(LATENCY)..=at).map(|(_, second)| second) {
            for (id, tally) in &second.services {
                add(&mut loads.services.entry(id.clone()).or_default().latency, &tally.counts.latency);
            }
        }
        loads
    }

    fn heard(&self, at: u64) -> impl Iterator<Item = &Proxy> {
        self.proxies.values().filter(move |proxy| proxy.at + SILENT >= at)
    }
}

impl Second {
    fn count(&mut self, id: ServiceId, service: OfService) {
        let tally = self.services.entry(id).or_default();
        // Whoever was sent away got no answer from any replica.
        tally.counts.classes[0] = tally.counts.classes[0].saturating_add(service.turned_away);
        for (replica, endpoint) in service.endpoints {
            tally.counts.add(&endpoint.counts);
            let Some(replica) = replica.filter(|_| endpoint.counts != Counts::default()) else { continue };
            if let Some(known) = tally.replicas.get_mut(&replica) {
                known.add(&endpoint.counts);
            } else if self.replicas < MAX_REPLICAS {
                self.replicas += 1;
                tally.replicas.insert(replica, endpoint.counts);
            }
        }
    }
}

impl Now {
    /// Takes note of what there was before, and of what has ended since.
    fn follow(&mut self, (in_flight, waiting): (u64, u64), ended: u64) {
        let here = ended + self.in_flight + self.waiting;
        self.arrived = here.saturating_sub(in_flight + waiting);
        #[allow(clippy::cast_precision_loss)] // Nobody has so many.
        let mean = (in_flight + self.in_flight) as f64 / 2.0;
        self.mean_in_flight = mean;
    }
}

fn ended(service: &OfService) -> u64 {
    let answered: u64 = service.endpoints.iter().map(|(_, endpoint)| endpoint.counts.requests()).sum();
    answered + u64::from(service.turned_away)
}

fn now(service: &OfService, remembered: &mut usize) -> Now {
    let mut now = Now { waiting: service.waiting.into(), ..Now::default() };
    for (replica, endpoint) in &service.endpoints {
        now.in_flight += u64::from(endpoint.in_flight);
        let Some(replica) = replica.as_ref().filter(|_| endpoint.in_flight > 0) else { continue };
        if *remembered < MAX_REPLICAS {
            *remembered += 1;
            let known = now.replicas.entry(replica.clone()).or_default();
            *known = known.saturating_add(endpoint.in_flight);
        }
    }
    now
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
