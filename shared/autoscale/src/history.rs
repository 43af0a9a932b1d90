//! What was asked for in the last seconds or minutes, in bounded space.

use std::collections::VecDeque;
use std::time::Duration;

use gantry_model::Timestamp;

use crate::signal::Signal;

/// A time is cut into at most about so many pieces.
const PIECES: u32 = 60;
/// A shorter piece would hold less than one sample.
const SHORTEST: Duration = Duration::from_secs(1);
/// Without samples for longer than this, and than a quarter of the time, what was before says nothing.
const GAP: Duration = Duration::from_secs(5);

/// What was asked for over a time, such as the last 5 minutes. Samples come about once a second; those of
/// one piece of the time are added up, so that a single noisy second is not what counts for minutes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    pieces: VecDeque<Piece>,
    /// Since when samples have come without a gap.
    since: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    number: i64,
    last: Timestamp,
    samples: u32,
    sum: f64,
    lowest: f64,
    highest: f64,
    /// Who asked for the highest.
    signal: Signal,
}

impl History {
    /// Notes a sample, and forgets what is older than `over`.
    pub fn push(&mut self, over: Duration, now: Timestamp, signal: Signal, fraction: f64) {
        let last = self.pieces.back().map(|piece| piece.last);
        if last.is_none_or(|last| now.since(last) > GAP.max(over / 4)) {
            self.clear();
        }
        self.since.get_or_insert(now);
        self.pieces.retain(|piece| now.since(piece.last) <= over);
        let width = i64::try_from((over / PIECES).max(SHORTEST).as_millis()).unwrap_or(i64::MAX);
        let number = now.as_millis().div_euclid(width);
        match self.pieces.back_mut().filter(|piece| piece.number == number) {
            Some(piece) => {
                piece.last = now;
                piece.samples += 1;
                piece.sum += fraction;
                piece.lowest = piece.lowest.min(fraction);
                if fraction > piece.highest {
                    (piece.highest, piece.signal) = (fraction, signal);
                }
            }
            None => self.pieces.push_back(Piece {
                number,
                last: now,
                samples: 1,
                sum: fraction,
                lowest: fraction,
                highest: fraction,
                signal,
            }),
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether samples have come for so long without a gap, up to now.
    pub fn covers(&self, over: Duration, now: Timestamp) -> bool {
        self.since.is_some_and(|since| now.since(since) >= over) && !self.pieces.is_empty()
    }

    /// The lowest sample of that time.
    pub fn lowest(&self, over: Duration, now: Timestamp) -> Option<f64> {
        self.within(over, now).map(|piece| piece.lowest).min_by(f64::total_cmp)
    }

    /// The mean of all samples of that time.
    pub fn mean(&self, over: Duration, now: Timestamp) -> Option<f64> {
        let (sum, samples) = self
            .within(over, now)
            .fold((0.0, 0), |(sum, samples), piece| (sum + piece.sum, samples + piece.samples));
        (samples > 0).then(|| sum / f64::from(samples))
    }

    /// The piece of that time whose mean is the highest, and who asked for most in it.
    pub fn highest(&self, over: Duration, now: Timestamp) -> Option<(Signal, f64)> {
        let means = self.within(over, now).map(|piece| (piece.signal, piece.sum / f64::from(piece.samples)));
        means.max_by(|(_, one), (_, other)| one.total_cmp(other))
    }

    fn within(&self, over: Duration, now: Timestamp) -> impl Iterator<Item = &Piece> {
        self.pieces.iter().filter(move |piece| now.since(piece.last) <= over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE_MINUTES: Duration = Duration::from_mins(5);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    fn filled(over: Duration, samples: &[(i64, f64)]) -> History {
        let mut history = History::default();
        for (second, fraction) in samples {
            history.push(over, at(*second), Signal::Cpu, *fraction);
        }
        history
    }

    #[test]
    fn the_lowest_and_the_mean_are_of_the_last_seconds_only() {
        let over = Duration::from_secs(3);
        let history = filled(over, &[(0, 1.0), (1, 5.0), (2, 4.0), (3, 6.0), (4, 5.0)]);
        assert!(history.covers(over, at(4)));
        assert_eq!((history.lowest(over, at(4)), history.mean(over, at(4))), (Some(4.0), Some(5.0)));
        assert_eq!(history.lowest(over, at(9)), None, "all of it is old");
    }

    #[test]
    fn the_highest_is_of_a_piece_and_not_of_a_single_second() {
        let mut samples: Vec<(i64, f64)> = (0..300).map(|second| (second, 2.0)).collect();
        samples[123].1 = 12.0;
        let history = filled(FIVE_MINUTES, &samples);
        assert_eq!(history.highest(FIVE_MINUTES, at(299)), Some((Signal::Cpu, 4.0)));
        let long = filled(FIVE_MINUTES, &(0..10_000).map(|second| (second, 1.0)).collect::<Vec<_>>());
        assert!(long.pieces.len() <= 62, "{}", long.pieces.len());
    }

    #[test]
    fn a_time_is_covered_when_samples_came_all_along() {
        let second = Duration::from_secs(1);
        let mut history = filled(FIVE_MINUTES, &[(0, 1.0)]);
        assert!(!history.covers(second, at(0)));
        history.push(FIVE_MINUTES, at(60), Signal::Cpu, 1.0);
        assert!(history.covers(Duration::from_mins(1), at(60)), "a minute of five is no gap");
        history.push(FIVE_MINUTES, at(200), Signal::Cpu, 1.0);
        assert!(!history.covers(second, at(200)), "two minutes are");
        assert!(!History::default().covers(Duration::ZERO, at(0)));
    }
}
