//! What each signal asks for: one file each, and here what they have in common.

pub mod arrivals;
pub mod latency;
mod metric;
mod requests;
mod usage;

use gantry_model::Timestamp;

use crate::bounds::Rules;
use crate::signals::Signals;

/// What is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Processor time.
    Cpu,
    /// The processor time that all requests that arrive would take.
    Arrivals,
    /// Memory.
    Memory,
    /// Requests a second.
    Rps,
    /// Requests in flight or waiting.
    Concurrency,
    /// One of the user's own, by its place in the rules.
    Metric(usize),
    /// How long 95% of the answers take at most.
    P95,
    /// How long 99% do.
    P99,
    /// What fewer replicas are known to bear, or not to.
    Lesson,
}

/// How many replicas a signal asks for, as a fraction: its sum by the target of one replica.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Need {
    /// Which signal.
    pub signal: Signal,
    /// What is known, with nothing for replicas of which nothing is known: a reason to add.
    pub low: f64,
    /// With the whole target for each of those: a reason to take away.
    pub high: f64,
}

impl Need {
    /// A need of which everything is known.
    fn known(signal: Signal, fraction: f64) -> Self {
        Self { signal, low: fraction, high: fraction }
    }
}

/// What all signals ask for that are a sum.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Needs {
    /// The largest reason to add.
    pub low: Option<(Signal, f64)>,
    /// The largest reason not to take away.
    pub high: Option<(Signal, f64)>,
    /// A signal of which nothing is known, or not all: no reason to take away.
    pub missing: Option<Signal>,
}

impl Needs {
    /// What the signals ask for at `now`.
    pub fn of(rules: &Rules<'_>, signals: &Signals, now: Timestamp) -> Self {
        let mut needs = Self::default();
        for (signal, need) in each(rules, signals, now) {
            match need {
                Some(need) => {
                    needs.add(need);
                    if is_partial(signal, signals) {
                        needs.missing = needs.missing.or(Some(signal));
                    }
                }
                None => needs.missing = needs.missing.or(Some(signal)),
            }
        }
        needs
    }

    pub(crate) fn add(&mut self, need: Need) {
        let larger = |most: Option<(Signal, f64)>, fraction: f64| match most {
            Some((_, known)) if known >= fraction => most,
            _ => Some((need.signal, fraction)),
        };
        self.low = larger(self.low, need.low);
        self.high = larger(self.high, need.high);
    }
}

/// Whether there may be more of it than is known.
fn is_partial(signal: Signal, signals: &Signals) -> bool {
    let of_proxies = matches!(signal, Signal::Rps | Signal::Concurrency);
    of_proxies && signals.traffic.is_some_and(|traffic| traffic.partial)
}

/// What each signal asks for that has a target and is a sum; `None` where nothing is known of it.
pub fn each(rules: &Rules<'_>, signals: &Signals, now: Timestamp) -> Vec<(Signal, Option<Need>)> {
    let spec = rules.autoscale;
    let targets = [
        (spec.cpu.is_some(), Signal::Cpu),
        (spec.memory.is_some(), Signal::Memory),
        (spec.rps.is_some(), Signal::Rps),
        (spec.concurrency.is_some(), Signal::Concurrency),
    ];
    let set = targets.into_iter().filter_map(|(is_set, signal)| is_set.then_some(signal));
    let metrics = (0..spec.metrics.len()).map(Signal::Metric);
    let need = |signal| match signal {
        Signal::Cpu => usage::cpu(rules, signals, now),
        Signal::Memory => usage::memory(rules, signals),
        Signal::Rps => requests::rps(spec, signals),
        Signal::Concurrency => requests::concurrency(spec, signals),
        Signal::Metric(at) => metric::need(spec, signals, at),
        Signal::Arrivals | Signal::P95 | Signal::P99 | Signal::Lesson => None,
    };
    set.chain(metrics).map(|signal| (signal, need(signal))).collect()
}
