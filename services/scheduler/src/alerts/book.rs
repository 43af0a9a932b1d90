//! What a watchdog's report changes, and what a watchdog is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_model::alert::{Alert, AlertSeverity, Delivery, Silence};
use gantry_model::{Change, Key, Record, Severity, Snapshot, Timestamp};

use crate::decide::record_event;

/// An alert that ended is shown to the watchdog for so long: it may have to tell receivers, some of which
/// may be away for a while.
const RECENT: Duration = Duration::from_hours(1);

/// What is new, as a watchdog says it.
#[derive(Debug, Default)]
pub struct Report {
    /// Alerts that began. Number and times are not known yet.
    pub began: Vec<Alert>,
    /// Alerts that ended.
    pub ended: Vec<u64>,
    /// What became of notices.
    pub outcomes: Vec<Outcome>,
}

/// What became of the notice of an alert.
#[derive(Debug)]
pub struct Outcome {
    /// The alert.
    pub alert: u64,
    /// Who was told.
    pub receiver: String,
    /// That it ended, rather than that it began.
    pub resolved: bool,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was not taken.
    pub error: String,
    /// It was given up for that.
    pub lasting: bool,
}

/// What `report` changes. What is known already changes nothing, so that it can be repeated.
pub fn take(snapshot: &Snapshot, report: Report, now: Timestamp) -> Vec<Change> {
    let mut after = snapshot.clone();
    let mut changes = Vec::new();
    let mut make = |after: &mut Snapshot, more: Vec<Change>| {
        for change in more {
            after.apply(&change);
            changes.push(change);
        }
    };
    let mut active: BTreeMap<(String, String), u64> =
        active(snapshot).map(|alert| ((alert.rule.clone(), alert.subject.clone()), alert.id)).collect();
    for id in report.ended {
        let Some(alert) = after.alerts.get(&id).filter(|alert| alert.is_active()) else { continue };
        let alert = Alert { ended_at: Some(now), ..alert.as_ref().clone() };
        active.remove(&(alert.rule.clone(), alert.subject.clone()));
        let message = format!("{}: over", alert.rule);
        let event = event(&after, &alert, Severity::Normal, "AlertEnded", message, now);
        make(&mut after, vec![put(alert)]);
        make(&mut after, event);
    }
    for alert in report.began {
        let key = (alert.rule.clone(), alert.subject.clone());
        if active.contains_key(&key) || active.len() >= Alert::MOST_ACTIVE {
            continue;
        }
        let id = after.alerts.last().map_or(1, |(last, _)| last + 1);
        active.insert(key, id);
        let alert = Alert { id, began_at: now, ended_at: None, told: BTreeMap::new(), ..alert };
        let severity = match alert.severity {
            AlertSeverity::Info => Severity::Normal,
            AlertSeverity::Warning | AlertSeverity::Critical => Severity::Warning,
        };
        let message = format!("{}: {}", alert.rule, alert.summary);
        let event = event(&after, &alert, severity, "Alert", message, now);
        make(&mut after, vec![put(alert)]);
        make(&mut after, event);
    }
    for outcome in report.outcomes {
        let Some(alert) = after.alerts.get(&outcome.alert) else { continue };
        let mut alert = alert.as_ref().clone();
        let told = alert.told.entry(outcome.receiver).or_default();
        let slot = if outcome.resolved { &mut told.ended } else { &mut told.began };
        let Outcome { attempts, error, lasting, .. } = outcome;
        *slot = Some(Delivery { at: now, attempts, error, lasting });
        make(&mut after, vec![put(alert)]);
    }
    let expired = expired(&after);
    make(&mut after, expired);
    changes
}

fn put(alert: Alert) -> Change {
    Change::Put(Record::Alert(Arc::new(alert)))
}

fn event(
    snapshot: &Snapshot,
    alert: &Alert,
    severity: Severity,
    reason: &str,
    message: String,
    now: Timestamp,
) -> Vec<Change> {
    record_event(snapshot, now, severity, &alert.subject, None, reason, message)
}

/// The oldest alerts that are over, beyond those that are kept.
fn expired(snapshot: &Snapshot) -> Vec<Change> {
    let over: Vec<u64> =
        snapshot.alerts.values().filter(|alert| !alert.is_active()).map(|alert| alert.id).collect();
    let excess = over.len().saturating_sub(Alert::KEPT);
    over.into_iter().take(excess).map(|id| Change::Delete(Key::Alert(id))).collect()
}

/// The alerts that are active, oldest first.
pub fn active(snapshot: &Snapshot) -> impl DoubleEndedIterator<Item = &Arc<Alert>> {
    snapshot.alerts.values().filter(|alert| alert.is_active())
}

/// The alerts of which receivers may have to be told, oldest first.
pub fn open(snapshot: &Snapshot, now: Timestamp) -> impl Iterator<Item = &Arc<Alert>> {
    snapshot.alerts.values().filter(move |alert| {
        alert.ended_at.is_none_or(|ended| now.since(ended) < RECENT && !alert.told.is_empty())
    })
}

/// The silences that are not over.
pub fn silences(snapshot: &Snapshot, now: Timestamp) -> Vec<&Arc<Silence>> {
    let mut silences: Vec<_> =
        snapshot.silences.values().filter(|silence| now < silence.expires_at).collect();
    silences.sort_by(|a, b| (a.expires_at, &a.id).cmp(&(b.expires_at, &b.id)));
    silences
}

/// Which silence keeps an alert from being sent.
pub fn silenced_by(snapshot: &Snapshot, alert: &Alert, now: Timestamp) -> Option<String> {
    let mut covering =
        snapshot.silences.values().filter(|silence| silence.covers(&alert.rule, &alert.subject, now));
    covering.next().map(|silence| silence.id.clone())
}

#[cfg(test)]
mod tests {
    use gantry_testkit::World;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn began(subject: &str) -> Alert {
        Alert {
            id: 0,
            rule: "node-lost".into(),
            subject: subject.into(),
            severity: AlertSeverity::Critical,
            labels: BTreeMap::new(),
            summary: "gone".into(),
            began_at: at(0),
            ended_at: None,
            told: BTreeMap::new(),
        }
    }

    fn tell(world: &mut World, report: Report, now: i64) -> usize {
        let changes = take(&world.snapshot, report, at(now));
        let count = changes.len();
        world.commit(&changes);
        count
    }

    #[test]
    fn an_alert_begins_once_and_ends_once_and_both_are_events() {
        let mut world = World::new(at(1));
        let one = || Report { began: vec![began("node:n1"), began("node:n1")], ..Report::default() };
        assert_eq!(tell(&mut world, one(), 5), 2, "the alert and its event");
        assert_eq!(tell(&mut world, one(), 6), 0, "a repeated report changes nothing");
        let alert = active(&world.snapshot).next().unwrap().clone();
        assert_eq!((alert.id, alert.began_at), (1, at(5)));
        tell(&mut world, Report { ended: vec![1, 1, 99], ..Report::default() }, 9);
        assert_eq!(active(&world.snapshot).count(), 0);
        assert_eq!(world.snapshot.alerts[&1].ended_at, Some(at(9)));
        let reasons: Vec<_> = world.snapshot.events.values().map(|event| event.reason.clone()).collect();
        assert_eq!(reasons, ["Alert", "AlertEnded"]);
        tell(&mut world, one(), 10);
        assert_eq!(active(&world.snapshot).next().unwrap().id, 2, "it may begin again");
    }

    #[test]
    fn what_became_of_notices_is_kept_with_the_alert() {
        let mut world = World::new(at(1));
        tell(&mut world, Report { began: vec![began("node:n1")], ..Report::default() }, 5);
        let outcome = |resolved, error: &str| Outcome {
            alert: 1,
            receiver: "ops".into(),
            resolved,
            attempts: 3,
            error: error.into(),
            lasting: resolved,
        };
        let outcomes = vec![outcome(false, ""), outcome(true, "refused")];
        tell(&mut world, Report { outcomes, ..Report::default() }, 7);
        let told = &world.snapshot.alerts[&1].told["ops"];
        let delivered = Delivery { at: at(7), attempts: 3, error: String::new(), lasting: false };
        assert_eq!((&told.began, told.ended.as_ref().unwrap().lasting), (&Some(delivered), true));
        assert_eq!(told.ended.as_ref().unwrap().error, "refused");
    }

    #[test]
    fn history_is_bounded_and_active_alerts_are_never_dropped() {
        let mut world = World::new(at(1));
        tell(&mut world, Report { began: vec![began("node:first")], ..Report::default() }, 1);
        for round in 0..3 {
            let many = (0..500).map(|number| began(&format!("node:{number}"))).collect();
            tell(&mut world, Report { began: many, ..Report::default() }, 2);
            let ended = active(&world.snapshot).map(|alert| alert.id).filter(|id| *id != 1).collect();
            tell(&mut world, Report { ended, ..Report::default() }, 3 + round);
        }
        assert_eq!(world.snapshot.alerts.size(), Alert::KEPT + 1);
        assert_eq!(active(&world.snapshot).next().unwrap().subject, "node:first");
        let many = (0..5_000).map(|number| began(&format!("node:{number}"))).collect();
        tell(&mut world, Report { began: many, ..Report::default() }, 9);
        assert_eq!(active(&world.snapshot).count(), Alert::MOST_ACTIVE);
    }

    #[test]
    fn a_watchdog_hears_of_an_alert_that_is_over_only_while_somebody_may_have_to_be_told() {
        let mut world = World::new(at(1));
        tell(&mut world, Report { began: vec![began("node:a"), began("node:b")], ..Report::default() }, 1);
        let outcomes = vec![Outcome {
            alert: 1,
            receiver: "ops".into(),
            resolved: false,
            attempts: 1,
            error: String::new(),
            lasting: false,
        }];
        tell(&mut world, Report { outcomes, ended: vec![1, 2], ..Report::default() }, 2);
        let ids = |now| open(&world.snapshot, at(now)).map(|alert| alert.id).collect::<Vec<_>>();
        assert_eq!(ids(3), [1], "nobody was told of the other");
        assert_eq!(ids(59 * 60 * 1_000), [1], "its receiver may be away for a while");
        assert!(ids(61 * 60 * 1_000).is_empty());
    }
}
