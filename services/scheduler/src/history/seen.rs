//! From what was seen of all services to a point of each: pure.

use std::collections::BTreeMap;

use gantry_model::{Goal, MetricTarget, Service, ServiceId, Snapshot};

use super::point::{Point, Requests, Used};
use crate::autoscale::{Measured, have_all_told, is_scaled};
use crate::traffic::{Answers, Load, Loads};

/// So many numbers of its own are remembered of a service.
const MOST_METRICS: usize = 8;

/// What was seen of one service in one second.
#[derive(Debug, Clone, PartialEq)]
pub struct OfService {
    /// The service.
    pub service: ServiceId,
    /// Which service of this name it is.
    pub incarnation: String,
    /// What was seen.
    pub point: Point,
    /// What the numbers of its own are called.
    pub metrics: Vec<String>,
    /// What was counted since the second before.
    pub answers: Answers,
    /// Whether it is remembered also while nobody asks anything of it.
    pub is_scaled: bool,
}

/// What was seen of every service in the last second, those that are scaled by load first.
pub fn services(
    snapshot: &Snapshot,
    loads: &Loads,
    answers: &BTreeMap<ServiceId, Answers>,
    measured: &Measured,
) -> impl Iterator<Item = OfService> {
    let scaled =
        |wanted: bool| snapshot.services.values().filter(move |service| is_scaled(service) == wanted);
    scaled(true).chain(scaled(false)).map(|service| {
        let answers = answers.get(&service.id).copied().unwrap_or_default();
        OfService {
            service: service.id.clone(),
            incarnation: service.incarnation.clone(),
            point: point(snapshot, service, loads, answers, measured),
            metrics: names(service),
            answers,
            is_scaled: is_scaled(service),
        }
    })
}

fn point(
    snapshot: &Snapshot,
    service: &Service,
    loads: &Loads,
    answers: Answers,
    measured: &Measured,
) -> Point {
    let ready = snapshot
        .replicas_of(&service.id)
        .filter(|replica| replica.goal == Goal::Run && snapshot.takes_traffic(replica));
    let read = measured.metrics.get(&service.id).map(Vec::as_slice).unwrap_or_default();
    let values = read.iter().take(MOST_METRICS).map(|value| value.as_ref().map_or(f64::NAN, |value| *value));
    Point {
        requests: requests(snapshot, service, loads, answers),
        used: used(snapshot, service, measured),
        wanted: service.wanted(),
        ready: u32::try_from(ready.count()).unwrap_or(u32::MAX),
        metrics: values.collect(),
    }
}

/// As long as some proxies are silent, that nobody wants anything is not known.
fn requests(snapshot: &Snapshot, service: &Service, loads: &Loads, answers: Answers) -> Option<Requests> {
    let load = loads.services.get(&service.id);
    if load.is_none() && answers == Answers::default() && !have_all_told(snapshot, loads) {
        return None;
    }
    let none = Load::default();
    let load = load.unwrap_or(&none);
    let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    #[allow(clippy::cast_possible_truncation)] // Nobody has so many.
    let in_flight = load.in_flight as f32;
    Some(Requests {
        arrived: count(load.arrived),
        answered: count(answers.answered),
        errors: count(answers.errors),
        in_flight,
        waiting: count(load.waiting),
        p50: load.quantile(0.5).into(),
        p95: load.quantile(0.95).into(),
        p99: load.quantile(0.99).into(),
    })
}

fn used(snapshot: &Snapshot, service: &Service, measured: &Measured) -> Option<Used> {
    let replicas = snapshot.replicas_of(&service.id);
    replicas.filter_map(|replica| measured.usage.get(&replica.id)).fold(None, |sum: Option<Used>, usage| {
        let sum = sum.unwrap_or(Used { memory_kib: Some(0), ..Used::default() });
        let memory = usage.memory_bytes.map(|bytes| u32::try_from(bytes >> 10).unwrap_or(u32::MAX));
        Some(Used {
            cpu_millicores: sum.cpu_millicores.saturating_add(usage.cpu_millicores),
            memory_kib: sum.memory_kib.zip(memory).map(|(sum, more)| sum.saturating_add(more)),
            replicas: sum.replicas + 1,
        })
    })
}

/// What its own numbers are called: as in its rules, and where two are called the same, with whom they are asked of.
fn names(service: &Service) -> Vec<String> {
    let targets = match &service.spec.autoscale {
        Some(rules) if is_scaled(service) => rules.metrics.as_slice(),
        _ => &[],
    };
    let mut names: Vec<String> = Vec::new();
    for target in targets.iter().take(MOST_METRICS) {
        let MetricTarget { service: asked, port, path, name, .. } = target;
        let mut called = name.clone();
        if names.contains(&called) {
            called = format!("{name} of {asked}:{port}{path}");
        }
        // Two that are the same in all have at least a place.
        while names.contains(&called) {
            called += "'";
        }
        names.push(called);
    }
    names
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gantry_autoscale::Usage;
    use gantry_model::{Autoscale, TableVersion, Timestamp};
    use gantry_testkit::World;

    use super::*;

    fn jobs(port: u16) -> MetricTarget {
        MetricTarget { service: String::new(), port, path: "/m".into(), name: "jobs".into(), target: 1.0 }
    }

    fn world() -> World {
        let rules = Autoscale { max: 9, metrics: vec![jobs(80), jobs(81), jobs(81)], ..Autoscale::default() };
        let mut world = World::new(Timestamp::from_millis(1))
            .node("n1")
            .proxy("p1")
            .service("shop/web", |web| web.replicas(2).autoscale(rules))
            .service("shop/db", |db| db);
        world.ack("p1", TableVersion::default());
        let plan = crate::decide::decide(&world.snapshot, world.now);
        world.commit(&plan.changes);
        world.run_all();
        world
    }

    fn seen(world: &World, loads: &Loads, measured: &Measured) -> Vec<OfService> {
        services(&world.snapshot, loads, &BTreeMap::new(), measured).collect()
    }

    #[test]
    fn what_all_replicas_used_and_all_proxies_told_is_one_point() {
        let world = world();
        let web: ServiceId = "shop/web".parse().unwrap();
        let mut load = Load { arrived: 25, in_flight: 2.5, waiting: 3, ..Load::default() };
        load.latency[6] = 100;
        let loads = Loads { proxies: 1, services: [(web.clone(), load)].into() };
        let usage = Usage { cpu_millicores: 250, memory_bytes: Some(5 << 20), age: Duration::ZERO };
        let usage = world.replicas("shop/web").into_iter().map(|replica| (replica.id, usage)).collect();
        let read = vec![Ok(4.0), Err("refused".to_owned()), Ok(1.0)];
        let measured = Measured { usage, metrics: [(web.clone(), read)].into() };
        let answers = BTreeMap::from([(web, Answers { answered: 20, errors: 2 })]);
        let all: Vec<_> = services(&world.snapshot, &loads, &answers, &measured).collect();
        let (first, second) = (&all[0], &all[1]);
        assert_eq!(
            (first.service.name(), second.service.name()),
            ("web", "db"),
            "those that are scaled first"
        );
        let requests = first.point.requests.unwrap();
        assert_eq!((requests.arrived, requests.answered, requests.errors), (25, 20, 2));
        assert_eq!((requests.in_flight, requests.waiting), (2.5, 3));
        assert_eq!(requests.p50.get(), Some(Duration::from_micros(12_500)));
        assert_eq!(
            first.point.used,
            Some(Used { cpu_millicores: 500, memory_kib: Some(10 << 10), replicas: 2 })
        );
        assert_eq!((first.point.wanted, first.point.ready), (2, 2));
        assert_eq!(first.metrics, ["jobs", "jobs of :81/m", "jobs of :81/m'"]);
        assert!(first.point.metrics[1].is_nan() && first.point.metrics.len() == 3, "{first:?}");
        assert!(!second.point.is_used() && second.point.requests.is_some() && !second.is_scaled);
    }

    #[test]
    fn while_proxies_are_silent_it_is_not_known_that_nobody_asks() {
        let world = world();
        let all = seen(&world, &Loads::default(), &Measured::default());
        assert!(all.iter().all(|of| of.point.requests.is_none() && of.point.used.is_none()), "{all:?}");
    }
}
