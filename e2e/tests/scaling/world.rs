//! What these tests look at: counts as people see them, and every change with its reason.

use std::time::{Duration, Instant};

use gantry_e2e::{Cluster, Load, comes_true, throughout};
use serde_json::Value;

/// The published port of the tests' stacks.
pub const PORT: u16 = 18_210;
/// What a count may take to get where it belongs, on a machine with other things to do.
pub const PATIENCE: Duration = Duration::from_mins(3);
/// How long less must have been enough before replicas are taken away; `scale_down_after` of these tests.
pub const WINDOW: Duration = Duration::from_secs(10);
/// A load that stays leaves the count alone for at least this long: several windows.
pub const CALM: Duration = Duration::from_secs(20);

/// Looks in a row that may fail: more is no accident.
const FAILING: u32 = 5;

/// A service with a tenth of a core for each replica, half of which is to be used.
pub fn busy_web() -> String {
    format!(
        "
services:
  web:
    image: gantry-e2e/probe
    ports: ['{PORT}:8080']
    stop_grace_period: 1s
    deploy: {{resources: {{limits: {{cpus: '0.1'}}}}}}
    x-gantry: {{autoscale: {{min: 1, max: 8, cpu: 50%, scale_down_after: {}s}}}}
",
        WINDOW.as_secs()
    )
}

/// Says what `gantry` says of a service that is scaled.
pub fn scaled(cluster: &Cluster, service: &str) -> Result<Value, String> {
    let stack = service.split('/').next().unwrap_or(service);
    let Some(Value::Array(all)) = cluster.json_may_fail(["autoscale", "ls", stack]) else {
        return Err("gantry autoscale ls has failed".to_owned());
    };
    all.into_iter().find(|it| it["name"] == service).ok_or_else(|| format!("{service} is not scaled"))
}

/// The count of a service, and whether all of them are ready.
fn count(line: &Value) -> (u64, bool) {
    let count = line["replicas"].as_u64().unwrap_or_else(|| panic!("{line}"));
    (count, line["ready"] == count)
}

/// Waits until a service has a count that is wanted, all of it ready, and answers with what is said of it then.
#[track_caller]
pub fn has(cluster: &Cluster, service: &str, what: &str, wanted: impl Fn(u64) -> bool) -> Value {
    comes_true(PATIENCE, &format!("{service} has {what}"), || {
        let line = scaled(cluster, service)?;
        let (count, ready) = count(&line);
        if ready && wanted(count) { Ok(line) } else { Err(line.to_string()) }
    })
}

/// Waits until the count of a service has not changed for [`CALM`], and answers with it. On a machine that others take
/// the processor from, a load comes to its full height late. Whether it went there straight, its [`steps`] tell.
#[track_caller]
pub fn settled(cluster: &Cluster, service: &str) -> u64 {
    let mut known: Option<(u64, Instant)> = None;
    comes_true(PATIENCE, &format!("{service} has settled"), || {
        let line = scaled(cluster, service)?;
        let (count, ready) = count(&line);
        let since = match known {
            Some((same, since)) if same == count && ready => since,
            _ => Instant::now(),
        };
        known = Some((count, since));
        if since.elapsed() >= CALM { Ok(count) } else { Err(line.to_string()) }
    })
}

/// Looks that a service keeps this count for so long.
#[track_caller]
pub fn stays(cluster: &Cluster, service: &str, wanted: u64, time: Duration) {
    let (mut looks, mut failed, mut in_a_row) = (0_u32, 0_u32, 0_u32);
    throughout(time, &format!("{service} has {wanted} replicas"), || {
        looks += 1;
        // Asking may fail now and then, which is not what is looked at here. Where it fails all the time, nothing
        // was looked at.
        let line = match scaled(cluster, service) {
            Ok(line) => line,
            Err(why) => {
                (failed, in_a_row) = (failed + 1, in_a_row + 1);
                return if in_a_row > FAILING { Err(why) } else { Ok(()) };
            }
        };
        in_a_row = 0;
        if line["replicas"] == wanted { Ok(()) } else { Err(line.to_string()) }
    });
    assert!(failed * 2 < looks, "{failed} of {looks} looks at {service} have failed");
}

/// A change of a count, as its event says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it was.
    pub from: u64,
    /// What it became.
    pub to: u64,
    /// Why.
    pub why: String,
}

impl Step {
    fn read(message: &str) -> Self {
        let read = || {
            let (counts, why) = message.split_once(": ")?;
            let (from, to) = counts.split_once(" → ")?;
            Some(Self { from: from.parse().ok()?, to: to.parse().ok()?, why: why.to_owned() })
        };
        read().unwrap_or_else(|| panic!("what is this change: {message:?}"))
    }
}

/// Every change of a service's count by its load so far, oldest first. Each must have begun where the one before has
/// ended, and none may have led out of the bounds.
#[track_caller]
pub fn steps(cluster: &Cluster, service: &str, min: u64, max: u64) -> Vec<Step> {
    let all = events(cluster, service);
    let scaled = all.iter().filter(|(reason, _)| reason == "Autoscaled");
    let steps: Vec<Step> = scaled.map(|(_, message)| Step::read(message)).collect();
    for step in &steps {
        assert!((min..=max).contains(&step.to), "outside of {min}..{max}: {steps:#?}");
        assert!(!step.why.is_empty() && step.from != step.to, "{steps:#?}");
    }
    assert!(steps.windows(2).all(|two| two[0].to == two[1].from), "something is missing: {steps:#?}");
    steps
}

/// The reasons and messages of a service's events, oldest first.
pub fn events(cluster: &Cluster, service: &str) -> Vec<(String, String)> {
    let all = cluster.json(["events", service, "--limit", "1000"]);
    let all = all.as_array().unwrap_or_else(|| panic!("{all}"));
    let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
    all.iter().map(|event| (text(event, "reason"), text(event, "message"))).collect()
}

/// Waits until an alert of a rule about a service is active, or is not.
#[track_caller]
pub fn alert(cluster: &Cluster, rule: &str, service: &str, active: bool) {
    let what = if active { "is active" } else { "is over" };
    comes_true(PATIENCE, &format!("{rule} of {service} {what}"), || {
        let Some(Value::Array(all)) = cluster.json_may_fail(["alerts", "ls"]) else {
            return Err("gantry alerts ls has failed".to_owned());
        };
        let is_there = all.iter().any(|alert| alert["rule"] == rule && alert["subject"] == service);
        if is_there == active { Ok(()) } else { Err(format!("{all:#?}")) }
    });
}

/// The replicas of a service, by slot.
pub fn replicas(cluster: &Cluster, service: &str) -> Vec<Value> {
    let mut all = cluster.replicas(service.split('/').next().unwrap_or(service));
    all.retain(|replica| replica["service"] == service);
    all.sort_by_key(|replica| replica["slot"].as_u64());
    all
}

/// A URL at a replica itself, past every proxy.
pub fn url(replica: &Value, path: &str) -> String {
    let address = replica["addresses"]["default"].as_str().unwrap_or_else(|| panic!("{replica}"));
    format!("http://{address}:8080{path}")
}

/// Requests for one path over so many connections, one of each in each `pause`, unless answers take longer: so many by
/// the pause, however fast the machine is.
pub fn load(path: &str, connections: u32, pause: Duration) -> Load {
    let sometimes = Some((1, path.to_owned()));
    Load { connections, pause, sometimes, mixed: false, ..Load::on(PORT) }
}

/// Forty requests a second that cost nothing. So many as long as each is answered within a second, which a machine that
/// others take the processor from does, too.
pub fn forty_a_second() -> Load {
    load("/", 40, Duration::from_secs(1))
}

/// Seven fortieths of a core, of which one replica of [`busy_web`] may have four and should use two.
pub fn heavy() -> Load {
    load("/burn?ms=5", 14, Duration::from_millis(400))
}
