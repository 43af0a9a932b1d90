//! Sleep and wake: a service of which nobody wants anything has no replica.

use std::time::Duration;

use gantry_model::Timestamp;

use crate::bounds::Rules;
use crate::number::replicas;
use crate::pace;
use crate::signal::{Needs, Signal};
use crate::signals::Signals;

/// Without a look for longer than this nobody knows who wanted something meanwhile.
const GAP: Duration = Duration::from_secs(15);

/// Since when nobody has wanted anything, and when that was looked at last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Idle(Option<(Timestamp, Timestamp)>);

impl Idle {
    /// Notes whether somebody wants something.
    pub fn observe(&mut self, signals: &Signals, now: Timestamp) {
        match is_wanted(signals) {
            Some(false) => {
                let known = self.0.filter(|(_, last)| *last <= now && now.since(*last) <= GAP);
                self.0 = Some((known.map_or(now, |(since, _)| since), now));
            }
            // What is not known is taken for somebody.
            Some(true) | None => self.0 = None,
        }
    }

    /// Somebody has asked for replicas.
    pub fn forget(&mut self) {
        self.0 = None;
    }

    /// Whether that has been so for this time.
    pub fn is_for(&self, time: Duration, now: Timestamp) -> bool {
        self.0.is_some_and(|(since, _)| now.since(since) >= time)
    }
}

/// Whether anybody wants anything of the service; `None` if that is not known.
pub fn is_wanted(signals: &Signals) -> Option<bool> {
    let work = signals.metrics.iter().flatten().any(|value| *value > 0.0);
    let traffic =
        signals.traffic.map(|traffic| traffic.rps > 0.0 || traffic.in_flight > 0.0 || traffic.waiting > 0);
    match traffic {
        Some(true) => Some(true),
        _ if work => Some(true),
        Some(false) if is_all_known(signals) => Some(false),
        _ => None,
    }
}

fn is_all_known(signals: &Signals) -> bool {
    signals.metrics.iter().all(Result::is_ok) && !signals.traffic.is_some_and(|traffic| traffic.partial)
}

/// How many replicas a service wakes up with: what its requests ask for, one to four.
pub fn awake(rules: &Rules<'_>, needs: &Needs) -> u32 {
    // What replicas use says nothing while there is none.
    let asked =
        needs.low.filter(|(signal, _)| !matches!(signal, Signal::Cpu | Signal::Arrivals | Signal::Memory));
    asked.map_or(1, |(_, fraction)| replicas(fraction)).clamp(1, pace::MORE).min(rules.bounds.max)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::Traffic;

    fn traffic(rps: f64, waiting: u32) -> Signals {
        Signals { traffic: Some(Traffic { rps, waiting, ..Traffic::default() }), ..Signals::default() }
    }

    #[test]
    fn a_request_that_waits_is_somebody_and_silence_may_be() {
        assert_eq!(is_wanted(&traffic(0.0, 0)), Some(false));
        assert_eq!([is_wanted(&traffic(0.1, 0)), is_wanted(&traffic(0.0, 1))], [Some(true); 2]);
        assert_eq!(is_wanted(&Signals::default()), None);
        let queue = |jobs| Signals { metrics: vec![jobs], ..traffic(0.0, 0) };
        assert_eq!(
            [Ok(0.0), Ok(2.0), Err("refused".to_owned())].map(|jobs| is_wanted(&queue(jobs))),
            [Some(false), Some(true), None]
        );
    }

    #[test]
    fn what_is_not_known_is_no_idleness() {
        let at = |second: i64| Timestamp::from_millis(second * 1_000);
        let (mut idle, minute) = (Idle::default(), Duration::from_mins(1));
        for second in 0..=60 {
            idle.observe(&traffic(0.0, 0), at(second));
        }
        assert!(idle.is_for(minute, at(60)));
        idle.observe(&Signals::default(), at(61));
        idle.observe(&traffic(0.0, 0), at(62));
        assert!(!idle.is_for(minute, at(100)));
    }
}
