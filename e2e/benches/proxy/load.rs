//! Load by wrk and h2load, and what a proxy spent on it.

use std::error::Error;
use std::fs;
use std::process::Command;
use std::time::Duration;

use super::daemon::pinned;
use super::machine::{CIPHER, LOAD_CORE, Machine, SMALL};
use super::peers::Peer;
use super::rows::{Load, Row, Wrk};
use super::sample::Sample;

const WARM_UP: Duration = Duration::from_secs(1);

/// Prints what wrk's own summary leaves out: p99.9, and failures one by one.
const SCRIPT: &str = r#"
done = function(summary, latency, requests)
    local e = summary.errors
    print(string.format("RESULT %d %d %d %d %d %d %d %d %d %d %d",
        summary.requests, summary.duration, summary.bytes,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
        e.connect, e.read, e.write, e.timeout, e.status))
end
"#;

/// What a load program counted.
struct Count {
    requests: u32,
    seconds: f64,
    /// In µs: p50, p99, p99.9.
    percentiles: [u32; 3],
    failures: Vec<String>,
}

/// Warms a proxy up with the load of `row`, and measures it.
pub fn measure(row: &Row, peer: &Peer, machine: &Machine, time: Duration) -> Result<Sample, Box<dyn Error>> {
    let run = |time| match &row.load {
        Load::Wrk(load) => wrk(load, peer, machine, time),
        Load::H2 { connections, streams } => h2load(*connections, *streams, peer, machine, time),
        Load::Idle { .. } => Err("idle connections are no load".into()),
    };
    run(WARM_UP)?;
    let before = peer.daemon.cpu()?;
    let count = run(time)?;
    let spent = peer.daemon.cpu()?.saturating_sub(before);
    if count.requests == 0 {
        return Err(format!("{}, {}: no request got an answer", row.name, peer.kind.name()).into());
    }
    let [p50, p99, p999] = count.percentiles.map(f64::from);
    Ok(Sample {
        cost: spent.as_secs_f64() * 1e6 / f64::from(count.requests),
        requests_per_second: f64::from(count.requests) / count.seconds,
        p50,
        p99,
        p999,
        failures: count.failures,
        ..Sample::default()
    })
}

fn wrk(load: &Wrk, peer: &Peer, machine: &Machine, time: Duration) -> Result<Count, Box<dyn Error>> {
    let script = machine.file("wrk.lua");
    fs::write(&script, SCRIPT)?;
    let script = script.to_string_lossy();
    let (scheme, port) = if load.tls { ("https", peer.tls) } else { ("http", peer.plain) };
    let url = format!("{scheme}://localhost:{port}{}", load.body.0);
    let (connections, seconds) = (format!("-c{}", load.connections), format!("-d{}s", time.as_secs()));
    let mut words = vec!["wrk", "-t1", &connections, &seconds, "-s", &script];
    if load.close {
        words.extend(["-H", "Connection: close"]);
    }
    words.push(&url);
    let output = run(pinned(LOAD_CORE, &words).env("OPENSSL_CONF", machine.file("openssl.cnf")))?;
    let line = output.lines().find_map(|line| line.strip_prefix("RESULT "));
    let numbers: Vec<u64> =
        line.unwrap_or_default().split(' ').map(str::parse).collect::<Result<_, _>>().unwrap_or_default();
    let [requests, micros, bytes, p50, p99, p999, errors @ ..] = numbers.as_slice() else {
        return Err(format!("wrk did not print its result:\n{output}").into());
    };
    let kinds =
        ["connects failed", "reads failed", "writes failed", "timed out", "had a status of 400 or more"];
    let counted = kinds.iter().zip(errors).filter(|(_, count)| **count > 0);
    let mut failures: Vec<String> = counted.map(|(kind, count)| format!("{count} {kind}")).collect();
    if *bytes < requests * load.body.1 as u64 {
        failures.push(format!("{bytes} bytes for {requests} answers of {} each", load.body.1));
    }
    Ok(Count {
        requests: u32::try_from(*requests)?,
        seconds: Duration::from_micros(*micros).as_secs_f64(),
        percentiles: [u32::try_from(*p50)?, u32::try_from(*p99)?, u32::try_from(*p999)?],
        failures,
    })
}

fn h2load(
    connections: u16,
    streams: u16,
    peer: &Peer,
    machine: &Machine,
    time: Duration,
) -> Result<Count, Box<dyn Error>> {
    let log = machine.file("h2load.log");
    // It appends.
    let _ = fs::remove_file(&log);
    let log_option = format!("--log-file={}", log.display());
    let (clients, depth) = (format!("-c{connections}"), format!("-m{streams}"));
    let (seconds, ciphers) = (format!("-D{}", time.as_secs()), format!("--tls13-ciphers={CIPHER}"));
    let target = format!("--connect-to=127.0.0.1:{}", peer.tls);
    let url = format!("https://localhost:{}{}", peer.tls, SMALL.0);
    let words = ["h2load", "-t1", &clients, &depth, &seconds, &ciphers, &target, &log_option, &url];
    let output = run(&mut pinned(LOAD_CORE, &words))?;
    let mut failures = Vec::new();
    let requests = counts(&output, "requests: ")?;
    let statuses = counts(&output, "status codes: ")?;
    for (list, bad) in [(&requests, ["failed", "errored", "timeout"]), (&statuses, ["3xx", "4xx", "5xx"])] {
        let found = list.iter().filter(|(count, name)| *count > 0 && bad.contains(name));
        failures.extend(found.map(|(count, name)| format!("{count} {name}")));
    }
    if !output.contains("Application protocol: h2") || !output.contains(CIPHER) {
        failures.push(format!("not HTTP/2 with {CIPHER}:\n{output}"));
    }
    let succeeded = requests.iter().find_map(|(count, name)| (*name == "succeeded").then_some(*count));
    Ok(Count {
        requests: succeeded.unwrap_or_default(),
        seconds: time.as_secs_f64(),
        percentiles: percentiles(&fs::read_to_string(&log)?),
        failures,
    })
}

/// The counts of a line such as `status codes: 8 2xx, 0 3xx, 0 4xx, 0 5xx`.
fn counts<'a>(output: &'a str, line: &str) -> Result<Vec<(u32, &'a str)>, Box<dyn Error>> {
    let found = output.lines().find_map(|found| found.strip_prefix(line));
    let text = found.ok_or_else(|| format!("h2load did not print its result:\n{output}"))?;
    let pairs = text.split(", ").filter_map(|pair| pair.split_once(' '));
    Ok(pairs.filter_map(|(count, name)| Some((count.parse().ok()?, name))).collect())
}

/// From h2load's log: a line per request with start, status and time in µs.
fn percentiles(log: &str) -> [u32; 3] {
    let mut times: Vec<u32> =
        log.lines().filter_map(|line| line.split('\t').nth(2)?.trim().parse().ok()).collect();
    times.sort_unstable();
    let at =
        |per_mille: usize| times.get((times.len() * per_mille / 1000).min(times.len().saturating_sub(1)));
    [500, 990, 999].map(|per_mille| at(per_mille).copied().unwrap_or_default())
}

fn run(command: &mut Command) -> Result<String, Box<dyn Error>> {
    let ended = command.output()?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if ended.status.success() {
        return Ok(said(&ended.stdout));
    }
    Err(format!("{command:?} failed:\n{}{}", said(&ended.stdout), said(&ended.stderr)).into())
}
