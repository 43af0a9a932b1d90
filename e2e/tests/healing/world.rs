//! What these tests look at: replicas as people see them, and what the proxy has in its table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gantry_e2e::{Cluster, comes_true, get, post};
use serde_json::Value;

/// The published port of the tests' stacks.
pub const PORT: u16 = 18_200;
/// Where the proxy says what it has in its table.
const ENDPOINTS: &str = "http://127.0.0.1:7673/endpoints";
/// What a repair with its pauses may take on a machine with other things to do.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A check of a path, as `x-gantry.health` has it.
pub fn health(path: &str) -> String {
    format!("{{http: {path}, port: 8080, interval: 500ms, timeout: 300ms, retries: 3}}")
}

/// Writes a file of the test's beside a folder `state` that the stack's services may mount, and answers with
/// both.
pub fn file_with_state(cluster: &Cluster, stack: &str, text: &str) -> (String, PathBuf) {
    let file = cluster.file(stack, text);
    let state = Path::new(&file).with_file_name("state");
    std::fs::create_dir_all(&state).unwrap();
    (file, state)
}

/// Says that something is ill, or that it is no longer: `all`, or the host name of a container.
pub fn ill(state: &Path, name: &str, ill: bool) {
    let path = state.join(name);
    if ill {
        std::fs::write(path, "").unwrap();
    } else {
        std::fs::remove_file(path).unwrap();
    }
}

/// A field of a replica, as `gantry ps` shows it.
pub fn text<'a>(replica: &'a Value, field: &str) -> &'a str {
    replica[field].as_str().unwrap_or_default()
}

/// The address of a replica on its stack's network.
pub fn address(replica: &Value) -> &str {
    replica["addresses"]["default"].as_str().unwrap_or_else(|| panic!("{replica}"))
}

/// The host name that a container has.
pub fn host_name(cluster: &Cluster, replica: &Value) -> String {
    cluster.docker(["inspect", "-f", "{{.Config.Hostname}}", text(replica, "container")])
}

/// Has a replica say from now on, until it is restarted, that it is well or not.
pub fn say_health(replica: &Value, code: u16) {
    let url = format!("http://{}:8080/health?status={code}", address(replica));
    let page = post(&url, &[], None).unwrap_or_else(|error| panic!("{url}: {error}"));
    assert_eq!(page.status, 200, "{url}: {page:?}");
}

/// The replicas of a service; an error while the scheduler is away.
pub fn replicas_of(cluster: &Cluster, service: &str) -> Result<Vec<Value>, String> {
    let all = cluster.json_may_fail(["ps", service.split('/').next().unwrap_or(service)]);
    let Some(Value::Array(mut all)) = all else { return Err("gantry ps has failed".to_owned()) };
    all.retain(|replica| replica["service"] == service);
    all.sort_by_key(|replica| replica["slot"].as_u64());
    Ok(all)
}

/// A line about each replica, for messages.
pub fn shown(replicas: &[Value]) -> String {
    let line = |it: &Value| {
        let ready = if it["ready"] == true { "ready" } else { "not ready" };
        format!(
            "{}.{} {} {ready} ({})",
            text(it, "service"),
            it["slot"],
            text(it, "state"),
            text(it, "message")
        )
    };
    replicas.iter().map(line).collect::<Vec<_>>().join("; ")
}

/// Waits until a service has exactly so many replicas, all of which are ready, and answers with them.
#[track_caller]
pub fn all_ready(cluster: &Cluster, service: &str, count: usize) -> Vec<Value> {
    comes_true(PATIENCE, &format!("all {count} replicas of {service} are ready"), || {
        let found = replicas_of(cluster, service)?;
        let ready = found.len() == count && found.iter().all(|replica| replica["ready"] == true);
        if ready { Ok(found) } else { Err(shown(&found)) }
    })
}

/// The addresses that the proxy sends new requests for a service to.
pub fn in_routes(service: &str) -> BTreeSet<String> {
    let page = comes_true(PATIENCE, "the proxy shows its endpoints", || get(ENDPOINTS, None));
    let all: Value = serde_json::from_str(&page.body).unwrap_or_else(|error| panic!("{error}: {page:?}"));
    let serves = |it: &&Value| it["service"] == service && it["leaving"] == false;
    let address = |it: &Value| text(it, "address").split(':').next().unwrap_or_default().to_owned();
    all.as_array().into_iter().flatten().filter(serves).map(address).collect()
}

/// The events of a subject, newest last, as REASON: MESSAGE.
pub fn events(cluster: &Cluster, subject: &str) -> Vec<(String, String)> {
    let all = cluster.json_may_fail(["events", subject, "--limit", "1000"]);
    let all = all.as_ref().and_then(Value::as_array).into_iter().flatten();
    all.map(|event| (text(event, "reason").to_owned(), text(event, "message").to_owned())).collect()
}

/// Waits for an event about a subject, and answers with it.
#[track_caller]
pub fn event(cluster: &Cluster, subject: &str, what: &str, wanted: impl Fn(&str, &str) -> bool) -> String {
    comes_true(PATIENCE, &format!("an event of {subject} says {what}"), || {
        let all = events(cluster, subject);
        let found = all.iter().find(|(reason, message)| wanted(reason, message));
        found.map(|(reason, message)| format!("{reason}: {message}")).ok_or_else(|| format!("{all:#?}"))
    })
}
