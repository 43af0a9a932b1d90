//! What the results of one check come to. Pure: times are those since the replica's process was started.
//!
//! Until the first pass the process comes up: it is asked often, and a failure counts towards the limit
//! only once an interval, and not in the start period. So it has the start period and as many intervals
//! as its retries, however often it is asked. From then on every result counts.

use std::time::Duration;

use gantry_model::{Health, HealthProbe};

/// Until the first pass, the first pauses are shorter than the start interval: most processes are there
/// soon, and what waits for them need not wait for longer than they take.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A failure with other words than the one before is told after this time, were it still failing.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// When a check is made, and what its results count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From one check to the next.
    pub interval: Duration,
    /// That many failures in a row make the replica unhealthy.
    pub retries: u32,
    /// Failures in this time do not count before the first pass.
    pub start_period: Duration,
    /// From one check to the next before the first pass.
    pub start_interval: Duration,
    /// That many failures in a row take the replica out of the routes.
    pub patience: u32,
    /// Begins with shorter pauses.
    pub eager: bool,
}

impl Timing {
    /// As a probe says; one failure takes the replica out of the routes.
    pub fn of(probe: &HealthProbe, eager: bool) -> Self {
        Self {
            interval: probe.interval,
            retries: probe.retries,
            start_period: probe.start_period,
            start_interval: probe.start_interval,
            patience: 1,
            eager,
        }
    }
}

/// What is concluded from a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The replica may take traffic.
    pub ready: bool,
    /// It is starting, healthy or unhealthy.
    pub health: Health,
    /// What a failed check said; empty while it passes.
    pub message: String,
}

/// One check of one run of a replica's process.
#[derive(Debug, Clone)]
pub struct Gauge {
    timing: Timing,
    /// Where in an interval it is asked, in 256 parts: so that not all replicas are asked at once.
    phase: u8,
    /// It has passed since the start.
    passed: bool,
    asked: u32,
    /// Failures in a row.
    misses: u32,
    /// Those of them that count towards the limit.
    counted: u32,
    /// Before the first pass, a failure counts from then on.
    counts_from: Duration,
    due: Duration,
    reading: Reading,
    said_at: Duration,
}

impl Gauge {
    /// Before the first check, of a process of that age.
    pub fn new(timing: Timing, phase: u8, age: Duration) -> Self {
        Self {
            timing,
            phase,
            passed: false,
            asked: 0,
            misses: 0,
            counted: 0,
            counts_from: timing.start_period.saturating_add(timing.interval).max(age),
            due: age,
            reading: Reading { ready: false, health: Health::Starting, message: String::new() },
            said_at: Duration::ZERO,
        }
    }

    /// When it is to be checked next.
    pub fn due(&self) -> Duration {
        self.due
    }

    /// Whether there was a result yet.
    pub fn was_asked(&self) -> bool {
        self.asked > 0
    }

    /// What is concluded so far.
    pub fn reading(&self) -> &Reading {
        &self.reading
    }

    /// Takes what a check said, at that age of the process.
    pub fn take(&mut self, said: Result<(), String>, age: Duration) {
        let first_pass = said.is_ok() && !self.passed;
        match said {
            Ok(()) => {
                self.passed = true;
                (self.misses, self.counted) = (0, 0);
                self.reading = Reading { ready: true, health: Health::Healthy, message: String::new() };
            }
            Err(message) => self.miss(message, age),
        }
        self.asked = self.asked.saturating_add(1);
        let pause = if first_pass {
            // From here on it stays apart from others that were started with it.
            self.timing.interval / 2 + self.timing.interval / 512 * u32::from(self.phase)
        } else if self.passed {
            self.timing.interval
        } else {
            self.early_pause()
        };
        self.due = age.saturating_add(pause);
    }

    fn miss(&mut self, message: String, age: Duration) {
        self.misses = self.misses.saturating_add(1);
        if self.passed {
            self.counted = self.counted.saturating_add(1);
        } else if age >= self.counts_from {
            self.counted = self.counted.saturating_add(1);
            self.counts_from = age.saturating_add(self.timing.interval);
        }
        let before = self.reading.clone();
        if self.misses >= self.timing.patience {
            self.reading.ready = false;
        }
        if self.counted >= self.timing.retries {
            self.reading.health = Health::Unhealthy;
        }
        // Other words alone are hardly news: a message may hold a time or a number that always changes.
        let news = (before.ready, before.health) != (self.reading.ready, self.reading.health)
            || before.message.is_empty()
            || age.saturating_sub(self.said_at) >= SAY_AGAIN;
        // One that still takes traffic is not spoken ill of.
        if news && !(self.reading.ready && self.reading.health == Health::Healthy) {
            self.reading.message = message;
            self.said_at = age;
        }
    }

    fn early_pause(&self) -> Duration {
        if !self.timing.eager {
            return self.timing.start_interval;
        }
        let doubled = 1_u32.checked_shl(self.asked.saturating_sub(1)).unwrap_or(u32::MAX);
        FIRST_PAUSE.saturating_mul(doubled).min(self.timing.start_interval)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn timing() -> Timing {
        Timing {
            interval: MS(1000),
            retries: 3,
            start_period: MS(2000),
            start_interval: MS(400),
            patience: 1,
            eager: true,
        }
    }

    fn fail(gauge: &mut Gauge) -> Duration {
        let age = gauge.due();
        gauge.take(Err("refused".into()), age);
        age
    }

    fn pass(gauge: &mut Gauge) -> Duration {
        let age = gauge.due();
        gauge.take(Ok(()), age);
        age
    }

    #[test]
    fn a_process_is_asked_often_until_it_is_there_and_then_once_an_interval() {
        let mut gauge = Gauge::new(timing(), 128, Duration::ZERO);
        let ages: Vec<_> = (0..6).map(|_| fail(&mut gauge)).collect();
        assert_eq!(ages, [0, 50, 150, 350, 750, 1150].map(MS));
        let first = pass(&mut gauge);
        assert_eq!((first, gauge.due()), (MS(1550), MS(2300)), "half an interval, and its phase");
        for _ in 0..3 {
            let last = pass(&mut gauge);
            assert_eq!(gauge.due(), last + MS(1000));
        }
        let mut patient = Gauge::new(Timing { eager: false, ..timing() }, 0, Duration::ZERO);
        let ages: Vec<_> = (0..3).map(|_| fail(&mut patient)).collect();
        assert_eq!(ages, [0, 400, 800].map(MS));
    }

    #[test]
    fn one_failure_takes_it_out_of_the_routes_and_one_pass_brings_it_back() {
        let mut gauge = Gauge::new(timing(), 0, Duration::ZERO);
        assert!(!gauge.reading().ready);
        pass(&mut gauge);
        assert_eq!((gauge.reading().ready, gauge.reading().health), (true, Health::Healthy));
        fail(&mut gauge);
        assert_eq!((gauge.reading().ready, gauge.reading().health), (false, Health::Healthy));
        assert_eq!(gauge.reading().message, "refused");
        pass(&mut gauge);
        assert_eq!(
            *gauge.reading(),
            Reading { ready: true, health: Health::Healthy, message: String::new() }
        );
    }

    #[test]
    fn as_many_failures_as_retries_make_it_unhealthy() {
        let mut gauge = Gauge::new(timing(), 0, Duration::ZERO);
        pass(&mut gauge);
        for _ in 0..2 {
            fail(&mut gauge);
        }
        assert_eq!(gauge.reading().health, Health::Healthy);
        pass(&mut gauge);
        for _ in 0..3 {
            fail(&mut gauge);
        }
        assert_eq!(gauge.reading().health, Health::Unhealthy, "also in the start period");
        pass(&mut gauge);
        assert_eq!(gauge.reading().health, Health::Healthy);
    }

    #[test]
    fn one_that_never_passes_is_unhealthy_after_the_start_period_and_its_retries() {
        let mut gauge = Gauge::new(timing(), 0, Duration::ZERO);
        let mut last = Duration::ZERO;
        while gauge.reading().health == Health::Starting {
            last = fail(&mut gauge);
        }
        assert!((MS(5000)..MS(6500)).contains(&last), "{last:?}: 2 s and three intervals of 1 s");
    }

    #[test]
    fn a_patient_check_needs_more_failures_to_take_a_replica_out() {
        let mut gauge = Gauge::new(Timing { patience: 3, ..timing() }, 0, Duration::ZERO);
        pass(&mut gauge);
        for ready in [true, true, false] {
            fail(&mut gauge);
            assert_eq!((gauge.reading().ready, gauge.reading().message.is_empty()), (ready, ready));
        }
    }

    #[test]
    fn words_that_always_differ_are_told_now_and_then() {
        let mut gauge =
            Gauge::new(Timing { start_period: Duration::from_hours(1), ..timing() }, 0, Duration::ZERO);
        let mut told = std::collections::BTreeSet::new();
        for number in 0.. {
            let age = gauge.due();
            if age > Duration::from_mins(1) {
                break;
            }
            gauge.take(Err(format!("error {number}")), age);
            told.insert(gauge.reading().message.clone());
        }
        assert!((2..=7).contains(&told.len()), "{told:?}");
    }

    fn any_timing() -> impl Strategy<Value = Timing> {
        let time = |from: u64| (from..5000).prop_map(Duration::from_millis);
        (time(100), 1_u32..5, time(0), time(100), 1_u32..4, any::<bool>()).prop_map(
            |(interval, retries, start_period, start_interval, patience, eager)| Timing {
                interval,
                retries,
                start_period,
                start_interval,
                patience,
                eager,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn whatever_checks_say(
            timing in any_timing(),
            phase in any::<u8>(),
            age in (0_u64..10_000).prop_map(Duration::from_millis),
            // Whether each passes, and how long it takes.
            said in prop::collection::vec((any::<bool>(), 0_u64..3000), 1..60),
        ) {
            let mut gauge = Gauge::new(timing, phase, age);
            let (mut misses, mut passed) = (0, false);
            for (pass, takes) in said {
                let before = gauge.reading().clone();
                let asked = gauge.due();
                let now = asked + Duration::from_millis(takes);
                gauge.take(if pass { Ok(()) } else { Err(format!("failed at {now:?}")) }, now);
                passed |= pass;
                misses = if pass { 0 } else { misses + 1 };
                let after = gauge.reading();

                // Ready exactly when it has passed and has not failed too often since.
                prop_assert_eq!(after.ready, passed && misses < timing.patience);
                // A pass heals at once; starting is over for good with the first one.
                prop_assert!(!pass || after.health == Health::Healthy);
                prop_assert!(!passed || after.health != Health::Starting);
                prop_assert!(passed || after.health != Health::Healthy);
                // Unhealthy after enough failures in a row, never sooner, never in the start period.
                if after.health == Health::Unhealthy {
                    prop_assert!(misses >= timing.retries);
                    prop_assert!(passed || now >= timing.start_period + timing.interval);
                }
                if passed && misses >= timing.retries {
                    prop_assert_eq!(after.health, Health::Unhealthy);
                }
                // Only a pass takes it back from there.
                if before.health == Health::Unhealthy && !pass {
                    prop_assert_eq!(after.health, Health::Unhealthy);
                }
                // What fails says why.
                let fine = after.ready && after.health == Health::Healthy;
                prop_assert_eq!(after.message.is_empty(), fine);
                // It is always checked again, soon, and never in a spin.
                let pause = gauge.due().saturating_sub(now);
                prop_assert!(pause >= FIRST_PAUSE.min(timing.interval / 2), "{:?}", pause);
                prop_assert!(pause <= timing.interval.max(timing.start_interval));
            }
        }

        #[test]
        fn what_never_passes_is_found_out(timing in any_timing(), takes in 0_u64..3000) {
            let takes = Duration::from_millis(takes);
            let mut gauge = Gauge::new(timing, 0, Duration::ZERO);
            while gauge.reading().health != Health::Unhealthy {
                let now = gauge.due() + takes;
                gauge.take(Err("no".into()), now);
                let each = timing.interval + timing.start_interval + takes;
                prop_assert!(now <= timing.start_period + each * (timing.retries + 1), "{:?}", now);
            }
        }
    }
}
