//! Numbers about this watchdog, counted when they are asked for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::decide::{Outlook, Prospect};
use crate::judge::Counts;
use crate::seat::Seat;
use crate::world::Condition;

/// A registry that shows what is seen from `seat`, `found` there, and done.
pub fn registry(seat: Seat, found: watch::Receiver<Arc<Outlook>>, counts: Arc<Counts>) -> Registry {
    let mut registry = Registry::with_prefix("gantry_watchdog");
    registry.register_collector(Box::new(Numbers { seat, found, counts }));
    registry
}

struct Numbers {
    seat: Seat,
    found: watch::Receiver<Arc<Outlook>>,
    counts: Arc<Counts>,
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Numbers")
    }
}

impl Collector for Numbers {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mirror = self.seat.mirrors.borrow().clone();
        let found = self.found.borrow().clone();
        let waits = |one: &&Prospect| !one.waits_for.is_empty() && one.condition != Condition::Healthy;
        let waiting = found.prospects.iter().filter(waits).count();
        let gauges = [
            ("leads", "Whether this watchdog has the right to act", usize::from(self.seat.leads())),
            ("feed_connected", "Whether the feed is open", usize::from(mirror.connected)),
            (
                "feed_revision",
                "Number of the newest stored change that was seen",
                usize::try_from(mirror.revision).unwrap_or(usize::MAX),
            ),
            ("replicas_not_well", "Replicas that need something done", found.prospects.len()),
            ("repairs_waiting", "Of those, the ones that wait for their turn or a pause", waiting),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let looks = ConstCounter::new(self.counts.looks.load(Relaxed));
        looks.encode(encoder.encode_descriptor(
            "looks",
            "Times that the state was judged",
            None,
            looks.metric_type(),
        )?)?;
        let outcomes = [
            ("taken", &self.counts.taken),
            ("refused", &self.counts.refused),
            ("unknown", &self.counts.unknown),
        ];
        let help = "Verdicts that were handed over, by what became of them";
        let mut family = encoder.encode_descriptor("verdicts", help, None, MetricType::Counter)?;
        for (outcome, count) in outcomes {
            let labels = [("outcome", outcome)];
            ConstCounter::new(count.load(Relaxed)).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
