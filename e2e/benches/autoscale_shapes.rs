//! The autoscaler's decision, without an engine: three classic shapes of load beside Kubernetes' autoscaler
//! with its defaults (in replicas that were missing or idle, times seconds; the same on every machine; both in
//! whole replicas and in fractions of the replicas that were needed), and the time that it takes for 1,000 services of 100 replicas, on one core.
//!
//! Both scale the same service by the same target, 70% of its processor time; a replica takes 5 s to start.
//! Of the peer it is the mean over the 15 seconds of its period in which it may happen to look.

use std::time::{Duration, Instant};

use gantry_autoscale::simulate::{Cost, Hpa, Load, Model, World, replay, run, shapes};
use gantry_autoscale::{Base, Memory, Replica, Rules, Signals, Stage, Traffic, Usage, decide};
use gantry_e2e::{Figure, median, report};
use gantry_model::{Autoscale, Container, Resources, ServiceSpec, Timestamp};

const BEGIN: Timestamp = Timestamp::from_millis(1_781_049_600_000);
const PEER: &str = "Kubernetes' autoscaler";
const CPU: u32 = 70;
const BOUNDS: (u32, u32) = (2, 40);
const SERVICES: usize = 1_000;
const REPLICAS: u32 = 100;
const SECONDS: u64 = 30;

/// What the figures of each shape are called.
const NAMES: [[&str; 4]; 3] = [
    ["step: missing", "step: idle", "step: missing, in fractions", "step: idle, in fractions"],
    ["ramp: missing", "ramp: idle", "ramp: missing, in fractions", "ramp: idle, in fractions"],
    ["spikes: missing", "spikes: idle", "spikes: missing, in fractions", "spikes: idle, in fractions"],
];

fn main() {
    let mut figures = Vec::new();
    let values = |cost: Cost| [cost.under, cost.over, cost.under_exactly, cost.over_exactly];
    for (shape, names) in shapes().iter().zip(NAMES) {
        let (ours, theirs) = both(&shape.load);
        for (metric, (value, peer)) in names.into_iter().zip(values(ours).into_iter().zip(values(theirs))) {
            figures.push(Figure { metric, value, unit: "r·s", peer: Some((PEER, peer)), budget: Some(1.0) });
        }
    }
    figures.push(Figure {
        metric: "1,000 services × 100 replicas",
        value: median(decisions()),
        unit: "ms",
        peer: None,
        budget: Some(50.0),
    });
    report("autoscale_shapes", &figures);
}

fn spec() -> ServiceSpec {
    let (min, max) = BOUNDS;
    let one_core = Resources { nano_cpus: Some(1_000_000_000), ..Resources::default() };
    ServiceSpec {
        container: Container { resources: one_core, ..Container::default() },
        autoscale: Some(Autoscale { min, max, cpu: Some(CPU), ..Autoscale::default() }),
        ..ServiceSpec::default()
    }
}

/// What a load costs with Gantry, and with the peer.
fn both(load: &Load) -> (Cost, Cost) {
    let (min, max) = BOUNDS;
    let trace = run(&spec(), Model::default(), load, min, BEGIN);
    let need: Vec<f64> = trace.points.iter().map(|point| point.need).collect();
    let theirs: Vec<Cost> = (0..15)
        .map(|phase| {
            let mut hpa = Hpa::new(CPU, min, max, phase);
            let world = World::new(Model::default(), Base::of(&spec().container.resources), BEGIN, min);
            let need = |second: u64, _| usize::try_from(second).map_or(0.0, |second| need[second]);
            Cost::of(&replay(world, load, need, |second, world, _| hpa.scale(second, world)))
        })
        .collect();
    (Cost::of(&trace.points), Cost::mean(&theirs))
}

/// Milliseconds for one second's decisions of all services, again and again.
fn decisions() -> Vec<f64> {
    let spec = ServiceSpec {
        autoscale: Some(Autoscale {
            min: 2,
            max: 200,
            cpu: Some(CPU),
            rps: Some(100.0),
            concurrency: Some(20.0),
            p95: Some(Duration::from_millis(250)),
            ..Autoscale::default()
        }),
        ..ServiceSpec::default()
    };
    let usage = Usage { cpu_millicores: 650, memory_bytes: Some(64 << 20), age: Duration::from_secs(1) };
    let replica = Replica { stage: Stage::Ready, started_at: None, usage: Some(usage) };
    let traffic = Traffic {
        rps: 9_500.0,
        in_flight: 1_500.0,
        p95: Some(Duration::from_millis(180)),
        requests: 40_000,
        ..Traffic::default()
    };
    let signals = Signals {
        count: REPLICAS,
        replicas: (0..REPLICAS).map(|_| replica).collect(),
        traffic: Some(traffic),
        ..Signals::default()
    };
    let all = vec![signals; SERVICES];
    let mut memories = vec![Memory::default(); SERVICES];
    let mut times = Vec::new();
    for second in 0..SECONDS {
        let now = BEGIN.after(Duration::from_secs(second));
        let began = Instant::now();
        for (signals, memory) in all.iter().zip(&mut memories) {
            let Some(rules) = Rules::new(&spec, now) else { continue };
            let (next, decision) = decide(&rules, signals, std::mem::take(memory), now);
            assert_eq!(decision.count, REPLICAS, "{decision:?}");
            *memory = next;
        }
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    times
}
