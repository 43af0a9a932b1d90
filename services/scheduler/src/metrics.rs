//! Numbers about the state, counted when they are asked for.

mod services;
mod used;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use gantry_model::Service;
use gantry_model::wire::state_word;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::autoscale::{Autoscaler, is_scaled};
use crate::state::State;
use crate::usage::Usage;
use services::Services;
use used::Used;

/// A registry that shows `state`, what is decided by load, what is asked of services, and what replicas use.
pub fn registry(state: State, autoscaler: Autoscaler, usage: Usage) -> Registry {
    let mut registry = Registry::with_prefix("gantry");
    registry.register_collector(Box::new(Used { state: state.clone(), usage }));
    registry.register_collector(Box::new(Services { state: state.clone(), history: autoscaler.history() }));
    registry.register_collector(Box::new(Counts(state, autoscaler)));
    registry
}

struct Counts(State, Autoscaler);

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
        let mut family = encoder.encode_descriptor("replicas", help, None, MetricType::Gauge)?;
        for (state, count) in states {
            ConstGauge::new(count).encode(family.encode_family(&[("state", state)])?)?;
        }
        self.scaled(&mut encoder)
    }
}

impl Counts {
    /// The services that are scaled by load: what they are to have, and what they would have.
    fn scaled(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts: Vec<(String, u32, u32)> = self.1.look(|snapshot, book| {
            let scaled = snapshot.services.values().filter(|service| is_scaled(service));
            let count = |service: &Arc<Service>| {
                let recommended =
                    book.entry(&service.id).map_or(service.replicas, |entry| entry.decision.recommend);
                (service.id.to_string(), service.replicas, recommended)
            };
            scaled.map(count).collect()
        });
        let mut family = |name: &str, help: &str, value: fn(&(String, u32, u32)) -> u32| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for one in &counts {
                let labels = [("service", one.0.as_str())];
                ConstGauge::new(i64::from(value(one))).encode(family.encode_family(&labels)?)?;
            }
            Ok::<(), fmt::Error>(())
        };
        family("autoscale_wanted_replicas", "Replicas that a service scaled by load is to have", |one| {
            one.1
        })?;
        family("autoscale_recommended_replicas", "Replicas that its load asks for", |one| one.2)
    }
}
