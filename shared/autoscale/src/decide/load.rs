//! Up and down by what the load asks for.

use super::{Moment, Outcome, TOLERANCE_DOWN, TOLERANCE_UP};
use gantry_model::AutoscaleMode;

use crate::decision::{Cause, Held, Limit};
use crate::number::replicas;
use crate::reading::Reading;
use crate::signal::Signal;
use crate::signal::latency::{self, Seen, TIGHT, Verdict};

impl Moment<'_> {
    /// More replicas, if the load asks for them; or why it gets none.
    pub(super) fn up(&self) -> Option<Outcome> {
        let count = self.signals.count;
        let (by_sum, by_time) = (self.by_sum(), self.by_time());
        let needed = by_sum.unwrap_or_default().max(by_time.unwrap_or_default());
        if needed <= count {
            return None;
        }
        let over = self.rules.autoscale.scale_up_after;
        let reading = if by_sum == Some(needed) { self.sum_over(over) } else { self.seen() }?;
        let max = self.rules.bounds.max;
        // What is only recommended has no pace: nothing of it is done, so the next piece would never come.
        let acts = self.rules.autoscale.mode == AutoscaleMode::Auto;
        let pace = if acts { self.memory.pace.most(count) } else { max };
        let limit = match needed {
            _ if needed > pace && pace < max => Some(Limit::Pace { needed }),
            _ if needed > max => Some(Limit::Max { needed, max }),
            _ => None,
        };
        let to = needed.min(max).min(pace);
        Some(match limit {
            Some(limit) if to <= count => Outcome::Hold(Some(Held::Limited { limit, reading })),
            limit => {
                let is_step = by_sum != Some(needed);
                let mut change = self.change(to, Cause::Above { reading, over });
                change.limit = limit;
                if is_step { Outcome::Step(change) } else { Outcome::Change(change) }
            }
        })
    }

    /// What sums asked for all through the last seconds.
    fn by_sum(&self) -> Option<u32> {
        let (over, up) = (self.rules.autoscale.scale_up_after, &self.memory.up);
        let above = up.covers(over, self.now)
            && up.lowest(over, self.now).is_some_and(|lowest| self.is_above(lowest));
        if above { up.mean(over, self.now).map(replicas) } else { None }
    }

    /// What answers that take too long ask for.
    fn by_time(&self) -> Option<u32> {
        match self.verdict() {
            Verdict::Step(to) => Some(to),
            _ => None,
        }
    }

    /// Fewer replicas, if that has been enough for long; or why they are left, if fewer would do now.
    pub(super) fn down(&self) -> Outcome {
        if let Some(held) = self.nothing_known() {
            return Outcome::Hold(Some(held));
        }
        let over = self.rules.autoscale.scale_down_after;
        let covered = Some(&self.memory.down).filter(|down| down.covers(over, self.now));
        let highest = covered.and_then(|down| down.highest(over, self.now));
        let to = highest.and_then(|(signal, most)| self.enough(most).map(|to| (signal, most, to)));
        let Some((signal, most, to)) = to else { return Outcome::Hold(self.held()) };
        if let Some(what) = self.signals.healing {
            return Outcome::Hold(Some(Held::Changing(what)));
        }
        match self.signals.unready() {
            0 => Outcome::Change(self.change(to, self.below(signal, most))),
            unready => Outcome::Hold(Some(Held::NotReady { enough: to, unready })),
        }
    }

    /// Fewer replicas that are enough for this much, if that is clearly less than what there is.
    fn enough(&self, fraction: f64) -> Option<u32> {
        let to = replicas(fraction).max(self.rules.bounds.awake());
        let below = fraction < f64::from(self.signals.count) * (1.0 - TOLERANCE_DOWN);
        (below && to < self.signals.count).then_some(to)
    }

    fn below(&self, signal: Signal, most: f64) -> Cause {
        let over = self.rules.autoscale.scale_down_after;
        match signal {
            _ if !self.rules.autoscale.has_target() => Cause::Below { reading: None, over },
            Signal::Lesson | Signal::Arrivals => Cause::Below { reading: None, over },
            Signal::P95 | Signal::P99 => Cause::Quick { reading: self.seen(), over },
            signal => {
                let reading = Reading::new(self.rules, signal, most, self.signals.count);
                Cause::Below { reading: Some(reading), over }
            }
        }
    }

    /// What is not known, if anything is missing that would have to be known to take replicas away.
    fn nothing_known(&self) -> Option<Held> {
        let spec = self.rules.autoscale;
        let silent = latency::is_aimed_at(spec) && self.signals.traffic.is_none_or(|traffic| traffic.partial);
        let missing = self.needs.missing.or(silent.then_some(Signal::P95))?;
        Some(self.unknown(Some(missing)))
    }

    /// Why the count stays, where the load of this second asks for another one.
    fn held(&self) -> Option<Held> {
        if let Some((signal, fraction)) = self.needs.low.filter(|(_, fraction)| self.is_above(*fraction)) {
            let reading = Reading::new(self.rules, signal, fraction, self.signals.count);
            let after = self.rules.autoscale.scale_up_after;
            return Some(Held::Above { needed: replicas(fraction), reading, after });
        }
        if let Some(reading) = self.seen() {
            match self.verdict() {
                Verdict::InVain => return Some(Held::InVain(reading)),
                Verdict::Settling => return Some(Held::Settling(reading)),
                Verdict::Few(answers) => return Some(Held::FewAnswers { reading, answers }),
                Verdict::Fine | Verdict::Step(_) => {}
            }
        }
        let by_sum = self.needs.high.map(|(_, fraction)| fraction);
        let tight =
            Seen::of(self.rules.autoscale, self.signals.traffic.as_ref()).filter(|seen| seen.ratio() > TIGHT);
        if let Some(seen) = tight {
            let fewer = by_sum.is_some_and(|fraction| self.enough(fraction).is_some());
            return fewer.then(|| Held::Slow(Reading::from(seen)));
        }
        let (_, now) = self.memory.most_asked(self.rules, self.signals, &self.needs)?;
        let enough = self.enough(now)?;
        Some(Held::Below { enough, after: self.rules.autoscale.scale_down_after })
    }

    fn is_above(&self, fraction: f64) -> bool {
        let count = self.signals.count;
        // What was cut short goes on to its goal.
        let on_its_way = self.memory.pace.is_on_its_way(count, self.now);
        fraction > f64::from(count) * if on_its_way { 1.0 } else { 1.0 + TOLERANCE_UP }
    }

    fn verdict(&self) -> Verdict {
        self.memory.latency.verdict(self.rules.autoscale, self.signals, self.now)
    }

    /// The signal that asks for most, by the mean of the last seconds.
    fn sum_over(&self, over: std::time::Duration) -> Option<Reading> {
        let (signal, _) = self.needs.low?;
        let mean = self.memory.up.mean(over, self.now)?;
        Some(Reading::new(self.rules, signal, mean, self.signals.count))
    }

    fn seen(&self) -> Option<Reading> {
        Seen::of(self.rules.autoscale, self.signals.traffic.as_ref()).map(Reading::from)
    }
}
