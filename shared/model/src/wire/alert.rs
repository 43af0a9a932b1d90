//! Alerts as messages.

use std::collections::BTreeMap;

use gantry_api::Invalid;
use gantry_api::cluster::v1 as wire;
use gantry_api::feed::v1 as feed;

use super::parts::{read_duration, read_time, write_duration, write_time};
use crate::alert::{
    Alert, AlertRule, AlertSeverity, Bound, Delivery, Grouping, Metric, Receiver, ReceiverKind, Silence,
    Told, host_of,
};
use crate::record::Secret;

/// Writes how bad it is.
pub fn write_alert_severity(severity: AlertSeverity) -> wire::AlertSeverity {
    match severity {
        AlertSeverity::Info => wire::AlertSeverity::Info,
        AlertSeverity::Warning => wire::AlertSeverity::Warning,
        AlertSeverity::Critical => wire::AlertSeverity::Critical,
    }
}

/// Reads how bad it is. What is not known is a warning: an alert must not get lost.
pub fn read_alert_severity(severity: wire::AlertSeverity) -> AlertSeverity {
    match severity {
        wire::AlertSeverity::Info => AlertSeverity::Info,
        wire::AlertSeverity::Critical => AlertSeverity::Critical,
        wire::AlertSeverity::Warning | wire::AlertSeverity::Unspecified => AlertSeverity::Warning,
    }
}

/// Writes an alert. Nobody is said to silence it.
pub fn write_alert(alert: &Alert) -> wire::Alert {
    let of = |receiver: &String, resolved: bool, delivery: &Delivery| wire::AlertDelivery {
        receiver: receiver.clone(),
        resolved,
        at: Some(write_time(delivery.at)),
        attempts: delivery.attempts,
        error: delivery.error.clone(),
        lasting: delivery.lasting,
    };
    let deliveries = alert.told.iter().flat_map(|(receiver, told)| {
        let began = told.began.iter().map(move |delivery| of(receiver, false, delivery));
        began.chain(told.ended.iter().map(move |delivery| of(receiver, true, delivery)))
    });
    wire::Alert {
        id: alert.id,
        rule: alert.rule.clone(),
        subject: alert.subject.clone(),
        severity: write_alert_severity(alert.severity).into(),
        labels: alert.labels.clone(),
        summary: alert.summary.clone(),
        began_at: Some(write_time(alert.began_at)),
        ended_at: alert.ended_at.map(write_time),
        deliveries: deliveries.collect(),
        silenced_by: String::new(),
    }
}

/// Reads an alert.
pub fn read_alert(alert: wire::Alert) -> Alert {
    let severity = read_alert_severity(alert.severity());
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    for delivery in alert.deliveries {
        let read = Delivery {
            at: delivery.at.map(read_time).unwrap_or_default(),
            attempts: delivery.attempts,
            error: delivery.error,
            lasting: delivery.lasting,
        };
        let told = told.entry(delivery.receiver).or_default();
        *(if delivery.resolved { &mut told.ended } else { &mut told.began }) = Some(read);
    }
    Alert {
        id: alert.id,
        rule: alert.rule,
        subject: alert.subject,
        severity,
        labels: alert.labels,
        summary: alert.summary,
        began_at: alert.began_at.map(read_time).unwrap_or_default(),
        ended_at: alert.ended_at.map(read_time),
        told,
    }
}

/// Writes a silence.
pub fn write_silence(silence: &Silence) -> wire::Silence {
    wire::Silence {
        id: silence.id.clone(),
        rule: silence.rule.clone(),
        subject: silence.subject.clone(),
        comment: silence.comment.clone(),
        created_by: silence.created_by.clone(),
        created_at: Some(write_time(silence.created_at)),
        expires_at: Some(write_time(silence.expires_at)),
    }
}

/// Reads a silence.
pub fn read_silence(silence: wire::Silence) -> Silence {
    Silence {
        id: silence.id,
        rule: silence.rule,
        subject: silence.subject,
        comment: silence.comment,
        created_by: silence.created_by,
        created_at: silence.created_at.map(read_time).unwrap_or_default(),
        expires_at: silence.expires_at.map(read_time).unwrap_or_default(),
    }
}

/// Writes a rule.
pub fn write_rule(rule: &AlertRule) -> wire::AlertRule {
    wire::AlertRule {
        name: rule.name.clone(),
        metric: rule.metric.info().name.to_owned(),
        subject: rule.subject.clone(),
        hold: Some(write_duration(rule.hold)),
        severity: write_alert_severity(rule.severity).into(),
        labels: rule.labels.clone(),
        summary: rule.summary.clone(),
        bound: Some(match rule.bound {
            Bound::Above(bound) => wire::alert_rule::Bound::Above(bound),
            Bound::Below(bound) => wire::alert_rule::Bound::Below(bound),
        }),
    }
}

/// Reads a rule.
pub fn read_rule(rule: wire::AlertRule) -> Result<AlertRule, Invalid> {
    let severity = read_alert_severity(rule.severity());
    let metric = Metric::find(&rule.metric)
        .ok_or_else(|| Invalid::new("metric", format!("is unknown: {:?}", rule.metric)))?;
    let bound = match rule.bound {
        Some(wire::alert_rule::Bound::Above(bound)) => Bound::Above(bound),
        Some(wire::alert_rule::Bound::Below(bound)) => Bound::Below(bound),
        None => return Err(Invalid::new("bound", "is missing")),
    };
    Ok(AlertRule {
        name: rule.name,
        metric,
        subject: rule.subject,
        bound,
        hold: read_duration("hold", rule.hold)?.unwrap_or_default(),
        severity,
        labels: rule.labels,
        summary: rule.summary,
    })
}

/// Writes what everybody may know of a receiver.
pub fn write_receiver(receiver: &Receiver) -> wire::AlertReceiver {
    let severities = receiver.severities.iter().map(|severity| write_alert_severity(*severity).into());
    wire::AlertReceiver {
        name: receiver.name.clone(),
        r#type: receiver.kind.word().to_owned(),
        host: host_of(&receiver.url.0).unwrap_or_default(),
        headers: receiver.headers.keys().cloned().collect(),
        severities: severities.collect(),
        rules: receiver.rules.clone(),
        send_resolved: receiver.send_resolved,
    }
}

/// Writes all that is needed to reach a receiver.
pub fn write_receiver_access(receiver: &Receiver) -> feed::AlertReceiverAccess {
    feed::AlertReceiverAccess {
        receiver: Some(write_receiver(receiver)),
        url: receiver.url.0.clone(),
        headers: receiver.headers.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect(),
        ca: receiver.ca.clone(),
    }
}

/// Reads all that is needed to reach a receiver.
pub fn read_receiver_access(access: feed::AlertReceiverAccess) -> Result<Receiver, Invalid> {
    let receiver = access.receiver.ok_or_else(|| Invalid::new("receiver", "is missing"))?;
    let severities = receiver.severities().map(read_alert_severity).collect();
    let kind = ReceiverKind::ALL.iter().find(|(word, _)| *word == receiver.r#type);
    let kind = kind.ok_or_else(|| Invalid::new("type", format!("is unknown: {:?}", receiver.r#type)))?.1;
    Ok(Receiver {
        name: receiver.name,
        kind,
        url: Secret(access.url),
        headers: access.headers.into_iter().map(|(name, value)| (name, Secret(value))).collect(),
        severities,
        rules: receiver.rules,
        send_resolved: receiver.send_resolved,
        ca: access.ca,
    })
}

/// Writes when many changes become one notice.
pub fn write_grouping(grouping: Grouping) -> wire::AlertGrouping {
    wire::AlertGrouping { limit: grouping.limit, window: Some(write_duration(grouping.window)) }
}

/// Reads when many changes become one notice.
pub fn read_grouping(grouping: wire::AlertGrouping) -> Result<Grouping, Invalid> {
    let window = read_duration("window", grouping.window)?.unwrap_or(Grouping::default().window);
    Ok(Grouping { limit: grouping.limit, window })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn an_alert_reads_back_as_it_was_written() {
        let delivery = |at| {
            let at = Timestamp::from_millis(at);
            Some(Delivery { at, attempts: 2, error: "refused".into(), lasting: true })
        };
        let alert = Alert {
            id: 7,
            rule: "node-lost".into(),
            subject: "node:n1".into(),
            severity: AlertSeverity::Critical,
            labels: [("team".to_owned(), "web".to_owned())].into(),
            summary: "gone".into(),
            began_at: Timestamp::from_millis(1),
            ended_at: Some(Timestamp::from_millis(9)),
            told: [("ops".to_owned(), Told { began: delivery(2), ended: delivery(10) })].into(),
        };
        assert_eq!(read_alert(write_alert(&alert)), alert);
    }

    #[test]
    fn a_rule_and_a_receiver_read_back_and_what_is_shown_has_no_secret() {
        let rule = AlertRule {
            name: "slow".into(),
            metric: Metric::P95Ms,
            subject: "shop/*".into(),
            bound: Bound::Above(250.0),
            hold: Duration::from_mins(2),
            severity: AlertSeverity::Warning,
            labels: BTreeMap::new(),
            summary: String::new(),
        };
        assert_eq!(read_rule(write_rule(&rule)).unwrap(), rule);
        let receiver = Receiver {
            name: "chat".into(),
            kind: ReceiverKind::Slack,
            url: Secret("https://h/hunter2".into()),
            headers: [("Authorization".to_owned(), Secret("hunter2".into()))].into(),
            severities: vec![AlertSeverity::Critical],
            rules: vec!["no-room".into()],
            send_resolved: true,
            ca: String::new(),
        };
        assert!(!format!("{:?}", write_receiver(&receiver)).contains("hunter2"));
        assert!(!format!("{:?}", write_receiver_access(&receiver)).contains("hunter2"));
        assert_eq!(read_receiver_access(write_receiver_access(&receiver)).unwrap(), receiver);
    }
}
