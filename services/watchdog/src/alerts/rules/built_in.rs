//! When the built-in rules hold. `gantry_model::alert::BUILT_IN` lists them.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_model::Timestamp;
use gantry_model::alert::find_built_in;

use crate::alerts::evaluate::{Finding, Fingerprint};
use crate::alerts::facts::{Facts, NodeFacts, ServiceFacts};

/// Share of failed requests that is too many.
const TOO_MANY_ERRORS: f64 = 0.05;
/// Certificates are renewed long before this; one that is so near its end was not.
const EXPIRING: Duration = Duration::from_hours(24 * 7);
/// Nodes that one alert names.
const NAMED: usize = 5;
/// While nobody judges nodes, one that is not ready for so long counts as lost.
const UNJUDGED: Duration = Duration::from_secs(30);

/// What the built-in rules find.
pub fn judge(facts: &Facts, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, service) in &facts.services {
        of_service(name, service, facts, &mut findings);
    }
    for (name, node) in &facts.nodes {
        of_node(name, node, &mut findings);
    }
    findings.extend(mass_loss(facts));
    for (holder, expires) in &facts.certificates {
        if *expires < now.after(EXPIRING) {
            let summary = format!("the certificate of {holder} expires at {expires} and was not renewed");
            findings.extend(finding("certificate-expiring", holder, summary));
        }
    }
    findings
}

fn of_service(name: &str, service: &ServiceFacts, facts: &Facts, findings: &mut Vec<Finding>) {
    if service.ready < service.wanted && !service.over {
        missing(name, service, findings);
    }
    if let Some((slot, times, how)) = service.looping.iter().max_by_key(|(_, times, _)| *times) {
        let more = match service.looping.len() {
            1 => String::new(),
            count => format!(", and {} more replicas with it", count - 1),
        };
        let summary = format!("replica {slot} ended {times} times within 10 minutes, last with {how}{more}");
        findings.extend(finding("crash-loop", name, summary));
    }
    if !service.circuit.is_empty() {
        let summary = format!("{}; repairs go on one at a time", service.circuit);
        findings.extend(finding("circuit-open", name, summary));
    } else if !facts.circuits_known {
        findings.extend(finding("circuit-open", name, String::new()).map(Finding::unknown));
    }
    if let Some(reason) = &service.no_room {
        let waits = match service.homeless {
            1 => "1 replica waits".to_owned(),
            count => format!("{count} replicas wait"),
        };
        let summary = format!("{waits} for room on a node: {reason}");
        findings.extend(finding("no-room", name, summary));
    }
    if !service.bottleneck.is_empty() {
        let summary = format!(
            "{}, and more replicas have not helped: the bottleneck is elsewhere, such as in a database",
            service.bottleneck
        );
        findings.extend(finding("bottleneck-elsewhere", name, summary));
    } else if !facts.traffic_known {
        findings.extend(finding("bottleneck-elsewhere", name, String::new()).map(Finding::unknown));
    }
    match &service.traffic {
        Some(traffic) if traffic.error_rate > TOO_MANY_ERRORS => {
            let summary = format!("{:.1}% of requests fail", traffic.error_rate * 100.0);
            findings.extend(finding("error-rate", name, summary));
        }
        None if !facts.traffic_known => {
            findings.extend(finding("error-rate", name, String::new()).map(Finding::unknown));
        }
        _ => {}
    }
}

/// Fewer replicas are ready than wanted.
fn missing(name: &str, service: &ServiceFacts, findings: &mut Vec<Finding>) {
    let ServiceFacts { wanted, ready, .. } = *service;
    let on_its_way = service.scaled && ready.saturating_add(service.coming) >= wanted;
    if service.changed || on_its_way {
        // What is missing may be on its way, and what was wrong before may be mended by it.
        for rule in ["service-down", "service-below-wanted"] {
            findings.extend(finding(rule, name, String::new()).map(Finding::unknown));
        }
        return;
    }
    let (rule, summary) = match ready {
        0 if service.never_ready => {
            let summary = format!("none of {wanted} replicas has been ready since it was first deployed");
            ("service-below-wanted", summary)
        }
        0 => ("service-down", format!("none of {wanted} replicas is ready")),
        _ => ("service-below-wanted", format!("{ready} of {wanted} replicas are ready")),
    };
    findings.extend(finding(rule, name, summary));
}

fn of_node(name: &str, node: &NodeFacts, findings: &mut Vec<Finding>) {
    let subject = format!("node:{name}");
    if node.lost {
        let summary = format!("{name} is gone: what it ran is replaced elsewhere where that is possible");
        findings.extend(finding("node-lost", &subject, summary));
    } else if !node.judged && !node.ready {
        let found = finding("node-lost", &subject, format!("{name} is not ready"));
        findings.extend(found.map(|found| Finding { hold: UNJUDGED, ..found }));
    }
    if node.quarantined {
        let summary =
            format!("replicas of several services failed on {name}: it gets nothing new for a while");
        findings.extend(finding("node-quarantined", &subject, summary));
    }
    for (rule, lines) in [("path-broken", &node.conditions), ("disk-full", &node.full_disks)] {
        if !lines.is_empty() {
            findings.extend(finding(rule, &subject, format!("{name}: {}", lines.join("; "))));
        }
    }
}

/// Nodes are not given up because more than half of those that were there went silent at once. Who is held
/// was decided where nodes are judged.
fn mass_loss(facts: &Facts) -> Option<Finding> {
    let held: Vec<&str> = facts.held().take(NAMED).collect();
    if held.is_empty() {
        return None;
    }
    let all = facts.held().count();
    let more = if all > held.len() { ", …" } else { "" };
    let summary = format!(
        "{all} nodes went silent at once, more than half of those that were there ({}{more}): the fault is likely \
         on the scheduler's side, so nothing of theirs is replaced",
        held.join(", ")
    );
    finding("nodes-held", "cluster", summary)
}

/// A finding of a rule, with what the table says of it.
fn finding(rule: &str, subject: &str, summary: String) -> Option<Finding> {
    let info = find_built_in(rule)?;
    Some(Finding {
        of: Fingerprint { rule: rule.to_owned(), subject: subject.to_owned() },
        known: true,
        hold: info.hold,
        severity: info.severity,
        labels: BTreeMap::new(),
        summary,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use gantry_api::cluster::v1::Traffic;
    use gantry_model::alert::BUILT_IN;

    use super::*;
    use crate::decide::nodes;
    use crate::decide::sample::{World, at};
    use crate::world::Presence;

    fn now() -> Timestamp {
        Timestamp::from_millis(1_000_000)
    }

    fn service(facts: ServiceFacts) -> Facts {
        let services = [("shop/web".to_owned(), facts)].into();
        Facts { services, traffic_known: true, circuits_known: true, ..Facts::default() }
    }

    fn nodes(count: usize, held: usize) -> Facts {
        let node = |number| {
            let facts = NodeFacts { ready: true, judged: true, held: number < held, ..NodeFacts::default() };
            (format!("n{number}"), facts)
        };
        Facts { nodes: (0..count).map(node).collect(), traffic_known: true, ..Facts::default() }
    }

    fn node(facts: NodeFacts) -> Facts {
        Facts { nodes: [("n1".to_owned(), facts)].into(), traffic_known: true, ..Facts::default() }
    }

    fn found(facts: &Facts) -> Vec<String> {
        let known = judge(facts, now()).into_iter().filter(|finding| finding.known);
        known.map(|finding| format!("{} {}", finding.of.rule, finding.of.subject)).collect()
    }

    #[test]
    fn every_rule_of_the_table_can_hold_and_only_for_what_is_wrong() {
        let traffic = |error_rate| Some(Traffic { error_rate, ..Traffic::default() });
        let fine = ServiceFacts {
            wanted: 3,
            running: 3,
            ready: 3,
            judged: 3,
            unhealthy: 1,
            traffic: traffic(0.05),
            ..ServiceFacts::default()
        };
        let there = NodeFacts { ready: true, judged: true, ..NodeFacts::default() };
        for quiet in [
            service(fine.clone()),
            service(ServiceFacts { ready: 0, over: true, ..fine.clone() }),
            service(ServiceFacts { ready: 0, changed: true, ..fine.clone() }),
            service(ServiceFacts { ready: 2, changed: true, ..fine.clone() }),
            service(ServiceFacts { judged: 3, unhealthy: 3, ..fine.clone() }),
            node(there.clone()),
            nodes(4, 0),
        ] {
            assert_eq!(found(&quiet), Vec::<String>::new(), "{quiet:?}");
        }
        let mut seen = BTreeSet::new();
        let soon = Facts {
            certificates: [("node:n1".to_owned(), now().after(Duration::from_hours(1)))].into(),
            traffic_known: true,
            ..Facts::default()
        };
        for (facts, expected) in [
            (service(ServiceFacts { ready: 0, ..fine.clone() }), "service-down shop/web"),
            (service(ServiceFacts { ready: 2, ..fine.clone() }), "service-below-wanted shop/web"),
            (
                service(ServiceFacts { ready: 0, never_ready: true, ..fine.clone() }),
                "service-below-wanted shop/web",
            ),
            (
                service(ServiceFacts { looping: vec![(1, 3, "out of memory".into())], ..fine.clone() }),
                "crash-loop shop/web",
            ),
            (service(ServiceFacts { circuit: "3 of 5".into(), ..fine.clone() }), "circuit-open shop/web"),
            (
                service(ServiceFacts {
                    no_room: Some("no node fits; 1 node: 1 has no room".into()),
                    homeless: 1,
                    ..fine.clone()
                }),
                "no-room shop/web",
            ),
            (
                service(ServiceFacts { bottleneck: "p95 900 ms of 250 ms target".into(), ..fine.clone() }),
                "bottleneck-elsewhere shop/web",
            ),
            (service(ServiceFacts { traffic: traffic(0.06), ..fine }), "error-rate shop/web"),
            (node(NodeFacts { lost: true, ready: false, ..there.clone() }), "node-lost node:n1"),
            (node(NodeFacts { ready: false, judged: false, ..there.clone() }), "node-lost node:n1"),
            (node(NodeFacts { quarantined: true, ..there.clone() }), "node-quarantined node:n1"),
            (
                node(NodeFacts { conditions: vec!["does not reach n2".into()], ..there.clone() }),
                "path-broken node:n1",
            ),
            (
                node(NodeFacts { full_disks: vec!["the disk is 96% full".into()], ..there }),
                "disk-full node:n1",
            ),
            (nodes(5, 3), "nodes-held cluster"),
            (soon, "certificate-expiring node:n1"),
        ] {
            assert_eq!(found(&facts), [expected]);
            seen.insert(expected.split(' ').next().unwrap());
        }
        assert_eq!(seen, BUILT_IN.iter().map(|rule| rule.name).collect());
    }

    #[test]
    fn nodes_that_are_held_are_told_of_also_when_others_were_lost_long_ago() {
        let mut world = World::new();
        for number in 1..=6 {
            world = world.node(&format!("n{number}"));
        }
        for (node, silent_since) in [("n1", 0), ("n2", 1), ("n3", 2), ("n4", 5_000), ("n5", 5_000)] {
            (world.hearing(node).connected, world.hearing(node).silent_since) =
                (false, Some(at(silent_since)));
        }
        let judged = nodes::judge(&world.snapshot.nodes, at(5_010));
        let node = |(id, judgement): (&gantry_model::NodeId, &nodes::Judgement)| {
            let lost = judgement.presence == Presence::Lost;
            let facts = NodeFacts { judged: true, lost, held: judgement.held, ..NodeFacts::default() };
            (id.to_string(), facts)
        };
        let facts = Facts { nodes: judged.iter().map(node).collect(), ..Facts::default() };
        let found = judge(&facts, now());
        let told: Vec<&str> = found.iter().map(|finding| finding.of.rule.as_str()).collect();
        assert_eq!(told, ["node-lost", "node-lost", "node-lost", "nodes-held"]);
        assert!(found[3].summary.starts_with("2 nodes went silent at once"), "{}", found[3].summary);
        assert!(found[3].summary.contains("(n4, n5)"), "{}", found[3].summary);
    }

    #[test]
    fn while_a_service_is_being_changed_nothing_is_concluded_of_what_is_missing() {
        let fixing = ServiceFacts { wanted: 2, changed: true, ..ServiceFacts::default() };
        let findings = judge(&service(fixing), now());
        let unknown: Vec<&str> = findings
            .iter()
            .filter(|finding| !finding.known)
            .map(|finding| finding.of.rule.as_str())
            .collect();
        assert_eq!(unknown, ["service-down", "service-below-wanted"], "an alert from before does not end");
    }

    #[test]
    fn a_crash_loop_says_how_the_process_ended() {
        let facts = service(ServiceFacts {
            looping: vec![(1, 3, "exit code 1".into()), (4, 8, "out of memory".into())],
            ..ServiceFacts::default()
        });
        let summary = &judge(&facts, now())[0].summary;
        assert_eq!(
            summary,
            "replica 4 ended 8 times within 10 minutes, last with out of memory, and 1 more replicas with it"
        );
    }

    #[test]
    fn without_word_of_the_proxies_or_of_the_judge_nothing_is_concluded_from_them() {
        for (facts, rules) in [
            (
                Facts { traffic_known: false, ..service(ServiceFacts::default()) },
                vec!["bottleneck-elsewhere", "error-rate"],
            ),
            (Facts { circuits_known: false, ..service(ServiceFacts::default()) }, vec!["circuit-open"]),
        ] {
            let findings = judge(&facts, now());
            assert!(findings.iter().all(|finding| !finding.known));
            let found: Vec<&str> = findings.iter().map(|finding| finding.of.rule.as_str()).collect();
            assert_eq!(found, rules);
        }
    }
}
