//! Which numbers of users' own the agent of a node reads. Pure.

use std::collections::{BTreeMap, BTreeSet};

use gantry_api::node::v1::Scrape;
use gantry_model::{AutoscaleMode, MetricTarget, NodeId, ServiceId, Snapshot};

use crate::usage::{asked, scrape_id};

/// What is to be read of replicas on `node`, each once, however many services are scaled by it.
pub fn scrapes(snapshot: &Snapshot, node: &NodeId) -> Vec<Scrape> {
    let scaled = snapshot.services.values().filter_map(|service| {
        let autoscale =
            service.spec.autoscale.as_ref().filter(|autoscale| autoscale.mode != AutoscaleMode::Off)?;
        (!autoscale.metrics.is_empty()).then_some((&service.id, autoscale))
    });
    let mut here = None;
    let mut scrapes = BTreeMap::new();
    for (service, autoscale) in scaled {
        // Most clusters have no such service, and need not look.
        let here = here.get_or_insert_with(|| {
            snapshot.replicas_on(node).map(|replica| &replica.service).collect::<BTreeSet<_>>()
        });
        for target in &autoscale.metrics {
            let Some(asked) = asked(service, target).filter(|asked| here.contains(asked)) else { continue };
            let id = scrape_id(target);
            scrapes.entry((asked, id)).or_insert(target);
        }
    }
    let write = |((asked, id), target): ((ServiceId, String), &MetricTarget)| Scrape {
        id,
        service: asked.to_string(),
        port: target.port.into(),
        path: target.path.clone(),
        metric: target.name.clone(),
    };
    scrapes.into_iter().map(write).collect()
}

#[cfg(test)]
mod tests {
    use gantry_model::{Autoscale, Timestamp};
    use gantry_testkit::World;

    use super::*;

    fn target(service: &str) -> MetricTarget {
        MetricTarget {
            service: service.into(),
            port: 9000,
            path: "/metrics".into(),
            name: "jobs".into(),
            target: 30.0,
        }
    }

    fn world() -> World {
        let world = World::new(Timestamp::from_millis(1)).node("n1").node("n2");
        let mut world = world.service("shop/queue", |queue| queue.constraint("node.hostname == n1"));
        world = world.service("shop/worker", |worker| worker.constraint("node.hostname == n2"));
        let plan = crate::decide::decide(&world.snapshot, world.now);
        world.commit(&plan.changes);
        assert_eq!(
            (world.nodes_of("shop/queue"), world.nodes_of("shop/worker")),
            (vec!["n1".into()], vec!["n2".into()])
        );
        world
    }

    fn scaled_by(world: &mut World, mode: AutoscaleMode, metrics: Vec<MetricTarget>) -> [Vec<Scrape>; 2] {
        world.change_service("shop/worker", |worker| {
            worker.spec.autoscale = Some(Autoscale { max: 9, mode, metrics, ..Autoscale::default() });
        });
        ["n1", "n2"].map(|node| scrapes(&world.snapshot, &NodeId::new(node).unwrap()))
    }

    #[test]
    fn the_service_that_has_the_number_is_asked_where_it_runs() {
        let mut world = world();
        let [n1, n2] = scaled_by(&mut world, AutoscaleMode::Auto, vec![target("queue")]);
        let expected = Scrape {
            id: ":9000/metrics jobs".into(),
            service: "shop/queue".into(),
            port: 9000,
            path: "/metrics".into(),
            metric: "jobs".into(),
        };
        assert_eq!((n1, n2), (vec![expected], Vec::new()));
        let [n1, n2] = scaled_by(&mut world, AutoscaleMode::Auto, vec![target("")]);
        assert_eq!((n1.len(), n2[0].service.as_str()), (0, "shop/worker"));
    }

    #[test]
    fn what_several_want_is_read_once_and_what_is_off_not_at_all() {
        let mut world = world();
        let twice = vec![target("queue"), MetricTarget { target: 5.0, ..target("queue") }];
        let [n1, _] = scaled_by(&mut world, AutoscaleMode::Recommend, twice.clone());
        assert_eq!(n1.len(), 1);
        let [n1, n2] = scaled_by(&mut world, AutoscaleMode::Off, twice);
        assert!(n1.is_empty() && n2.is_empty());
    }
}
