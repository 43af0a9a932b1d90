//! When a user's threshold holds.

use gantry_api::cluster::v1::Traffic;
use gantry_model::alert::{AlertRule, Bound, Metric, Scope, matches};

use crate::alerts::evaluate::{Finding, Fingerprint};
use crate::alerts::facts::{Facts, NodeFacts, ServiceFacts};

/// What a metric is for a subject.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Is(f64),
    /// There is none, such as the time of answers where nothing was asked.
    None,
    /// Nobody knows.
    Unknown,
}

/// What a user's rule finds.
pub fn judge(rule: &AlertRule, facts: &Facts) -> Vec<Finding> {
    match rule.metric.info().scope {
        Scope::Service => {
            let services = facts.services.iter().filter(|(name, _)| matches(&rule.subject, name));
            let find = |(name, service): (&String, &ServiceFacts)| {
                finding(rule, name, name, of_service(rule.metric, service, facts.traffic_known))
            };
            services.filter_map(find).collect()
        }
        Scope::Node => {
            let nodes = facts.nodes.iter().filter(|(name, _)| matches(&rule.subject, name));
            nodes
                .filter_map(|(name, node)| {
                    finding(rule, name, &format!("node:{name}"), of_node(rule.metric, node))
                })
                .collect()
        }
    }
}

fn finding(rule: &AlertRule, name: &str, subject: &str, value: Value) -> Option<Finding> {
    let (known, summary) = match value {
        Value::Is(value) if rule.bound.holds(value) => (true, summary(rule, name, value)),
        Value::Is(_) | Value::None => return None,
        Value::Unknown => (false, String::new()),
    };
    Some(Finding {
        of: Fingerprint { rule: rule.name.clone(), subject: subject.to_owned() },
        known,
        hold: rule.hold,
        severity: rule.severity,
        labels: rule.labels.clone(),
        summary,
    })
}

/// The user's words with what was seen put in, or the metric, its value and the bound.
fn summary(rule: &AlertRule, name: &str, value: f64) -> String {
    let value = number(value);
    if !rule.summary.is_empty() {
        return rule.summary.replace("{subject}", name).replace("{value}", &value);
    }
    let metric = rule.metric.info().name;
    match rule.bound {
        Bound::Above(bound) => format!("{metric} is {value}, above {}", number(bound)),
        Bound::Below(bound) => format!("{metric} is {value}, below {}", number(bound)),
    }
}

/// At most three digits behind the point, and none that say nothing.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn of_service(metric: Metric, service: &ServiceFacts, traffic_known: bool) -> Value {
    let count = |count: u32| Value::Is(f64::from(count));
    match metric {
        Metric::ReplicasWanted => count(service.wanted),
        Metric::ReplicasRunning => count(service.running),
        Metric::ReplicasReady => count(service.ready),
        Metric::ReplicasMissing => count(service.wanted.saturating_sub(service.ready)),
        // Nobody has said yet how those are that run.
        Metric::ReplicasUnhealthy if service.judged == 0 && service.running > 0 => Value::Unknown,
        Metric::ReplicasUnhealthy => count(service.unhealthy),
        Metric::Restarts => count(service.restarts),
        Metric::Crashes => count(service.crashes),
        _ => match &service.traffic {
            #[allow(clippy::cast_precision_loss)] // Counts of requests are small.
            Some(_) if metric == Metric::Waiting => Value::Is(service.waiting as f64),
            Some(traffic) => of_traffic(metric, traffic),
            None if traffic_known => Value::None,
            None => Value::Unknown,
        },
    }
}

fn of_traffic(metric: Metric, traffic: &Traffic) -> Value {
    let millis = |time: Option<prost_types::Duration>| match time.map(std::time::Duration::try_from) {
        Some(Ok(time)) => Value::Is(time.as_secs_f64() * 1_000.0),
        Some(Err(_)) | None => Value::None,
    };
    #[allow(clippy::cast_precision_loss)] // Counts of requests in flight are small.
    match metric {
        Metric::RequestsPerSecond => Value::Is(traffic.requests_per_second),
        Metric::ErrorRate => Value::Is(traffic.error_rate),
        Metric::P50Ms => millis(traffic.p50),
        Metric::P95Ms => millis(traffic.p95),
        Metric::P99Ms => millis(traffic.p99),
        Metric::InFlight => Value::Is(traffic.in_flight as f64),
        _ => Value::None,
    }
}

fn of_node(metric: Metric, node: &NodeFacts) -> Value {
    match metric {
        Metric::NodeReady => Value::Is(f64::from(u8::from(node.ready))),
        Metric::NodeReplicas => Value::Is(f64::from(node.replicas)),
        Metric::NodeLost | Metric::NodeFlaps if !node.judged => Value::Unknown,
        Metric::NodeLost => Value::Is(f64::from(u8::from(node.lost))),
        Metric::NodeFlaps => Value::Is(f64::from(node.flaps)),
        Metric::DiskUsedPercent => {
            node.disk_used_percent.map_or(Value::Unknown, |used| Value::Is(f64::from(used)))
        }
        Metric::NodeConditions => {
            Value::Is(f64::from(u32::try_from(node.conditions.len()).unwrap_or(u32::MAX)))
        }
        _ => Value::None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use gantry_model::alert::{AlertSeverity, METRICS};

    use super::*;

    fn rule(metric: Metric, subject: &str, bound: Bound) -> AlertRule {
        AlertRule {
            name: "mine".into(),
            metric,
            subject: subject.into(),
            bound,
            hold: Duration::from_mins(1),
            severity: AlertSeverity::Info,
            labels: BTreeMap::new(),
            summary: String::new(),
        }
    }

    fn facts() -> Facts {
        let time = |nanos| Some(prost_types::Duration { seconds: 0, nanos });
        let traffic = Traffic {
            requests_per_second: 7.0,
            error_rate: 0.25,
            p50: time(8_000_000),
            p95: time(9_500_000),
            p99: time(10_000_000),
            in_flight: 11,
        };
        let web = ServiceFacts {
            wanted: 5,
            running: 3,
            ready: 2,
            judged: 3,
            unhealthy: 1,
            restarts: 4,
            crashes: 6,
            traffic: Some(traffic),
            waiting: 12,
            ..ServiceFacts::default()
        };
        let node = NodeFacts {
            ready: true,
            judged: true,
            lost: true,
            flaps: 3,
            disk_used_percent: Some(81),
            replicas: 9,
            conditions: vec!["x".into()],
            ..NodeFacts::default()
        };
        Facts {
            services: [("shop/web".to_owned(), web), ("shop/db".to_owned(), ServiceFacts::default())].into(),
            nodes: [("n1".to_owned(), node)].into(),
            traffic_known: true,
            ..Facts::default()
        }
    }

    #[test]
    fn every_metric_has_its_value() {
        let said: Vec<String> = METRICS
            .iter()
            .map(|info| {
                let subject = if info.scope == Scope::Service { "shop/web" } else { "n1" };
                judge(&rule(info.metric, subject, Bound::Above(-1.0)), &facts())
                    .first()
                    .map(|finding| finding.summary.clone())
                    .unwrap_or_default()
            })
            .collect();
        let values: Vec<&str> =
            said.iter().map(|text| text.split(' ').nth(2).unwrap_or("-").trim_end_matches(',')).collect();
        let expected = [
            "5", "3", "2", "3", "1", "4", "6", "7", "0.25", "8", "9.5", "10", "11", "12", "1", "9", "1", "1",
            "3", "81",
        ];
        assert_eq!(values, expected);
    }

    #[test]
    fn a_rule_finds_the_subjects_that_it_names_and_says_it_in_the_users_words() {
        let below = rule(Metric::ReplicasReady, "shop/*", Bound::Below(2.0));
        let found = judge(&below, &facts());
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].of.subject.as_str(), found[0].summary.as_str()),
            ("shop/db", "replicas_ready is 0, below 2")
        );
        let words = AlertRule { summary: "{subject} has {value}".into(), ..below };
        assert_eq!(judge(&words, &facts())[0].summary, "shop/db has 0");
        assert!(judge(&rule(Metric::ReplicasReady, "blog/*", Bound::Below(99.0)), &facts()).is_empty());
    }

    #[test]
    fn what_nobody_knows_is_told_from_what_is_not_there() {
        let slow = rule(Metric::P95Ms, "shop/db", Bound::Above(1.0));
        assert!(judge(&slow, &facts()).is_empty(), "no requests are no slow requests");
        let unknown = Facts { traffic_known: false, ..facts() };
        assert!(!judge(&slow, &unknown)[0].known);
        let silent = Facts {
            services: [("shop/web".to_owned(), ServiceFacts { running: 1, ..ServiceFacts::default() })]
                .into(),
            nodes: [("n1".to_owned(), NodeFacts::default())].into(),
            ..Facts::default()
        };
        for metric in
            [Metric::ReplicasUnhealthy, Metric::NodeLost, Metric::NodeFlaps, Metric::DiskUsedPercent]
        {
            let found = judge(&rule(metric, "*", Bound::Above(0.0)), &silent);
            assert!(found.len() == 1 && !found[0].known, "{metric:?}: {found:?}");
        }
    }
}
