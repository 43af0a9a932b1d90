//! Notices in the words that receivers understand.

use std::time::Duration;

use gantry_model::Timestamp;
use gantry_model::alert::{Alert, AlertSeverity, ReceiverKind};
use serde_json::{Value, json};

use super::notice::REFRESH;

/// Lines of a digest that a person reads.
const LINES: usize = 20;

/// A notice.
#[derive(Debug, Clone)]
pub struct Notice {
    /// The cluster's name.
    pub cluster: String,
    /// What it is about.
    pub about: About,
    /// When it is made.
    pub now: Timestamp,
}

/// What a notice is about.
#[derive(Debug, Clone)]
pub enum About {
    /// Alerts that began or ended.
    Alerts {
        /// The alerts, and whether each is over.
        alerts: Vec<(Alert, bool)>,
        /// They came at once, and are told as one.
        digest: bool,
    },
    /// A person wants to know whether notices arrive.
    Test,
}

impl Notice {
    /// Its body.
    pub fn body(&self, kind: ReceiverKind) -> String {
        match kind {
            ReceiverKind::Webhook => self.json(),
            ReceiverKind::Slack => json!({ "text": self.text() }),
            ReceiverKind::Alertmanager => self.for_alertmanager(),
        }
        .to_string()
    }

    /// Gantry's own JSON. `docs/guides/alerts.md` describes it.
    fn json(&self) -> Value {
        let (kind, alerts) = match &self.about {
            About::Test => ("test", &[][..]),
            About::Alerts { alerts, digest: true } => ("digest", alerts.as_slice()),
            About::Alerts { alerts, .. } => ("alert", alerts.as_slice()),
        };
        let alerts = alerts.iter().map(|(alert, over)| {
            json!({
                "id": alert.id,
                "status": if *over { "resolved" } else { "firing" },
                "rule": alert.rule,
                "subject": alert.subject,
                "severity": alert.severity.word(),
                "labels": alert.labels,
                "summary": alert.summary,
                "began_at": alert.began_at.to_string(),
                "ended_at": alert.ended_at.map(|at| at.to_string()),
            })
        });
        json!({
            "version": 1,
            "cluster": self.cluster,
            "kind": kind,
            "text": self.text(),
            "sent_at": self.now.to_string(),
            "alerts": alerts.collect::<Vec<_>>(),
        })
    }

    /// For people.
    fn text(&self) -> String {
        let cluster = &self.cluster;
        let (alerts, digest) = match &self.about {
            About::Test => return format!("[{cluster}] test notice of Gantry: nothing is wrong"),
            About::Alerts { alerts, digest } => (alerts, *digest),
        };
        if !digest {
            let lines: Vec<_> =
                alerts.iter().map(|(alert, over)| format!("[{cluster}] {}", line(alert, *over))).collect();
            return lines.join("\n");
        }
        let over = alerts.iter().filter(|(_, over)| *over).count();
        let mut text = format!("[{cluster}] {} new alerts, {over} over", alerts.len() - over);
        // The worst first, and what is over last.
        let mut sorted: Vec<_> = alerts.iter().collect();
        sorted.sort_by_key(|(alert, over)| (*over, std::cmp::Reverse(alert.severity), alert.id));
        for (alert, over) in sorted.iter().take(LINES) {
            text += &format!("\n• {}", line(alert, *over));
        }
        if sorted.len() > LINES {
            text += &format!("\n… and {} more: `gantry alerts ls`", sorted.len() - LINES);
        }
        text
    }

    /// The body of `POST /api/v2/alerts`.
    fn for_alertmanager(&self) -> Value {
        let alerts = match &self.about {
            About::Test => vec![json!({
                "labels": { "alertname": "gantry-test", "cluster": self.cluster, "severity": "info" },
                "annotations": { "summary": "test notice of Gantry: nothing is wrong" },
                "startsAt": self.now.to_string(),
                "endsAt": self.now.after(Duration::from_mins(1)).to_string(),
            })],
            About::Alerts { alerts, .. } => alerts.iter().map(|(alert, _)| self.entry(alert)).collect(),
        };
        Value::Array(alerts)
    }

    fn entry(&self, alert: &Alert) -> Value {
        let mut labels: serde_json::Map<String, Value> =
            alert.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        for (name, value) in [
            ("alertname", alert.rule.as_str()),
            ("subject", &alert.subject),
            ("severity", alert.severity.word()),
            ("cluster", &self.cluster),
        ] {
            labels.insert(name.to_owned(), value.into());
        }
        // It forgets an alert at this time, unless it is told again.
        let ends = alert.ended_at.unwrap_or_else(|| self.now.after(REFRESH * 5 / 2));
        json!({
            "labels": labels,
            "annotations": { "summary": alert.summary },
            "startsAt": alert.began_at.to_string(),
            "endsAt": ends.to_string(),
        })
    }
}

fn line(alert: &Alert, over: bool) -> String {
    let sign = match alert.severity {
        _ if over => "resolved",
        AlertSeverity::Info => "info",
        AlertSeverity::Warning => "warning",
        AlertSeverity::Critical => "CRITICAL",
    };
    format!("{sign}: {} {}: {}", alert.rule, alert.subject, alert.summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(id: u64, severity: AlertSeverity, over: bool) -> (Alert, bool) {
        let alert = Alert {
            id,
            rule: "service-down".into(),
            subject: format!("shop/web{id}"),
            severity,
            labels: [("team".to_owned(), "shop".to_owned())].into(),
            summary: "none of 2 replicas is ready".into(),
            began_at: Timestamp::from_millis(1_000),
            ended_at: over.then(|| Timestamp::from_millis(61_000)),
            told: Default::default(),
        };
        (alert, over)
    }

    fn notice(alerts: Vec<(Alert, bool)>, digest: bool) -> Notice {
        let about = About::Alerts { alerts, digest };
        Notice { cluster: "prod".into(), about, now: Timestamp::from_millis(62_000) }
    }

    fn read(notice: &Notice, kind: ReceiverKind) -> Value {
        serde_json::from_str(&notice.body(kind)).unwrap()
    }

    #[test]
    fn a_chat_gets_a_line_that_says_everything() {
        let text = |notice: &Notice| read(notice, ReceiverKind::Slack)["text"].as_str().unwrap().to_owned();
        let begins = notice(vec![alert(1, AlertSeverity::Critical, false)], false);
        assert_eq!(text(&begins), "[prod] CRITICAL: service-down shop/web1: none of 2 replicas is ready");
        let ends = notice(vec![alert(1, AlertSeverity::Critical, true)], false);
        assert!(text(&ends).starts_with("[prod] resolved: "));
        let test = Notice { about: About::Test, ..ends };
        assert_eq!(text(&test), "[prod] test notice of Gantry: nothing is wrong");
    }

    #[test]
    fn a_digest_says_how_many_and_shows_the_worst_first() {
        let mut alerts: Vec<_> = (1..=30).map(|id| alert(id, AlertSeverity::Warning, id > 28)).collect();
        alerts.push(alert(99, AlertSeverity::Critical, false));
        let text = notice(alerts, true).text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "[prod] 29 new alerts, 2 over");
        assert!(lines[1].starts_with("• CRITICAL: service-down shop/web99"), "{text}");
        assert_eq!(lines.len(), 22);
        assert_eq!(lines[21], "… and 11 more: `gantry alerts ls`");
    }

    #[test]
    fn a_webhook_gets_every_field() {
        let body = read(&notice(vec![alert(7, AlertSeverity::Info, true)], false), ReceiverKind::Webhook);
        assert_eq!((body["version"].as_u64(), body["kind"].as_str()), (Some(1), Some("alert")));
        let one = &body["alerts"][0];
        assert_eq!((one["id"].as_u64(), one["status"].as_str()), (Some(7), Some("resolved")));
        assert_eq!((one["severity"].as_str(), one["labels"]["team"].as_str()), (Some("info"), Some("shop")));
        assert_eq!(one["ended_at"], "1970-01-01T00:01:01.000Z");
        let fresh = read(&notice(vec![alert(7, AlertSeverity::Info, false)], true), ReceiverKind::Webhook);
        assert_eq!(
            (fresh["kind"].as_str(), fresh["alerts"][0]["ended_at"].is_null()),
            (Some("digest"), true)
        );
    }

    #[test]
    fn an_alertmanager_gets_labels_of_its_own_and_times_that_it_believes() {
        let alerts = vec![alert(1, AlertSeverity::Critical, false), alert(2, AlertSeverity::Warning, true)];
        let body = read(&notice(alerts, true), ReceiverKind::Alertmanager);
        let labels = &body[0]["labels"];
        assert_eq!(labels["alertname"], "service-down");
        assert_eq!(
            (labels["subject"].as_str(), labels["cluster"].as_str()),
            (Some("shop/web1"), Some("prod"))
        );
        assert_eq!((labels["severity"].as_str(), labels["team"].as_str()), (Some("critical"), Some("shop")));
        assert_eq!(body[0]["startsAt"], "1970-01-01T00:00:01.000Z");
        assert_eq!(body[0]["endsAt"], "1970-01-01T00:11:02.000Z", "ten minutes from now");
        assert_eq!(body[1]["endsAt"], "1970-01-01T00:01:01.000Z", "it is over");
    }
}
