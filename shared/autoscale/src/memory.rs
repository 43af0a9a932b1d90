use std::cmp::Ordering;
use std::time::Duration;

use gantry_model::{Autoscale, Timestamp};

use crate::bounds::Rules;
use crate::decide::Outcome;
use crate::decision::{Cause, Limit};
use crate::history::History;
use crate::lesson::Lesson;
use crate::pace::Pace;
use crate::proven::{self, Proven};
use crate::signal::arrivals::Arrivals;
use crate::signal::latency::{self, Latency, Seen, TIGHT};
use crate::signal::{Needs, Signal};
use crate::signals::Signals;
use crate::zero::Idle;

/// A clock that goes back, or forward by more than this, is another clock.
const JUMP: Duration = Duration::from_mins(1);

/// What is remembered of a service between two decisions. It begins empty; a service whose memory is lost
/// is scaled up after its `scale_up_after` as ever, and down after a whole `scale_down_after`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    /// By what the rest was counted.
    spec: Option<Autoscale>,
    /// When that was done last.
    at: Option<Timestamp>,
    /// What was asked for at least, for adding.
    pub(crate) up: History,
    /// What was asked for at most, for taking away.
    pub(crate) down: History,
    pub(crate) arrivals: Arrivals,
    pub(crate) pace: Pace,
    pub(crate) latency: Latency,
    pub(crate) lesson: Lesson,
    pub(crate) proven: Proven,
    pub(crate) idle: Idle,
}

impl Memory {
    /// Notes what is seen at `now`, and what it asks for.
    pub(crate) fn observe(&mut self, rules: &Rules<'_>, signals: &Signals, needs: &Needs, now: Timestamp) {
        let spec = rules.autoscale;
        let is_another_time = self.at.is_some_and(|last| now < last || now.since(last) > JUMP);
        self.at = Some(now);
        if self.spec.as_ref() != Some(spec) || is_another_time {
            // Fractions by other targets, or by another clock, cannot be compared with what comes.
            self.arrivals = Arrivals::default();
            self.idle.forget();
            self.spec = Some(spec.clone());
            self.up.clear();
            self.down.clear();
            self.latency = Latency::default();
            self.lesson.forget();
            self.proven.forget();
        }
        let changed = self.pace.observe(signals.count, now);
        self.idle.observe(signals, now);
        if changed.is_some_and(Ordering::is_gt) {
            // Whoever asked for more is to see that they run.
            self.idle.forget();
        }
        self.latency.observe(spec, signals, changed.is_some(), now);
        self.review(rules, signals, needs, now);
        if let Some((signal, fraction)) = needs.low {
            self.up.push(spec.scale_up_after, now, signal, fraction);
        }
        if let Some((signal, fraction)) = self.most_asked(rules, signals, needs) {
            self.down.push(spec.scale_down_after, now, signal, fraction);
        }
    }

    /// Keeps of what was learned what still holds, and learns what a replica bears.
    fn review(&mut self, rules: &Rules<'_>, signals: &Signals, needs: &Needs, now: Timestamp) {
        if signals.changing.is_some() || self.latency.is_in_vain() {
            self.lesson.forget();
            self.proven.forget();
        }
        let traffic = signals.traffic.as_ref();
        let is_quick = Seen::of(rules.autoscale, traffic).is_none_or(|seen| seen.ratio() <= TIGHT);
        let is_met = |share: f64| {
            let most = f64::from(signals.count) * share;
            is_quick && needs.high.is_none_or(|(_, fraction)| fraction <= most)
        };
        self.lesson.review(signals.ready(), traffic.map(|traffic| traffic.rps), is_met(TIGHT), now);
        if let Some(traffic) = traffic.filter(|_| proven::is_of_use(rules.autoscale)) {
            let each = traffic.rps / f64::from(signals.ready().max(1));
            self.proven.observe(each, is_met(1.0) && traffic.waiting == 0, now);
        }
    }

    /// Notes what is going to change because of the load.
    pub(crate) fn learn(&mut self, rules: &Rules<'_>, signals: &Signals, outcome: &Outcome, now: Timestamp) {
        let spec = rules.autoscale;
        if matches!(outcome, Outcome::Step(_)) {
            self.latency.asked(spec, signals, now);
        }
        let (Outcome::Change(change) | Outcome::Step(change)) = outcome else { return };
        let goal = match change.limit {
            Some(Limit::Pace { needed }) => Some(needed),
            _ => None,
        };
        self.pace.aims_at(goal, now);
        match change.cause {
            Cause::Above { .. } => {
                let rps = signals.traffic.map(|traffic| traffic.rps);
                self.lesson.up(signals.count, rps, spec.scale_down_after, now);
            }
            Cause::Below { .. } | Cause::Quick { .. } => self.lesson.down(change.to, now),
            Cause::Idle { .. } | Cause::Wanted { .. } | Cause::Min { .. } | Cause::Max { .. } => {}
        }
    }

    /// What all signals ask for at most; `None` unless all of them are known.
    pub(crate) fn most_asked(
        &self,
        rules: &Rules<'_>,
        signals: &Signals,
        needs: &Needs,
    ) -> Option<(Signal, f64)> {
        if needs.missing.is_some() {
            return None;
        }
        let spec = rules.autoscale;
        let mut asked = needs.high;
        let rps = signals.traffic.map(|traffic| traffic.rps);
        if latency::is_aimed_at(spec) {
            asked = larger(asked, by_time(spec), latency::keeps(spec, signals)?);
        }
        if let Some(rps) = rps.filter(|_| proven::is_of_use(spec)) {
            let signal = if spec.concurrency.is_some() { Signal::Lesson } else { by_time(spec) };
            asked = larger(asked, signal, self.proven.keeps(signals.count, rps));
        }
        if let Some(learned) = self.lesson.keeps(rps) {
            asked = larger(asked, Signal::Lesson, learned);
        }
        // Without any target the bounds alone say how many.
        asked.or((!spec.has_target()).then_some((Signal::Lesson, 0.0)))
    }
}

/// The percentile that is aimed at.
fn by_time(spec: &Autoscale) -> Signal {
    if spec.p95.is_some() { Signal::P95 } else { Signal::P99 }
}

fn larger(asked: Option<(Signal, f64)>, signal: Signal, fraction: f64) -> Option<(Signal, f64)> {
    asked.filter(|(_, known)| *known >= fraction).or(Some((signal, fraction)))
}
