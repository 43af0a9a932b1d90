//! What was seen of one service in one second, in 80 bytes.

use std::time::Duration;

/// What was seen of one service in one second.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Point {
    /// What the proxies told; `None` where that is not known, as some of them are silent.
    pub requests: Option<Requests>,
    /// What its replicas used; `None` where none was measured.
    pub used: Option<Used>,
    /// How many replicas it was to have.
    pub wanted: u32,
    /// How many of them took traffic.
    pub ready: u32,
    /// The numbers of its own that it is scaled by, each added up over all that were asked; not a number where one
    /// is not known.
    pub metrics: Box<[f64]>,
}

/// What the proxies told of one second, added up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Requests {
    /// Requests that arrived, also those that wait or were turned away.
    pub arrived: u32,
    /// Requests that ended, also those that found no replica.
    pub answered: u32,
    /// Those of them that were answered with 5xx or not at all.
    pub errors: u32,
    /// Requests that replicas were answering, on average.
    pub in_flight: f32,
    /// Requests that waited for a replica.
    pub waiting: u32,
    /// Half of the answers of the last 5 seconds began within this time.
    pub p50: Time,
    /// 95% of them did.
    pub p95: Time,
    /// 99% of them did.
    pub p99: Time,
}

/// What all replicas used together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Thousandths of a core.
    pub cpu_millicores: u32,
    /// Memory in KiB, without the page cache.
    pub memory_kib: Option<u32>,
    /// How many replicas it is of.
    pub replicas: u32,
}

/// A time that may be unknown, to the microsecond: up to 71 minutes, in 4 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(u32);

impl Time {
    const UNKNOWN: Self = Self(u32::MAX);

    /// The time, if it is known.
    pub fn get(self) -> Option<Duration> {
        (self != Self::UNKNOWN).then(|| Duration::from_micros(self.0.into()))
    }
}

impl Default for Time {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl From<Option<Duration>> for Time {
    fn from(time: Option<Duration>) -> Self {
        time.map_or(Self::UNKNOWN, |time| {
            Self(u32::try_from(time.as_micros()).unwrap_or(u32::MAX).min(u32::MAX - 1))
        })
    }
}

impl Point {
    /// Whether anybody asked anything of the service in that second.
    pub fn is_used(&self) -> bool {
        self.requests
            .is_some_and(|of| of.arrived > 0 || of.answered > 0 || of.in_flight > 0.0 || of.waiting > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_small_and_times_stay_what_they_are() {
        assert!(size_of::<Option<Point>>() <= 80, "{}", size_of::<Option<Point>>());
        let time = |time: Option<Duration>| Time::from(time).get();
        assert_eq!(time(None), None);
        assert_eq!(time(Some(Duration::from_micros(12_500))), Some(Duration::from_micros(12_500)));
        assert!(time(Some(Duration::MAX)) > Some(Duration::from_mins(71)));
    }
}
