//! What was seen of all services in the last second: plain values, whoever measured them.

use std::collections::{BTreeMap, BTreeSet};

use gantry_autoscale::Usage;
use gantry_model::{MetricTarget, ReplicaId, ServiceId, Snapshot, Timestamp};

use super::book::is_scaled;
use crate::traffic::Loads;

/// What was seen in the last second.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// What the proxies have told.
    pub loads: Loads,
    /// Services of which a proxy has just said that somebody waits for a replica.
    pub wanted: BTreeSet<ServiceId>,
    /// What was measured in the replicas.
    pub measured: Measured,
}

/// What was measured in the replicas.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// What replicas use; those of which nothing is known are left out.
    pub usage: BTreeMap<ReplicaId, Usage>,
    /// For each service with metrics of its own, what was read: in the order of its rules, each added up
    /// over all that were asked, or why that is not known.
    pub metrics: BTreeMap<ServiceId, Vec<Result<f64, String>>>,
}

/// What one replica used, as it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// Cores.
    pub cpu_cores: f64,
    /// Bytes of memory, without the page cache that the kernel would give back; `None` where it does not
    /// count them.
    pub memory_bytes: Option<u64>,
    /// When that was heard, on the scheduler's clock.
    pub at: Timestamp,
}

impl Measured {
    /// What is known at `now`: samples of replicas, and for each metric of the rules of a service its value.
    pub fn new(
        snapshot: &Snapshot,
        now: Timestamp,
        samples: impl IntoIterator<Item = (ReplicaId, Sample)>,
        metric: impl Fn(&ServiceId, &MetricTarget) -> Result<f64, String>,
    ) -> Self {
        let usage = |sample: Sample| Usage {
            cpu_millicores: millicores(sample.cpu_cores),
            memory_bytes: sample.memory_bytes,
            age: now.since(sample.at),
        };
        let with_metrics = snapshot.services.values().filter(|service| is_scaled(service));
        let metrics = with_metrics.filter_map(|service| {
            let rules = service.spec.autoscale.as_ref().filter(|rules| !rules.metrics.is_empty())?;
            let values = rules.metrics.iter().map(|target| metric(&service.id, target));
            Some((service.id.clone(), values.collect()))
        });
        Self {
            usage: samples.into_iter().map(|(replica, sample)| (replica, usage(sample))).collect(),
            metrics: metrics.collect(),
        }
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // It is clamped to what fits.
fn millicores(cores: f64) -> u32 {
    (cores * 1_000.0).round().clamp(0.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gantry_model::{Autoscale, AutoscaleMode};
    use gantry_testkit::World;

    use super::*;

    #[test]
    fn samples_get_an_age_and_metrics_the_order_of_the_rules() {
        let now = Timestamp::from_millis(100_000);
        let metric = |name: &str| MetricTarget {
            service: String::new(),
            port: 80,
            path: "/metrics".into(),
            name: name.into(),
            target: 1.0,
        };
        let metrics = vec![metric("jobs"), metric("mails")];
        let rules = Autoscale { max: 5, metrics, ..Autoscale::default() };
        let off = Autoscale { mode: AutoscaleMode::Off, ..rules.clone() };
        let world = World::new(now)
            .node("n1")
            .service("shop/web", |web| web.autoscale(rules))
            .service("shop/off", |service| service.autoscale(off))
            .service("shop/plain", |service| service);
        let replica = ReplicaId::new("r1").unwrap();
        let sample = Sample { cpu_cores: 0.25, memory_bytes: Some(7), at: Timestamp::from_millis(98_500) };
        let measured = Measured::new(&world.snapshot, now, [(replica.clone(), sample)], |service, target| {
            if (service.name(), &*target.name) == ("web", "mails") {
                Ok(3.0)
            } else {
                Err("refused".to_owned())
            }
        });
        let age = Duration::from_millis(1_500);
        let usage = Usage { cpu_millicores: 250, memory_bytes: Some(7), age };
        assert_eq!(measured.usage, [(replica, usage)].into());
        assert_eq!(
            measured.metrics,
            [("shop/web".parse().unwrap(), vec![Err("refused".to_owned()), Ok(3.0)])].into()
        );
        assert_eq!((millicores(-1.0), millicores(1e12), millicores(f64::NAN)), (0, u32::MAX, 0));
    }
}
