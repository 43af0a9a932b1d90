//! What replicas have used in the last 15 minutes, as the agents measure it; in memory only.
//!
//! A [`Report`] is one node's second. The [`Book`] has a [`Ring`] for each replica, and the newest values of
//! users' own metrics; [`advise`] says what follows for reservations and limits. All of that is pure and takes
//! the second as an argument; the handle [`Usage`] has the clock and the lock.
//!
//! A replica takes 7.2 kB once it was measured for 15 minutes, and the book remembers 10,000 of them at most:
//! 72 MB, and less for each that is younger. Those that are not on record any more are forgotten.

mod advice;
mod book;
mod measured;
mod report;
mod ring;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry_api::node::v1::UsageReport;
use gantry_boot::now;
use gantry_model::{MetricTarget, NodeId, ReplicaId, ServiceId, Snapshot, Timestamp};
use tokio::time::Instant;

pub use advice::{Advice, ResourceAdvice, Verdict, advise};
pub use book::Book;
pub use measured::measured;
pub use report::Report;
pub use ring::{Point, Ring};

/// For so long is remembered what was used.
pub const LONGEST: Duration = Duration::from_secs(ring::KEPT);
/// What was measured longer ago is not what is used now.
const CURRENT: u64 = 3;
/// Values of users' own metrics may take a little longer: whoever is asked may be slow.
const METRIC_CURRENT: u64 = 5;

/// What one replica uses now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Cores, over the second before it was measured.
    pub cpu_cores: f64,
    /// Bytes of memory, without the page cache that the kernel would give back; `None` where it does not
    /// count them.
    pub memory_bytes: Option<u64>,
    /// When the scheduler heard of it, to the second, on its own clock.
    pub at: Timestamp,
}

/// What several replicas used together in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Together {
    /// Cores.
    pub cpu_cores: f64,
    /// Bytes of memory, without the page cache.
    pub memory_bytes: Option<u64>,
    /// How many replicas were measured.
    pub replicas: u32,
}

/// The value of a user's own metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Added up over the replicas that were asked.
    pub value: f64,
    /// How many those were.
    pub replicas: usize,
    /// When the scheduler heard of the oldest of their values.
    pub at: Timestamp,
}

/// A handle to what is known of the use of resources; clones share it.
#[derive(Clone)]
pub struct Usage {
    book: Arc<Mutex<Book>>,
    /// Seconds are counted from here, by a clock that nobody sets.
    started: Instant,
}

impl Default for Usage {
    fn default() -> Self {
        Self { book: Arc::default(), started: Instant::now() }
    }
}

impl Usage {
    /// Takes what the agent of `node` measured in the last second. Replicas that are not on record there are
    /// left out.
    pub fn take(&self, snapshot: &Snapshot, node: &NodeId, message: &UsageReport) {
        let report = Report::read(message, node, snapshot);
        let second = self.second();
        let mut book = self.book();
        book.take(second, report);
        book.sweep(second, |replica| snapshot.replicas.contains_key(replica));
    }

    /// What a replica uses now; `None` if that was not measured in the last 3 seconds, or its processor time has
    /// nothing to be compared with yet.
    pub fn of_replica(&self, replica: &ReplicaId) -> Option<Sample> {
        let second = self.second();
        let (at, point) = self.book().latest(replica)?;
        let age = second.saturating_sub(at);
        let cpu_cores = point.cpu_cores.filter(|_| age <= CURRENT)?;
        Some(Sample { cpu_cores, memory_bytes: point.memory_bytes, at: ago(age) })
    }

    /// What a replica has used in the last `time`, oldest first; seconds that are not known are left out.
    pub fn history(&self, replica: &ReplicaId, time: Duration) -> Vec<(Timestamp, Point)> {
        let (second, now) = (self.second(), now());
        let points = self.book().history(replica, second.saturating_sub(time.as_secs()));
        points.into_iter().map(|(at, point)| (before(now, second.saturating_sub(at)), point)).collect()
    }

    /// A metric that `service` is scaled by, as it was read in the last 5 seconds; `None` if no replica gave a
    /// value.
    pub fn metric(&self, service: &ServiceId, target: &MetricTarget) -> Option<Metric> {
        let second = self.second();
        let (asked, id) = (asked(service, target)?, scrape_id(target));
        let (value, replicas, at) = self.book().metric(&asked, &id, second.saturating_sub(METRIC_CURRENT))?;
        Some(Metric { value, replicas, at: ago(second.saturating_sub(at)) })
    }

    /// Why one of the replicas that count gave no value in the last 5 seconds when it was asked for that metric;
    /// `None` if all did.
    pub fn metric_problem(
        &self,
        service: &ServiceId,
        target: &MetricTarget,
        counts: impl Fn(&ReplicaId) -> bool,
    ) -> Option<String> {
        let from = self.second().saturating_sub(METRIC_CURRENT);
        self.book().metric_problem(&asked(service, target)?, &scrape_id(target), from, counts)
    }

    /// Whether a replica gave a value of that metric in the last 5 seconds.
    pub fn has_told(&self, replica: &ReplicaId, target: &MetricTarget) -> bool {
        let from = self.second().saturating_sub(METRIC_CURRENT);
        self.book().has_told(replica, &scrape_id(target), from)
    }

    /// What these replicas have used in the 15 minutes, each of them for itself.
    pub fn histories<'a>(&self, replicas: impl Iterator<Item = &'a ReplicaId>) -> Vec<Vec<(u64, Point)>> {
        let second = self.second();
        let book = self.book();
        let all = replicas.map(|replica| book.history(replica, second.saturating_sub(ring::KEPT)));
        all.filter(|history| !history.is_empty()).collect()
    }

    /// What these replicas have used together in the last `time`, by how many seconds ago; seconds in which none was
    /// measured are left out.
    pub fn together<'a>(
        &self,
        replicas: impl Iterator<Item = &'a ReplicaId>,
        time: Duration,
    ) -> BTreeMap<u64, Together> {
        let mut sums: BTreeMap<u64, Together> = BTreeMap::new();
        let histories = self.histories(replicas);
        let second = self.second();
        for (at, point) in histories.into_iter().flatten() {
            let ago = second.saturating_sub(at);
            let Some(cpu_cores) = point.cpu_cores.filter(|_| ago < time.as_secs()) else { continue };
            let nothing = Together { memory_bytes: Some(0), ..Together::default() };
            let sum = sums.entry(ago).or_insert(nothing);
            sum.cpu_cores += cpu_cores;
            let both = sum.memory_bytes.zip(point.memory_bytes);
            sum.memory_bytes = both.map(|(sum, more)| sum.saturating_add(more));
            sum.replicas += 1;
        }
        sums
    }

    /// What every replica uses now.
    pub fn all(&self) -> BTreeMap<ReplicaId, Sample> {
        let second = self.second();
        let latest = self.book().all_latest();
        let samples = latest.into_iter().filter_map(|(replica, at, point)| {
            let age = second.saturating_sub(at);
            let cpu_cores = point.cpu_cores.filter(|_| age <= CURRENT)?;
            Some((replica, Sample { cpu_cores, memory_bytes: point.memory_bytes, at: ago(age) }))
        });
        samples.collect()
    }

    /// Later than anything is kept, so that nothing is asked for that lies before the first second.
    fn second(&self) -> u64 {
        self.started.elapsed().as_secs() + ring::KEPT
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The service whose replicas are asked for a metric that `service` is scaled by.
pub fn asked(service: &ServiceId, target: &MetricTarget) -> Option<ServiceId> {
    match target.service.as_str() {
        "" => Some(service.clone()),
        other => ServiceId::new(service.stack().clone(), other).ok(),
    }
}

/// What agents call a metric: it names all that is asked, so that a value of before a change is none of after it.
pub fn scrape_id(target: &MetricTarget) -> String {
    format!(":{}{} {}", target.port, target.path, target.name)
}

fn ago(seconds: u64) -> Timestamp {
    before(now(), seconds)
}

fn before(time: Timestamp, seconds: u64) -> Timestamp {
    let millis = i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    Timestamp::from_millis(time.as_millis().saturating_sub(millis))
}

#[cfg(test)]
mod tests {
    use gantry_api::node::v1::{MetricReading, ReplicaUsage};
    use gantry_testkit::World;

    use super::*;

    fn world() -> World {
        let mut world =
            World::new(Timestamp::from_millis(1)).node("n1").service("shop/web", |web| web.replicas(2));
        let plan = crate::decide::decide(&world.snapshot, world.now);
        world.commit(&plan.changes);
        world
    }

    fn jobs() -> MetricTarget {
        MetricTarget {
            service: String::new(),
            port: 80,
            path: "/metrics".into(),
            name: "jobs".into(),
            target: 1.0,
        }
    }

    fn report(world: &World, cpu_microcores: Option<u32>) -> UsageReport {
        let replicas = world.replicas("shop/web").into_iter().map(|replica| ReplicaUsage {
            replica_id: replica.id.to_string(),
            cpu_microcores,
            memory_bytes: Some(4 << 20),
        });
        let metrics = world.replicas("shop/web").into_iter().map(|replica| MetricReading {
            replica_id: replica.id.to_string(),
            scrape_id: scrape_id(&jobs()),
            value: 2.5,
            error: String::new(),
        });
        UsageReport { replicas: replicas.collect(), metrics: metrics.collect() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_measured_long_ago_is_not_what_is_used_now() {
        let (world, usage) = (world(), Usage::default());
        let (node, replica) = (NodeId::new("n1").unwrap(), world.replicas("shop/web").remove(0).id);
        usage.take(&world.snapshot, &node, &report(&world, Some(250_000)));
        let sample = usage.of_replica(&replica).unwrap();
        assert!((sample.cpu_cores - 0.25).abs() < 1e-9 && sample.memory_bytes == Some(4 << 20), "{sample:?}");
        tokio::time::advance(Duration::from_secs(CURRENT)).await;
        assert!(usage.of_replica(&replica).is_some());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(usage.of_replica(&replica), None);
        assert_eq!(usage.history(&replica, LONGEST).len(), 1, "it is remembered all the same");
        assert!(usage.all().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_metric_is_added_up_over_the_replicas_and_grows_old() {
        let (world, usage) = (world(), Usage::default());
        let (node, service): (_, ServiceId) = (NodeId::new("n1").unwrap(), "shop/web".parse().unwrap());
        usage.take(&world.snapshot, &node, &report(&world, None));
        let metric = usage.metric(&service, &jobs()).unwrap();
        assert!((metric.value - 5.0).abs() < 1e-9 && metric.replicas == 2, "{metric:?}");
        let other = MetricTarget { port: 81, ..jobs() };
        assert_eq!(usage.metric(&service, &other), None);
        let of_others = MetricTarget { service: "web".into(), ..jobs() };
        assert_eq!(
            usage.metric(&"shop/worker".parse().unwrap(), &of_others).map(|metric| metric.replicas),
            Some(2)
        );
        tokio::time::advance(Duration::from_secs(METRIC_CURRENT + 1)).await;
        assert_eq!(usage.metric(&service, &jobs()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_that_are_gone_are_forgotten() {
        let (mut world, usage) = (world(), Usage::default());
        let (node, replica) = (NodeId::new("n1").unwrap(), world.replicas("shop/web").remove(0).id);
        usage.take(&world.snapshot, &node, &report(&world, Some(1)));
        world.snapshot.replicas.remove_mut(&replica);
        tokio::time::advance(Duration::from_mins(1)).await;
        usage.take(&world.snapshot, &node, &UsageReport::default());
        assert!(usage.history(&replica, LONGEST).is_empty());
        assert_eq!(usage.book().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_was_just_started_has_memory_and_no_processor_time() {
        let (world, usage) = (world(), Usage::default());
        let (node, replica) = (NodeId::new("n1").unwrap(), world.replicas("shop/web").remove(0).id);
        usage.take(&world.snapshot, &node, &report(&world, None));
        assert_eq!(usage.of_replica(&replica), None);
        assert_eq!(usage.history(&replica, LONGEST)[0].1.cpu_cores, None);
    }

    #[tokio::test(start_paused = true)]
    async fn replicas_are_added_up_second_by_second() {
        let (world, usage) = (world(), Usage::default());
        let node = NodeId::new("n1").unwrap();
        let ids: Vec<ReplicaId> = world.replicas("shop/web").into_iter().map(|replica| replica.id).collect();
        usage.take(&world.snapshot, &node, &report(&world, None));
        tokio::time::advance(Duration::from_secs(1)).await;
        usage.take(&world.snapshot, &node, &report(&world, Some(250_000)));
        tokio::time::advance(Duration::from_secs(2)).await;
        let together = usage.together(ids.iter(), LONGEST);
        let sum = Together { cpu_cores: 0.5, memory_bytes: Some(8 << 20), replicas: 2 };
        assert_eq!(together, [(2, sum)].into());
        assert!(usage.together(ids.iter(), Duration::from_secs(2)).is_empty());
    }
}
