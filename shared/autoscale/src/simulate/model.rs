use std::time::Duration;

use gantry_model::Timestamp;

use crate::bounds::Base;
use crate::signals::{Replica, Signals, Stage, Traffic, Usage};

/// Requests that may wait for a replica; more are turned away.
const QUEUE: f64 = 1_000.0;
/// A replica that is busier than this answers no slower: its queue grows instead.
const BUSIEST: f64 = 0.97;
/// 95% of answers that come at random take at most so many times the mean: ln 20.
pub const P95: f64 = 2.996;
/// 99% do: ln 100.
pub const P99: f64 = 4.605;
/// A request that waits longer than this is as good as lost.
const PATIENCE: f64 = 10.0;

/// A service that serves in proportion to its replicas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Model {
    /// Requests a second that a replica serves with all the processor time that it may use.
    pub capacity: f64,
    /// From the decision to a replica that takes traffic.
    pub start: Duration,
    /// For so long after it is ready a replica is busy with itself: it uses all its processor time.
    pub warm_up: Duration,
    /// How long a request takes on a replica that has nothing else to do.
    pub latency: Duration,
    /// What a request waits for elsewhere, however many replicas there are.
    pub elsewhere: Duration,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            capacity: 100.0,
            start: Duration::from_secs(5),
            warm_up: Duration::ZERO,
            latency: Duration::from_millis(20),
            elsewhere: Duration::ZERO,
        }
    }
}

impl Model {
    /// How long a request takes on average, on replicas that are this busy: as with one server and
    /// requests at random (M/M/1), `latency / (1 − busy)`.
    pub fn mean_latency(&self, busy: f64) -> f64 {
        self.latency.as_secs_f64() / (1.0 - busy.min(BUSIEST)) + self.elsewhere.as_secs_f64()
    }
}

/// The service while it runs.
#[derive(Debug, Clone)]
pub struct World {
    model: Model,
    base: Base,
    begin: Timestamp,
    running: Vec<Running>,
    made: u64,
    waiting: f64,
    answers: Vec<f64>,
}

/// One replica of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Running {
    /// Its number.
    pub id: u64,
    /// The second in which it was asked for.
    pub since: u64,
    /// The second from which it takes traffic.
    pub ready_at: u64,
    /// What it used of its processor time in the last second, from 0 to 1.
    pub busy: f64,
}

impl Running {
    /// Whether it takes traffic.
    pub fn is_ready(&self, second: u64) -> bool {
        self.ready_at <= second
    }
}

impl World {
    /// A service with so many replicas, all ready and warm.
    pub fn new(model: Model, base: Base, begin: Timestamp, count: u32) -> Self {
        let mut world =
            Self { model, base, begin, running: Vec::new(), made: 0, waiting: 0.0, answers: Vec::new() };
        world.set(count, 0);
        for replica in &mut world.running {
            replica.ready_at = 0;
        }
        world
    }

    /// The point in time of that second.
    pub fn time(&self, second: u64) -> Timestamp {
        self.begin.after(Duration::from_secs(second))
    }

    /// The replicas that there are.
    pub fn running(&self) -> &[Running] {
        &self.running
    }

    /// Adds replicas, or takes the newest away.
    pub fn set(&mut self, count: u32, second: u64) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        self.running.truncate(count);
        while self.running.len() < count {
            self.made += 1;
            let ready_at = second + self.model.start.as_secs();
            self.running.push(Running { id: self.made, since: second, ready_at, busy: 0.0 });
        }
    }

    /// One second with so many requests, and what is seen of it.
    pub fn pass(&mut self, second: u64, rps: f64) -> Signals {
        let ready = self.running.iter().filter(|replica| replica.is_ready(second)).count();
        #[allow(clippy::cast_precision_loss)] // Some thousands at most.
        let capacity = ready as f64 * self.model.capacity;
        let served = (rps + self.waiting).min(capacity);
        self.waiting = (rps + self.waiting - served).min(QUEUE);
        let busy = if capacity > 0.0 { served / capacity } else { 0.0 };
        let warm_up = self.model.warm_up.as_secs();
        for replica in &mut self.running {
            replica.busy = match replica.ready_at {
                ready_at if ready_at > second => 0.0,
                ready_at if ready_at > 0 && second < ready_at + warm_up => 1.0,
                _ => busy,
            };
        }
        self.answers.push(served);
        let wait = if capacity > 0.0 { (self.waiting / capacity).min(PATIENCE) } else { PATIENCE };
        let mean = self.model.mean_latency(busy);
        let own = mean - self.model.elsewhere.as_secs_f64();
        let at =
            |times: f64| Duration::from_secs_f64(own * times + self.model.elsewhere.as_secs_f64() + wait);
        let answered = served > 0.0;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // At most the queue, and a week.
        let traffic = Traffic {
            rps,
            in_flight: served * mean,
            waiting: self.waiting.ceil() as u32,
            p95: answered.then(|| at(P95)),
            p99: answered.then(|| at(P99)),
            requests: self.answers.iter().rev().take(5).sum::<f64>() as u64,
            partial: false,
        };
        Signals {
            count: u32::try_from(self.running.len()).unwrap_or(u32::MAX),
            replicas: self.running.iter().map(|replica| self.seen(replica, second)).collect(),
            traffic: Some(traffic),
            metrics: Vec::new(),
            changing: None,
            healing: None,
        }
    }

    fn seen(&self, replica: &Running, second: u64) -> Replica {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A share of a few cores.
        let cpu_millicores = (replica.busy * self.base.cpu_millicores).round() as u32;
        let is_ready = replica.is_ready(second);
        let usage = Usage { cpu_millicores, memory_bytes: Some(0), age: Duration::from_secs(1) };
        Replica {
            stage: if is_ready { Stage::Ready } else { Stage::Starting },
            // The first ones have been there for long.
            started_at: (replica.ready_at > 0).then(|| self.time(replica.since)),
            usage: is_ready.then_some(usage),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Base = Base { cpu_millicores: 1_000.0, cpu_is_limited: true, memory_bytes: None };

    fn world(count: u32) -> World {
        World::new(Model::default(), BASE, Timestamp::from_millis(0), count)
    }

    #[test]
    fn replicas_share_the_load_and_new_ones_take_a_while() {
        let mut world = world(2);
        let seen = world.pass(0, 100.0);
        assert_eq!(seen.replicas[0].usage.unwrap().cpu_millicores, 500);
        assert_eq!(seen.traffic.unwrap().p95, Some(Duration::from_secs_f64(0.02 / 0.5 * P95)));
        world.set(4, 1);
        assert_eq!((world.pass(1, 100.0).ready(), world.pass(5, 100.0).ready()), (2, 2));
        let later = world.pass(6, 100.0);
        assert_eq!((later.ready(), later.replicas[3].usage.unwrap().cpu_millicores), (4, 250));
    }

    #[test]
    fn what_is_too_much_waits_and_is_slow() {
        let mut world = world(1);
        let first = world.pass(0, 150.0).traffic.unwrap();
        let second = world.pass(1, 150.0).traffic.unwrap();
        assert_eq!((first.waiting, second.waiting), (50, 100));
        assert!(second.p95 > first.p95 && first.p95 > Some(Duration::from_millis(500)));
        for at in 2..100 {
            world.pass(at, 1_000.0);
        }
        assert_eq!(world.pass(100, 0.0).traffic.unwrap().waiting, 900, "the queue is bounded");
    }

    #[test]
    fn without_a_replica_everything_waits() {
        let mut world = world(0);
        let seen = world.pass(0, 3.0).traffic.unwrap();
        assert_eq!((seen.waiting, seen.p95, seen.requests), (3, None, 0));
    }
}
