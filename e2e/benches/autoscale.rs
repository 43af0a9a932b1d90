//! From a step of load to the first answer of a new replica, with the autoscaler's defaults; and what it costs to
//! watch a hundred replicas, second by second, on a real engine: all that agent and scheduler do meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A bench that cannot be set up has failed.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use gantry_e2e::{Cluster, Figure, Load, after, comes_true, get, median, report};
use serde_json::Value;

const ROUNDS: usize = 5;
const PORT: u16 = 18_230;
const PATIENCE: Duration = Duration::from_mins(3);
const REPLICAS: u32 = 100;
/// How long agent and scheduler are watched.
const WATCHED: Duration = Duration::from_mins(1);
/// The kernel counts processor time in such ticks, which are a hundredth of a second on every Linux.
const TICKS: f64 = 100.0;

fn main() {
    let cluster = Cluster::start();
    let rounds = |target: &str, path: &str| (0..ROUNDS).map(|_| step(&cluster, target, path)).collect();
    let (requests, processor): (Vec<f64>, Vec<f64>) =
        (rounds("rps: 20", "/"), rounds("cpu: 70%", "/burn?ms=10"));
    let [agent, scheduler] = watching(&cluster);
    let each = 1e4 / f64::from(REPLICAS);
    let figure = |metric, value, unit, budget| Figure { metric, value, unit, peer: None, budget };
    report(
        "autoscale",
        &[
            figure("step of rps → a new replica serves", median(requests), "s", Some(6.0)),
            figure("step of cpu → a new replica serves", median(processor), "s", Some(6.0)),
            figure("agent: 100 replicas watched", agent, "%core", Some(3.0)),
            figure("scheduler: 100 replicas watched", scheduler, "%core", None),
            figure("agent: one replica, each second", agent * each, "µs", None),
            figure("scheduler: one replica, each second", scheduler * each, "µs", None),
        ],
    );
}

fn shop(autoscale: &str) -> String {
    format!(
        "
services:
  web:
    image: gantry-e2e/probe
    ports: ['{PORT}:8080']
    stop_grace_period: 1s
    deploy: {{resources: {{limits: {{cpus: '0.2'}}}}}}
    x-gantry: {{autoscale: {{{autoscale}}}}}
"
    )
}

/// Seconds from the first request of a load that is too much for one replica until another one answers.
fn step(cluster: &Cluster, target: &str, path: &str) -> f64 {
    let file = cluster.file("shop", &shop(&format!("min: 1, max: 8, {target}")));
    cluster.ok(["up", "-p", "shop", "-f", &file]);
    // A replica that has just started is busy with itself.
    comes_true(PATIENCE, "it is known what it has to do", || {
        let line = line(cluster)?;
        if line["signals"][0]["value"].is_number() { Ok(()) } else { Err(line.to_string()) }
    });
    let known = answering();
    let load = Load {
        connections: 8,
        pause: Duration::from_millis(50),
        sometimes: Some((1, path.to_owned())),
        mixed: false,
        ..Load::on(PORT)
    };
    let began = Instant::now();
    let load = load.start();
    comes_true(PATIENCE, "a new replica answers", || {
        let now = answering();
        if now == known { Err(line(cluster).map_or_else(|error| error, |it| it.to_string())) } else { Ok(()) }
    });
    let took = began.elapsed().as_secs_f64();
    let report = load.stop();
    assert_eq!(report.sent, report.ok, "{:#?}", report.failed);
    cluster.ok(["down", "shop"]);
    took
}

/// Who answers now.
fn answering() -> BTreeSet<String> {
    let ask = || get(&format!("http://127.0.0.1:{PORT}/"), None).map(|page| page.body);
    (0..4).map(|_| comes_true(PATIENCE, "the service answers", ask)).collect()
}

/// What is said of the service.
fn line(cluster: &Cluster) -> Result<Value, String> {
    let all = cluster.json_may_fail(["autoscale", "ls", "shop"]).ok_or("gantry autoscale ls has failed")?;
    all.get(0).cloned().ok_or_else(|| all.to_string())
}

/// What agent and scheduler use of a core, in per cent, while they watch a service of a hundred replicas.
fn watching(cluster: &Cluster) -> [f64; 2] {
    let file = cluster.file("shop", &shop(&format!("min: {REPLICAS}, max: {REPLICAS}, cpu: 70%")));
    cluster.ok(["up", "-p", "shop", "-f", &file]);
    comes_true(PATIENCE, "all are ready and measured", || {
        let line = line(cluster)?;
        let all = line["ready"] == REPLICAS && line["signals"][0]["value"].is_number();
        if all { Ok(()) } else { Err(line.to_string()) }
    });
    let parts = ["agent", "scheduler"].map(|part| cluster.process(&cluster.container(part)));
    let (before, began) = (parts.map(processor_time), Instant::now());
    after(WATCHED);
    let (now, passed) = (parts.map(processor_time), began.elapsed().as_secs_f64());
    cluster.ok(["down", "shop"]);
    [0, 1].map(|part| (now[part] - before[part]) * 100.0 / passed)
}

/// Seconds that all threads of a process have used so far.
fn processor_time(process: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // Of the name, in brackets, everything may be part.
    let (_, fields) = text.rsplit_once(") ").unwrap();
    let ticks = |at: usize| fields.split(' ').nth(at).unwrap().parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / TICKS
}
