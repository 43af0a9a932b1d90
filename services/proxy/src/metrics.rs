//! Numbers about this proxy, added up from what each core counts when they are asked for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{self, Unit};
use tokio::sync::watch;

use crate::access::AccessLog;
use crate::balance::{BackendState, CLASSES, Counters, LATENCY_BOUNDS, Registry, State};
use crate::core::Gauges;
use crate::table::Table;

/// Names of the classes of responses.
const CLASS: [&str; CLASSES] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// What is counted.
pub struct Sources {
    /// Endpoints and backends.
    pub registry: Arc<Registry>,
    /// The cores.
    pub cores: Vec<Arc<Gauges>>,
    /// The access log.
    pub log: Option<AccessLog>,
    /// Of a proxy in a cluster: the table, and why there is no stream of them.
    pub cluster: Option<Following>,
}

/// The table in use, and why there is no stream of them.
pub type Following = (watch::Receiver<Arc<Table>>, watch::Receiver<Option<String>>);

/// A registry that shows all of it.
pub fn registry(sources: Sources) -> registry::Registry {
    let mut registry = registry::Registry::with_prefix("gantry_proxy");
    registry.register_collector(Box::new(sources));
    registry
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}

type OfEndpoint = fn(&Counters) -> &AtomicU64;
type OfBackend = (&'static str, &'static str, MetricType, fn(&BackendState) -> u64);

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        self.process(&mut encoder)?;
        let endpoints = self.registry.endpoints();
        classes(&mut encoder, &endpoints)?;
        latency(&mut encoder, &endpoints)?;
        let counters: [(&str, &str, OfEndpoint); 4] = [
            ("request_bytes", "Bytes of bodies to endpoints", |core| &core.bytes_in),
            ("response_bytes", "Bytes of bodies from endpoints", |core| &core.bytes_out),
            ("retries", "Requests that went to another endpoint after this one", |core| &core.retries),
            ("failures", "Tries that this endpoint did not answer", |core| &core.failures),
        ];
        for (name, help, of) in counters {
            each(&mut encoder, &endpoints, name, help, MetricType::Counter, |state| state.sum(of))?;
        }
        each(
            &mut encoder,
            &endpoints,
            "ejections",
            "How often this endpoint was left out",
            MetricType::Counter,
            |state| state.ejected.load(Relaxed),
        )?;
        each(
            &mut encoder,
            &endpoints,
            "in_flight",
            "Requests that are being answered",
            MetricType::Gauge,
            State::in_flight,
        )?;
        self.backends(&mut encoder)
    }
}

impl Sources {
    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let sum =
            |of: fn(&Gauges) -> &AtomicU64| self.cores.iter().map(|core| of(core).load(Relaxed)).sum::<u64>();
        gauge(encoder, "connections", "Connections of clients", sum(|core| &core.connections))?;
        counter(encoder, "accepted", "Connections that were ever taken", sum(|core| &core.accepted))?;
        counter(
            encoder,
            "own_answers",
            "Requests that the proxy answered itself",
            sum(|core| &core.own_answers),
        )?;
        counter(encoder, "cut", "Requests cut because their endpoint had to go", sum(|core| &core.cut))?;
        let dropped = self.log.as_ref().map_or(0, AccessLog::dropped);
        counter(encoder, "access_log_dropped", "Lines of the access log that were dropped", dropped)?;
        if let Some((tables, connected)) = &self.cluster {
            let table = tables.borrow().clone();
            gauge(
                encoder,
                "table_revision",
                "The stored change that the table in use reflects",
                table.version.revision,
            )?;
            gauge(encoder, "zones", "Networks whose names are answered", table.zones.len() as u64)?;
            let up = u64::from(connected.borrow().is_none());
            gauge(encoder, "scheduler_up", "Whether the scheduler sends tables", up)?;
        }
        Ok(())
    }

    fn backends(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all: [OfBackend; 3] = [
            ("waiting", "Requests that wait for an endpoint", MetricType::Gauge, |state| {
                u64::from(state.waiting.load(Relaxed))
            }),
            ("queued", "Requests that ever had to wait", MetricType::Counter, |state| {
                state.queued.load(Relaxed)
            }),
            (
                "turned_away",
                "Requests that waited too long, or with too many",
                MetricType::Counter,
                |state| state.turned_away.load(Relaxed),
            ),
        ];
        let backends = self.registry.backends();
        for (name, help, kind, of) in all {
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            for ((backend, port), state) in &backends {
                let labels = [
                    ("service", backend.clone()),
                    ("port", port.map(|port| port.to_string()).unwrap_or_default()),
                ];
                value(metric.encode_family(&labels)?, kind, of(state))?;
            }
        }
        Ok(())
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, count: u64) -> fmt::Result {
    let metric = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
    metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, count: u64) -> fmt::Result {
    ConstCounter::new(count).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}

fn value(
    metric: prometheus_client::encoding::MetricEncoder<'_>,
    kind: MetricType,
    count: u64,
) -> fmt::Result {
    match kind {
        MetricType::Counter => ConstCounter::new(count).encode(metric),
        _ => ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX)).encode(metric),
    }
}

fn labels(state: &State) -> [(&'static str, String); 3] {
    [
        ("service", state.backend.clone()),
        ("endpoint", state.name.clone()),
        ("address", state.address.to_string()),
    ]
}

fn each(
    encoder: &mut DescriptorEncoder<'_>,
    endpoints: &[Arc<State>],
    name: &str,
    help: &str,
    kind: MetricType,
    of: impl Fn(&State) -> u64,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
    for state in endpoints {
        value(metric.encode_family(&labels(state))?, kind, of(state))?;
    }
    Ok(())
}

fn classes(encoder: &mut DescriptorEncoder<'_>, endpoints: &[Arc<State>]) -> fmt::Result {
    let help = "Requests that were answered, by class of the answer";
    let mut metric = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
    for state in endpoints {
        for (at, class) in CLASS.iter().enumerate() {
            let count = state.sum(|core| &core.classes[at]);
            if count > 0 {
                let [service, endpoint, address] = labels(state);
                let labels = [service, endpoint, address, ("class", (*class).to_owned())];
                value(metric.encode_family(&labels)?, MetricType::Counter, count)?;
            }
        }
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss)] // Microseconds of years are exact.
fn latency(encoder: &mut DescriptorEncoder<'_>, endpoints: &[Arc<State>]) -> fmt::Result {
    let help = "How long it took until an answer began";
    let unit = Unit::Seconds;
    let mut metric =
        encoder.encode_descriptor("request_duration", help, Some(&unit), MetricType::Histogram)?;
    for state in endpoints {
        let counts: Vec<u64> =
            (0..=LATENCY_BOUNDS.len()).map(|at| state.sum(|core| &core.latency[at])).collect();
        let count: u64 = counts.iter().sum();
        let bounds = LATENCY_BOUNDS.iter().map(|millis| millis / 1_000.0).chain([f64::MAX]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let sum = state.sum(|core| &core.latency_sum) as f64 / 1e6;
        let labels = labels(state);
        let mut one = metric.encode_family(&labels)?;
        one.encode_histogram::<prometheus_client::encoding::NoLabelSet>(sum, count, &buckets, None)?;
    }
    Ok(())
}
