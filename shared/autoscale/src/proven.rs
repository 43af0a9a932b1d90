//! How much a replica is known to bear.
//!
//! How many requests are in flight, and how long they take, says little about what would be so with fewer
//! replicas: both grow faster than the load of each. So by those signals replicas are taken away as far as
//! each of the others has no more to do than what it has borne well before; beyond that, a quarter at a
//! time.

use std::time::Duration;

use gantry_model::{Autoscale, Timestamp};

use crate::history::History;
use crate::signal::Signal;

/// What lasted for so long was borne.
const LASTED: Duration = Duration::from_secs(5);
/// Without anything to go by this share is taken away.
const STEP: f64 = 0.25;

/// The most requests a second for each replica that were borne well.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Proven {
    most: f64,
    lately: History,
}

impl Proven {
    /// Notes how many requests a second each replica has; `well`: every target is met.
    pub fn observe(&mut self, each: f64, well: bool, now: Timestamp) {
        let borne = if well && each.is_finite() { each } else { 0.0 };
        self.lately.push(LASTED, now, Signal::Rps, borne);
        if self.lately.covers(LASTED, now) {
            let lowest = self.lately.lowest(LASTED, now).unwrap_or_default();
            self.most = self.most.max(lowest);
        }
    }

    /// Forgets everything: replicas are other ones.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// The replicas that are kept whatever the signals ask for, while there are so many requests a second.
    pub fn keeps(&self, count: u32, rps: f64) -> f64 {
        let careful = (f64::from(count) * (1.0 - STEP)).floor();
        if self.most > 0.0 { careful.min(rps / self.most) } else { careful }
    }
}

/// Whether any target is of the kind for which that matters.
pub fn is_of_use(spec: &Autoscale) -> bool {
    let by_time_alone = !spec.has_proportional_target() && (spec.p95.is_some() || spec.p99.is_some());
    spec.concurrency.is_some() || by_time_alone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(each: &[(f64, bool)]) -> Proven {
        let mut proven = Proven::default();
        for (second, (each, well)) in (0..).zip(each) {
            proven.observe(*each, *well, Timestamp::from_millis(second * 1_000));
        }
        proven
    }

    #[test]
    fn beyond_what_was_borne_a_quarter_is_taken_away() {
        let fifty = seen(&[(50.0, true); 10]);
        assert!((fifty.keeps(20, 1_000.0) - 15.0).abs() < 1e-9, "as much to do as ever");
        assert!((fifty.keeps(20, 100.0) - 2.0).abs() < 1e-9, "two have as much to do as twenty had before");
        assert!((fifty.keeps(2, 100.0) - 1.0).abs() < 1e-9);
        assert!((Proven::default().keeps(20, 100.0) - 15.0).abs() < 1e-9);
    }

    #[test]
    fn what_was_borne_for_a_moment_or_badly_proves_nothing() {
        let mut seconds = [(50.0, true); 20];
        seconds[10] = (90.0, true);
        assert!((seen(&seconds).keeps(20, 100.0) - 2.0).abs() < 1e-9);
        let badly = seen(&[(90.0, false); 20]);
        assert!((badly.keeps(20, 100.0) - 15.0).abs() < 1e-9);
    }
}
