//! How long answers take. More replicas may help, but nothing says how many: so it goes in steps, and each
//! is judged by what it gained before the next.

use std::time::Duration;

use gantry_model::{Autoscale, Timestamp};

use super::Signal;
use crate::number::{large, replicas};
use crate::signals::{Signals, Traffic};

/// A percentile of fewer answers says nothing.
pub const ANSWERS: u64 = 50;
/// A step adds this share of the replicas, and one at least.
const STEP: f64 = 0.25;
/// Above this share of the target no replica is taken away.
pub const TIGHT: f64 = 0.7;
/// A step that lowers the time by less than this share, and has not this much more answered either, has
/// gained nothing. Of a service that cannot keep up the time says little until it can.
const GAIN: f64 = 0.1;
/// After so many of those there is no further step.
const IN_VAIN: u32 = 2;
/// Percentiles, and the number of answers, are over this time.
pub(crate) const OVER: Duration = Duration::from_secs(5);
/// A second longer, as proxies tell of a second when it is over: then all answers are from after the last change.
const SETTLE: Duration = Duration::from_secs(6);
/// What was in vain is tried again when there are so many times as many requests: they may be what is too much now.
const MUCH_MORE: f64 = 1.5;
const SECOND: Duration = Duration::from_secs(1);
/// A step that was not taken by then is not going to be.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// The load may grow by this share and still be the same.
const SAME: f64 = 0.1;

/// What is remembered of how long answers took.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latency {
    /// Since when they take longer than the target, by enough answers.
    above_since: Option<Timestamp>,
    /// Since when they do not.
    within_since: Option<Timestamp>,
    /// Since when there have been answers.
    answering_since: Option<Timestamp>,
    /// Since when there are as many replicas as now, and all of them have been ready.
    settled_since: Option<Timestamp>,
    /// The last step, until it is judged.
    step: Option<Step>,
    /// Steps in a row that gained nothing.
    in_vain: u32,
    /// How many requests a second there were when the last of them was judged.
    judged_at: f64,
}

/// More replicas, asked for because answers took too long.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    asked_at: Timestamp,
    from: u32,
    ratio: f64,
    rps: f64,
    /// In the time that percentiles are over.
    answers: f64,
}

/// The percentile that is worst by its target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Which.
    pub signal: Signal,
    /// What it is.
    pub value: Duration,
    /// What it should be at most.
    pub target: Duration,
}

impl Seen {
    /// The worst of those that have a target; `None` where there is none, or nothing was answered.
    pub fn of(spec: &Autoscale, traffic: Option<&Traffic>) -> Option<Self> {
        let traffic = traffic?;
        let seen = |signal, target: Option<Duration>, value: Option<Duration>| {
            Some(Self { signal, value: value?, target: target? })
        };
        let both = [seen(Signal::P95, spec.p95, traffic.p95), seen(Signal::P99, spec.p99, traffic.p99)];
        both.into_iter().flatten().max_by(|one, other| one.ratio().total_cmp(&other.ratio()))
    }

    /// Its share of the target.
    pub fn ratio(&self) -> f64 {
        self.value.as_secs_f64() / self.target.as_secs_f64()
    }
}

/// Whether there is anything here to aim at.
pub fn is_aimed_at(spec: &Autoscale) -> bool {
    spec.p95.is_some() || spec.p99.is_some()
}

/// What is to be done about answers that take too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: they are quick enough, or have not been slow for long enough.
    Fine,
    /// So many replicas.
    Step(u32),
    /// Too few answers to know.
    Few(u64),
    /// Replicas of the last step are not ready, or have not shown yet what they gain.
    Settling,
    /// The last steps gained nothing.
    InVain,
}

impl Latency {
    /// Notes what is seen now. `changed`: the count is another one than a moment ago.
    pub fn observe(&mut self, spec: &Autoscale, signals: &Signals, changed: bool, now: Timestamp) {
        if !is_aimed_at(spec) {
            *self = Self::default();
            return;
        }
        if signals.changing.is_some() {
            // Other processes may be quicker, or slower.
            (self.step, self.in_vain) = (None, 0);
        }
        // Those that come may be enough. One that has fallen ill is no reason to wait.
        if changed || signals.coming() > 0 {
            self.settled_since = None;
        } else {
            self.settled_since.get_or_insert(now);
        }
        let Some(traffic) = &signals.traffic else {
            (self.above_since, self.within_since, self.answering_since) = (None, None, None);
            return;
        };
        match traffic.requests {
            0 => self.answering_since = None,
            _ => drop(self.answering_since.get_or_insert(now)),
        }
        let ratio = Seen::of(spec, Some(traffic)).map_or(0.0, |seen| seen.ratio());
        if ratio <= 1.0 {
            self.above_since = None;
            self.within_since.get_or_insert(now);
        } else {
            self.within_since = None;
            if traffic.requests >= ANSWERS {
                self.above_since.get_or_insert(now);
            } else {
                self.above_since = None;
            }
        }
        self.judge(signals.count, ratio, traffic, now);
        if self.is_in_vain() && traffic.rps >= self.judged_at * MUCH_MORE {
            self.in_vain = IN_VAIN - 1;
        }
        if lasts(self.within_since, SETTLE, now) {
            self.in_vain = 0;
        }
    }

    /// Says what the last step has gained, once that can be seen.
    fn judge(&mut self, count: u32, ratio: f64, traffic: &Traffic, now: Timestamp) {
        let Some(step) = self.step else { return };
        if count <= step.from {
            if now.since(step.asked_at) >= FORGOTTEN {
                self.step = None;
            }
            return;
        }
        if !lasts(self.settled_since, SETTLE, now) {
            return;
        }
        self.step = None;
        let quicker = ratio <= step.ratio * (1.0 - GAIN);
        let more = large(traffic.requests) >= step.answers * (1.0 + GAIN);
        if quicker || more {
            self.in_vain = 0;
        } else if traffic.rps <= step.rps * (1.0 + SAME) {
            // With more load than before nobody can tell.
            self.in_vain += 1;
            self.judged_at = traffic.rps;
        }
    }

    /// What is to be done now.
    pub fn verdict(&self, spec: &Autoscale, signals: &Signals, now: Timestamp) -> Verdict {
        let Some(seen) = Seen::of(spec, signals.traffic.as_ref()) else { return Verdict::Fine };
        if seen.ratio() <= 1.0 {
            return Verdict::Fine;
        }
        let answers = signals.traffic.map_or(0, |traffic| traffic.requests);
        if answers < ANSWERS {
            return Verdict::Few(answers);
        }
        if !lasts(self.above_since, spec.scale_up_after, now) {
            return Verdict::Fine;
        }
        if self.in_vain >= IN_VAIN {
            return Verdict::InVain;
        }
        if self.step.is_some() || !lasts(self.settled_since, SETTLE, now) {
            return Verdict::Settling;
        }
        let more = replicas(f64::from(signals.count) * STEP).max(1);
        Verdict::Step(signals.count.saturating_add(more))
    }

    /// Notes that a step was asked for.
    pub fn asked(&mut self, spec: &Autoscale, signals: &Signals, now: Timestamp) {
        let Some(traffic) = &signals.traffic else { return };
        let ratio = Seen::of(spec, Some(traffic)).map_or(0.0, |seen| seen.ratio());
        self.step = Some(Step {
            asked_at: now,
            from: signals.count,
            ratio,
            rps: traffic.rps,
            answers: self.answers(traffic, now),
        });
    }

    /// How many there are in the time that percentiles are over; as many as there would be, where the first of
    /// them came later. (Seen first is what a whole second had.)
    fn answers(&self, traffic: &Traffic, now: Timestamp) -> f64 {
        let since = self.answering_since.map_or(Duration::ZERO, |since| now.since(since)) + SECOND;
        large(traffic.requests) * (OVER.as_secs_f64() / since.as_secs_f64()).max(1.0)
    }

    /// Whether more replicas have not made a slow service quicker.
    pub fn is_in_vain(&self) -> bool {
        self.in_vain >= IN_VAIN
    }
}

/// How many replicas answers of this speed take at least: all of them, near the target. `None` where
/// nothing is known of answers at all.
pub fn keeps(spec: &Autoscale, signals: &Signals) -> Option<f64> {
    let ratio = Seen::of(spec, Some(signals.traffic.as_ref()?)).map_or(0.0, |seen| seen.ratio());
    Some(if ratio > TIGHT { f64::from(signals.count) } else { 0.0 })
}

/// Whether something has been so for this time.
fn lasts(since: Option<Timestamp>, time: Duration, now: Timestamp) -> bool {
    since.is_some_and(|since| now.since(since) >= time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::{Replica, Stage};

    /// A service that is watched second by second, with a target of 200 ms for p95.
    struct World {
        spec: Autoscale,
        latency: Latency,
        signals: Signals,
        now: i64,
    }

    impl World {
        fn new(count: u32) -> Self {
            let spec = Autoscale { max: 100, p95: Some(Duration::from_millis(200)), ..Autoscale::default() };
            let mut world = Self { spec, latency: Latency::default(), signals: Signals::default(), now: 0 };
            world.set(count, 100.0, 100);
            world
        }

        /// So many replicas, all ready, with so many requests a second that take so long.
        fn set(&mut self, count: u32, rps: f64, millis: u64) {
            let replica = Replica { stage: Stage::Ready, started_at: None, usage: None };
            let p95 = Some(Duration::from_millis(millis));
            let traffic = Traffic { rps, p95, requests: 500, ..Traffic::default() };
            let replicas = vec![replica; usize::try_from(count).unwrap()];
            self.signals = Signals { count, replicas, traffic: Some(traffic), ..Signals::default() };
        }

        fn pass(&mut self, seconds: i64) -> Verdict {
            let mut before = self.signals.count;
            for _ in 0..seconds {
                self.now += 1;
                let now = Timestamp::from_millis(self.now * 1_000);
                self.latency.observe(&self.spec, &self.signals, self.signals.count != before, now);
                before = self.signals.count;
            }
            self.latency.verdict(&self.spec, &self.signals, Timestamp::from_millis(self.now * 1_000))
        }

        /// Takes the step that is asked for, after which answers take so long.
        fn step(&mut self, to: u32, millis: u64) {
            assert_eq!(self.pass(10), Verdict::Step(to));
            let now = Timestamp::from_millis(self.now * 1_000);
            self.latency.asked(&self.spec, &self.signals, now);
            let rps = self.signals.traffic.unwrap().rps;
            self.set(to, rps, millis);
        }
    }

    #[test]
    fn a_step_is_a_quarter_and_waits_for_three_seconds() {
        let mut world = World::new(10);
        world.pass(10);
        world.set(10, 100.0, 300);
        assert_eq!(world.pass(3), Verdict::Fine);
        assert_eq!(world.pass(1), Verdict::Step(13));
        let mut small = World::new(1);
        small.set(1, 100.0, 300);
        assert_eq!(small.pass(10), Verdict::Step(2));
    }

    #[test]
    fn few_answers_say_nothing() {
        let mut world = World::new(10);
        world.set(10, 100.0, 300);
        world.signals.traffic.as_mut().unwrap().requests = 49;
        assert_eq!(world.pass(60), Verdict::Few(49));
    }

    #[test]
    fn the_next_step_waits_for_the_replicas_of_the_last_one() {
        let mut world = World::new(4);
        world.set(4, 100.0, 800);
        world.step(5, 500);
        world.signals.replicas[4].stage = Stage::Starting;
        assert_eq!(world.pass(60), Verdict::Settling);
        world.signals.replicas[4].stage = Stage::Ready;
        assert_eq!(world.pass(6), Verdict::Settling, "what it gains is not seen yet");
        assert_eq!(world.pass(1), Verdict::Step(7));
    }

    #[test]
    fn two_steps_that_gain_nothing_are_the_last_ones() {
        let mut world = World::new(4);
        world.set(4, 100.0, 800);
        world.step(5, 790);
        world.step(7, 760);
        assert_eq!(world.pass(600), Verdict::InVain);
        assert!(world.latency.is_in_vain());
        // When it is quick again, it may be helped again.
        world.set(7, 100.0, 100);
        assert_eq!(world.pass(10), Verdict::Fine);
        assert!(!world.latency.is_in_vain());
        world.set(7, 100.0, 800);
        assert_eq!(world.pass(4), Verdict::Step(9));
    }

    #[test]
    fn a_step_under_growing_load_is_not_in_vain() {
        let mut world = World::new(4);
        world.set(4, 100.0, 800);
        for to in [5, 7, 9, 12] {
            world.step(to, 800);
            world.signals.traffic.as_mut().unwrap().rps *= 1.3;
        }
        assert!(!world.latency.is_in_vain());
    }

    #[test]
    fn a_step_after_which_more_is_answered_is_not_in_vain() {
        let mut world = World::new(4);
        world.set(4, 1_000.0, 8_000);
        for to in [5, 7, 9, 12] {
            world.step(to, 8_000);
            world.signals.traffic.as_mut().unwrap().requests = u64::from(to) * 100;
        }
        assert!(!world.latency.is_in_vain());
    }

    #[test]
    fn a_step_that_nobody_takes_is_forgotten() {
        let mut world = World::new(4);
        world.set(4, 100.0, 800);
        assert_eq!(world.pass(10), Verdict::Step(5));
        world.latency.asked(&world.spec, &world.signals, Timestamp::from_millis(10_000));
        assert_eq!(world.pass(5), Verdict::Settling);
        assert_eq!(world.pass(6), Verdict::Step(5));
    }

    #[test]
    fn above_seventy_per_cent_of_the_target_all_are_kept() {
        let mut world = World::new(8);
        let keeps = |world: &World| keeps(&world.spec, &world.signals);
        assert_eq!(keeps(&world), Some(0.0));
        world.set(8, 100.0, 141);
        assert_eq!(keeps(&world), Some(8.0));
        world.signals.traffic = None;
        assert_eq!(keeps(&world), None);
    }
}
