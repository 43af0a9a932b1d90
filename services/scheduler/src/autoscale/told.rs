//! What people have been told of a service, so that they are told what is new and not the same each second.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_autoscale::{Alert, Change, Decision, Held, Limit};
use gantry_model::{Severity, Timestamp};

/// What holds a service for a shorter time is not worth an event.
const SETTLED: Duration = Duration::from_secs(3);
/// What held it again after less than this time is not said again.
const AGAIN: Duration = Duration::from_mins(5);
/// A recommendation that changes is said at most once in this time.
const RECOMMENDED: Duration = Duration::from_secs(30);

/// An event that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How much it matters.
    pub severity: Severity,
    /// What it is in one word.
    pub reason: &'static str,
    /// What happened, for people.
    pub message: String,
}

/// What has been told of one service.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// What holds it, by its word, and since when.
    held: Option<(&'static str, Timestamp)>,
    /// When each word was told last.
    words: BTreeMap<&'static str, Timestamp>,
    recommended: Option<(u32, Timestamp)>,
    alerted: bool,
}

impl Told {
    /// The events that are due after `decision` at `now`.
    pub fn of(&mut self, decision: &Decision, now: Timestamp) -> Vec<Note> {
        let held = self.held(decision.held.as_ref(), now);
        // A change that is made has an event of its own.
        let only_said = decision.change.as_ref().filter(|_| decision.count != decision.recommend);
        let recommended = self.recommended(only_said, now);
        let alert = self.alert(decision.alert.as_ref());
        [held, recommended, alert].into_iter().flatten().collect()
    }

    fn held(&mut self, held: Option<&Held>, now: Timestamp) -> Option<Note> {
        let Some(held) = held.filter(|held| !matches!(held, Held::Off)) else {
            self.held = None;
            return None;
        };
        let word = held.word();
        let since = match self.held {
            Some((known, since)) if known == word => since,
            _ => now,
        };
        self.held = Some((word, since));
        let told = self.words.get(word).copied();
        // It was told when this began, and goes on.
        if told.is_some_and(|told| told >= since) {
            return None;
        }
        if now.since(since) < SETTLED || told.is_some_and(|told| now.since(told) < AGAIN) {
            return None;
        }
        self.words.insert(word, now);
        let severity = match held {
            Held::Limited { limit: Limit::Max { .. }, .. } | Held::InVain(_) | Held::NoData(_) => {
                Severity::Warning
            }
            _ => Severity::Normal,
        };
        Some(Note { severity, reason: "AutoscaleHeld", message: format!("the count stays: {held}") })
    }

    fn recommended(&mut self, change: Option<&Change>, now: Timestamp) -> Option<Note> {
        let change = change?;
        let is_new = self.recommended.is_none_or(|(to, at)| to != change.to && now.since(at) >= RECOMMENDED);
        if !is_new {
            return None;
        }
        self.recommended = Some((change.to, now));
        let message = format!("would be {change}; mode: recommend changes nothing");
        Some(Note { severity: Severity::Normal, reason: "AutoscaleRecommended", message })
    }

    fn alert(&mut self, alert: Option<&Alert>) -> Option<Note> {
        let Some(alert) = alert else {
            self.alerted = false;
            return None;
        };
        if std::mem::replace(&mut self.alerted, true) {
            return None;
        }
        let message = alert.to_string();
        Some(Note { severity: Severity::Warning, reason: "BottleneckElsewhere", message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    fn held(held: Option<Held>) -> Decision {
        Decision { count: 2, recommend: 2, change: None, held, alert: None }
    }

    #[test]
    fn what_holds_a_service_is_said_once_it_has_held_for_a_while_and_not_each_second() {
        let mut told = Told::default();
        let unknown = held(Some(Held::NoData("no proxy has reported".to_owned())));
        let said: Vec<i64> = (0..600).filter(|second| !told.of(&unknown, at(*second)).is_empty()).collect();
        assert_eq!(said, [3]);
        assert!(told.of(&held(None), at(600)).is_empty());
        let said = |told: &mut Told, from: i64, to: i64| -> Vec<i64> {
            (from..to).filter(|second| !told.of(&unknown, at(*second)).is_empty()).collect()
        };
        assert_eq!(said(&mut told, 601, 650), [604], "another one, long after the first");
        assert!(told.of(&held(None), at(650)).is_empty());
        assert_eq!(said(&mut told, 660, 700), Vec::<i64>::new(), "it has only blinked");
        assert!(told.of(&held(None), at(700)).is_empty());
        assert_eq!(said(&mut told, 710, 1_500), [904], "what stays is said in the end");
        assert!(told.of(&held(None), at(1_500)).is_empty());
        let later: Vec<i64> =
            (2_000..2_100).filter(|second| !told.of(&unknown, at(*second)).is_empty()).collect();
        assert_eq!(later, [2_003]);
    }

    #[test]
    fn reasons_that_take_turns_are_said_once_each() {
        let mut told = Told::default();
        let one = held(Some(Held::NoData("no proxy has reported".to_owned())));
        let other = held(Some(Held::Changing("an update")));
        let mut said = Vec::new();
        for second in 0..120 {
            let decision = if second / 5 % 2 == 0 { &one } else { &other };
            said.extend(told.of(decision, at(second)).into_iter().map(|note| note.message));
        }
        assert_eq!(said.len(), 2, "{said:?}");
    }

    #[test]
    fn a_recommendation_is_said_when_it_is_another_one() {
        let mut told = Told::default();
        let would = |to: u32| {
            let cause = gantry_autoscale::Cause::Max { max: to, entry: None };
            let change = Change { from: 9, to, cause, limit: None };
            Decision { count: 9, recommend: to, change: Some(change), held: None, alert: None }
        };
        assert_eq!(told.of(&would(5), at(0)).len(), 1);
        assert!(told.of(&would(5), at(100)).is_empty());
        assert!(told.of(&would(4), at(10)).is_empty(), "not so soon");
        assert_eq!(told.of(&would(4), at(31)).len(), 1);
        let made = Decision { count: 5, ..would(5) };
        assert!(told.of(&made, at(400)).is_empty(), "what is done is told by what is done");
    }
}
