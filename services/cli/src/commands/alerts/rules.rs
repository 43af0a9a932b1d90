//! `gantry alerts rules`

use std::time::Duration;

use gantry_api::cluster::v1 as wire;
use gantry_api::cluster::v1::{GetAlertConfigRequest, GetAlertConfigResponse, alert_rule};
use gantry_model::wire::read_alert_severity;
use serde::Serialize;

use crate::args::{List, Shape};
use crate::client::Cluster;
use crate::failure::Result;
use crate::output::{self, Row, colours, render_table};

/// Shows what is set.
pub async fn run(cluster: &Cluster, metrics: bool, shape: Shape) -> Result<()> {
    let config = cluster.alerts().get_alert_config(GetAlertConfigRequest {}).await?.into_inner();
    if metrics {
        let metrics: Vec<Metric> = config.metrics.into_iter().map(Metric::from).collect();
        return output::list(&metrics, &List { format: shape, quiet: false });
    }
    let shown = Shown::from(config);
    output::one(&shown, shape, || shown.text(colours()))
}

#[derive(Serialize)]
struct Shown {
    rules: Vec<Rule>,
    receivers: Vec<Receiver>,
    digest_limit: u32,
    digest_window_seconds: u64,
}

#[derive(Serialize)]
struct Rule {
    name: String,
    built_in: bool,
    disabled: bool,
    severity: String,
    hold_seconds: u64,
    subject: String,
    holds: String,
}

#[derive(Serialize)]
struct Receiver {
    name: String,
    r#type: String,
    host: String,
    headers: Vec<String>,
    severities: Vec<String>,
    rules: Vec<String>,
    send_resolved: bool,
}

#[derive(Serialize)]
struct Metric {
    name: String,
    scope: String,
    about: String,
}

impl From<wire::AlertMetric> for Metric {
    fn from(metric: wire::AlertMetric) -> Self {
        Self { name: metric.name, scope: metric.scope, about: metric.about }
    }
}

impl From<GetAlertConfigResponse> for Shown {
    fn from(config: GetAlertConfigResponse) -> Self {
        let of_user = config.rules.into_iter().map(|rule| Rule {
            severity: read_alert_severity(rule.severity()).word().to_owned(),
            hold_seconds: seconds(rule.hold),
            holds: match rule.bound {
                Some(alert_rule::Bound::Above(bound)) => format!("{} above {bound}", rule.metric),
                Some(alert_rule::Bound::Below(bound)) => format!("{} below {bound}", rule.metric),
                None => rule.metric,
            },
            name: rule.name,
            built_in: false,
            disabled: false,
            subject: rule.subject,
        });
        let built_in = config.built_in.into_iter().map(|rule| Rule {
            severity: read_alert_severity(rule.severity()).word().to_owned(),
            hold_seconds: seconds(rule.hold),
            holds: rule.about,
            name: rule.name,
            built_in: true,
            disabled: rule.disabled,
            subject: "*".to_owned(),
        });
        let receivers = config.receivers.into_iter().map(|receiver| Receiver {
            severities: receiver
                .severities()
                .map(|severity| read_alert_severity(severity).word().to_owned())
                .collect(),
            name: receiver.name,
            r#type: receiver.r#type,
            host: receiver.host,
            headers: receiver.headers,
            rules: receiver.rules,
            send_resolved: receiver.send_resolved,
        });
        let grouping = config.grouping.unwrap_or_default();
        Self {
            rules: of_user.chain(built_in).collect(),
            receivers: receivers.collect(),
            digest_limit: grouping.limit,
            digest_window_seconds: seconds(grouping.window),
        }
    }
}

fn seconds(duration: Option<prost_types::Duration>) -> u64 {
    duration.and_then(|duration| Duration::try_from(duration).ok()).unwrap_or_default().as_secs()
}

impl Shown {
    fn text(&self, colours: bool) -> String {
        let mut text = render_table(&self.rules, colours) + "\n";
        if self.receivers.is_empty() {
            text += "there are no receivers, so nobody is told: `gantry alerts apply -f FILE` sets some\n";
        } else {
            text += &render_table(&self.receivers, colours);
        }
        text + &format!(
            "\nmore than {} changes within {} s are sent as one digest\n",
            self.digest_limit, self.digest_window_seconds
        )
    }
}

impl Row for Rule {
    const HEAD: &'static [&'static str] = &["RULE", "SEVERITY", "FOR", "SUBJECT", "HOLDS WHILE"];

    fn cells(&self) -> Vec<String> {
        let severity = if self.disabled { "off".to_owned() } else { self.severity.clone() };
        let hold = format!("{}s", self.hold_seconds);
        vec![self.name.clone(), severity, hold, self.subject.clone(), self.holds.clone()]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

impl Row for Receiver {
    const HEAD: &'static [&'static str] = &["RECEIVER", "TYPE", "HOST", "SEVERITIES", "RULES", "RESOLVED"];

    fn cells(&self) -> Vec<String> {
        let only = |some: &[String]| if some.is_empty() { "all".to_owned() } else { some.join(", ") };
        let resolved = if self.send_resolved { "yes" } else { "no" };
        vec![
            self.name.clone(),
            self.r#type.clone(),
            self.host.clone(),
            only(&self.severities),
            only(&self.rules),
            resolved.to_owned(),
        ]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

impl Row for Metric {
    const HEAD: &'static [&'static str] = &["METRIC", "OF EACH", "WHAT IT IS"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.scope.clone(), self.about.clone()]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_receivers_are_shown_and_a_rule_that_is_off_says_so() {
        let rule = wire::AlertRule {
            name: "slow".into(),
            metric: "p95_ms".into(),
            subject: "shop/*".into(),
            bound: Some(alert_rule::Bound::Above(250.0)),
            hold: Some(prost_types::Duration { seconds: 120, nanos: 0 }),
            severity: wire::AlertSeverity::Critical.into(),
            ..wire::AlertRule::default()
        };
        let built_in = wire::BuiltInRule {
            name: "node-lost".into(),
            about: "a node is gone".into(),
            disabled: true,
            ..wire::BuiltInRule::default()
        };
        let config =
            GetAlertConfigResponse { rules: vec![rule], built_in: vec![built_in], ..Default::default() };
        let text = Shown::from(config).text(false);
        let expected = "\
RULE        SEVERITY   FOR    SUBJECT   HOLDS WHILE
slow        critical   120s   shop/*    p95_ms above 250
node-lost   off        0s     *         a node is gone

there are no receivers";
        assert!(text.starts_with(expected), "{text}");
    }
}
