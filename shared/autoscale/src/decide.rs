//! The decision: bounds first, then sleep and wake, then what the load asks for.

mod load;

use gantry_model::{AutoscaleMode, Timestamp};

use crate::bounds::Rules;
use crate::decision::{Alert, Cause, Change, Decision, Held};
use crate::memory::Memory;
use crate::reading::Reading;
use crate::signal::latency::Seen;
use crate::signal::{Needs, Signal};
use crate::signals::Signals;
use crate::zero;

/// So far a sum may be above what the replicas should take without a change.
const TOLERANCE_UP: f64 = 0.1;
/// So far it may be below. That is less, as what counts is the highest of minutes, and fewer replicas have
/// the other tolerance above them.
const TOLERANCE_DOWN: f64 = 0.05;

/// Says how many replicas a service is to have, and what to remember for the next second.
///
/// Bounds hold always. Up: when every second of the last `scale_up_after` asked for more than a tenth above
/// what there is, to their mean; where that is more than may be added at once, on to it as soon as more may.
/// Down: to the highest of the last `scale_down_after`, where that is more than a twentieth below. In between
/// nothing changes, so that a constant load has a constant count.
pub fn decide(
    rules: &Rules<'_>,
    signals: &Signals,
    mut memory: Memory,
    now: Timestamp,
) -> (Memory, Decision) {
    let mut needs = Needs::of(rules, signals, now);
    memory.arrivals.observe(rules, signals, now);
    if let Some(need) = memory.arrivals.need(rules, signals, now) {
        needs.add(need);
    }
    memory.observe(rules, signals, &needs, now);
    let moment = Moment { rules, signals, needs, memory: &memory, now };
    let (alert, outcome) = (moment.alert(), moment.decide());
    let acts = rules.autoscale.mode == AutoscaleMode::Auto;
    if acts {
        memory.learn(rules, signals, &outcome, now);
    }
    let (change, held) = match outcome {
        Outcome::Change(change) | Outcome::Step(change) => (Some(change), None),
        Outcome::Hold(held) => (None, held),
    };
    let recommend = change.as_ref().map_or(signals.count, |change| change.to);
    let count = if acts { recommend } else { signals.count };
    (memory, Decision { count, recommend, change, held, alert })
}

/// Everything that a decision is made from.
struct Moment<'a> {
    rules: &'a Rules<'a>,
    signals: &'a Signals,
    needs: Needs,
    memory: &'a Memory,
    now: Timestamp,
}

/// What comes out.
pub(crate) enum Outcome {
    Change(Change),
    /// A change because answers take too long, of which it must be seen what it gains.
    Step(Change),
    Hold(Option<Held>),
}

impl Moment<'_> {
    fn decide(&self) -> Outcome {
        if self.rules.autoscale.mode == AutoscaleMode::Off {
            return Outcome::Hold(Some(Held::Off));
        }
        if let Some(change) = self.outside() {
            return Outcome::Change(change);
        }
        if let Some(what) = self.signals.changing {
            return Outcome::Hold(Some(Held::Changing(what)));
        }
        if self.signals.count == 0 {
            return self.wake();
        }
        self.up().or_else(|| self.sleep()).unwrap_or_else(|| self.down())
    }

    /// Back into the bounds, whatever else there is.
    fn outside(&self) -> Option<Change> {
        let bounds = self.rules.bounds;
        let entry = bounds.entry.and_then(|at| self.rules.autoscale.schedule.get(at));
        let entry = entry.map(|entry| entry.begins.to_string());
        let (to, cause) = match self.signals.count {
            count if count < bounds.min => (bounds.min, Cause::Min { min: bounds.min, entry }),
            count if count > bounds.max => (bounds.max, Cause::Max { max: bounds.max, entry }),
            _ => return None,
        };
        Some(self.change(to, cause))
    }

    /// A service that sleeps.
    fn wake(&self) -> Outcome {
        match zero::is_wanted(self.signals) {
            Some(true) => {
                let waiting = self.signals.traffic.map_or(0, |traffic| traffic.waiting);
                let to = zero::awake(self.rules, &self.needs);
                Outcome::Change(self.change(to, Cause::Wanted { waiting }))
            }
            Some(false) => Outcome::Hold(None),
            None => Outcome::Hold(Some(self.unknown(self.needs.missing))),
        }
    }

    /// To sleep, if the service may.
    fn sleep(&self) -> Option<Outcome> {
        let over = self.rules.autoscale.scale_down_after;
        if self.rules.bounds.min > 0 || !self.memory.idle.is_for(over, self.now) {
            return None;
        }
        if let Some(what) = self.signals.healing {
            return Some(Outcome::Hold(Some(Held::Changing(what))));
        }
        Some(match self.signals.unready() {
            0 => Outcome::Change(self.change(0, Cause::Idle { over })),
            unready => Outcome::Hold(Some(Held::NotReady { enough: 0, unready })),
        })
    }

    fn alert(&self) -> Option<Alert> {
        let seen = Seen::of(self.rules.autoscale, self.signals.traffic.as_ref())?;
        let in_vain = self.memory.latency.is_in_vain() && seen.ratio() > 1.0;
        in_vain.then(|| Alert::BottleneckElsewhere(Reading::from(seen)))
    }

    fn change(&self, to: u32, cause: Cause) -> Change {
        Change { from: self.signals.count, to, cause, limit: None }
    }

    /// What is missing, in words.
    fn unknown(&self, missing: Option<Signal>) -> Held {
        let spec = self.rules.autoscale;
        Held::NoData(match missing {
            Some(Signal::Cpu) => "no replica that has run for 10 s has a sample of cpu".to_owned(),
            Some(Signal::Memory) => "no replica has a sample of memory".to_owned(),
            Some(Signal::Metric(at)) => {
                let name = spec.metrics.get(at).map_or("a metric", |metric| &metric.name);
                match self.signals.metrics.get(at) {
                    Some(Err(problem)) => format!("{name} was not read: {problem}"),
                    _ => format!("{name} was not read"),
                }
            }
            Some(
                Signal::Arrivals
                | Signal::Rps
                | Signal::Concurrency
                | Signal::P95
                | Signal::P99
                | Signal::Lesson,
            )
            | None => match self.signals.traffic {
                Some(_) => "not all proxies have reported".to_owned(),
                None => "no proxy has reported".to_owned(),
            },
        })
    }
}
