//! The figures as a table, and Gantry's goals.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use gantry_e2e::{Figure, report};
use serde_json::json;

use super::peers::Kind;
use super::rows::Load;
use super::sample::{Sample, Series};

/// Prints every figure of every proxy; the last column is what Gantry costs as a share of this one.
pub fn print(series: &[Series]) {
    let mut table = format!(
        "{:<26} {:<8} {:>9} {:<5} {:>9} {:>9} {:>9} {:>9} {:>9}\n",
        "ROW", "PROXY", "COST", "UNIT", "REQ/S", "P50 ms", "P99 ms", "P99.9 ms", "GANTRY ÷"
    );
    for series in series {
        let gantry = series.median_of(Kind::Gantry);
        for (place, (kind, sample)) in series.medians().enumerate() {
            let name = if place == 0 { series.row.name } else { "" };
            let idle = matches!(series.row.load, Load::Idle { .. });
            let _ = write!(
                table,
                "{name:<26} {:<8} {:>9.2} {:<5} ",
                kind.name(),
                sample.cost,
                if idle { "KB" } else { "µs" }
            );
            let [p50, p99, p999] = [sample.p50, sample.p99, sample.p999].map(|micros| micros / 1e3);
            let _ = if idle {
                write!(table, "{:<39}", format!("{:>9.1} MB in all", sample.whole))
            } else {
                write!(table, "{:>9.0} {p50:>9.2} {p99:>9.2} {p999:>9.2}", sample.requests_per_second)
            };
            let ratio = gantry.as_ref().filter(|_| kind != Kind::Gantry).map(|own| own.cost / sample.cost);
            let _ = writeln!(table, " {:>9}", ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")));
        }
    }
    println!("COST is the proxy's time on the processor per request, or its memory per connection.");
    let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
    println!("{}\n", lines.join("\n"));
}

/// Prints which goals are reached, and writes `target/bench/proxy.json` with them and
/// `target/bench/proxy-rows.json` with every figure.
pub fn report_goals(series: &[Series]) -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::var_os("GANTRY_BENCH").ok_or("run benches with `make bench`")?);
    std::fs::create_dir_all(&folder)?;
    let rows: Vec<_> = series.iter().map(to_json).collect();
    std::fs::write(folder.join("proxy-rows.json"), serde_json::to_string_pretty(&rows)?)?;

    let figures: Vec<Figure> = series.iter().flat_map(goals).collect();
    if figures.is_empty() {
        println!("The goals compare Gantry's proxy with nginx and haproxy: not all three were measured.");
    } else {
        report("proxy", &figures);
    }
    Ok(())
}

fn goals(series: &Series) -> Vec<Figure> {
    let (Some(gantry), Some(nginx), Some(haproxy)) =
        (series.median_of(Kind::Gantry), series.median_of(Kind::Nginx), series.median_of(Kind::Haproxy))
    else {
        return Vec::new();
    };
    let row = series.row;
    let cost = |unit, peer: &'static str, sample: &Sample| Figure {
        metric: row.name,
        value: gantry.cost,
        unit,
        peer: Some((peer, sample.cost)),
        budget: Some(row.budget),
    };
    if matches!(row.load, Load::Idle { .. }) {
        let whole = Figure {
            metric: "the whole process with them",
            value: gantry.whole,
            unit: "MB",
            peer: Some(("nginx", nginx.whole)),
            budget: None,
        };
        return vec![cost("KB", "nginx", &nginx), whole];
    }
    // With a budget of 1 both are to be beaten, and nginx in latency too.
    if row.budget > 1.0 {
        let better = if nginx.cost <= haproxy.cost { ("nginx", &nginx) } else { ("haproxy", &haproxy) };
        return vec![cost("µs", better.0, better.1)];
    }
    let p99 = Figure {
        metric: "p99 of it",
        value: gantry.p99 / 1e3,
        unit: "ms",
        peer: Some(("nginx", nginx.p99 / 1e3)),
        budget: Some(1.0),
    };
    vec![cost("µs", "nginx", &nginx), cost("µs", "haproxy", &haproxy), p99]
}

fn to_json(series: &Series) -> serde_json::Value {
    let proxies = series.medians().map(|(kind, sample)| {
        let figures = json!({
            "cost": sample.cost,
            "whole_mb": sample.whole,
            "requests_per_second": sample.requests_per_second,
            "p50_us": sample.p50,
            "p99_us": sample.p99,
            "p999_us": sample.p999,
        });
        (kind.name().to_owned(), figures)
    });
    let unit =
        if matches!(series.row.load, Load::Idle { .. }) { "KB per connection" } else { "µs per request" };
    json!({ "row": series.row.name, "unit": unit, "proxies": proxies.collect::<serde_json::Map<_, _>>() })
}
