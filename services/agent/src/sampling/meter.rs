//! Cores in use, from a counter of processor time. Pure: the time is passed in.

use std::time::Duration;

/// Within a shorter time a counter says more about itself than about the container.
const SHORTEST: Duration = Duration::from_millis(100);

/// Compares a counter with what it was the time before.
#[derive(Debug, Clone, Copy, Default)]
pub struct Meter {
    last: Option<(u64, Duration)>,
}

impl Meter {
    /// Millionths of a core that were used since the time before, on average. `at` is the time on a clock that
    /// only goes forward. `None` the first time, and when the counter went back: the container was started anew.
    pub fn take(&mut self, cpu_nanos: u64, at: Duration) -> Option<u32> {
        let Some((before, then)) = self.last else {
            self.last = Some((cpu_nanos, at));
            return None;
        };
        let passed = at.saturating_sub(then);
        if passed < SHORTEST {
            return None;
        }
        self.last = Some((cpu_nanos, at));
        let used = cpu_nanos.checked_sub(before)?;
        let microcores = u128::from(used) * 1_000_000 / passed.as_nanos();
        Some(u32::try_from(microcores).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn a_core_that_is_used_all_the_time_is_a_million() {
        let mut meter = Meter::default();
        assert_eq!(meter.take(7_000_000_000, second(1)), None, "there is nothing to compare with");
        assert_eq!(meter.take(8_000_000_000, second(2)), Some(1_000_000));
        assert_eq!(meter.take(8_000_500_000, second(3)), Some(500));
        assert_eq!(meter.take(12_000_500_000, second(5)), Some(2_000_000), "a second was left out");
    }

    #[test]
    fn a_counter_that_went_back_gives_no_value_and_is_where_the_next_begins() {
        let mut meter = Meter::default();
        meter.take(8_000_000_000, second(1));
        assert_eq!(meter.take(100_000_000, second(2)), None);
        assert_eq!(meter.take(350_000_000, second(3)), Some(250_000));
    }

    #[test]
    fn two_readings_in_one_moment_count_as_one() {
        let mut meter = Meter::default();
        meter.take(1_000_000_000, second(1));
        assert_eq!(meter.take(1_050_000_000, second(1) + Duration::from_millis(50)), None);
        assert_eq!(meter.take(1_500_000_000, second(2)), Some(500_000));
    }

    #[test]
    fn nonsense_does_not_overflow() {
        let mut meter = Meter::default();
        meter.take(0, second(1));
        assert_eq!(meter.take(u64::MAX, second(2)), Some(u32::MAX));
    }
}
