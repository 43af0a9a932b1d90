//! Who has to be told what now: the difference between what is so and what receivers were told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry_model::Timestamp;
use gantry_model::alert::{Alert, Delivery, Receiver, ReceiverKind, Silence};

use super::evaluate::Fingerprint;
use super::facts::Facts;

/// An Alertmanager forgets what it is not told again. It is told this often, and to remember for twice as
/// long and more.
pub const REFRESH: Duration = Duration::from_mins(4);
/// What a receiver did not take, and may take another time, is tried again after this time.
pub const AGAIN: Duration = Duration::from_mins(3);
/// Alerts that one notice is about; the others are in the next.
pub const MOST: usize = 500;

/// One thing to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    /// The alert.
    pub alert: u64,
    /// That it ended, rather than that it began.
    pub resolved: bool,
}

/// What `receiver` has to be told, oldest first.
pub fn due(
    alerts: &BTreeMap<u64, Alert>,
    silences: &[Silence],
    inhibited: &BTreeSet<Fingerprint>,
    receiver: &Receiver,
    now: Timestamp,
) -> Vec<Item> {
    let item = |alert: &Alert| {
        let told = alert.told.get(&receiver.name);
        if alert.is_active() {
            let muted = silences.iter().any(|silence| silence.covers(&alert.rule, &alert.subject, now))
                || inhibited
                    .contains(&Fingerprint { rule: alert.rule.clone(), subject: alert.subject.clone() });
            let wanted = receiver.wants(&alert.rule, alert.severity);
            let began = told.and_then(|told| told.began.as_ref());
            let fades = receiver.kind == ReceiverKind::Alertmanager;
            let is_news =
                is_open(began, now) || began.is_some_and(|last| fades && now.since(last.at) >= REFRESH);
            return (wanted && !muted && is_news).then_some(Item { alert: alert.id, resolved: false });
        }
        // Whoever was told that it began is told that it is over, also when it is silenced by now. Whoever
        // was tried in vain may have heard of it: an answer can get lost, too.
        let heard = |began: &Delivery| began.error.is_empty() || began.is_open();
        let told = told.filter(|told| told.began.as_ref().is_some_and(heard))?;
        let is_news = receiver.send_resolved && is_open(told.ended.as_ref(), now);
        is_news.then_some(Item { alert: alert.id, resolved: true })
    };
    alerts.values().filter_map(item).take(MOST).collect()
}

/// Whether it was not tried yet, or in vain for something that may have passed by now.
fn is_open(last: Option<&Delivery>, now: Timestamp) -> bool {
    last.is_none_or(|last| last.is_open() && now.since(last.at) >= AGAIN)
}

/// Alerts that another active one explains: what is missing because its node is gone goes without saying.
pub fn inhibited(facts: &Facts, active: &BTreeSet<Fingerprint>) -> BTreeSet<Fingerprint> {
    let mut gone: BTreeSet<&str> = active
        .iter()
        .filter(|of| of.rule == "node-lost")
        .filter_map(|of| of.subject.strip_prefix("node:"))
        .collect();
    if active.iter().any(|of| of.rule == "nodes-held") {
        gone.extend(facts.held());
    }
    let explained = |of: &&Fingerprint| match of.rule.as_str() {
        "service-down" | "service-below-wanted" => facts.services.get(&of.subject).is_some_and(|service| {
            let missing = &service.missing_on;
            !missing.is_empty() && missing.iter().all(|node| gone.contains(node.as_str()))
        }),
        "path-broken" | "node-quarantined" => {
            of.subject.strip_prefix("node:").is_some_and(|node| gone.contains(node))
        }
        _ => false,
    };
    active.iter().filter(explained).cloned().collect()
}

#[cfg(test)]
mod tests {
    use gantry_model::Secret;
    use gantry_model::alert::{AlertSeverity, Told};

    use super::*;
    use crate::alerts::facts::ServiceFacts;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn receiver(kind: ReceiverKind) -> Receiver {
        Receiver {
            name: "ops".into(),
            kind,
            url: Secret(String::new()),
            headers: BTreeMap::new(),
            severities: Vec::new(),
            rules: Vec::new(),
            send_resolved: true,
            ca: String::new(),
        }
    }

    /// An error that begins with "refused" lasts.
    fn alert(began: Option<&str>, ended: Option<&str>, over: bool) -> Alert {
        let lasting = |error: &str| error.starts_with("refused");
        let delivery =
            |error: &str| Delivery { at: at(10), attempts: 1, error: error.into(), lasting: lasting(error) };
        let told = Told { began: began.map(delivery), ended: ended.map(delivery) };
        Alert {
            id: 1,
            rule: "node-lost".into(),
            subject: "node:n1".into(),
            severity: AlertSeverity::Critical,
            labels: BTreeMap::new(),
            summary: String::new(),
            began_at: at(5),
            ended_at: over.then_some(at(20)),
            told: [("ops".to_owned(), told)].into(),
        }
    }

    fn told(alert: Alert, receiver: &Receiver, now: i64) -> Option<bool> {
        let due = due(&[(1, alert)].into(), &[], &BTreeSet::new(), receiver, at(now));
        due.first().map(|item| item.resolved)
    }

    #[test]
    fn everybody_is_told_once_that_it_began_and_once_that_it_is_over() {
        let ops = receiver(ReceiverKind::Webhook);
        assert_eq!(told(alert(None, None, false), &ops, 30), Some(false));
        assert_eq!(told(alert(Some(""), None, false), &ops, 100_000), None);
        assert_eq!(told(alert(Some("refused"), None, false), &ops, 100_000), None, "it was given up");
        assert_eq!(told(alert(Some(""), None, true), &ops, 30), Some(true));
        assert_eq!(told(alert(Some(""), Some(""), true), &ops, 30), None);
        assert_eq!(told(alert(Some(""), Some("refused"), true), &ops, 30), None);
        assert_eq!(told(alert(None, None, true), &ops, 30), None, "it never heard of it");
        assert_eq!(told(alert(Some("refused"), None, true), &ops, 30), None);
        let quiet = Receiver { send_resolved: false, ..ops };
        assert_eq!(told(alert(Some(""), None, true), &quiet, 30), None);
    }

    #[test]
    fn what_was_not_taken_is_due_again_after_some_minutes_also_its_end() {
        let ops = receiver(ReceiverKind::Webhook);
        let again = 10 + i64::try_from(AGAIN.as_secs()).unwrap();
        assert_eq!(told(alert(Some("busy"), None, false), &ops, again - 1), None);
        assert_eq!(told(alert(Some("busy"), None, false), &ops, again), Some(false));
        assert_eq!(
            told(alert(Some("busy"), None, false), &ops, 100_000),
            Some(false),
            "as long as it is active"
        );
        assert_eq!(told(alert(Some("busy"), None, true), &ops, 30), Some(true), "it may have heard of it");
        assert_eq!(told(alert(Some(""), Some("busy"), true), &ops, again - 1), None);
        assert_eq!(told(alert(Some(""), Some("busy"), true), &ops, again), Some(true));
    }

    #[test]
    fn an_alertmanager_is_told_again_before_it_forgets() {
        let manager = receiver(ReceiverKind::Alertmanager);
        assert_eq!(told(alert(Some(""), None, false), &manager, 11), None);
        assert_eq!(told(alert(Some(""), None, false), &manager, 250), Some(false));
        assert_eq!(told(alert(Some("refused"), None, false), &manager, 250), Some(false));
    }

    #[test]
    fn what_is_silenced_or_explained_or_not_bad_enough_is_not_sent() {
        let ops = receiver(ReceiverKind::Webhook);
        let fresh = || BTreeMap::from([(1, alert(None, None, false))]);
        let silence = Silence {
            id: "s".into(),
            rule: String::new(),
            subject: "node:*".into(),
            comment: String::new(),
            created_by: String::new(),
            created_at: at(0),
            expires_at: at(50),
        };
        let none = BTreeSet::new();
        assert!(due(&fresh(), std::slice::from_ref(&silence), &none, &ops, at(49)).is_empty());
        assert_eq!(
            due(&fresh(), std::slice::from_ref(&silence), &none, &ops, at(50)).len(),
            1,
            "the silence is over"
        );
        let over = BTreeMap::from([(1, alert(Some(""), None, true))]);
        assert_eq!(
            due(&over, &[silence], &none, &ops, at(49)).len(),
            1,
            "it is over for whoever heard of it"
        );
        let of = Fingerprint { rule: "node-lost".into(), subject: "node:n1".into() };
        assert!(due(&fresh(), &[], &[of].into(), &ops, at(1)).is_empty());
        let picky = Receiver { severities: vec![AlertSeverity::Info], ..ops.clone() };
        assert!(due(&fresh(), &[], &none, &picky, at(1)).is_empty());
        let hook = |rule: &str| Receiver { rules: vec![rule.to_owned()], ..ops.clone() };
        assert!(due(&fresh(), &[], &none, &hook("no-room"), at(1)).is_empty());
        assert_eq!(due(&fresh(), &[], &none, &hook("node-*"), at(1)).len(), 1);
    }

    #[test]
    fn a_lost_node_explains_what_is_missing_on_it_and_nothing_else() {
        let missing = |nodes: &[&str]| ServiceFacts {
            missing_on: nodes.iter().map(|node| (*node).to_owned()).collect(),
            ..ServiceFacts::default()
        };
        let services = [
            ("shop/web".to_owned(), missing(&["n1"])),
            ("shop/db".to_owned(), missing(&["n1", "n2"])),
            ("shop/api".to_owned(), missing(&["n1", ""])),
            ("shop/job".to_owned(), missing(&[])),
        ];
        let facts = Facts { services: services.into(), ..Facts::default() };
        let of = |rule: &str, subject: &str| Fingerprint { rule: rule.into(), subject: subject.into() };
        let mut active: BTreeSet<Fingerprint> =
            facts.services.keys().map(|name| of("service-down", name)).collect();
        active.insert(of("path-broken", "node:n1"));
        assert!(inhibited(&facts, &active).is_empty());
        active.insert(of("node-lost", "node:n1"));
        let expected = [of("service-down", "shop/web"), of("path-broken", "node:n1")];
        assert_eq!(inhibited(&facts, &active), expected.into());
    }
}
