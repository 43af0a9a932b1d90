//! Alerts, silences and outcomes of notices as lines.

use std::collections::BTreeMap;
use std::time::SystemTime;

use gantry_api::cluster::v1 as wire;
use gantry_model::wire::read_alert_severity;
use serde::Serialize;

use crate::output::Row;
use crate::when;

/// An active alert.
#[derive(Serialize)]
pub struct Line {
    id: u64,
    rule: String,
    subject: String,
    severity: String,
    labels: BTreeMap<String, String>,
    summary: String,
    began_at: String,
    silenced_by: String,
    #[serde(skip)]
    age: String,
}

impl From<wire::Alert> for Line {
    fn from(alert: wire::Alert) -> Self {
        Self {
            id: alert.id,
            severity: read_alert_severity(alert.severity()).word().to_owned(),
            rule: alert.rule,
            subject: alert.subject,
            labels: alert.labels,
            summary: alert.summary,
            began_at: when::shown(alert.began_at),
            silenced_by: alert.silenced_by,
            age: when::ago(alert.began_at, SystemTime::now()),
        }
    }
}

impl Row for Line {
    const HEAD: &'static [&'static str] = &["ID", "SEVERITY", "RULE", "SUBJECT", "SINCE", "SUMMARY"];

    fn cells(&self) -> Vec<String> {
        let summary = match self.silenced_by.as_str() {
            "" => self.summary.clone(),
            silence => format!("{} (silenced by {silence})", self.summary),
        };
        vec![
            self.id.to_string(),
            self.severity.clone(),
            self.rule.clone(),
            self.subject.clone(),
            self.age.clone(),
            summary,
        ]
    }

    fn name(&self) -> String {
        self.id.to_string()
    }
}

/// An active or past alert.
#[derive(Serialize)]
pub struct Past {
    #[serde(flatten)]
    alert: Line,
    ended_at: String,
    notices: Vec<Tested>,
}

impl From<wire::Alert> for Past {
    fn from(mut alert: wire::Alert) -> Self {
        let notices = std::mem::take(&mut alert.deliveries).into_iter().map(Tested::from).collect();
        Self { ended_at: when::shown(alert.ended_at), notices, alert: alert.into() }
    }
}

impl Row for Past {
    const HEAD: &'static [&'static str] =
        &["ID", "BEGAN", "ENDED", "SEVERITY", "RULE", "SUBJECT", "SUMMARY", "NOTICES"];

    fn cells(&self) -> Vec<String> {
        let Line { id, rule, subject, severity, summary, began_at, .. } = &self.alert;
        let notices: Vec<String> = self.notices.iter().map(Tested::in_words).collect();
        vec![
            id.to_string(),
            began_at.clone(),
            if self.ended_at.is_empty() { "active".to_owned() } else { self.ended_at.clone() },
            severity.clone(),
            rule.clone(),
            subject.clone(),
            summary.clone(),
            notices.join(", "),
        ]
    }

    fn name(&self) -> String {
        self.alert.id.to_string()
    }
}

/// A silence.
#[derive(Serialize)]
pub struct Silenced {
    id: String,
    rule: String,
    subject: String,
    comment: String,
    created_by: String,
    expires_at: String,
}

impl From<wire::Silence> for Silenced {
    fn from(silence: wire::Silence) -> Self {
        let any = |text: String| if text.is_empty() { "*".to_owned() } else { text };
        Self {
            id: silence.id,
            rule: any(silence.rule),
            subject: any(silence.subject),
            comment: silence.comment,
            created_by: silence.created_by,
            expires_at: when::shown(silence.expires_at),
        }
    }
}

impl Row for Silenced {
    const HEAD: &'static [&'static str] = &["ID", "RULE", "SUBJECT", "UNTIL", "BY", "COMMENT"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.rule.clone(),
            self.subject.clone(),
            self.expires_at.clone(),
            self.created_by.clone(),
            self.comment.clone(),
        ]
    }

    fn name(&self) -> String {
        self.id.clone()
    }
}

/// What became of a notice.
#[derive(Serialize)]
pub struct Tested {
    receiver: String,
    resolved: bool,
    at: String,
    attempts: u32,
    error: String,
    /// It is not tried again.
    given_up: bool,
}

impl From<wire::AlertDelivery> for Tested {
    fn from(delivery: wire::AlertDelivery) -> Self {
        Self {
            receiver: delivery.receiver,
            resolved: delivery.resolved,
            at: when::shown(delivery.at),
            attempts: delivery.attempts,
            given_up: delivery.lasting,
            error: delivery.error,
        }
    }
}

impl Tested {
    /// Whether it was taken.
    pub fn is_fine(&self) -> bool {
        self.error.is_empty()
    }

    fn in_words(&self) -> String {
        let what = if self.resolved { "end " } else { "" };
        match self.error.as_str() {
            "" => format!("{}: {what}sent", self.receiver),
            error if self.given_up => format!("{}: {what}given up ({error})", self.receiver),
            error => format!("{}: {what}not taken yet ({error})", self.receiver),
        }
    }
}

impl Row for Tested {
    const HEAD: &'static [&'static str] = &["RECEIVER", "RESULT"];

    fn cells(&self) -> Vec<String> {
        let result = if self.is_fine() { "ok".to_owned() } else { format!("failed: {}", self.error) };
        vec![self.receiver.clone(), result]
    }

    fn name(&self) -> String {
        self.receiver.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::render_table;

    fn alert() -> wire::Alert {
        let delivery = |resolved, error: &str| wire::AlertDelivery {
            receiver: "chat".into(),
            resolved,
            error: error.into(),
            lasting: error.contains("404"),
            ..wire::AlertDelivery::default()
        };
        wire::Alert {
            id: 7,
            rule: "service-down".into(),
            subject: "shop/web".into(),
            severity: wire::AlertSeverity::Critical.into(),
            summary: "none of 2 replicas is ready".into(),
            began_at: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            deliveries: vec![
                delivery(false, ""),
                delivery(true, "answered 404"),
                delivery(true, "answered 503"),
            ],
            silenced_by: "s1".into(),
            ..wire::Alert::default()
        }
    }

    #[test]
    fn an_active_alert_says_that_it_is_silenced() {
        let table = render_table(&[Line::from(alert())], false);
        assert!(table.contains("none of 2 replicas is ready (silenced by s1)"), "{table}");
        assert!(table.contains("critical") && table.contains("days ago"), "{table}");
    }

    #[test]
    fn history_says_what_became_of_each_notice() {
        let table = render_table(&[Past::from(alert())], false);
        assert!(table.contains("active"), "{table}");
        let notices = "chat: sent, chat: end given up (answered 404), chat: end not taken yet (answered 503)";
        assert!(table.contains(notices), "{table}");
        let json = serde_json::to_value(Past::from(alert())).unwrap();
        assert_eq!(
            (json["id"].as_u64(), json["notices"][1]["error"].as_str()),
            (Some(7), Some("answered 404"))
        );
    }
}
