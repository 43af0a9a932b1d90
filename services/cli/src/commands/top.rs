//! `gantry top`: what arrives at services, and what they use.

use std::io::IsTerminal as _;
use std::time::Duration;

use gantry_api::cluster::v1 as wire;
use gantry_api::cluster::v1::{GetTrafficRequest, TrafficQuery, TrafficReport, WatchTrafficRequest};
use serde::Serialize;
use tokio::sync::mpsc::Receiver;

use crate::args::{FileArgs, List, Shape, Top};
use crate::client::Cluster;
use crate::failure::{Failure, Result};
use crate::output::{self, Row};
use crate::project;
use crate::terminal::{self, Input, Raw};

/// Lines of a terminal whose size nobody knows.
const HEIGHT: u32 = 24;
const CTRL_C: u8 = 3;

/// The traffic of a service, or of one of its replicas.
#[derive(Clone, Serialize)]
struct Line {
    service: String,
    /// Of a replica: its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    replica: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<u32>,
    /// Of a replica: the name of its node.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wanted: Option<u32>,
    requests_per_second: f64,
    error_rate: f64,
    p50_seconds: Option<f64>,
    p95_seconds: Option<f64>,
    p99_seconds: Option<f64>,
    in_flight: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<u64>,
    /// Of all replicas together; not there where nothing was measured lately.
    cpu_cores: Option<f64>,
    /// In bytes.
    memory: Option<u64>,
}

impl Line {
    fn new(service: &str, traffic: Option<wire::Traffic>, usage: Option<wire::ResourceUsage>) -> Self {
        let traffic = traffic.unwrap_or_default();
        let seconds = |time: Option<prost_types::Duration>| {
            time.and_then(|time| Duration::try_from(time).ok()).map(|time| time.as_secs_f64())
        };
        Self {
            service: service.to_owned(),
            replica: None,
            slot: None,
            node: None,
            ready: None,
            wanted: None,
            requests_per_second: traffic.requests_per_second,
            error_rate: traffic.error_rate,
            p50_seconds: seconds(traffic.p50),
            p95_seconds: seconds(traffic.p95),
            p99_seconds: seconds(traffic.p99),
            in_flight: traffic.in_flight,
            waiting: None,
            cpu_cores: usage.map(|usage| usage.cpu_cores),
            memory: usage.and_then(|usage| usage.memory),
        }
    }
}

impl Row for Line {
    const HEAD: &'static [&'static str] =
        &["SERVICE", "REPLICAS", "REQ/S", "ERRORS", "P50", "P95", "IN FLIGHT", "WAITING", "CPU", "MEMORY"];

    fn cells(&self) -> Vec<String> {
        let replicas = match (self.ready, self.wanted) {
            (Some(ready), Some(wanted)) => format!("{ready}/{wanted}"),
            _ => self.node.clone().unwrap_or_default(),
        };
        let errors = if self.requests_per_second > 0.0 { percent(self.error_rate) } else { "-".to_owned() };
        vec![
            self.name(),
            replicas,
            rate(self.requests_per_second),
            errors,
            time(self.p50_seconds),
            time(self.p95_seconds),
            self.in_flight.to_string(),
            self.waiting.map(|waiting| waiting.to_string()).unwrap_or_default(),
            // As `gantry stats` has it: 100% is one core.
            self.cpu_cores.map_or_else(|| "-".to_owned(), |cores| format!("{:.1}%", cores * 100.0)),
            self.memory.map_or_else(|| "-".to_owned(), output::bytes),
        ]
    }

    fn name(&self) -> String {
        match self.slot {
            Some(slot) => format!("{}/{slot}", self.service),
            None => self.service.clone(),
        }
    }
}

/// Requests a second.
pub fn rate(rate: f64) -> String {
    if rate >= 100.0 || rate == 0.0 { format!("{rate:.0}") } else { format!("{rate:.1}") }
}

/// A share; what is there is not shown as nothing.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        _ if percent > 0.0 && percent < 0.05 => "<0.1%".to_owned(),
        _ if percent == 0.0 || percent >= 10.0 => format!("{percent:.0}%"),
        _ => format!("{percent:.1}%"),
    }
}

/// A time in its unit.
pub fn time(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return "-".to_owned() };
    let millis = seconds * 1_000.0;
    match millis {
        _ if millis < 10.0 => format!("{millis:.1}ms"),
        _ if millis < 1_000.0 => format!("{millis:.0}ms"),
        _ => format!("{seconds:.1}s"),
    }
}

fn lines(report: &TrafficReport) -> Vec<Line> {
    let of_service = |service: &wire::ServiceTraffic| {
        let own = Line {
            ready: Some(service.ready),
            wanted: Some(service.wanted),
            waiting: Some(service.waiting),
            ..Line::new(&service.service, service.traffic, service.usage)
        };
        let replicas = service.replicas.iter().map(|replica| Line {
            replica: Some(replica.replica.clone()),
            slot: Some(replica.slot),
            node: Some(replica.node.clone()),
            ..Line::new(&service.service, replica.traffic, replica.usage)
        });
        std::iter::once(own).chain(replicas).collect::<Vec<_>>()
    };
    report.services.iter().flat_map(of_service).collect()
}

/// Shows the traffic of services, and what they use.
pub async fn run(cluster: &Cluster, top: Top) -> Result<()> {
    let scope = FileArgs::from(&top.scope);
    let window = prost_types::Duration::try_from(top.window)
        .map_err(|_| Failure::bad_input("the window is too long: 60s at most"))?;
    let mut query = TrafficQuery { window: Some(window), replicas: top.replicas, ..TrafficQuery::default() };
    for service in &top.services {
        query.services.push(project::service(&scope, service)?);
    }
    if query.services.is_empty() {
        query.stack = project::find_stack(&scope)?.map(|stack| stack.to_string()).unwrap_or_default();
    }
    let shape = top.format.format;
    if top.no_stream || shape != Shape::Table || !std::io::stdout().is_terminal() {
        let request = GetTrafficRequest { query: Some(query) };
        let report = cluster.traffic().get_traffic(request).await?.into_inner().report.unwrap_or_default();
        if let Some(warning) = warning(&report) {
            eprintln!("{warning}");
        }
        return output::list(&lines(&report), &List { format: shape, quiet: false });
    }
    let request = WatchTrafficRequest { query: Some(query) };
    let reports = cluster.traffic().watch_traffic(request).await?.into_inner();
    follow(reports).await
}

/// Without proxies nothing is known, which is not the same as no traffic.
fn warning(report: &TrafficReport) -> Option<&'static str> {
    (report.proxies == 0)
        .then_some("no proxy has reported in the last seconds: nothing is known of the traffic")
}

/// Shows each report in place of the one before, until q or ctrl-c.
async fn follow(mut reports: tonic::Streaming<wire::WatchTrafficResponse>) -> Result<()> {
    // Without a terminal to type at, ctrl-c still ends this.
    let raw = if terminal::is_interactive() { Some(Raw::begin()?) } else { None };
    let mut keys = terminal::input(raw.is_some(), false);
    let mut height = 0;
    loop {
        let report = tokio::select! {
            report = reports.message() => report?,
            () = quit(&mut keys), if raw.is_some() => return Ok(()),
        };
        let Some(report) = report.and_then(|report| report.report) else { return Ok(()) };
        let rows = terminal::size().map_or(HEIGHT, |size| size.height);
        let text = screen(&report, usize::try_from(rows).unwrap_or(usize::MAX), output::colours());
        let back = if height > 0 { format!("\x1b[{height}A\x1b[J") } else { String::new() };
        height = text.lines().count();
        // A terminal whose keys are taken as they are takes line ends so, too.
        output::print(&format!("{back}{}", text.replace('\n', "\r\n")))?;
    }
}

/// What fits on a terminal of so many lines; the last one is the cursor's.
fn screen(report: &TrafficReport, rows: usize, colours: bool) -> String {
    let mut lines = lines(report);
    let warning = warning(report);
    // The head, what cannot be shown, and the cursor have a line each.
    let room = rows.saturating_sub(3 + usize::from(warning.is_some())).max(1);
    let more = lines.len().saturating_sub(room);
    lines.truncate(room);
    let mut text = output::render_table(&lines, colours);
    if let Some(warning) = warning {
        text = format!("{warning}\n{text}");
    }
    if more > 0 {
        text += &format!("… and {more} more\n");
    }
    text
}

/// Comes back when the user wants no more.
async fn quit(keys: &mut Receiver<Input>) {
    while let Some(input) = keys.recv().await {
        match input {
            Input::Bytes(bytes) if bytes.iter().any(|key| matches!(*key, b'q' | b'Q' | CTRL_C)) => return,
            Input::Bytes(_) | Input::Resize(_) => {}
            Input::End => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> TrafficReport {
        let time = |millis: i32| Some(prost_types::Duration { seconds: 0, nanos: millis * 1_000_000 });
        let traffic = wire::Traffic {
            requests_per_second: 1234.5,
            error_rate: 0.012,
            p50: time(2),
            p95: time(45),
            p99: time(200),
            in_flight: 7,
        };
        let replica = wire::ReplicaTraffic {
            replica: "r1".into(),
            slot: 1,
            node: "one".into(),
            traffic: Some(wire::Traffic { requests_per_second: 12.5, ..traffic }),
            usage: Some(wire::ResourceUsage { cpu_cores: 0.25, memory: Some(48 << 20), replicas: 1 }),
        };
        let web = wire::ServiceTraffic {
            service: "shop/web".into(),
            wanted: 3,
            ready: 2,
            traffic: Some(traffic),
            waiting: 4,
            replicas: vec![replica],
            usage: Some(wire::ResourceUsage { cpu_cores: 1.5, memory: Some(96 << 20), replicas: 2 }),
            ..Default::default()
        };
        let db =
            wire::ServiceTraffic { service: "shop/db".into(), wanted: 1, ready: 1, ..Default::default() };
        TrafficReport { services: vec![web, db], window: None, proxies: 1 }
    }

    #[test]
    fn services_are_shown_with_their_replicas_below() {
        let expected = "\
SERVICE      REPLICAS   REQ/S   ERRORS   P50     P95    IN FLIGHT   WAITING   CPU      MEMORY
shop/web     2/3        1234    1.2%     2.0ms   45ms   7           4         150.0%   96.0MiB
shop/web/1   one        12.5    1.2%     2.0ms   45ms   7                     25.0%    48.0MiB
shop/db      1/1        0       -        -       -      0           0         -        -
";
        assert_eq!(screen(&report(), 24, false), expected);
    }

    #[test]
    fn a_small_terminal_says_how_much_it_cannot_show() {
        let text = screen(&report(), 4, false);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.ends_with("… and 2 more\n"), "{text}");
    }

    #[test]
    fn silence_of_the_proxies_is_told_from_no_traffic() {
        let text = screen(&TrafficReport { proxies: 0, ..report() }, 24, false);
        assert!(text.starts_with("no proxy has reported"), "{text}");
    }

    #[test]
    fn numbers_are_short_and_never_hide_an_error() {
        assert_eq!([rate(0.0), rate(0.25), rate(99.5), rate(2500.4)], ["0", "0.2", "99.5", "2500"]);
        assert_eq!(
            [percent(0.0), percent(0.0001), percent(0.034), percent(1.0)],
            ["0%", "<0.1%", "3.4%", "100%"]
        );
        assert_eq!(
            [time(None), time(Some(0.0004)), time(Some(0.25)), time(Some(2.04))],
            ["-", "0.4ms", "250ms", "2.0s"]
        );
    }
}
