//! What was learned from a step down that had to be taken back.
//!
//! Not every sum is the same whatever the number of replicas: with fewer of them requests take longer, so
//! that more are in flight, and a queue grows instead of being empty. A count that was left for a smaller
//! one, and come back to, would be left again and again under a constant load. So what a replica could not
//! bear is remembered.

use std::time::Duration;

use gantry_model::Timestamp;

/// What was asked of each replica is tried again after this time.
const FOR_A_DAY: Duration = Duration::from_hours(24);
/// Without requests that tell how much there was to do, the count itself is remembered, for less long.
const FOR_AN_HOUR: Duration = Duration::from_hours(1);
/// More within this time after a step down is because of it; longer where steps down take longer.
const SOON: Duration = Duration::from_mins(1);
/// With less than this share of what was too much, each replica has clearly less to do.
const CLEARLY_LESS: f64 = 0.9;
/// With more than this share of it, and at ease, it was not too much after all.
const CLEARLY_MORE: f64 = 1.05;

/// What was learned.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Lesson {
    /// When some were taken away last, and how many were left.
    down: Option<(Timestamp, u32)>,
    learned: Option<(TooMuch, Timestamp)>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum TooMuch {
    /// Requests a second for each replica.
    Each(f64),
    /// So few replicas.
    Count(u32),
}

impl Lesson {
    /// Replicas are taken away because so many seem to be enough.
    pub fn down(&mut self, to: u32, now: Timestamp) {
        self.down = Some((now, to));
    }

    /// There is too much to do for `count` replicas, with so many requests a second, where that is known.
    pub fn up(&mut self, count: u32, rps: Option<f64>, scale_down_after: Duration, now: Timestamp) {
        let rps = rps.filter(|rps| *rps > 0.0);
        // Where nobody knows how much there is to do, only what follows at once is because of it.
        let soon = if rps.is_some() { scale_down_after.max(SOON) } else { SOON };
        // The steps that come after the first are of a climb, and say nothing of the step down.
        if !self.down.take().is_some_and(|(at, to)| to == count && now.since(at) <= soon) {
            return;
        }
        let each = rps.map(|rps| rps / f64::from(count.max(1)));
        let too_much = match (each, self.learned) {
            (Some(each), Some((TooMuch::Each(known), _))) => TooMuch::Each(each.min(known)),
            (Some(each), _) => TooMuch::Each(each),
            (None, _) => TooMuch::Count(count),
        };
        self.learned = Some((too_much, now));
    }

    /// Forgets what is refuted, or too old. `at_ease`: no signal is near its target.
    pub fn review(&mut self, ready: u32, rps: Option<f64>, at_ease: bool, now: Timestamp) {
        let each = rps.unwrap_or_default() / f64::from(ready.max(1));
        self.learned = self.learned.filter(|(too_much, at)| match too_much {
            TooMuch::Each(limit) => now.since(*at) < FOR_A_DAY && !(at_ease && each > limit * CLEARLY_MORE),
            TooMuch::Count(_) => now.since(*at) < FOR_AN_HOUR,
        });
    }

    /// Forgets everything: replicas are other ones, or the cause was elsewhere.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// The replicas that it takes by what was learned, as a fraction.
    pub fn keeps(&self, rps: Option<f64>) -> Option<f64> {
        Some(match (self.learned?.0, rps) {
            (TooMuch::Each(limit), Some(rps)) => rps / (limit * CLEARLY_LESS),
            (TooMuch::Each(_), None) => return None,
            (TooMuch::Count(count), _) => f64::from(count) + 1.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE_MINUTES: Duration = Duration::from_mins(5);

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(minute * 60_000)
    }

    fn is(kept: Option<f64>, expected: f64) -> bool {
        kept.is_some_and(|kept| (kept - expected).abs() < 0.01)
    }

    /// Down at minute 10, and up again from 3 replicas a minute later.
    fn taken_back(rps: Option<f64>) -> Lesson {
        let mut lesson = Lesson::default();
        lesson.down(3, at(10));
        lesson.up(3, rps, FIVE_MINUTES, at(11));
        lesson
    }

    #[test]
    fn a_step_down_that_is_taken_back_is_not_tried_again() {
        let lesson = taken_back(Some(90.0));
        assert!(is(lesson.keeps(Some(90.0)), 3.33), "30 a second for each were too many: four it is");
        assert!(is(lesson.keeps(Some(45.0)), 1.67), "half of the load needs half of the replicas");
        assert_eq!(lesson.keeps(None), None);
        assert!(is(taken_back(None).keeps(None), 4.0));
    }

    #[test]
    fn more_load_without_a_step_down_before_teaches_nothing() {
        let mut lesson = Lesson::default();
        lesson.up(3, Some(90.0), FIVE_MINUTES, at(11));
        assert_eq!(lesson.keeps(Some(90.0)), None);
        lesson.down(3, at(20));
        lesson.up(3, Some(90.0), FIVE_MINUTES, at(26));
        assert_eq!(lesson.keeps(Some(90.0)), None, "that was not because of it");
    }

    #[test]
    fn a_climb_teaches_nothing_but_by_its_first_step() {
        let mut lesson = taken_back(None);
        for count in [4, 8, 16, 32] {
            lesson.up(count, None, FIVE_MINUTES, at(11));
        }
        assert!(is(lesson.keeps(None), 4.0), "one more than the step down has left");
        let mut late = Lesson::default();
        late.down(1, at(10));
        late.up(1, None, FIVE_MINUTES, at(12));
        assert_eq!(late.keeps(None), None, "a burst of work that came later");
    }

    #[test]
    fn what_is_refuted_or_old_is_forgotten() {
        let mut lesson = taken_back(Some(90.0));
        lesson.review(4, Some(160.0), false, at(20));
        lesson.review(4, Some(100.0), true, at(20));
        assert!(lesson.keeps(Some(90.0)).is_some());
        let mut refuted = lesson;
        refuted.review(4, Some(160.0), true, at(20));
        assert_eq!(refuted.keeps(Some(90.0)), None, "40 a second for each, and at ease");
        lesson.review(4, Some(90.0), true, at(24 * 60 + 11));
        assert_eq!(lesson.keeps(Some(90.0)), None);
        let mut blind = taken_back(None);
        blind.review(4, None, true, at(71));
        assert_eq!(blind.keeps(None), None);
    }
}
