//! What was measured, as the autoscaler wants it.

use gantry_boot::now;
use gantry_model::{MetricTarget, ServiceId, Snapshot};

use super::{Usage, asked};
use crate::autoscale::{Measured, Sample};

/// What the replicas of `snapshot` use, and the numbers that services are scaled by.
pub fn measured(usage: &Usage, snapshot: &Snapshot) -> Measured {
    let samples = usage.all().into_iter().map(|(replica, of)| {
        (replica, Sample { cpu_cores: of.cpu_cores, memory_bytes: of.memory_bytes, at: of.at })
    });
    Measured::new(snapshot, now(), samples, |service, target| value(usage, snapshot, service, target))
}

/// The value of a metric, added up over all that gave one. A replica that serves and gives none makes it unknown:
/// a sum without it would look like less load. One that is starting does not.
fn value(
    usage: &Usage,
    snapshot: &Snapshot,
    service: &ServiceId,
    target: &MetricTarget,
) -> Result<f64, String> {
    let serves = |id: &_| snapshot.replicas.get(id).is_some_and(|replica| snapshot.takes_traffic(replica));
    if let Some(problem) = usage.metric_problem(service, target, serves) {
        return Err(problem);
    }
    let whom = asked(service, target);
    let mut replicas = whom.iter().flat_map(|whom| snapshot.replicas_of(whom));
    let silent =
        replicas.find(|replica| snapshot.takes_traffic(replica) && !usage.has_told(&replica.id, target));
    if let Some(silent) = silent {
        return Err(format!("{}.{} has told nothing in the last seconds", silent.service, silent.slot));
    }
    let read = usage.metric(service, target).map(|metric| metric.value);
    read.ok_or_else(|| "no agent has told it in the last seconds".to_owned())
}

#[cfg(test)]
mod tests {
    use gantry_api::node::v1::{MetricReading, ReplicaUsage, UsageReport};
    use gantry_model::{Autoscale, NodeId, ReplicaId, Timestamp};
    use gantry_testkit::World;

    use super::super::scrape_id;
    use super::*;

    fn jobs() -> MetricTarget {
        MetricTarget { service: String::new(), port: 80, path: "/m".into(), name: "jobs".into(), target: 1.0 }
    }

    /// Two replicas that run, of a service that is scaled by its jobs.
    fn world() -> (World, Vec<ReplicaId>) {
        let mut world =
            World::new(Timestamp::from_millis(1)).node("n1").service("shop/web", |web| web.replicas(2));
        let plan = crate::decide::decide(&world.snapshot, world.now);
        world.commit(&plan.changes);
        world.change_service("shop/web", |web| {
            let autoscale = Autoscale { max: 9, metrics: vec![jobs()], ..Autoscale::default() };
            web.spec.autoscale = Some(autoscale);
        });
        world.run_all();
        let ids = world.replicas("shop/web").into_iter().map(|replica| replica.id).collect();
        (world, ids)
    }

    fn tell(usage: &Usage, world: &World, ids: &[ReplicaId], errors: [&str; 2]) {
        let used = |id: &ReplicaId| ReplicaUsage {
            replica_id: id.to_string(),
            cpu_microcores: Some(1_250_400),
            memory_bytes: Some(5 << 10),
        };
        let reading = |(id, error): (&ReplicaId, &str)| MetricReading {
            replica_id: id.to_string(),
            scrape_id: scrape_id(&jobs()),
            value: 4.0,
            error: error.to_owned(),
        };
        let report = UsageReport {
            replicas: ids.iter().map(used).collect(),
            metrics: ids.iter().zip(errors).map(reading).collect(),
        };
        usage.take(&world.snapshot, &NodeId::new("n1").unwrap(), &report);
    }

    #[test]
    fn use_is_given_in_millicores_and_metrics_in_the_order_of_the_rules() {
        let ((world, ids), usage) = (world(), Usage::default());
        tell(&usage, &world, &ids, ["", ""]);
        let measured = measured(&usage, &world.snapshot);
        let first = measured.usage[&ids[0]];
        assert_eq!((first.cpu_millicores, first.memory_bytes), (1_250, Some(5 << 10)));
        assert_eq!(measured.metrics[&"shop/web".parse().unwrap()], [Ok(8.0)]);
    }

    #[test]
    fn a_replica_that_serves_and_tells_nothing_makes_the_sum_unknown() {
        let ((mut world, ids), usage) = (world(), Usage::default());
        tell(&usage, &world, &ids, ["", "connection refused"]);
        let values =
            |world: &World| measured(&usage, &world.snapshot).metrics[&"shop/web".parse().unwrap()].clone();
        assert_eq!(values(&world), [Err("connection refused".to_owned())]);
        // Until it is started, nothing is expected of it.
        world.see(&ids[1], |status| status.phase = gantry_model::Phase::Starting);
        assert_eq!(values(&world), [Ok(4.0)]);
    }

    #[test]
    fn a_replica_that_serves_and_is_not_heard_of_makes_it_unknown_too() {
        let ((world, ids), usage) = (world(), Usage::default());
        tell(&usage, &world, &ids[..1], ["", ""]);
        let values = measured(&usage, &world.snapshot).metrics[&"shop/web".parse().unwrap()].clone();
        assert_eq!(values, [Err("shop/web.2 has told nothing in the last seconds".to_owned())]);
    }

    #[test]
    fn without_measurements_nothing_is_known() {
        let (world, _) = world();
        let measured = measured(&Usage::default(), &world.snapshot);
        assert!(measured.usage.is_empty());
        let problem = "shop/web.1 has told nothing in the last seconds".to_owned();
        assert_eq!(measured.metrics[&"shop/web".parse().unwrap()], [Err(problem)]);
    }
}
