//! What was seen of a service in the last minutes, in the answers of `gantry.cluster.v1.UsageService`: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_api::cluster::v1::{
    GetHistoryResponse, HistoryPoint, HistoryReplicas, HistoryTraffic, HistoryValue, ResourceUsage,
};
use gantry_model::wire::{write_duration, write_time};
use gantry_model::{ServiceId, Timestamp};
use tonic::Status;

use crate::history::{LONGEST, Point, Recorded, Requests, Used};
use crate::usage::Together;

/// How much is asked for: all that is remembered, unless it is said.
pub fn read_last(last: Option<prost_types::Duration>) -> Result<Duration, Status> {
    let last = last.map_or(Ok(LONGEST), Duration::try_from).ok();
    last.filter(|last| *last >= Duration::from_secs(1) && *last <= LONGEST).ok_or_else(|| {
        Status::invalid_argument("last must be from 1 s to 15 minutes: no more than that is kept")
    })
}

/// What was `recorded`, as it is told at `now`. What replicas used is what was recorded with it, since some of them
/// may be gone by now; of other seconds it is what those that are there have used `together`.
pub fn shown(
    service: &ServiceId,
    recorded: Recorded,
    together: &BTreeMap<u64, Together>,
    now: Timestamp,
) -> GetHistoryResponse {
    let mut points: BTreeMap<u64, HistoryPoint> = BTreeMap::new();
    for (ago, of) in together {
        let usage = ResourceUsage { cpu_cores: of.cpu_cores, memory: of.memory_bytes, replicas: of.replicas };
        points.entry(*ago).or_default().usage = Some(usage);
    }
    for (ago, point) in &recorded.points {
        let shown = points.entry(*ago).or_default();
        shown.traffic = point.requests.as_ref().map(traffic);
        shown.usage = point.used.map(usage).or(shown.usage);
        shown.replicas = Some(HistoryReplicas { wanted: point.wanted, ready: point.ready });
        shown.metrics = values(point, recorded.metrics.len());
    }
    let points = points.into_iter().rev().map(|(ago, point)| {
        let millis = i64::try_from(ago.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let time = Timestamp::from_millis(now.as_millis().saturating_sub(millis));
        HistoryPoint { time: Some(write_time(time)), ..point }
    });
    GetHistoryResponse { service: service.to_string(), metrics: recorded.metrics, points: points.collect() }
}

fn traffic(of: &Requests) -> HistoryTraffic {
    HistoryTraffic {
        arrived: of.arrived,
        answered: of.answered,
        errors: of.errors,
        in_flight: of.in_flight.into(),
        waiting: of.waiting,
        p50: of.p50.get().map(write_duration),
        p95: of.p95.get().map(write_duration),
        p99: of.p99.get().map(write_duration),
    }
}

fn usage(of: Used) -> ResourceUsage {
    ResourceUsage {
        cpu_cores: f64::from(of.cpu_millicores) / 1_000.0,
        memory: of.memory_kib.map(|kib| u64::from(kib) << 10),
        replicas: of.replicas,
    }
}

/// One for each that is named, also where it is not known.
fn values(point: &Point, named: usize) -> Vec<HistoryValue> {
    let value = |at| point.metrics.get(at).copied().filter(|value: &f64| !value.is_nan());
    (0..named).map(|at| HistoryValue { value: value(at) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_fifteen_minutes_can_be_asked_for() {
        let read = |seconds| read_last(Some(prost_types::Duration { seconds, nanos: 0 }));
        assert_eq!(read_last(None).unwrap(), LONGEST);
        assert_eq!((read(1).unwrap(), read(900).unwrap()), (Duration::from_secs(1), LONGEST));
        assert!(read(0).is_err() && read(-1).is_err());
        assert!(read(901).unwrap_err().message().contains("15 minutes"));
    }

    #[test]
    fn what_was_recorded_with_a_second_counts_more_than_what_replicas_of_now_used_in_it() {
        let requests =
            Requests { arrived: 7, p95: Some(Duration::from_millis(20)).into(), ..Requests::default() };
        let used = Used { cpu_millicores: 900, memory_kib: Some(3), replicas: 3 };
        let recorded = Point {
            requests: Some(requests),
            used: Some(used),
            wanted: 3,
            ready: 2,
            metrics: [f64::NAN].into(),
        };
        let recorded = Recorded { metrics: vec!["jobs".into(), "mails".into()], points: vec![(2, recorded)] };
        let of = Together { cpu_cores: 0.25, memory_bytes: Some(5), replicas: 1 };
        let together = BTreeMap::from([(1, of), (2, of)]);
        let shown = shown(&"shop/web".parse().unwrap(), recorded, &together, Timestamp::from_millis(100_000));
        let [first, second] = shown.points.as_slice() else { panic!("{shown:?}") };
        assert_eq!((first.time.unwrap().seconds, second.time.unwrap().seconds), (98, 99));
        let usage = first.usage.unwrap();
        assert_eq!((usage.memory, usage.replicas), (Some(3 << 10), 3));
        assert!((usage.cpu_cores - 0.9).abs() < 1e-9, "{usage:?}");
        let traffic = first.traffic.unwrap();
        assert_eq!((traffic.arrived, traffic.p95.unwrap().nanos, traffic.p50), (7, 20_000_000, None));
        assert_eq!(first.metrics, [HistoryValue::default(), HistoryValue::default()]);
        assert_eq!((second.traffic, second.replicas), (None, None));
        assert_eq!(second.usage.map(|usage| usage.replicas), Some(1));
    }
}
