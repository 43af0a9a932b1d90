//! Gantry's proxy beside nginx, haproxy and a raw TCP relay (the floor), on this machine, without an
//! engine: the proxy under load has core 0 for itself, load and backend share core 1, and within a
//! round every proxy has its turn, so that a noisy neighbour disturbs all of them alike.
//!
//! `GANTRY_BENCH_SECONDS` is the time per measurement (4), `GANTRY_BENCH_ONLY=nginx,relay` chooses
//! proxies, `GANTRY_BENCH_ROWS=TLS` the rows with that in their names.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use proxy::machine::Machine;
use proxy::peers::{Kind, Peer};
use proxy::rows::{Load, ROWS, Row};
use proxy::sample::{Sample, Series};
use proxy::{idle, load, machine, relay, table};

mod proxy {
    pub mod daemon;
    pub mod idle;
    pub mod load;
    pub mod machine;
    pub mod peers;
    pub mod relay;
    pub mod rows;
    pub mod sample;
    pub mod table;
}

const ROUNDS: usize = 3;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // The bench starts itself again for the parts that must have a process of their own.
    let ended = match words.as_slice() {
        ["relay", port, to] => relay::run(port, to),
        ["idle", count, port] => idle::hold(count, port),
        _ => bench(),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<(), Box<dyn Error>> {
    let kinds = chosen_kinds()?;
    machine::check_programs(&kinds)?;
    let time = match std::env::var("GANTRY_BENCH_SECONDS") {
        Ok(text) => {
            Duration::from_secs(text.parse().map_err(|_| "GANTRY_BENCH_SECONDS is not a whole number")?)
        }
        Err(_) => Duration::from_secs(4),
    };
    let only = std::env::var("GANTRY_BENCH_ROWS").unwrap_or_default();
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.name.contains(&only)).collect();

    if rows.is_empty() {
        return Err(format!("GANTRY_BENCH_ROWS: no row has {only} in its name").into());
    }
    machine::warn_if_busy()?;
    let machine = Machine::prepare()?;
    let peers = kinds.iter().map(|kind| Peer::start(*kind, &machine)).collect::<Result<Vec<_>, _>>()?;
    for peer in &peers {
        peer.answers_rightly()?;
    }
    let mut series: Vec<Series> = rows.iter().map(|row| Series::new(row, &kinds)).collect();
    let mut failures = Vec::new();
    for round in 1..=ROUNDS {
        for (row, series) in rows.iter().zip(&mut series) {
            eprintln!("  round {round} of {ROUNDS}: {}", row.name);
            for peer in peers.iter().filter(|peer| row.suits(peer.kind)) {
                let sample = measure(row, peer, &machine, time)?;
                let about = |failure: &String| format!("{}, {}: {failure}", row.name, peer.kind.name());
                failures.extend(sample.failures.iter().map(about));
                series.add(peer.kind, sample);
            }
        }
    }
    drop(peers);
    table::print(&series);
    if !failures.is_empty() {
        return Err(
            format!("requests failed, so the figures say nothing\n  {}", failures.join("\n  ")).into()
        );
    }
    table::report_goals(&series)
}

fn measure(row: &Row, peer: &Peer, machine: &Machine, time: Duration) -> Result<Sample, Box<dyn Error>> {
    match row.load {
        Load::Wrk(_) | Load::H2 { .. } => load::measure(row, peer, machine, time),
        // A process that has served a storm has memory left over from it: this one is fresh.
        Load::Idle { connections } => idle::measure(connections, &Peer::start(peer.kind, machine)?),
    }
}

fn chosen_kinds() -> Result<Vec<Kind>, Box<dyn Error>> {
    let Ok(only) = std::env::var("GANTRY_BENCH_ONLY") else { return Ok(Kind::ALL.to_vec()) };
    let known = |name: &str| Kind::ALL.into_iter().find(|kind| kind.name() == name);
    only.split(',')
        .map(|name| known(name.trim()).ok_or_else(|| format!("GANTRY_BENCH_ONLY: what is {name}?").into()))
        .collect()
}
