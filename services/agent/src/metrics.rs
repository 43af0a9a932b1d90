//! Numbers about this node's replicas, counted when they are asked for.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::managed::Board;

/// A registry that shows the board, whether the engine and the scheduler can be used, and how many
/// containers outside any stack were healed.
pub fn registry(
    healed: Counter,
    board: Board,
    engine: watch::Receiver<Option<String>>,
    session: watch::Receiver<Option<String>>,
) -> Registry {
    let mut registry = Registry::with_prefix("gantry_agent");
    registry.register("autoheal_restarts", "Restarts of unhealthy containers outside any stack", healed);
    registry.register_collector(Box::new(Counts { board, engine, session }));
    registry
}

struct Counts {
    board: Board,
    engine: watch::Receiver<Option<String>>,
    session: watch::Receiver<Option<String>>,
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counts")
    }
}

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut phases: BTreeMap<String, i64> = BTreeMap::new();
        let mut restarts = 0;
        for status in self.board.get().values() {
            *phases.entry(format!("{:?}", status.phase).to_lowercase()).or_default() += 1;
            restarts += i64::from(status.restarts);
        }
        let mut family =
            encoder.encode_descriptor("replicas", "Replicas by phase", None, MetricType::Gauge)?;
        for (phase, count) in phases {
            ConstGauge::new(count).encode(family.encode_family(&[("phase", phase)])?)?;
        }
        let mut one = |name: &str, help: &str, value: i64| {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        one("replica_restarts", "Restarts of the replicas that are here now", restarts)?;
        one("engine_up", "Whether the Docker Engine can be used", i64::from(self.engine.borrow().is_none()))?;
        one("session_up", "Whether the scheduler is connected", i64::from(self.session.borrow().is_none()))
    }
}
