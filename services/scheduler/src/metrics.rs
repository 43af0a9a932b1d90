//! Numbers about the state, counted when they are asked for.

use std::collections::BTreeMap;
use std::fmt;

use gantry_model::wire::state_word;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::state::State;

/// A registry that shows `state`.
pub fn registry(state: State) -> Registry {
    let mut registry = Registry::with_prefix("gantry");
    registry.register_collector(Box::new(Counts(state)));
    registry
}

struct Counts(State);

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counts")
    }
}

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let snapshot = self.0.snapshot();
        let mut one = |name: &str, help: &str, value: usize| {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let encoded = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(encoded)
        };
        let connected = snapshot.node_statuses.values().filter(|status| status.connected).count();
        one(
            "revision",
            "Number of the newest stored change",
            usize::try_from(snapshot.revision).unwrap_or(0),
        )?;
        one("stacks", "Deployed stacks", snapshot.stacks.size())?;
        one("services", "Deployed services", snapshot.services.size())?;
        one("nodes", "Nodes on record", snapshot.nodes.size())?;
        one("nodes_connected", "Nodes whose agent is connected", connected)?;
        one("proxies_connected", "Proxies that are connected", snapshot.acks.size())?;

        let mut states: BTreeMap<&str, i64> = BTreeMap::new();
        for replica in snapshot.replicas.values() {
            *states.entry(state_word(replica, snapshot.status_of(&replica.id))).or_default() += 1;
        }
        let help = "Replicas by state";
        let mut family = encoder.encode_descriptor(
            "replicas",
            help,
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for (state, count) in states {
            ConstGauge::new(count).encode(family.encode_family(&[("state", state)])?)?;
        }
        Ok(())
    }
}
