//! A signal beside its target, for people.

use std::fmt;
use std::time::Duration;

use gantry_model::Timestamp;

use crate::bounds::Rules;
use crate::signal::latency::Seen;
use crate::signal::{self, Signal};
use crate::signals::Signals;

/// A signal beside its target: `cpu 91% of 70% target`.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// What was read.
    pub name: String,
    /// What it is, for each replica.
    pub value: Value,
    /// What it should be.
    pub target: Value,
}

/// An amount in its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// Per cent.
    Share(f64),
    /// A number.
    Number(f64),
    /// A time.
    Time(Duration),
}

/// A target of a service, and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// What is measured.
    pub name: String,
    /// What it is for each replica; `None` where nothing is known of it.
    pub value: Option<Value>,
    /// What it should be.
    pub target: Value,
}

/// Every target of a service, with what is known of it at `now`.
pub fn measures(rules: &Rules<'_>, signals: &Signals, now: Timestamp) -> Vec<Measure> {
    let sums = signal::each(rules, signals, now).into_iter().map(|(signal, need)| {
        let fraction = need.map(|need| need.low);
        let Reading { name, value, target } =
            Reading::new(rules, signal, fraction.unwrap_or_default(), signals.count);
        Measure { name, value: fraction.map(|_| value), target }
    });
    let spec = rules.autoscale;
    let times = [
        ("p95", spec.p95, signals.traffic.and_then(|traffic| traffic.p95)),
        ("p99", spec.p99, signals.traffic.and_then(|traffic| traffic.p99)),
    ];
    let times = times.into_iter().filter_map(|(name, target, value)| {
        let target = Value::Time(target?);
        Some(Measure { name: name.to_owned(), value: value.map(Value::Time), target })
    });
    sums.chain(times).collect()
}

impl Reading {
    /// A signal that asked for this fraction of replicas, while there were `count`.
    pub(crate) fn new(rules: &Rules<'_>, signal: Signal, fraction: f64, count: u32) -> Self {
        let each = fraction / f64::from(count.max(1));
        let spec = rules.autoscale;
        let share = |name: &str, target: Option<u32>| {
            let target = f64::from(target.unwrap_or_default());
            (name.to_owned(), Value::Share(each * target), Value::Share(target))
        };
        let number = |name: &str, target: Option<f64>| {
            let target = target.unwrap_or_default();
            (name.to_owned(), Value::Number(each * target), Value::Number(target))
        };
        let time = |name: &str, target: Option<Duration>| {
            let target = target.unwrap_or_default();
            (name.to_owned(), Value::Time(target.mul_f64(each.clamp(0.0, 1e6))), Value::Time(target))
        };
        let (name, value, target) = match signal {
            Signal::Cpu => share("cpu", spec.cpu),
            Signal::Arrivals => share("cpu for all that arrives", spec.cpu),
            Signal::Memory => share("memory", spec.memory),
            Signal::Rps => number("rps", spec.rps),
            Signal::Concurrency => number("concurrency", spec.concurrency),
            Signal::P95 => time("p95", spec.p95),
            Signal::P99 => time("p99", spec.p99),
            Signal::Lesson => number("load", None),
            Signal::Metric(at) => {
                let metric = spec.metrics.get(at);
                number(metric.map_or("metric", |metric| &metric.name), metric.map(|metric| metric.target))
            }
        };
        Self { name, value, target }
    }

    /// `cpu at most 38% of 70% target`.
    pub(crate) fn at_most(&self) -> String {
        format!("{} at most {} of {} target", self.name, self.value, self.target)
    }
}

impl From<Seen> for Reading {
    fn from(seen: Seen) -> Self {
        let name = if seen.signal == Signal::P99 { "p99" } else { "p95" };
        Self { name: name.to_owned(), value: Value::Time(seen.value), target: Value::Time(seen.target) }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {} target", self.name, self.value, self.target)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(percent) => write!(f, "{percent:.0}%"),
            Self::Number(number) if number.fract().abs() < 0.05 || *number >= 100.0 => {
                write!(f, "{number:.0}")
            }
            Self::Number(number) if *number >= 1.0 => write!(f, "{number:.1}"),
            Self::Number(number) => write!(f, "{number:.3}"),
            Self::Time(time) => f.write_str(&words(*time)),
        }
    }
}

/// A time as people say it: `250 ms`, `3 s`, `5 min`, `1 h`.
pub fn words(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 => format!("{} ms", time.as_millis()),
        1..60 if time.subsec_millis() >= 50 => format!("{:.1} s", time.as_secs_f64()),
        1..60 => format!("{seconds} s"),
        _ if seconds.is_multiple_of(3_600) => format!("{} h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_their_unit() {
        let said = [0, 250, 3_000, 1_500, 59_990, 90_000, 300_000, 7_200_000].map(Duration::from_millis);
        assert_eq!(
            said.map(words),
            ["0 ms", "250 ms", "3 s", "1.5 s", "60.0 s", "1 min 30 s", "5 min", "2 h"]
        );
    }

    #[test]
    fn every_target_has_a_measure_and_what_is_not_known_has_no_value() {
        use gantry_model::{Autoscale, ServiceSpec};

        use crate::signals::Traffic;

        let rules = Autoscale {
            max: 10,
            cpu: Some(70),
            rps: Some(100.0),
            p95: Some(Duration::from_millis(250)),
            ..Autoscale::default()
        };
        let spec = ServiceSpec { autoscale: Some(rules), ..ServiceSpec::default() };
        let now = Timestamp::from_millis(1_000);
        let rules = Rules::new(&spec, now).unwrap();
        let traffic =
            Traffic { rps: 300.0, p95: Some(Duration::from_millis(120)), requests: 9, ..Traffic::default() };
        let signals = Signals { count: 2, traffic: Some(traffic), ..Signals::default() };
        let said: Vec<_> = measures(&rules, &signals, now)
            .into_iter()
            .map(|one| {
                let value = one.value.map_or_else(|| "-".to_owned(), |value| value.to_string());
                format!("{} {value}/{}", one.name, one.target)
            })
            .collect();
        assert_eq!(said, ["cpu -/70%", "rps 150/100", "p95 120 ms/250 ms"]);
    }

    #[test]
    fn amounts_have_as_many_digits_as_they_need() {
        let said = [
            Value::Share(91.2),
            Value::Number(160.4),
            Value::Number(20.0),
            Value::Number(2.54),
            Value::Number(0.25),
        ];
        assert_eq!(said.map(|value| value.to_string()), ["91%", "160", "20", "2.5", "0.250"]);
    }
}
