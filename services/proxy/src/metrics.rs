//! Numbers about this proxy, counted when they are asked for.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::table::Table;

/// A registry that shows the table in use, and whether the scheduler sends more.
pub fn registry(tables: watch::Receiver<Arc<Table>>, connected: watch::Receiver<Option<String>>) -> Registry {
    let mut registry = Registry::with_prefix("gantry_proxy");
    registry.register_collector(Box::new(Counts { tables, connected }));
    registry
}

struct Counts {
    tables: watch::Receiver<Arc<Table>>,
    connected: watch::Receiver<Option<String>>,
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counts")
    }
}

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let table = self.tables.borrow().clone();
        let mut one = |name: &str, help: &str, value: i64| {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        one(
            "table_revision",
            "The stored change that the table in use reflects",
            i64::try_from(table.version.revision).unwrap_or(0),
        )?;
        one("zones", "Networks whose names are answered", i64::try_from(table.zones.len()).unwrap_or(0))?;
        one(
            "scheduler_up",
            "Whether the scheduler sends tables",
            i64::from(self.connected.borrow().is_none()),
        )
    }
}
