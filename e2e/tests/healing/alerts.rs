//! People are told: once that something began and once that it is over.

use std::time::Duration;

use gantry_e2e::{Cluster, Hook, comes_true, throughout};
use serde_json::Value;

use crate::world::{PATIENCE, all_ready, health, say_health, text};

/// The hook's paths, one for each kind of receiver.
const WEBHOOK: &str = "/webhook";
const SLACK: &str = "/slack";
/// What an Alertmanager serves.
const ALERTMANAGER: &str = "/api/v2/alerts";
/// The rule of the user's that these tests have.
const RULE: &str = "web-is-away";

/// Has a cluster tell a hook of its alerts, as three kinds of receivers.
pub fn tell(cluster: &Cluster, hook: &Hook) {
    let path = cluster.folder().join("alerts.yaml");
    let text = format!(
        "
rules:
  - name: {RULE}
    metric: replicas_ready
    service: shop/web
    below: 1
    for: 1s
    severity: critical
    labels: {{team: shop}}
    summary: nobody serves
receivers:
  - {{name: ops, type: webhook, url: '{}', headers: {{x-key: a-password}}}}
  - {{name: chat, type: slack, url: '{}'}}
  - {{name: manager, type: alertmanager, url: '{}'}}
",
        hook.url(WEBHOOK),
        hook.url(SLACK),
        hook.url(""),
    );
    std::fs::write(&path, text).unwrap();
    cluster.ok(["alerts", "apply", "--file", &path.to_string_lossy()]);
}

/// What a webhook was told of a rule and a subject, in order: `firing` or `resolved`.
pub fn told(hook: &Hook, rule: &str, subject: &str) -> Vec<String> {
    let notices = hook.taken(WEBHOOK);
    // A notice is about one alert, or about many.
    let alerts = notices.iter().flat_map(|notice| match &notice["alerts"] {
        Value::Array(alerts) => alerts.clone(),
        _ => vec![notice.clone()],
    });
    let about = |alert: &Value| text(alert, "rule") == rule && text(alert, "subject") == subject;
    alerts.filter(about).map(|alert| text(&alert, "status").to_owned()).collect()
}

/// Waits until a webhook was told that an alert is over, and looks that it was told no more than that.
#[track_caller]
pub fn has_ended(cluster: &Cluster, hook: &Hook, rule: &str, subject: &str) {
    comes_true(PATIENCE, &format!("{rule} of {subject} is over, and that is told"), || {
        let seen = || format!("{:#?}\n{}", hook.notices(), cluster.run(["alerts", "history"]));
        if told(hook, rule, subject).last().is_some_and(|last| last == "resolved") {
            Ok(())
        } else {
            Err(seen())
        }
    });
    assert_eq!(told(hook, rule, subject), ["firing", "resolved"], "{:#?}", hook.notices());
}

/// The lines of `gantry alerts ls` or `history` about a rule.
fn listed(cluster: &Cluster, list: &str, rule: &str) -> Vec<Value> {
    let all = cluster.json(["alerts", list]);
    let all = all.as_array().unwrap_or_else(|| panic!("{all}"));
    all.iter().filter(|alert| text(alert, "rule") == rule).cloned().collect()
}

/// One replica that says of itself what the test wants, and that nobody repairs.
fn deploy(cluster: &Cluster) -> Value {
    let file = cluster.file(
        "shop",
        &format!(
            "services: {{web: {{image: gantry-e2e/probe, \
             x-gantry: {{health: {}, heal: {{off: true}}}}}}}}",
            health("/health")
        ),
    );
    cluster.ok(["up", "-p", "shop", "-f", &file]);
    all_ready(cluster, "shop/web", 1).remove(0)
}

#[test]
fn receivers_are_told_once_that_it_began_and_once_that_it_is_over_whoever_is_killed_or_busy() {
    let cluster = Cluster::start();
    let hook = Hook::start();
    tell(&cluster, &hook);
    let web = deploy(&cluster);
    assert_eq!(listed(&cluster, "ls", RULE), Vec::<Value>::new());

    // The receiver is busy at first: it is tried again.
    hook.refuse(3);
    say_health(&web, 503);
    comes_true(PATIENCE, "each receiver is told", || {
        let each = [WEBHOOK, SLACK, ALERTMANAGER].map(|path| hook.taken(path).len());
        let seen = || format!("{:#?}\n{}", hook.notices(), cluster.run(["alerts", "ls"]));
        if each.iter().all(|count| *count >= 1) { Ok(()) } else { Err(seen()) }
    });
    assert_eq!(hook.notices().iter().filter(|notice| notice.refused).count(), 3);
    assert_eq!(told(&hook, RULE, "shop/web"), ["firing"], "{:#?}", hook.notices());
    let key = |notice: &gantry_e2e::Notice| notice.headers.to_lowercase().contains("x-key: a-password");
    let notices = hook.notices();
    assert!(notices.iter().filter(|notice| notice.path == WEBHOOK).all(key), "{notices:#?}");
    assert!(
        notices.iter().filter(|notice| notice.path != WEBHOOK).all(|notice| !key(notice)),
        "{notices:#?}"
    );
    let slack = hook.taken(SLACK).remove(0);
    assert!(slack.to_string().contains("nobody serves") && slack["text"].is_string(), "{slack}");
    let manager = hook.taken(ALERTMANAGER).remove(0);
    assert_eq!(manager[0]["labels"]["team"], "shop", "{manager}");
    assert!(manager[0]["labels"]["alertname"].is_string() && manager[0]["startsAt"].is_string(), "{manager}");
    let active = listed(&cluster, "ls", RULE);
    assert!(active.len() == 1 && text(&active[0], "subject") == "shop/web", "{active:#?}");
    let said = cluster.ok(["alerts", "ls"]);
    assert!(said.contains("nobody serves") && !said.contains("a-password"), "{said}");

    // Whoever starts anew knows what was told.
    for part in ["watchdog", "scheduler"] {
        cluster.kill(part);
    }
    throughout(Duration::from_secs(15), "nobody is told again", || {
        let told = told(&hook, RULE, "shop/web");
        if told == ["firing"] { Ok(()) } else { Err(format!("{told:?}: {:#?}", hook.notices())) }
    });
    all_known(&cluster);
    say_health(&web, 200);
    has_ended(&cluster, &hook, RULE, "shop/web");
    assert_eq!(listed(&cluster, "ls", RULE), Vec::<Value>::new());
    let past = listed(&cluster, "history", RULE);
    assert_eq!(past.len(), 1, "{past:#?}");
}

/// Waits until the scheduler answers after it was killed.
fn all_known(cluster: &Cluster) {
    comes_true(PATIENCE, "the alert is still active", || {
        let all = cluster.json_may_fail(["alerts", "ls"]);
        let known = all.as_ref().and_then(Value::as_array).into_iter().flatten();
        if known.clone().any(|it| text(it, "rule") == RULE) { Ok(()) } else { Err(format!("{all:?}")) }
    });
}

#[test]
fn what_is_silenced_is_listed_and_not_sent_until_the_silence_ends() {
    let cluster = Cluster::start();
    let hook = Hook::start();
    tell(&cluster, &hook);
    let web = deploy(&cluster);
    let args = ["alerts", "silence", "shop/*", "--rule", RULE, "--for", "1h", "--comment", "at work"];
    let said = cluster.ok(args);
    let silence = said.split(' ').next().unwrap();
    assert_eq!(cluster.ok(["alerts", "silences", "--quiet"]).trim(), silence, "{said}");
    say_health(&web, 503);
    let active = comes_true(PATIENCE, "it is listed", || {
        listed(&cluster, "ls", RULE).pop().ok_or_else(|| cluster.run(["alerts", "ls"]).to_string())
    });
    assert_eq!(text(&active, "silenced_by"), silence, "{active}");
    throughout(Duration::from_secs(10), "nobody is told", || {
        let told = told(&hook, RULE, "shop/web");
        if told.is_empty() { Ok(()) } else { Err(format!("{:#?}", hook.notices())) }
    });
    cluster.ok(["alerts", "unsilence", silence]);
    comes_true(PATIENCE, "it is told when the silence ends", || {
        let told = told(&hook, RULE, "shop/web");
        if told == ["firing"] { Ok(()) } else { Err(format!("{:#?}", hook.notices())) }
    });
}

#[test]
fn a_test_notice_says_whether_it_arrived() {
    let cluster = Cluster::start();
    let hook = Hook::start();
    tell(&cluster, &hook);
    let said = cluster.ok(["alerts", "test"]);
    assert!(["ops", "chat", "manager"].iter().all(|name| said.contains(name)), "{said}");
    for path in [WEBHOOK, SLACK, ALERTMANAGER] {
        assert_eq!(hook.taken(path).len(), 1, "{path}: {:#?}", hook.notices());
    }
    hook.refuse(usize::MAX);
    let run = cluster.run(["alerts", "test", "ops"]);
    assert!(run.code == Some(1) && format!("{run}").contains("503"), "{run}");
}
