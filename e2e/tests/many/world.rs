//! What scenarios look at: the cluster's word and the engines', compared.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use gantry_e2e::{Host, HostCluster, after, eventually, eventually_within, get};
use serde_json::Value;

/// The published port of the scenarios' stacks.
pub const PORT: u16 = 8000;
/// What converging may take on a machine with other things to do.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A stack of one service on the port, with so many replicas.
pub fn web(replicas: u32) -> String {
    format!(
        "services: {{web: {{image: gantry-e2e/probe, ports: ['{PORT}:8080'], stop_grace_period: 2s, \
         deploy: {{replicas: {replicas}}}}}}}"
    )
}

/// What the published port of a host answers with; `None` unless it is a page.
pub fn page(host: &Host, path: &str) -> Option<String> {
    let page = get(&host.url(PORT, path), None).ok()?;
    (page.status == 200).then_some(page.body)
}

/// Whether the published port answers on all these hosts.
pub fn serve(cluster: &HostCluster, hosts: &[u8]) -> bool {
    hosts.iter().all(|number| page(cluster.host(*number), "/").is_some())
}

/// The containers of a stack on every host that is on, with what would change if they were touched.
pub fn untouched(cluster: &HostCluster, stack: &str) -> BTreeSet<String> {
    let format = "{{.Name}} {{.Id}} {{.State.Status}} {{.State.StartedAt}} {{.RestartCount}}";
    let mut all = BTreeSet::new();
    for host in cluster.hosts().all().filter(|host| host.is_on()) {
        let names = of_stack(cluster, host.number(), stack);
        if !names.is_empty() {
            let args = ["inspect", "-f", format].into_iter().chain(names.iter().map(String::as_str));
            all.extend(host.docker(args).lines().map(|line| format!("{} {line}", host.name())));
        }
    }
    all
}

fn of_stack(cluster: &HostCluster, number: u8, stack: &str) -> Vec<String> {
    let start = format!("{stack}-");
    cluster.containers(number).into_iter().filter(|name| name.starts_with(&start)).collect()
}

/// Whether a stack has so many replicas, all of which run, each with its container on its host, and no
/// host has any other container of it: nothing is missing, twice or left over.
pub fn settled(cluster: &HostCluster, stack: &str, count: usize) -> bool {
    let Some(Value::Array(known)) = cluster.json_may_fail(["ps", stack]) else { return false };
    let up = |replica: &Value| replica["state"] == "running" || replica["state"] == "healthy";
    let told: BTreeSet<_> = known
        .iter()
        .filter(|replica| up(replica))
        .filter_map(|it| Some((it["node"].as_str()?.to_owned(), it["container"].as_str()?.to_owned())))
        .collect();
    let mut there = BTreeSet::new();
    for host in cluster.hosts().all().filter(|host| host.is_on()) {
        there.extend(of_stack(cluster, host.number(), stack).into_iter().map(|name| (host.name(), name)));
    }
    known.len() == count && told.len() == count && told == there
}

/// Waits until a stack is [`settled`].
#[track_caller]
pub fn settles(cluster: &HostCluster, stack: &str, count: usize) {
    eventually_within(PATIENCE, &format!("{stack} has {count} replicas, and nothing else"), || {
        settled(cluster, stack, count).then_some(())
    });
}

/// Deploys a stack and waits until it stands.
#[track_caller]
pub fn deploy(cluster: &HostCluster, stack: &str, text: &str) -> String {
    let file = cluster.file(stack, text);
    cluster.ok(["up", "-p", stack, "-f", &file]);
    file
}

/// Does something while the scheduler is killed and started again.
pub fn while_the_scheduler_is_killed<T: Send>(cluster: &HostCluster, act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let acting = scope.spawn(act);
        after(Duration::from_millis(300));
        cluster.kill(1, "scheduler");
        acting.join().unwrap()
    })
}

/// The host of a running replica of a service, which is not the scheduler's.
#[track_caller]
pub fn host_of<'a>(cluster: &'a HostCluster, service: &str) -> &'a Host {
    let places = cluster.places(service);
    let found = cluster.hosts().all().find(|host| host.number() > 1 && places.contains(&host.name()));
    found.unwrap_or_else(|| panic!("{service} is on {places:?}"))
}

/// Ends faults, removes stacks, and looks whether anything is left of them.
pub fn tidy(cluster: &HostCluster) {
    cluster.hosts().mend();
    eventually("the scheduler answers", || cluster.json_may_fail(["ls"]));
    for stack in cluster.ok(["ls", "-q"]).lines() {
        cluster.ok(["down", stack]);
    }
    eventually_within(PATIENCE, "nothing of any stack is left", || {
        let mut hosts = cluster.hosts().all().filter(|host| host.is_on());
        hosts.all(|host| cluster.containers(host.number()).is_empty()).then_some(())
    });
}
