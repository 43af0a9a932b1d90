//! What people set and likely did not mean: names that nothing has now. Pure.

use gantry_compose::nearest;
use gantry_model::Snapshot;
use gantry_model::alert::{AlertConfig, BUILT_IN, Scope, matches};

/// Rules that find nothing now, because nothing has the name that they ask for; one line each.
pub fn unmatched(config: &AlertConfig, snapshot: &Snapshot) -> Vec<String> {
    let services: Vec<String> = snapshot.services.keys().map(ToString::to_string).collect();
    let nodes: Vec<String> = snapshot.nodes.values().map(|node| node.name.clone()).collect();
    let rules = config.rules.iter().filter(|rule| rule.subject != "*");
    let lines = rules.filter_map(|rule| {
        let scope = rule.metric.info().scope;
        let names = match scope {
            Scope::Service => &services,
            Scope::Node => &nodes,
        };
        let nothing = nothing_is(&rule.subject, scope.word(), names)?;
        Some(format!("rule {}: {nothing}", rule.name))
    });
    lines.collect()
}

/// Why a silence of alerts of `rule` silences nothing at all; `None` where there is such a rule.
pub fn unknown_rule(rule: &str, config: &AlertConfig) -> Option<String> {
    let names: Vec<&str> = rule_names(config).collect();
    if rule.is_empty() || names.iter().any(|name| matches(rule, name)) {
        return None;
    }
    let near = nearest(rule, &names).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Some(format!("there is no rule {rule:?}{near}: `gantry alerts rules` shows those that are"))
}

fn rule_names(config: &AlertConfig) -> impl Iterator<Item = &str> {
    let own = config.rules.iter().map(|rule| rule.name.as_str());
    own.chain(BUILT_IN.iter().map(|rule| rule.name))
}

/// Why a silence of alerts about `subject` silences nothing now; `None` where it may.
pub fn unknown_subject(subject: &str, snapshot: &Snapshot) -> Option<String> {
    if subject.is_empty() {
        return None;
    }
    let mut names = vec!["cluster".to_owned()];
    names.extend(snapshot.services.keys().map(ToString::to_string));
    names.extend(snapshot.nodes.values().map(|node| format!("node:{}", node.name)));
    // Certificates have holders of their own.
    let active = snapshot.alerts.values().filter(|alert| alert.is_active());
    names.extend(active.map(|alert| alert.subject.clone()));
    let nothing = nothing_is(subject, "subject", &names)?;
    let stack = snapshot.stacks.keys().any(|stack| stack.to_string() == subject);
    let means = if stack {
        format!("; {subject}/* is all of that stack")
    } else if snapshot.nodes.values().any(|node| node.name == subject) {
        format!("; did you mean node:{subject}?")
    } else {
        ": subjects are STACK/SERVICE, node:NAME and cluster".to_owned()
    };
    Some(format!("{nothing}{means}"))
}

/// That nothing has this name now, or a name of this form, and which name may be meant.
fn nothing_is(pattern: &str, what: &str, names: &[String]) -> Option<String> {
    if names.iter().any(|name| matches(pattern, name)) {
        return None;
    }
    if pattern.contains('*') {
        return Some(format!("no {what} is like {pattern:?} now"));
    }
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    let near = nearest(pattern, &known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Some(format!("there is no {what} {pattern:?} now{near}"))
}

#[cfg(test)]
mod tests {
    use gantry_compose::{Source, read_alerts};
    use gantry_model::Timestamp;
    use gantry_testkit::World;

    use super::*;

    fn world() -> World {
        World::new(Timestamp::from_millis(1)).node("edge-1").service("shop/web", |service| service)
    }

    fn config(rules: &str) -> AlertConfig {
        read_alerts(Source { name: "alerts.yaml".into(), text: rules.into() }).unwrap()
    }

    #[test]
    fn a_rule_whose_pattern_nothing_matches_now_is_named_with_what_may_be_meant() {
        let config = config(
            "rules:
  - {name: all, metric: crashes, above: 1}
  - {name: one, metric: crashes, service: shop/web, above: 1}
  - {name: some, metric: node_flaps, node: 'edge-*', above: 1}
  - {name: typo, metric: crashes, service: shop/wbe, above: 1}
  - {name: none, metric: crashes, service: 'blog/*', above: 1}
  - {name: far, metric: node_flaps, node: mainframe, above: 1}
",
        );
        let expected = [
            "rule typo: there is no service \"shop/wbe\" now; did you mean shop/web?",
            "rule none: no service is like \"blog/*\" now",
            "rule far: there is no node \"mainframe\" now",
        ];
        assert_eq!(unmatched(&config, &world().snapshot), expected);
    }

    #[test]
    fn a_silence_of_what_nothing_is_called_is_noticed() {
        let config = config("rules: [{name: slow, metric: p95_ms, above: 1}]");
        for rule in ["", "slow", "service-*", "node-lost"] {
            assert_eq!(unknown_rule(rule, &config), None, "{rule}");
        }
        let unknown = unknown_rule("servce-down", &config).unwrap();
        assert!(unknown.contains("did you mean service-down?"), "{unknown}");
        assert!(unknown_rule("blog-*", &config).unwrap().contains("gantry alerts rules"));

        let snapshot = world().snapshot;
        for subject in ["", "cluster", "shop/web", "shop/*", "node:edge-1", "*"] {
            assert_eq!(unknown_subject(subject, &snapshot), None, "{subject}");
        }
        for (subject, says) in [
            ("shop", "shop/* is all of that stack"),
            ("edge-1", "did you mean node:edge-1?"),
            ("shop/wbe", "did you mean shop/web?"),
            ("node:n*", "no subject is like"),
        ] {
            let said = unknown_subject(subject, &snapshot).unwrap();
            assert!(said.contains(says), "{said}");
        }
    }
}
