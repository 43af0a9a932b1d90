//! What is asked of each service, and between which bounds it is scaled.

use std::fmt;

use gantry_autoscale::Rules;
use gantry_boot::now;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::autoscale::is_scaled;
use crate::history::{History, Newest, Requests};
use crate::state::State;

/// What is asked of each service now: of those that are remembered, so of a bounded number. What was not told in the
/// last seconds is left out: a gap in a diagram says more than an old value.
pub struct Services {
    /// Whose.
    pub state: State,
    /// What was seen of them.
    pub history: History,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Services")
    }
}

impl Collector for Services {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let newest: Vec<(String, Newest)> =
            self.history.newest().into_iter().map(|of| (of.service.to_string(), of)).collect();
        let mut counter = |name: &str, help: &str, value: fn(&Newest) -> u64| {
            let of = newest.iter().map(|(service, of)| (service, ConstCounter::new(value(of))));
            family(&mut encoder, (name, help, MetricType::Counter), of)
        };
        let help = "Requests that ended, also those that found no replica";
        counter("service_requests", help, |of| of.answers.answered)?;
        let help = "Requests that were answered with 5xx or not at all";
        counter("service_errors", help, |of| of.answers.errors)?;

        let told: Vec<(&String, Requests)> =
            newest.iter().filter_map(|(service, of)| Some((service, of.point.as_ref()?.requests?))).collect();
        let mut gauge = |name: &str, help: &str, value: fn(&Requests) -> f64| {
            let of = told.iter().map(|(service, of)| (*service, ConstGauge::new(value(of))));
            family(&mut encoder, (name, help, MetricType::Gauge), of)
        };
        let help = "Requests that replicas are answering, on average over the last second";
        gauge("service_in_flight", help, |of| of.in_flight.into())?;
        gauge("service_waiting", "Requests that wait for a replica", |of| of.waiting.into())?;
        latencies(&mut encoder, &told)?;
        own(&mut encoder, &newest)?;
        self.bounds(&mut encoder)
    }
}

/// One value for each service.
fn family<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, of_type): (&str, &str, MetricType),
    values: impl Iterator<Item = (&'a String, impl EncodeMetric)>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, of_type)?;
    for (service, value) in values {
        value.encode(family.encode_family(&[("service", service.as_str())])?)?;
    }
    Ok(())
}

/// How long answers took to begin.
fn latencies(encoder: &mut DescriptorEncoder<'_>, told: &[(&String, Requests)]) -> Result<(), fmt::Error> {
    let help = "Time in which this share of the answers of the last 5 seconds began";
    let mut family =
        encoder.encode_descriptor("service_latency", help, Some(&Unit::Seconds), MetricType::Gauge)?;
    for (service, of) in told {
        for (quantile, time) in [("0.5", of.p50), ("0.95", of.p95), ("0.99", of.p99)] {
            let Some(time) = time.get() else { continue };
            let labels = [("service", service.as_str()), ("quantile", quantile)];
            ConstGauge::new(time.as_secs_f64()).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// The numbers of their own that services are scaled by.
fn own(encoder: &mut DescriptorEncoder<'_>, newest: &[(String, Newest)]) -> Result<(), fmt::Error> {
    let help = "A number of its own that a service is scaled by, added up over all replicas that are asked";
    let mut family = encoder.encode_descriptor("service_metric", help, None, MetricType::Gauge)?;
    for (service, of) in newest {
        let Some(point) = &of.point else { continue };
        for (name, value) in of.metrics.iter().zip(&point.metrics).filter(|(_, value)| !value.is_nan()) {
            let labels = [("service", service.as_str()), ("metric", name.as_str())];
            ConstGauge::new(*value).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

impl Services {
    /// The bounds that hold now, by the schedules.
    fn bounds(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (snapshot, now) = (self.state.snapshot(), now());
        let scaled = snapshot.services.values().filter(|service| is_scaled(service));
        let bounds: Vec<(String, u32, u32)> = scaled
            .filter_map(|service| {
                let bounds = Rules::new(&service.spec, now)?.bounds;
                Some((service.id.to_string(), bounds.min, bounds.max))
            })
            .collect();
        let mut gauge = |name: &str, help: &str, value: fn(&(String, u32, u32)) -> u32| {
            let of = bounds.iter().map(|of| (&of.0, ConstGauge::new(i64::from(value(of)))));
            family(encoder, (name, help, MetricType::Gauge), of)
        };
        gauge("autoscale_min_replicas", "The fewest replicas that a service is scaled to now", |of| of.1)?;
        gauge("autoscale_max_replicas", "The most replicas that a service is scaled to now", |of| of.2)
    }
}

#[cfg(test)]
mod tests {
    use gantry_model::{Autoscale, MetricTarget, Timestamp};
    use gantry_testkit::World;
    use prometheus_client::registry::Registry;
    use tokio::time::{Duration, advance};

    use super::*;
    use crate::autoscale::Measured;
    use crate::traffic::{Counts, OfEndpoint, OfService, Report, Traffic};

    /// 20 answers that began between 10 and 15 ms, 3 of them with 5xx, and 4 in flight; 2 wait.
    fn report() -> Report {
        let mut counts = Counts { classes: [0, 0, 17, 0, 0, 3], ..Counts::default() };
        counts.latency[6] = 20;
        let endpoint = OfEndpoint { counts, in_flight: 4 };
        let web = OfService { waiting: 2, turned_away: 1, endpoints: vec![(None, endpoint)] };
        Report { services: vec![("shop/web".parse().unwrap(), web)] }
    }

    fn lines(registry: &Registry) -> Vec<String> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_of_services_is_shown_and_old_values_are_not() {
        let jobs = r#"jobs{queue="mail"}"#;
        let metric = MetricTarget {
            service: String::new(),
            port: 80,
            path: "/m".into(),
            name: jobs.into(),
            target: 1.0,
        };
        let rules = Autoscale { min: 2, max: 9, metrics: vec![metric], ..Autoscale::default() };
        let world = World::new(Timestamp::from_millis(1))
            .node("n1")
            .service("shop/web", |web| web.autoscale(rules))
            .service("shop/db", |db| db);
        let (history, traffic) = (History::default(), Traffic::default());
        traffic.add("p1", report());
        advance(Duration::from_secs(1)).await;
        let measured = Measured {
            metrics: [("shop/web".parse().unwrap(), vec![Ok(12.5)])].into(),
            ..Measured::default()
        };
        history.record(&world.snapshot, &traffic.loads(), &traffic, &measured);
        let state = State::new(Box::new(gantry_store::Memory::default()), world.snapshot);
        let mut registry = Registry::with_prefix("gantry");
        registry.register_collector(Box::new(Services { state, history: history.clone() }));
        let web = r#"service="shop/web""#;
        let of_web = [
            format!("gantry_service_requests_total{{{web}}} 21"),
            format!("gantry_service_errors_total{{{web}}} 4"),
            format!("gantry_service_in_flight{{{web}}} 4.0"),
            format!("gantry_service_waiting{{{web}}} 2.0"),
            format!(r#"gantry_service_latency_seconds{{{web},quantile="0.5"}} 0.0125"#),
            format!(r#"gantry_service_latency_seconds{{{web},quantile="0.95"}} 0.01475"#),
            format!(r#"gantry_service_latency_seconds{{{web},quantile="0.99"}} 0.01495"#),
            format!(r#"gantry_service_metric{{{web},metric="jobs{{queue=\"mail\"}}"}} 12.5"#),
            format!("gantry_autoscale_min_replicas{{{web}}} 2"),
            format!("gantry_autoscale_max_replicas{{{web}}} 9"),
        ];
        assert_eq!(lines(&registry), of_web);
        advance(Duration::from_secs(4)).await;
        let kept = [&of_web[..2], &of_web[8..]].concat();
        assert_eq!(lines(&registry), kept, "what was counted and what is set");
    }
}
