//! `gantry stats --history`: the last minutes of one service.

use std::time::Duration;

use gantry_api::cluster::v1::{GetHistoryRequest, GetHistoryResponse, HistoryPoint};
use serde::Serialize;

use super::shapes::{csv, lines};
use crate::args::{FileArgs, List, Shape, Stats};
use crate::client::Cluster;
use crate::failure::{Failure, Result};
use crate::{output, project, when};

/// What was seen of one service, second by second.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Recorded {
    /// Its full name.
    pub service: String,
    /// What the numbers of its own are called, in the order of each second's.
    pub metrics: Vec<String>,
    /// The seconds of which anything is known, oldest first.
    pub seconds: Vec<Moment>,
}

/// One second. What is not known is not there.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Moment {
    /// Seconds since the first one.
    pub second: u64,
    /// When it ended, in UTC.
    pub time: String,
    /// Requests that arrived.
    pub requests_per_second: Option<u32>,
    /// Requests that ended.
    pub answers: Option<u32>,
    /// Those that were answered with 5xx or not at all.
    pub errors: Option<u32>,
    pub in_flight: Option<f64>,
    pub waiting: Option<u32>,
    pub p50_seconds: Option<f64>,
    pub p95_seconds: Option<f64>,
    pub p99_seconds: Option<f64>,
    pub wanted: Option<u32>,
    pub ready: Option<u32>,
    /// Of all replicas together.
    pub cpu_cores: Option<f64>,
    /// In bytes.
    pub memory: Option<u64>,
    /// In the order of the names.
    pub metrics: Vec<Option<f64>>,
}

impl From<GetHistoryResponse> for Recorded {
    fn from(answer: GetHistoryResponse) -> Self {
        let at = |point: &HistoryPoint| point.time.map_or(0, |time| time.seconds);
        let first = answer.points.first().map_or(0, at);
        let seconds = answer.points.iter().map(|point| {
            let second = u64::try_from(at(point).saturating_sub(first)).unwrap_or(0);
            Moment::new(second, point, answer.metrics.len())
        });
        Self { seconds: seconds.collect(), service: answer.service, metrics: answer.metrics }
    }
}

impl Moment {
    fn new(second: u64, point: &HistoryPoint, metrics: usize) -> Self {
        let (traffic, replicas, usage) =
            (point.traffic.as_ref(), point.replicas.as_ref(), point.usage.as_ref());
        let time = |time: Option<prost_types::Duration>| {
            time.and_then(|time| Duration::try_from(time).ok()).map(|time| time.as_secs_f64())
        };
        let value = |at: usize| point.metrics.get(at).and_then(|metric| metric.value);
        Self {
            second,
            time: when::shown(point.time),
            requests_per_second: traffic.map(|of| of.arrived),
            answers: traffic.map(|of| of.answered),
            errors: traffic.map(|of| of.errors),
            in_flight: traffic.map(|of| of.in_flight),
            waiting: traffic.map(|of| of.waiting),
            p50_seconds: traffic.and_then(|of| time(of.p50)),
            p95_seconds: traffic.and_then(|of| time(of.p95)),
            p99_seconds: traffic.and_then(|of| time(of.p99)),
            wanted: replicas.map(|of| of.wanted),
            ready: replicas.map(|of| of.ready),
            cpu_cores: usage.map(|of| of.cpu_cores),
            memory: usage.and_then(|of| of.memory),
            metrics: (0..metrics).map(value).collect(),
        }
    }
}

/// What was seen of a service in the last `time`; it is an error if nothing was.
pub async fn recorded(cluster: &Cluster, service: String, time: Duration) -> Result<Recorded> {
    let request = GetHistoryRequest { service, last: Some(last(time)?) };
    let recorded = Recorded::from(cluster.usage().get_history(request).await?.into_inner());
    if recorded.seconds.is_empty() {
        return Err(Failure::error(format!("nothing was seen of {} in that time", recorded.service))
            .hint("does it run? `gantry why` says how it is"));
    }
    Ok(recorded)
}

/// Shows the last minutes of the one service that is named.
pub async fn run(cluster: &Cluster, stats: &Stats) -> Result<()> {
    let recorded = recorded(cluster, asked(stats)?, stats.last).await?;
    match stats.format.shape() {
        None => output::print(&csv(&recorded)),
        Some(Shape::Table) => {
            let rows = lines(&recorded);
            output::list(&rows, &List { format: Shape::Table, quiet: false })
        }
        Some(shape) => output::one(&recorded, shape, String::new),
    }
}

fn asked(stats: &Stats) -> Result<String> {
    match stats.services.as_slice() {
        [service] => project::service(&FileArgs::from(&stats.scope), service),
        [] => Err(Failure::bad_input("of which service?").hint("name one: gantry stats SERVICE --history")),
        _ => Err(Failure::bad_input("the history is shown of one service at a time").hint("name only one")),
    }
}

/// Up to how much is kept, the scheduler says.
fn last(time: Duration) -> Result<prost_types::Duration> {
    prost_types::Duration::try_from(time).map_err(|_| {
        Failure::bad_input(format!("{time:?} is too long")).hint("no more than 15m is remembered")
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn read(words: &str) -> std::result::Result<Stats, clap::Error> {
        let args = Args::try_parse_from(format!("gantry stats {words}").split_whitespace())?;
        let Command::Stats(stats) = args.command else { panic!() };
        Ok(stats)
    }

    #[test]
    fn one_service_and_a_time_are_asked_for() {
        let stats = read("shop/web --history").unwrap();
        assert_eq!((asked(&stats).unwrap().as_str(), stats.last), ("shop/web", Duration::from_mins(15)));
        let stats = read("shop/web --history --last 90s --format csv").unwrap();
        assert_eq!((stats.last, stats.format.shape()), (Duration::from_secs(90), None));
        assert_eq!(last(stats.last).unwrap().seconds, 90);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let wrong = |words: &str| asked(&read(words).unwrap()).unwrap_err().to_string();
        assert_eq!(wrong("--history"), "of which service?");
        assert!(wrong("shop/web shop/db --history").contains("one service at a time"));
        assert!(read("shop/web --last 5m").is_err(), "of what?");
        assert!(read("shop/web --history --last soon").unwrap_err().to_string().contains("write 30s"));
        assert!(read("shop/web --history --format xml").is_err());
        assert!(read("shop/web --history --no-stream").is_err());
        assert!(last(Duration::MAX).is_err());
    }
}
