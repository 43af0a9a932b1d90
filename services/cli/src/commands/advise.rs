//! `gantry advise`: what services should reserve and be allowed, by what they used.

use std::time::Duration;

use gantry_api::cluster::v1 as wire;
use gantry_api::cluster::v1::{AdviceVerdict, GetAdviceRequest};
use serde::Serialize;

use crate::args::{Advise, FileArgs, List, Shape};
use crate::client::Cluster;
use crate::failure::Result;
use crate::output::{self, Row};
use crate::project;

const MIB: f64 = 1_048_576.0;
/// The word for what needs no change.
const FITS: &str = "fits";

/// The advice for one service, for each of its replicas.
#[derive(Serialize)]
struct Line {
    service: String,
    /// Replicas that were measured.
    replicas: u32,
    /// From the first measurement to the last.
    span_seconds: u64,
    /// Seconds of a replica that were measured, added up.
    samples: u64,
    /// In cores.
    cpu: Option<Resource>,
    /// In bytes.
    memory: Option<Resource>,
    /// Why there is no advice.
    #[serde(skip_serializing_if = "String::is_empty")]
    missing: String,
}

/// One resource of a replica.
#[derive(Serialize)]
struct Resource {
    median: f64,
    p95: f64,
    highest: f64,
    reservation: Option<f64>,
    limit: Option<f64>,
    advised_reservation: f64,
    advised_limit: f64,
    verdict: &'static str,
    reason: String,
}

impl Line {
    fn new(advice: wire::ServiceAdvice) -> Self {
        let span = advice.span.and_then(|span| Duration::try_from(span).ok()).unwrap_or_default();
        Self {
            service: advice.service,
            replicas: advice.replicas,
            span_seconds: span.as_secs(),
            samples: advice.samples,
            cpu: advice.cpu.map(Resource::new),
            memory: advice.memory.map(Resource::new),
            missing: advice.missing,
        }
    }
}

impl Resource {
    fn new(advice: wire::ResourceAdvice) -> Self {
        let set = |value: f64| (value > 0.0).then_some(value);
        Self {
            verdict: word(advice.verdict()),
            median: advice.median,
            p95: advice.p95,
            highest: advice.highest,
            reservation: set(advice.reservation),
            limit: set(advice.limit),
            advised_reservation: advice.advised_reservation,
            advised_limit: advice.advised_limit,
            reason: advice.reason,
        }
    }

    /// What is reserved and what should be, then the same of the limit: `1.00 → 0.25, 2.00 → 0.60`.
    fn change(&self, say: impl Fn(f64) -> String) -> [String; 2] {
        let one = |set: Option<f64>, advised: f64| match (set, self.verdict) {
            (Some(set), FITS) => say(set),
            (set, _) => format!("{} → {}", set.map_or_else(|| "none".to_owned(), &say), say(advised)),
        };
        [one(self.reservation, self.advised_reservation), one(self.limit, self.advised_limit)]
    }
}

fn word(verdict: AdviceVerdict) -> &'static str {
    match verdict {
        AdviceVerdict::Unspecified => "unknown",
        AdviceVerdict::Fits => FITS,
        AdviceVerdict::TooLow => "too low",
        AdviceVerdict::TooHigh => "too high",
        AdviceVerdict::NotSet => "not set",
    }
}

fn cores(cores: f64) -> String {
    format!("{cores:.2}")
}

/// Whole MiB, as a Compose file takes them.
fn mebibytes(bytes: f64) -> String {
    format!("{:.0}M", bytes / MIB)
}

impl Row for Line {
    const HEAD: &'static [&'static str] = &[
        "SERVICE",
        "SEEN",
        "CPU P95",
        "RESERVE",
        "LIMIT",
        "CPU IS",
        "MEMORY MAX",
        "RESERVE",
        "LIMIT",
        "MEMORY IS",
    ];

    fn cells(&self) -> Vec<String> {
        let seen = format!("{} × {}", self.replicas, duration(self.span_seconds));
        let dash = || "-".to_owned();
        let cpu = self.cpu.as_ref().map_or_else(
            || [dash(), dash(), dash(), dash()],
            |cpu| {
                let [reserve, limit] = cpu.change(cores);
                [cores(cpu.p95), reserve, limit, cpu.verdict.to_owned()]
            },
        );
        let memory = self.memory.as_ref().map_or_else(
            || [dash(), dash(), dash(), dash()],
            |memory| {
                let [reserve, limit] = memory.change(mebibytes);
                [mebibytes(memory.highest), reserve, limit, memory.verdict.to_owned()]
            },
        );
        [self.service.clone(), seen].into_iter().chain(cpu).chain(memory).collect()
    }

    fn name(&self) -> String {
        self.service.clone()
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        _ => format!("{}m", seconds / 60),
    }
}

/// Shows the advice.
pub async fn run(cluster: &Cluster, advise: Advise) -> Result<()> {
    let scope = FileArgs::from(&advise.scope);
    let mut request = GetAdviceRequest::default();
    for service in &advise.services {
        request.services.push(project::service(&scope, service)?);
    }
    if request.services.is_empty() {
        request.stack = project::find_stack(&scope)?.map(|stack| stack.to_string()).unwrap_or_default();
    }
    let services = cluster.usage().get_advice(request).await?.into_inner().services;
    let lines: Vec<Line> = services.into_iter().map(Line::new).collect();
    let shape = advise.format.format;
    output::list(&lines, &List { format: shape, quiet: false })?;
    if shape != Shape::Table {
        return Ok(());
    }
    output::print(&notes(&lines))
}

/// What the table says in words, and how it is put into a file.
fn notes(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        if !line.missing.is_empty() {
            text += &format!("{}: {}\n", line.service, line.missing);
        }
        for (what, resource) in [("CPU", &line.cpu), ("memory", &line.memory)] {
            let Some(resource) = resource.as_ref().filter(|resource| resource.verdict != FITS) else {
                continue;
            };
            text += &format!("{}: {what}: {}\n", line.service, resource.reason);
        }
    }
    if lines.iter().any(|line| line.cpu.is_some()) {
        text += "reservations and limits stand in deploy.resources of a service\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advice() -> wire::ServiceAdvice {
        let cpu = wire::ResourceAdvice {
            p95: 0.214,
            highest: 0.4,
            reservation: 1.0,
            advised_reservation: 0.25,
            advised_limit: 0.6,
            verdict: AdviceVerdict::TooHigh.into(),
            reason: "1.00 cores is reserved, and it uses 0.21 cores".into(),
            ..wire::ResourceAdvice::default()
        };
        let memory = wire::ResourceAdvice {
            highest: 50.0 * MIB,
            reservation: 64.0 * MIB,
            limit: 128.0 * MIB,
            verdict: AdviceVerdict::Fits.into(),
            ..wire::ResourceAdvice::default()
        };
        wire::ServiceAdvice {
            service: "shop/web".into(),
            replicas: 3,
            span: Some(prost_types::Duration { seconds: 900, nanos: 0 }),
            samples: 2_700,
            cpu: Some(cpu),
            memory: Some(memory),
            missing: String::new(),
        }
    }

    #[test]
    fn what_is_set_stands_beside_what_should_be() {
        let cells = Line::new(advice()).cells();
        assert_eq!(
            cells,
            [
                "shop/web",
                "3 × 15m",
                "0.21",
                "1.00 → 0.25",
                "none → 0.60",
                "too high",
                "50M",
                "64M",
                "128M",
                FITS
            ]
        );
        let text = notes(&[Line::new(advice())]);
        assert!(text.starts_with("shop/web: CPU: 1.00 cores is reserved"), "{text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn a_service_of_which_too_little_was_seen_says_so() {
        let missing = wire::ServiceAdvice {
            cpu: None,
            memory: None,
            missing: "it was measured for 23 s: a minute is needed".into(),
            span: Some(prost_types::Duration { seconds: 23, nanos: 0 }),
            replicas: 1,
            ..advice()
        };
        let line = Line::new(missing);
        assert_eq!(line.cells()[1..4], ["1 × 23s", "-", "-"]);
        assert_eq!(notes(&[line]), "shop/web: it was measured for 23 s: a minute is needed\n");
    }

    #[test]
    fn programs_get_numbers_and_no_arrows() {
        let json = output::json(&Line::new(advice())).unwrap();
        assert!(
            json.contains("\"advised_reservation\": 0.25") && json.contains("\"span_seconds\": 900"),
            "{json}"
        );
        assert!(!json.contains('→') && !json.contains("missing"), "{json}");
    }
}
