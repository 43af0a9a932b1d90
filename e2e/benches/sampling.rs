//! What it costs to measure replicas every second: the agent's part on real control groups of the kernel, each
//! read as that of a container would be, and the scheduler's part on the message that comes of it. The control
//! groups are made here and have no processes: what is read of them is as long, and costs as much.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A bench that cannot be set up has failed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gantry_agent::sampling::{Sampler, Target, Tree};
use gantry_agent::session::usage_report;
use gantry_api::node::v1::UsageReport;
use gantry_e2e::{Figure, after, report};
use gantry_model::{NodeId, ReplicaId, Timestamp};
use gantry_scheduler::decide::decide;
use gantry_scheduler::usage::Usage;
use gantry_testkit::World;
use prost::Message as _;

const MOUNT: &str = "/sys/fs/cgroup";
const REPLICAS: u32 = 100;
const SECONDS: u32 = 20;
/// How often the scheduler takes a message in: once takes too little time to be measured.
const MESSAGES: u32 = 1_000;

fn main() {
    let world = world();
    let replicas: Vec<ReplicaId> = world.replicas("shop/web").into_iter().map(|replica| replica.id).collect();
    let groups = Groups::make();
    let (share, message) = agent(&groups, &replicas);
    let microseconds = scheduler(&world, &message);
    let figures = [
        figure("agent: 100 replicas each second", share * 100.0, "%core", Some(3.0)),
        figure("agent: one replica, once", share * 1e6 / f64::from(REPLICAS), "µs", None),
        figure("a second's message", f64::from(u32::try_from(message.len()).unwrap()), "bytes", None),
        figure("scheduler: one replica, once", microseconds, "µs", None),
        figure(
            "scheduler: 100 replicas each second",
            microseconds * f64::from(REPLICAS) / 1e4,
            "%core",
            None,
        ),
    ];
    report("sampling", &figures);
}

fn figure(metric: &'static str, value: f64, unit: &'static str, budget: Option<f64>) -> Figure {
    Figure { metric, value, unit, peer: None, budget }
}

/// Samples as the agent does, once a second: processor time by time passed, and the last message.
fn agent(groups: &Groups, replicas: &[ReplicaId]) -> (f64, Vec<u8>) {
    let target = |(replica, container): (&ReplicaId, &String)| Target {
        replica: replica.clone(),
        container: container.clone(),
    };
    let targets: Vec<Target> = replicas.iter().zip(&groups.containers).map(target).collect();
    let mut sampler =
        Sampler::new(Some(Tree::open(Path::new(MOUNT)).expect("this kernel counts processor time")));
    let begun = Instant::now();
    sampler.sample(&targets, || begun.elapsed());
    let (mut message, cpu, wall) = (Vec::new(), processor_time(), Instant::now());
    for _ in 0..SECONDS {
        after(Duration::from_secs(1));
        let round = sampler.sample(&targets, || begun.elapsed());
        assert_eq!((round.samples.len(), round.missing.len()), (replicas.len(), 0));
        assert!(round.samples.iter().all(|sample| sample.cpu_microcores.is_some()));
        message = usage_report(&round.samples).encode_to_vec();
    }
    ((processor_time() - cpu) / wall.elapsed().as_secs_f64(), message)
}

/// Takes the message in: microseconds of processor time for each replica in it.
fn scheduler(world: &World, message: &[u8]) -> f64 {
    let (usage, node) = (Usage::default(), NodeId::new("n1").unwrap());
    let cpu = processor_time();
    for _ in 0..MESSAGES {
        let report = UsageReport::decode(message).unwrap();
        usage.take(&world.snapshot, &node, &report);
    }
    let spent = processor_time() - cpu;
    assert_eq!(usage.all().len(), world.replicas("shop/web").len());
    spent * 1e6 / f64::from(MESSAGES * REPLICAS)
}

fn world() -> World {
    let world = World::new(Timestamp::from_millis(1)).node("n1");
    let mut world = world.service("shop/web", |web| web.replicas(REPLICAS).host_network());
    let plan = decide(&world.snapshot, world.now);
    world.commit(&plan.changes);
    world
}

/// Seconds that this thread has used so far. The kernel counts them in nanoseconds.
fn processor_time() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap()).as_secs_f64()
}

/// Control groups as an engine makes them, which go when this goes.
struct Groups {
    containers: Vec<String>,
    folders: Vec<PathBuf>,
}

impl Groups {
    fn make() -> Self {
        let mount = Path::new(MOUNT);
        let own = format!("gantry-bench-{}", std::process::id());
        let is_v2 = mount.join("cgroup.controllers").exists();
        let trees: Vec<PathBuf> = if is_v2 {
            vec![mount.to_owned()]
        } else {
            ["cpuacct", "memory"].map(|controller| mount.join(controller)).to_vec()
        };
        let containers: Vec<String> = (0..REPLICAS).map(|number| format!("{number:064x}")).collect();
        let mut groups = Self { containers, folders: Vec::new() };
        for tree in trees {
            groups.add(tree.join(&own));
            if is_v2 {
                // Where others forbid it, memory is not counted, and its files are not read.
                let _ = fs::write(tree.join(&own).join("cgroup.subtree_control"), "+cpu +memory");
            }
            for container in groups.containers.clone() {
                groups.add(tree.join(&own).join(format!("docker-{container}.scope")));
            }
        }
        groups
    }

    fn add(&mut self, folder: PathBuf) {
        fs::create_dir(&folder).expect("run as root, on a host whose control groups can be written");
        self.folders.push(folder);
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for folder in self.folders.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}
