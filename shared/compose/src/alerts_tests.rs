use gantry_model::alert::Bound;

use super::*;

fn source(text: &str) -> Source {
    Source { name: "alerts.yaml".into(), text: text.into() }
}

fn fault(text: &str) -> String {
    read_alerts(source(text)).unwrap_err().to_string()
}

#[test]
fn a_file_is_read_with_all_that_it_says() {
    let config = read_alerts(source(
        "\
rules:
  - name: slow-shop
    metric: p95_ms
    service: shop/*
    above: 250
    for: 2m
    severity: critical
    labels: {team: shop}
    summary: slow
  - {name: failing, metric: error_rate, above: 2.5%}
  - {name: empty-node, metric: node_replicas, node: 'edge-*', below: 1}
receivers:
  - name: chat
    type: slack
    url: https://hooks.example.com/T0/B0
    severities: [critical]
    rules: [no-room, 'service-*']
    send_resolved: false
  - name: ops
    type: webhook
    url: http://127.0.0.1:9000/in
    headers: {Authorization: Bearer abc}
digest: {limit: 3, window: 30s}
disable: [certificate-expiring]
",
    ))
    .unwrap();
    let [slow, failing, empty] = config.rules.as_slice() else { panic!() };
    assert_eq!(
        (slow.metric, slow.bound, slow.subject.as_str()),
        (Metric::P95Ms, Bound::Above(250.0), "shop/*")
    );
    assert_eq!((slow.hold, slow.severity), (Duration::from_mins(2), AlertSeverity::Critical));
    assert_eq!(slow.labels["team"], "shop");
    assert_eq!((failing.bound, failing.severity), (Bound::Above(0.025), AlertSeverity::Warning));
    assert_eq!((empty.bound, empty.subject.as_str()), (Bound::Below(1.0), "edge-*"));
    let [chat, ops] = config.receivers.as_slice() else { panic!() };
    assert_eq!((chat.kind, chat.send_resolved), (ReceiverKind::Slack, false));
    assert_eq!(chat.severities, [AlertSeverity::Critical]);
    assert_eq!((chat.rules.join(" ").as_str(), ops.rules.len()), ("no-room service-*", 0));
    assert_eq!(ops.headers["Authorization"].0, "Bearer abc");
    assert!(ops.send_resolved);
    assert_eq!(config.grouping, Grouping { limit: 3, window: Duration::from_secs(30) });
    assert_eq!(config.disabled, ["certificate-expiring"]);
}

#[test]
fn an_empty_file_takes_everything_back() {
    assert_eq!(read_alerts(source("")).unwrap(), AlertConfig::default());
}

#[test]
fn every_mistake_is_said_with_its_line_and_what_was_expected() {
    let said = fault(
        "rules:\n  - name: a\n    metric: p59_ms\n    above: fast\n    fro: 5m\nreceivers:\n  - {name: b, type: smoke}\n",
    );
    assert!(
        said.contains("alerts.yaml:3:13: there is no metric \"p59_ms\": there are replicas_wanted,"),
        "{said}"
    );
    assert!(
        said.contains("alerts.yaml:4:12: above must be a number such as 10 or 2.5, and this is \"fast\""),
        "{said}"
    );
    assert!(said.contains("alerts.yaml:5:5: rule a has no key fro; did you mean for?"), "{said}");
    assert!(said.contains("alerts.yaml:7:"), "{said}");
    assert!(said.contains("there is no type \"smoke\": use webhook, slack, alertmanager"), "{said}");
    assert!(said.contains("a receiver needs a url"), "{said}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let rule = |more: &str| fault(&format!("rules:\n  - {{name: a, metric: error_rate, {more}}}\n"));
    assert!(
        rule("above: 5")
            .contains("a share from 0 to 1 for error_rate, and this is \"5\"; for per cent write 5%")
    );
    assert!(rule("above: 1%, below: 1%").contains("either above or below"));
    assert!(rule("service: shop/web").contains("needs above or below"));
    assert!(rule("above: 1%, node: n1").contains("a metric of each service: the key node means nothing"));
    assert!(rule("above: 1%, service: web").contains("a full name such as shop/web"));
    assert!(rule("above: 1%, for: 2 fortnights").contains("a time such as 30s"));
    assert!(rule("above: 1%, severity: bad").contains("info, warning, critical"));
    assert!(rule("above: 1%, labels: {a-b: c}").contains("a label begins with a letter"));
    assert!(fault("rules: [{name: crash-loop, metric: crashes, above: 1}]").contains("a built-in rule"));
    assert!(fault("rules: [{name: 'a b', metric: crashes, above: 1}]").contains("1 to 63 letters"));
    let twice = "rules: [{name: a, metric: crashes, above: 1}, {name: a, metric: crashes, above: 2}]";
    assert!(fault(twice).contains("there is another a in rules"));
    assert!(fault("disable: [crash-lop]").contains("there is no built-in rule"));
    assert!(fault("digest: {limit: 0}").contains("from 1 to 100"));
    assert!(fault("rules: {name: a}").contains("rules must be a list"));
    assert!(fault("rules: [1, 2\nreceivers: []\n").contains("not YAML"));
}

#[test]
fn a_newcomer_is_told_what_to_write_instead() {
    let rule = |more: &str| fault(&format!("rules:\n  - {{name: a, {more}}}\n"));
    for (said, expected) in [
        (
            rule("metric: p95_ms, above: 250ms"),
            "such as 250, in milliseconds, and this is \"250ms\"; p95_ms is in milliseconds: write 250",
        ),
        (rule("metric: p95_ms, above: 2s"), "write 2000"),
        (rule("metric: crashes, above: 5%"), "crashes is no share: write a number without %"),
        (
            rule("metric: disk_used_percent, above: 0.9"),
            "in per cent, from 0 to 100, and this is \"0.9\"; if it is a share, write 90",
        ),
        (rule("metric: disk_used_percent, above: 101"), "at most 100"),
        (rule("metric: crashes, below: -1"), "crashes is never below 0"),
        (
            rule("metric: cpu_percent, above: 80"),
            "there is no metric \"cpu_percent\" yet; in_flight, waiting and p95_ms",
        ),
        (rule("metric: memory_bytes, above: 80"), "there is no metric \"memory_bytes\" yet; crashes counts"),
        (rule("metric: node_flaps, service: shop/web, above: 1"), "the key service means nothing; use node"),
        (rule("metric: crashes"), "rule a needs above or below, with a number"),
        (rule("above: 1"), "rule a needs a metric, such as error_rate; `gantry alerts rules --metrics`"),
        (
            rule("metric: crashes, above: 1, colour: red"),
            "rule a has no key colour; its keys are name, metric,",
        ),
        (
            rule("metric: crashes, above: 1, summary: 'too {much}'"),
            "in the place of {much}; there are {subject} and {value}",
        ),
        (
            fault("silences: []"),
            "the file of alerts has no key silences; its keys are rules, receivers, digest, disable",
        ),
        (fault("receivers: [{name: a, typ: slack}]"), "receiver a has no key typ; did you mean type?"),
        (
            fault("disable:\n  - crash-loop\n  - crash-lop\n"),
            "alerts.yaml:3:5: there is no built-in rule \"crash-lop\"",
        ),
        (
            fault("rules: [{name: own, metric: crashes, above: 1}]\ndisable: [own]"),
            "own is a rule of this file, and disable is for built-in rules; take it out of rules instead",
        ),
        (
            fault("receivers: [{name: a, type: slack, url: 'http://h', severities: [info, criticl]}]"),
            "did you mean critical?",
        ),
        (
            fault("receivers:\n  - {name: a, type: slack, url: 'http://h', rules: [no-rom]}\n"),
            "alerts.yaml:2:53: there is no rule \"no-rom\": there are ",
        ),
        (
            fault("receivers: [{name: a, type: slack, url: 'http://h', rules: [no-rom]}]"),
            "did you mean no-room?",
        ),
        (
            fault("receivers: [{name: a, type: slack, url: 'http://h', rules: ['shop-*']}]"),
            "no rule is called shop-*: there are ",
        ),
    ] {
        assert!(said.contains(expected), "{said}");
    }
    let fine = "rules: [{name: a, metric: disk_used_percent, above: 90%, summary: '{subject} {} { x }'}]";
    assert_eq!(read_alerts(source(fine)).unwrap().rules[0].bound, Bound::Above(90.0));
    let own = "rules: [{name: shop-slow, metric: p95_ms, above: 9}]
receivers: [{name: a, type: slack, url: 'http://h', rules: [shop-slow, 'shop-*', no-room]}]";
    assert_eq!(read_alerts(source(own)).unwrap().receivers[0].rules.len(), 3);
}

#[test]
fn a_message_about_a_receiver_does_not_say_its_secrets() {
    let said = fault(
        "receivers:\n  - {name: a, type: slack, url: 'https://ada:hunter2@h/x'}\n  - {name: b, type: slack, url: ftp://h/hunter2}\n  - {name: c, type: webhook, url: http://h, headers: {Authorization: \"hunter2\\n\"}}\n",
    );
    assert!(said.contains("no user name") && said.contains("begins with http://"), "{said}");
    assert!(said.contains("the value of the header Authorization"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn the_file_of_the_guide_is_read() {
    let guide = include_str!("../../../docs/guides/alerts.md");
    let (_, rest) = guide.split_once("```yaml\n").unwrap();
    let config = read_alerts(source(rest.split_once("```").unwrap().0)).unwrap();
    assert_eq!((config.rules.len(), config.receivers.len(), config.disabled.len()), (2, 4, 1));
    assert_eq!(config.receivers[3].rules, ["no-room"]);
    for rule in BUILT_IN {
        assert!(guide.contains(&format!("| `{}` |", rule.name)), "the guide does not name {}", rule.name);
    }
}
