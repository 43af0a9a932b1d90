//! What each replica uses.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::state::State;
use crate::usage::Usage;

/// What each replica uses now. Replicas that were not measured in the last seconds are left out: a gap in a
/// diagram says more than an old value.
pub struct Used {
    /// Whose.
    pub state: State,
    /// What was measured.
    pub usage: Usage,
}

impl fmt::Debug for Used {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Used")
    }
}

impl Collector for Used {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let (snapshot, used) = (self.state.snapshot(), self.usage.all());
        let replicas: Vec<_> = snapshot
            .replicas
            .values()
            .filter_map(|replica| {
                let node = replica.node.as_ref().and_then(|node| snapshot.nodes.get(node))?;
                let labels = [
                    ("service", replica.service.to_string()),
                    ("slot", replica.slot.to_string()),
                    ("replica", replica.id.to_string()),
                    ("node", node.name.clone()),
                ];
                Some((labels, used.get(&replica.id)?))
            })
            .collect();
        let help = "Processor time of a replica over the last second, in cores";
        let mut family = encoder.encode_descriptor("replica_cpu_cores", help, None, MetricType::Gauge)?;
        for (labels, sample) in &replicas {
            ConstGauge::new(sample.cpu_cores).encode(family.encode_family(labels)?)?;
        }
        let help = "Memory of a replica in bytes, without the page cache";
        let mut family = encoder.encode_descriptor("replica_memory_bytes", help, None, MetricType::Gauge)?;
        for (labels, sample) in &replicas {
            let Some(bytes) = sample.memory_bytes else { continue };
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            ConstGauge::new(bytes).encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use gantry_api::node::v1::{ReplicaUsage, UsageReport};
    use gantry_model::{NodeId, Timestamp};
    use gantry_testkit::World;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn what_replicas_use_is_shown_with_their_service_and_node() {
        let mut world =
            World::new(Timestamp::from_millis(1)).node("n1").service("shop/web", |web| web.replicas(2));
        let plan = crate::decide::decide(&world.snapshot, world.now);
        world.commit(&plan.changes);
        let (first, usage) = (world.replicas("shop/web").remove(0), Usage::default());
        let uncounted = ReplicaUsage {
            replica_id: world.replicas("shop/web").remove(1).id.to_string(),
            cpu_microcores: Some(500_000),
            memory_bytes: None,
        };
        let report = ReplicaUsage {
            replica_id: first.id.to_string(),
            cpu_microcores: Some(250_000),
            memory_bytes: Some(4096),
        };
        let report = UsageReport { replicas: vec![report, uncounted], metrics: Vec::new() };
        usage.take(&world.snapshot, &NodeId::new("n1").unwrap(), &report);
        let state = State::new(Box::new(gantry_store::Memory::default()), world.snapshot);
        let mut registry = Registry::with_prefix("gantry");
        registry.register_collector(Box::new(Used { state, usage }));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let of = |name: &str| -> Vec<&str> { text.lines().filter(|line| line.starts_with(name)).collect() };
        let labels = format!(r#"{{service="shop/web",slot="1",replica="{}",node="n1"}}"#, first.id);
        let cpu = of("gantry_replica_cpu_cores");
        assert!(
            cpu.len() == 2 && cpu.contains(&&*format!("gantry_replica_cpu_cores{labels} 0.25")),
            "{cpu:?}"
        );
        assert_eq!(of("gantry_replica_memory_bytes"), [format!("gantry_replica_memory_bytes{labels} 4096")]);
    }
}
