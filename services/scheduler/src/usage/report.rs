//! One node's second, as it came over the wire. Pure.

use gantry_api::node::v1::UsageReport;
use gantry_model::{NodeId, ReplicaId, ServiceId, Snapshot};

/// What an agent names at most.
const MOST: usize = 4_096;
/// The longest id of a scrape: a path, a metric and its labels.
const LONGEST_ID: usize = 1_024;
/// What is kept of the reason for a missing value, in characters.
const LONGEST_ERROR: usize = 200;

/// What the replicas of one node used in one second.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Replicas with what was measured of them.
    pub replicas: Vec<OfReplica>,
    /// What was read of users' own metrics: whose, which scrape, what came of it.
    pub metrics: Vec<(ReplicaId, String, Reading)>,
}

/// The value of a user's own metric, or why there is none.
pub type Reading = Result<f64, String>;

/// What one replica used.
#[derive(Debug, Clone, PartialEq)]
pub struct OfReplica {
    /// Which.
    pub replica: ReplicaId,
    /// Its service.
    pub service: ServiceId,
    /// Millionths of a core; `None` where that is not known yet.
    pub cpu_microcores: Option<u32>,
    /// Bytes of memory; `None` where the kernel does not count them.
    pub memory_bytes: Option<u64>,
}

impl Report {
    /// Reads a message of the agent of `node`. Replicas that are not on record there are left out, so nothing
    /// that an agent says makes the scheduler remember new names, or speaks for another node.
    pub fn read(message: &UsageReport, node: &NodeId, snapshot: &Snapshot) -> Self {
        let find = |id: &str| {
            let replica = snapshot.replicas.get(&ReplicaId::new(id).ok()?)?;
            (replica.node.as_ref() == Some(node)).then_some(replica)
        };
        let replicas = message.replicas.iter().take(MOST).filter_map(|usage| {
            let replica = find(&usage.replica_id)?;
            Some(OfReplica {
                replica: replica.id.clone(),
                service: replica.service.clone(),
                cpu_microcores: usage.cpu_microcores,
                memory_bytes: usage.memory_bytes,
            })
        });
        let readings = message.metrics.iter().take(MOST);
        let metrics = readings
            .filter(|reading| reading.value.is_finite() && reading.scrape_id.len() <= LONGEST_ID)
            .filter_map(|reading| {
                let value = match reading.error.as_str() {
                    "" => Ok(reading.value),
                    error => Err(error.chars().take(LONGEST_ERROR).collect()),
                };
                Some((find(&reading.replica_id)?.id.clone(), reading.scrape_id.clone(), value))
            });
        Self { replicas: replicas.collect(), metrics: metrics.collect() }
    }
}

#[cfg(test)]
mod tests {
    use gantry_api::node::v1::{MetricReading, ReplicaUsage};
    use gantry_model::Timestamp;
    use gantry_testkit::World;

    use super::*;

    #[test]
    fn replicas_that_are_not_on_record_at_the_node_are_left_out() {
        let mut world = World::new(Timestamp::from_millis(1)).node("n1").service("shop/web", |web| web);
        let plan = crate::decide::decide(&world.snapshot, world.now);
        world.commit(&plan.changes);
        let own = world.replicas("shop/web").remove(0).id;
        let usage =
            |id: &str| ReplicaUsage { replica_id: id.into(), cpu_microcores: Some(1), memory_bytes: Some(2) };
        let reading = |id: &str, value| MetricReading {
            replica_id: id.into(),
            scrape_id: "jobs".into(),
            value,
            error: String::new(),
        };
        let failed = |id: &str| MetricReading { error: "é".repeat(1_000), ..reading(id, 0.0) };
        let message = UsageReport {
            replicas: vec![usage(own.as_str()), usage("gone"), usage("NO NAME"), usage("")],
            metrics: vec![
                reading(own.as_str(), 1.5),
                reading("gone", 1.0),
                reading(own.as_str(), f64::NAN),
                failed(own.as_str()),
            ],
        };
        let read = |node: &str| Report::read(&message, &NodeId::new(node).unwrap(), &world.snapshot);
        let report = read("n1");
        assert_eq!((report.replicas.len(), &report.replicas[0].replica), (1, &own));
        let jobs = "jobs".to_owned();
        assert_eq!(report.metrics, [(own.clone(), jobs.clone(), Ok(1.5)), (own, jobs, Err("é".repeat(200)))]);
        assert_eq!(read("n2"), Report::default(), "another node cannot speak for it");
    }
}
