//! The last minutes of a service, as a table and as CSV: pure.

use serde::Serialize;

use super::history::{Moment, Recorded};
use crate::commands::top::{percent, rate, time};
use crate::output::{Row, bytes};

/// So many seconds are one row of a table.
const EACH: u64 = 10;
/// Up to so many seconds, each has a row of its own.
const FEW: usize = 30;
/// The columns of a CSV file before those of the service's own numbers. `simulate` reads the first two.
const HEAD: [&str; 14] = [
    "second",
    "rps",
    "time",
    "answers",
    "errors",
    "in_flight",
    "waiting",
    "p50_seconds",
    "p95_seconds",
    "p99_seconds",
    "wanted",
    "ready",
    "cpu_cores",
    "memory_bytes",
];

/// Some seconds in one row.
#[derive(Debug, Serialize)]
pub struct Line {
    cells: Vec<String>,
}

impl Row for Line {
    const HEAD: &'static [&'static str] = &[
        "TIME",
        "REQ/S",
        "ERRORS",
        "P50",
        "P95",
        "P99",
        "IN FLIGHT",
        "WAITING",
        "READY",
        "CPU",
        "MEMORY",
        "OWN",
    ];

    fn cells(&self) -> Vec<String> {
        self.cells.clone()
    }

    fn name(&self) -> String {
        self.cells.first().cloned().unwrap_or_default()
    }
}

/// The rows of a table: about one for each 10 seconds.
pub fn lines(recorded: &Recorded) -> Vec<Line> {
    let each = if recorded.seconds.len() <= FEW { 1 } else { EACH };
    let rows = recorded.seconds.chunk_by(|one, next| one.second / each == next.second / each);
    rows.map(|seconds| line(&recorded.metrics, seconds)).collect()
}

/// Means of rates, the highest of latencies, memory and what waits, and the replicas as they were at last.
fn line(metrics: &[String], seconds: &[Moment]) -> Line {
    let mean_of = |of: &dyn Fn(&Moment) -> Option<f64>| mean(seconds.iter().filter_map(of));
    let highest = |of: fn(&Moment) -> Option<f64>| seconds.iter().filter_map(of).reduce(f64::max);
    let last = seconds.last();
    let own = metrics.iter().enumerate().map(|(at, name)| {
        let value = mean_of(&|second| second.metrics.get(at).copied().flatten());
        format!("{name} {}", value.map_or_else(unknown, rate))
    });
    let ready = last.and_then(|second| Some(format!("{}/{}", second.ready?, second.wanted?)));
    let cells = vec![
        last.map(|second| second.time.clone()).unwrap_or_default(),
        mean_of(&|second| second.requests_per_second.map(f64::from)).map_or_else(unknown, rate),
        errors(seconds),
        time(highest(|second| second.p50_seconds)),
        time(highest(|second| second.p95_seconds)),
        time(highest(|second| second.p99_seconds)),
        mean_of(&|second| second.in_flight).map_or_else(unknown, rate),
        seconds
            .iter()
            .filter_map(|second| second.waiting)
            .max()
            .map_or_else(unknown, |count| count.to_string()),
        ready.unwrap_or_else(unknown),
        // As `gantry stats` has it: 100% is one core.
        mean_of(&|second| second.cpu_cores).map_or_else(unknown, |cores| format!("{:.1}%", cores * 100.0)),
        seconds.iter().filter_map(|second| second.memory).max().map_or_else(unknown, bytes),
        own.collect::<Vec<_>>().join(", "),
    ];
    Line { cells }
}

/// The share of answers that failed.
fn errors(seconds: &[Moment]) -> String {
    let sum = |of: fn(&Moment) -> Option<u32>| seconds.iter().filter_map(of).map(f64::from).sum::<f64>();
    let answers = sum(|second| second.answers);
    if answers == 0.0 {
        return unknown();
    }
    percent(sum(|second| second.errors) / answers)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

fn unknown() -> String {
    "-".to_owned()
}

/// A line for each second, as `gantry autoscale simulate --load` takes it. What is not known is empty.
pub fn csv(recorded: &Recorded) -> String {
    let head =
        HEAD.iter().map(|name| (*name).to_owned()).chain(recorded.metrics.iter().map(|name| quoted(name)));
    let mut text = head.collect::<Vec<_>>().join(",") + "\n";
    for second in &recorded.seconds {
        text += &record(second).join(",");
        text += "\n";
    }
    text
}

fn record(of: &Moment) -> Vec<String> {
    fn cell(value: Option<impl ToString>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    let mut cells = vec![
        of.second.to_string(),
        cell(of.requests_per_second),
        of.time.clone(),
        cell(of.answers),
        cell(of.errors),
        cell(of.in_flight),
        cell(of.waiting),
        cell(of.p50_seconds),
        cell(of.p95_seconds),
        cell(of.p99_seconds),
        cell(of.wanted),
        cell(of.ready),
        cell(of.cpu_cores),
        cell(of.memory),
    ];
    cells.extend(of.metrics.iter().map(|value| cell(*value)));
    cells
}

/// As RFC 4180 has it.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use gantry_autoscale::simulate::Load;

    use super::*;
    use crate::output::render_table;

    /// Seconds with traffic; one number of its own, which is not known in the first one.
    fn recorded(count: u64) -> Recorded {
        let second = |second: u64| Moment {
            second,
            time: format!("2026-01-31T12:{:02}:{:02}Z", second / 60, second % 60),
            requests_per_second: u32::try_from(second).ok(),
            answers: Some(10),
            errors: Some(1),
            in_flight: Some(2.5),
            waiting: Some(0),
            p50_seconds: Some(0.02),
            p95_seconds: Some(1.5),
            p99_seconds: None,
            wanted: Some(3),
            ready: Some(2),
            cpu_cores: Some(0.75),
            memory: Some(64 << 20),
            metrics: vec![(second > 0).then_some(7.0)],
        };
        let metrics = vec![r#"jobs{queue="mail"}"#.to_owned()];
        Recorded { service: "shop/web".into(), metrics, seconds: (0..count).map(second).collect() }
    }

    #[test]
    fn a_table_has_a_row_for_each_ten_seconds_and_its_columns_line_up() {
        let recorded = recorded(900);
        let rows = lines(&recorded);
        assert_eq!(rows.len(), 90);
        let text = render_table(&rows[..2], false);
        let expected = r#"TIME                   REQ/S   ERRORS   P50    P95    P99   IN FLIGHT   WAITING   READY   CPU     MEMORY    OWN
2026-01-31T12:00:09Z   4.5     10%      20ms   1.5s   -     2.5         0         2/3     75.0%   64.0MiB   jobs{queue="mail"} 7.0
2026-01-31T12:00:19Z   14.5    10%      20ms   1.5s   -     2.5         0         2/3     75.0%   64.0MiB   jobs{queue="mail"} 7.0
"#;
        assert_eq!(text, expected);
        assert_eq!(lines(&self::recorded(30)).len(), 30, "few seconds have a row each");
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let seconds = vec![Moment { cpu_cores: Some(0.5), memory: Some(1 << 20), ..Moment::default() }];
        let recorded = Recorded { seconds, ..Recorded::default() };
        let cells = lines(&recorded).remove(0).cells;
        assert_eq!(cells[1..], ["-", "-", "-", "-", "-", "-", "-", "-", "50.0%", "1.0MiB", ""]);
    }

    #[test]
    fn a_csv_file_can_be_replayed_as_it_is() {
        let mut recorded = recorded(4);
        recorded.seconds[2].requests_per_second = None;
        let text = csv(&recorded);
        let mut lines = text.lines();
        let head = lines.next().unwrap();
        assert!(
            head.starts_with("second,rps,time,") && head.ends_with(r#","jobs{queue=""mail""}""#),
            "{head}"
        );
        assert_eq!(lines.next(), Some("0,0,2026-01-31T12:00:00Z,10,1,2.5,0,0.02,1.5,,3,2,0.75,67108864,"));
        let load = Load::parse(&text).unwrap();
        assert_eq!(
            (load.seconds(), load.at(1).to_string(), load.at(2).to_string()),
            (3, "1".into(), "1".into())
        );
    }
}
