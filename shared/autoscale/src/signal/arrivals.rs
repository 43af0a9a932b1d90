//! Requests that pile up because all processor time is in use.
//!
//! A replica cannot use more than its limit, so its processor time says nothing of the load beyond that. What
//! arrives says it: the replicas would use as many times their limit as more requests arrive than are answered.

use gantry_model::Timestamp;

use super::latency::OVER;
use super::{Need, Signal, usage};
use crate::bounds::Rules;
use crate::number::large;
use crate::signals::Signals;

/// With this share of its limit a replica has nothing left: the kernel gives the rest in pieces.
const FULL: f64 = 0.95;
/// So many times as many arrive as are answered, at least.
const MORE: f64 = 1.1;

/// Since when requests have piled up because of the processor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arrivals {
    since: Option<Timestamp>,
}

impl Arrivals {
    /// Notes what is seen now.
    pub fn observe(&mut self, rules: &Rules<'_>, signals: &Signals, now: Timestamp) {
        if is_full(rules, signals, now) && times(signals).is_some_and(|times| times >= MORE) {
            self.since.get_or_insert(now);
        } else {
            self.since = None;
        }
    }

    /// What the processor time of all that arrives asks for; `None` where none piles up, or not for as long as
    /// answers are counted over.
    pub fn need(&self, rules: &Rules<'_>, signals: &Signals, now: Timestamp) -> Option<Need> {
        self.since.filter(|since| now.since(*since) >= OVER)?;
        let used = usage::cpu(rules, signals, now)?;
        Some(Need { signal: Signal::Arrivals, low: used.low * times(signals)?, high: used.high })
    }
}

/// How many times as many requests arrive as are answered.
fn times(signals: &Signals) -> Option<f64> {
    let traffic = signals.traffic.filter(|traffic| traffic.requests > 0)?;
    Some(traffic.rps * OVER.as_secs_f64() / large(traffic.requests))
}

fn is_full(rules: &Rules<'_>, signals: &Signals, now: Timestamp) -> bool {
    let share = usage::cpu_of_each(rules, signals, now);
    rules.base.cpu_is_limited && share.is_some_and(|share| share >= FULL)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gantry_model::{Autoscale, Container, Resources, ServiceSpec};

    use super::*;
    use crate::signals::{Replica, Stage, Traffic, Usage};

    fn spec(nano_cpus: Option<i64>) -> ServiceSpec {
        ServiceSpec {
            container: Container {
                resources: Resources { nano_cpus, ..Resources::default() },
                ..Container::default()
            },
            autoscale: Some(Autoscale { max: 10, cpu: Some(70), ..Autoscale::default() }),
            ..ServiceSpec::default()
        }
    }

    fn signals(cpu_millicores: u32, rps: f64) -> Signals {
        let usage = Usage { cpu_millicores, memory_bytes: Some(0), age: Duration::from_secs(1) };
        let replica = Replica { stage: Stage::Ready, started_at: None, usage: Some(usage) };
        let traffic = Traffic { rps, requests: 1_000, ..Traffic::default() };
        Signals { count: 2, replicas: vec![replica; 2], traffic: Some(traffic), ..Signals::default() }
    }

    /// What is asked for when it has been so for these seconds.
    fn asked(spec: &ServiceSpec, seen: &Signals, seconds: i64) -> Option<f64> {
        let mut arrivals = Arrivals::default();
        let at = |second: i64| Timestamp::from_millis(second * 1_000);
        for second in 0..=seconds {
            let rules = Rules::new(spec, at(second)).unwrap();
            arrivals.observe(&rules, seen, at(second));
        }
        arrivals.need(&Rules::new(spec, at(seconds)).unwrap(), seen, at(seconds)).map(|need| need.low)
    }

    #[test]
    fn what_arrives_counts_where_the_processor_is_used_up() {
        let limited = spec(Some(1_000_000_000));
        // 200 a second are answered by two full cores, and 1,000 arrive: ten full cores, at 70% each.
        let asks = asked(&limited, &signals(1_000, 1_000.0), 5).unwrap();
        assert!((asks - 10.0 / 0.7).abs() < 1e-9, "{asks}");
        assert_eq!(asked(&limited, &signals(1_000, 1_000.0), 4), None, "not for long enough");
        assert_eq!(asked(&limited, &signals(1_000, 210.0), 5), None, "nearly all is answered");
        assert_eq!(asked(&limited, &signals(900, 1_000.0), 5), None, "something else is slow");
        assert_eq!(asked(&spec(None), &signals(1_000, 1_000.0), 5), None, "it could use more");
        let silent = Signals { traffic: None, ..signals(1_000, 0.0) };
        assert_eq!(asked(&limited, &silent, 5), None);
    }
}
