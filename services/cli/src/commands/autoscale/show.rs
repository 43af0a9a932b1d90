//! Services that are scaled by their load, as lines.

use std::time::SystemTime;

use gantry_api::cluster::v1::{self as wire, AutoscaleMode, AutoscaleUnit};
use serde::Serialize;

use crate::output::Row;
use crate::when;

/// A service that is scaled by its load.
#[derive(Serialize)]
pub struct Line {
    name: String,
    mode: &'static str,
    replicas: u32,
    ready: u32,
    min: u32,
    max: u32,
    signals: Vec<Signal>,
    recommended: Option<u32>,
    held: String,
    changed_at: String,
    change: String,
    #[serde(skip)]
    age: String,
}

/// One target, and what was seen of it.
#[derive(Serialize)]
struct Signal {
    name: String,
    value: Option<f64>,
    target: f64,
    unit: &'static str,
}

impl From<wire::AutoscaledService> for Line {
    fn from(service: wire::AutoscaledService) -> Self {
        let mode = service.rules.as_ref().map_or(AutoscaleMode::Unspecified, wire::Autoscale::mode);
        Self {
            mode: match mode {
                AutoscaleMode::Unspecified | AutoscaleMode::Auto => "auto",
                AutoscaleMode::Recommend => "recommend",
                AutoscaleMode::Off => "off",
            },
            name: service.name,
            replicas: service.replicas,
            ready: service.ready,
            min: service.min,
            max: service.max,
            signals: service.signals.into_iter().map(Signal::from).collect(),
            recommended: service.recommended,
            held: service.held,
            age: when::ago(service.changed_at, SystemTime::now()),
            changed_at: when::shown(service.changed_at),
            change: service.change,
        }
    }
}

impl From<wire::AutoscaleSignal> for Signal {
    fn from(signal: wire::AutoscaleSignal) -> Self {
        Self {
            unit: match signal.unit() {
                AutoscaleUnit::Percent => "percent",
                AutoscaleUnit::Seconds => "seconds",
                AutoscaleUnit::Number | AutoscaleUnit::Unspecified => "number",
            },
            name: signal.name,
            value: signal.value,
            target: signal.target,
        }
    }
}

impl Signal {
    /// `cpu 64%/70%`; `cpu -/70%` where nothing is known.
    fn in_words(&self) -> String {
        let said = |value: f64| match self.unit {
            "percent" => format!("{value:.0}%"),
            "seconds" if value < 1.0 => format!("{:.0}ms", value * 1_000.0),
            "seconds" => format!("{value:.1}s"),
            _ if value.fract().abs() < 0.05 || value >= 100.0 => format!("{value:.0}"),
            _ => format!("{value:.1}"),
        };
        let value = self.value.map_or_else(|| "-".to_owned(), said);
        format!("{} {value}/{}", self.name, said(self.target))
    }
}

impl Line {
    /// What it would have, where that is another number, and why it is as it is.
    fn why(&self) -> String {
        let recommended = self.recommended.filter(|count| *count != self.replicas && self.mode != "off");
        let would = recommended.map(|count| format!("{count} would be right"));
        let why = if self.held.is_empty() { &self.change } else { &self.held };
        let why = Some(why.clone()).filter(|why| !why.is_empty());
        [would, why].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }

    /// What became of a change, for people.
    pub fn in_words(&self) -> String {
        let Self { name, mode, replicas, min, max, .. } = self;
        match *mode {
            "off" => format!(
                "{name} is not scaled by its load any more: it has {replicas} replicas, and `gantry scale` sets \
                 another number\n"
            ),
            mode => {
                let targets: Vec<String> = self.signals.iter().map(Signal::in_words).collect();
                let targets = if targets.is_empty() { "no target".to_owned() } else { targets.join(", ") };
                format!("{name}: {min} to {max} replicas (now {replicas}), mode {mode}: {targets}\n")
            }
        }
    }
}

impl Row for Line {
    const HEAD: &'static [&'static str] =
        &["SERVICE", "MODE", "REPLICAS", "BOUNDS", "SIGNALS", "LAST CHANGE", "WHY"];

    fn cells(&self) -> Vec<String> {
        let signals: Vec<String> = self.signals.iter().map(Signal::in_words).collect();
        vec![
            self.name.clone(),
            self.mode.to_owned(),
            format!("{}/{}", self.ready, self.replicas),
            format!("{}..{}", self.min, self.max),
            signals.join(", "),
            self.age.clone(),
            self.why(),
        ]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> wire::AutoscaledService {
        let signal = |name: &str, value, target, unit: AutoscaleUnit| wire::AutoscaleSignal {
            name: name.into(),
            value,
            target,
            unit: unit.into(),
        };
        wire::AutoscaledService {
            name: "shop/web".into(),
            rules: Some(wire::Autoscale::default()),
            replicas: 3,
            ready: 2,
            min: 1,
            max: 10,
            signals: vec![
                signal("cpu", None, 70.0, AutoscaleUnit::Percent),
                signal("rps", Some(64.25), 100.0, AutoscaleUnit::Number),
                signal("p95", Some(0.12), 2.0, AutoscaleUnit::Seconds),
            ],
            recommended: Some(3),
            change: "2 → 3: rps 160 of 100 target over 3 s".into(),
            ..wire::AutoscaledService::default()
        }
    }

    #[test]
    fn a_line_has_what_is_measured_beside_its_target() {
        let cells = Line::from(service()).cells();
        assert_eq!(cells[1..5], ["auto", "2/3", "1..10", "cpu -/70%, rps 64.2/100, p95 120ms/2.0s"]);
        assert_eq!(cells[6], "2 → 3: rps 160 of 100 target over 3 s");
    }

    #[test]
    fn what_holds_a_count_and_what_would_be_right_is_said() {
        let held = "an update is under way".to_owned();
        let service = wire::AutoscaledService { recommended: Some(5), held, ..service() };
        assert_eq!(Line::from(service).why(), "5 would be right; an update is under way");
    }
}
