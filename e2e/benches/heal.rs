//! A process is killed, and a process hangs: from the fault until it is ready again, beside Docker Swarm on
//! the same engine with an equal check, in turns. Each fault is done to the process from outside, so that
//! nobody is told; ready is what those say who send traffic: the scheduler, and the manager.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A bench that cannot be set up has failed.

#[path = "hosts/swarm.rs"]
#[allow(dead_code)] // The other benches need the rest.
mod swarm;

use std::time::{Duration, Instant};

use gantry_e2e::{Figure, Host, HostCluster, Run, comes_true, median, report};

const ROUNDS: usize = 5;
const PATIENCE: Duration = Duration::from_mins(2);
/// The check's path; both ask every 500 ms, wait for 300 ms and allow three failures, and both end what
/// does not end itself after a second.
const CHECK: &str = "/health";
const IMAGE: &str = "gantry-e2e/checked";
const THEIRS: &str = "com.docker.swarm.service.name=web";

fn main() {
    let cluster = HostCluster::start(1);
    let host = cluster.host(1);
    swarm::start(cluster.hosts());
    checked(host);
    let file = cluster.file(
        "bench",
        &format!(
            "services: {{web: {{image: gantry-e2e/probe, stop_grace_period: 1s, x-gantry: {{health: \
             {{http: {CHECK}, port: 8080, interval: 500ms, timeout: 300ms, retries: 3}}}}}}}}"
        ),
    );
    let [mut ours, mut theirs] = [const { Vec::new() }; 2];
    for _ in 0..ROUNDS {
        // New each time: neither engine nor scheduler has a pause left from the fault before.
        ours.push(["KILL", "STOP"].map(|signal| {
            cluster.ok(["up", "-p", "bench", "-f", &file]);
            let took = until_ready(host, signal, || own(&cluster));
            cluster.ok(["down", "bench"]);
            took
        }));
        theirs.push(["KILL", "STOP"].map(|signal| {
            create(host);
            let took = until_ready(host, signal, || peer(host));
            host.docker(["service", "rm", "web"]);
            gone(host);
            took
        }));
    }
    let of = |all: &[[f64; 2]], fault: usize| median(all.iter().map(|round| round[fault]).collect());
    let figure = |metric, fault, peer: bool, budget| Figure {
        metric,
        value: of(&ours, fault),
        unit: "s",
        peer: peer.then(|| ("Docker Swarm", of(&theirs, fault))),
        budget: Some(budget),
    };
    report(
        "heal",
        &[
            figure("SIGKILL → running and ready again", 0, true, 0.5),
            figure("SIGKILL → running and ready again", 0, false, 0.7),
            figure("hang → ready again", 1, true, 0.5),
        ],
    );
}

/// The one that is ready: its container and when its process was started.
type Ready = (String, String);

/// Seconds from a signal to the process of the one that is ready until one is ready that was started later.
fn until_ready(host: &Host, signal: &str, ready: impl Fn() -> Result<Ready, String>) -> f64 {
    let (container, started) = comes_true(PATIENCE, "it is ready at first", &ready);
    let process = host.docker(["inspect", "-f", "{{.State.Pid}}", &container]);
    let began = Instant::now();
    // The number is the host's own.
    Run::of(host.command("kill").args(["-s", signal, &process])).ok();
    comes_true(PATIENCE, &format!("it is ready again after SIG{signal}"), || match ready()? {
        (_, again) if again == started => Err(format!("ready, and not started again since {again}")),
        _ => Ok(()),
    });
    began.elapsed().as_secs_f64()
}

/// What the scheduler calls ready.
fn own(cluster: &HostCluster) -> Result<Ready, String> {
    let all = cluster.json_may_fail(["ps", "bench"]).ok_or("gantry ps has failed")?;
    let found = all.as_array().into_iter().flatten().find(|replica| replica["ready"] == true);
    let container = found.and_then(|replica| replica["container"].as_str()).ok_or_else(|| all.to_string())?;
    started(cluster.host(1), container)
}

/// What the manager calls running, with a check that passes.
fn peer(host: &Host) -> Result<Ready, String> {
    let filters = ["--filter", &format!("label={THEIRS}"), "--filter", "health=healthy"];
    let said = host.docker([&["ps", "--no-trunc", "--format", "{{.ID}}"], &filters[..]].concat());
    let Some(container) = said.lines().next() else {
        return Err(host.docker(["service", "ps", "--no-trunc", "web"]));
    };
    let tasks =
        host.docker(["service", "ps", "-q", "--no-trunc", "--filter", "desired-state=running", "web"]);
    let format = "{{.Status.State}} {{.Status.ContainerStatus.ContainerID}}";
    let states =
        host.docker(["inspect", "--type", "task", "-f", format, tasks.lines().next().unwrap_or_default()]);
    if states != format!("running {container}") {
        return Err(states);
    }
    started(host, container)
}

fn started(host: &Host, container: &str) -> Result<Ready, String> {
    let run = host.docker_may_fail(["inspect", "-f", "{{.State.Running}} {{.State.StartedAt}}", container]);
    match run.stdout.trim().split_once(' ') {
        Some(("true", started)) => Ok((container.to_owned(), started.to_owned())),
        _ => Err(run.to_string()),
    }
}

/// The tests' image with the check in it: `--health-cmd` needs a shell.
fn checked(host: &Host) {
    let folder = host.folder().join("checked");
    std::fs::create_dir_all(&folder).unwrap();
    let check = format!(r#"CMD ["/probe", "check", "http://127.0.0.1:8080{CHECK}"]"#);
    let text = format!("FROM gantry-e2e/probe\nHEALTHCHECK {check}\n");
    std::fs::write(folder.join("Dockerfile"), text).unwrap();
    host.docker(["build", "--quiet", "--tag", IMAGE, &folder.to_string_lossy()]);
}

fn create(host: &Host) {
    // It has no IPVS here; and without a registry to ask it need not wait for one.
    host.docker([
        "service",
        "create",
        "-d",
        "--name",
        "web",
        "--endpoint-mode",
        "dnsrr",
        "--no-resolve-image",
        "--health-interval",
        "500ms",
        "--health-timeout",
        "300ms",
        "--health-retries",
        "3",
        "--stop-grace-period",
        "1s",
        IMAGE,
    ]);
}

fn gone(host: &Host) {
    comes_true(PATIENCE, "nothing of the swarm's service is left", || {
        let left = host.docker(["ps", "-aq", "--filter", &format!("label={THEIRS}")]);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}
