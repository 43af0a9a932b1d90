use std::time::Duration;

use gantry_model::{Autoscale, ServiceSpec, Timestamp};

use super::load::Load;
use super::model::{Model, World};
use crate::bounds::{Base, Rules};
use crate::decide::decide;
use crate::decision::Change;
use crate::memory::Memory;
use crate::number::replicas;
use crate::signals::Signals;

/// One second of a replay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Requests that arrived.
    pub rps: f64,
    /// How many replicas would just meet every target, as a fraction; within the bounds.
    pub need: f64,
    /// How many there were to be.
    pub count: u32,
    /// How many took traffic.
    pub ready: u32,
    /// 95% of the answers took at most that.
    pub p95: Option<Duration>,
}

impl Point {
    /// How many whole replicas would meet every target.
    pub fn needed(&self) -> u32 {
        replicas(self.need)
    }
}

/// What became of a load, second by second.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// Each second.
    pub points: Vec<Point>,
    /// What changed, with the second.
    pub changes: Vec<(u64, Change)>,
}

/// Replays a load: each second `scale` is told what is seen, and says how many replicas there are to be.
pub fn replay(
    mut world: World,
    load: &Load,
    need: impl Fn(u64, f64) -> f64,
    mut scale: impl FnMut(u64, &World, &Signals) -> u32,
) -> Vec<Point> {
    (0..load.seconds())
        .map(|second| {
            let rps = load.at(second);
            let signals = world.pass(second, rps);
            let count = scale(second, &world, &signals);
            let point = Point {
                rps,
                need: need(second, rps),
                count: signals.count,
                ready: signals.ready(),
                p95: signals.traffic.and_then(|traffic| traffic.p95),
            };
            world.set(count, second);
            point
        })
        .collect()
}

/// Replays a load through [`decide`], for a service that begins with `first` replicas at `begin`. A
/// service that is not scaled by load keeps them.
pub fn run(spec: &ServiceSpec, model: Model, load: &Load, first: u32, begin: Timestamp) -> Trace {
    let world = World::new(model, Base::of(&spec.container.resources), begin, first);
    let autoscale = spec.autoscale.clone().unwrap_or_default();
    let each = most_for_one(&autoscale, &model);
    let time = |second| begin.after(Duration::from_secs(second));
    let need = |second, rps: f64| {
        let Some(rules) = Rules::new(spec, time(second)) else { return f64::from(first) };
        let fewest = if rps > 0.0 { rules.bounds.awake() } else { rules.bounds.min };
        (rps / each).clamp(f64::from(fewest), f64::from(rules.bounds.max))
    };
    let (mut memory, mut changes) = (Memory::default(), Vec::new());
    let points = replay(world, load, need, |second, world, signals| {
        let now = world.time(second);
        let Some(rules) = Rules::new(spec, now) else { return signals.count };
        let (next, decision) = decide(&rules, signals, std::mem::take(&mut memory), now);
        memory = next;
        changes.extend(decision.change.map(|change| (second, change)));
        decision.recommend
    });
    Trace { points, changes }
}

/// The most requests a second that a replica may get without missing a target.
fn most_for_one(spec: &Autoscale, model: &Model) -> f64 {
    let meets = |rps: f64| {
        let busy = rps / model.capacity;
        let mean = model.mean_latency(busy);
        let within = |target: Option<Duration>, times: f64| {
            let own = (mean - model.elsewhere.as_secs_f64()) * times + model.elsewhere.as_secs_f64();
            target.is_none_or(|target| own <= target.as_secs_f64())
        };
        spec.cpu.is_none_or(|cpu| busy <= f64::from(cpu) / 100.0)
            && spec.rps.is_none_or(|target| rps <= target)
            && spec.concurrency.is_none_or(|target| rps * mean <= target)
            && within(spec.p95, super::model::P95)
            && within(spec.p99, super::model::P99)
    };
    let (mut fine, mut too_much) = (0.0, model.capacity);
    if meets(too_much) {
        return too_much;
    }
    for _ in 0..50 {
        let middle = f64::midpoint(fine, too_much);
        if meets(middle) { fine = middle } else { too_much = middle }
    }
    // Where no load at all meets the targets, more replicas are of no use: as many as can serve it are.
    if fine < model.capacity / 1_000.0 { model.capacity } else { fine }
}

/// The spec without the targets that a simulation knows nothing of, and their names.
pub fn without_what_is_not_simulated(spec: &ServiceSpec) -> (ServiceSpec, Vec<String>) {
    let mut spec = spec.clone();
    let mut names = Vec::new();
    if let Some(autoscale) = &mut spec.autoscale {
        names.extend(autoscale.memory.take().map(|_| "memory".to_owned()));
        names.extend(autoscale.metrics.drain(..).map(|metric| metric.name));
    }
    (spec, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_replica_may_get_follows_from_the_tightest_target() {
        let model = Model::default();
        let most = |spec: &Autoscale| most_for_one(spec, &model);
        let cpu = Autoscale { cpu: Some(70), ..Autoscale::default() };
        assert!((most(&cpu) - 70.0).abs() < 1e-6);
        assert!((most(&Autoscale { rps: Some(40.0), ..cpu.clone() }) - 40.0).abs() < 1e-6);
        // 20 ms / (1 − busy) × 2.996 = 120 ms at about half.
        let p95 = Autoscale { p95: Some(Duration::from_millis(120)), ..cpu };
        assert!((most(&p95) - 50.0).abs() < 0.1, "{}", most(&p95));
        let hopeless = Autoscale { p95: Some(Duration::from_millis(1)), ..Autoscale::default() };
        assert!((most(&hopeless) - 100.0).abs() < 1e-6);
    }
}
