//! What people want to know of a window.

use std::time::Duration;

use super::histogram::quantile;
use super::ring::Counts;

/// Rates and latencies of a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Requests a second.
    pub requests_per_second: f64,
    /// The share that was answered with 5xx or not at all, from 0 to 1.
    pub error_rate: f64,
    /// Half of the answers began within this time; `None` where none was measured.
    pub p50: Option<Duration>,
    /// 95% did.
    pub p95: Option<Duration>,
    /// 99% did.
    pub p99: Option<Duration>,
}

impl Rates {
    /// Of what was counted in so many seconds.
    pub fn new(counts: &Counts, seconds: u64) -> Self {
        let requests: f64 = counts.classes.iter().map(|count| f64::from(*count)).sum();
        let [unanswered, .., failed] = counts.classes;
        let errors = f64::from(unanswered) + f64::from(failed);
        #[allow(clippy::cast_precision_loss)] // A minute at most.
        let seconds = seconds.max(1) as f64;
        let quantile = |share| quantile(&counts.latency, share);
        Self {
            requests_per_second: requests / seconds,
            error_rate: if requests > 0.0 { errors / requests } else { 0.0 },
            p50: quantile(0.5),
            p95: quantile(0.95),
            p99: quantile(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_what_was_answered_with_5xx_or_not_at_all() {
        let counts = Counts { classes: [5, 0, 150, 10, 20, 15], ..Counts::default() };
        let rates = Rates::new(&counts, 10);
        assert!((rates.requests_per_second - 20.0).abs() < 1e-9);
        assert!((rates.error_rate - 0.1).abs() < 1e-9);
        assert_eq!(rates.p95, None);
    }

    #[test]
    fn without_requests_there_are_no_errors() {
        let rates = Rates::new(&Counts::default(), 10);
        assert!(rates.requests_per_second == 0.0 && rates.error_rate == 0.0);
    }
}
