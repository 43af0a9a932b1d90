//! The threshold of a rule, in the unit of its metric.

use gantry_model::alert::{Bound, Metric};

use crate::section::{Section, shown};
use crate::tree::Value;
use crate::units;

/// What a rule has, and what is wrong with it.
pub fn read(section: &Section<'_>, metric: Option<Metric>) -> Option<Bound> {
    let above = number(section, "above", metric);
    let below = number(section, "below", metric);
    match (section.get("above").is_some(), section.get("below").is_some()) {
        (true, true) => {
            section.log.error(section.key_at("below"), "a rule has either above or below, and not both");
            None
        }
        (false, false) => {
            section.log.error(section.at, format!("{} needs above or below, with a number", section.name));
            None
        }
        (true, false) => above.map(Bound::Above),
        (false, true) => below.map(Bound::Below),
    }
}

/// A number, in the metric's own unit; shares and per cents also as `5%`.
fn number(section: &Section<'_>, key: &'static str, metric: Option<Metric>) -> Option<f64> {
    let log = section.log;
    let node = section.get(key)?;
    let unit = metric.map_or(Unit::Plain, unit);
    let text = match &node.value {
        Value::Scalar { text, .. } => text.trim(),
        _ => "",
    };
    let plain = text.parse::<f64>().ok().filter(|number| number.is_finite());
    let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    let read = match unit {
        Unit::Share => plain.or(percent.map(|number| number / 100.0)),
        Unit::Percent => plain.or(percent),
        Unit::Millis | Unit::Plain => plain,
    };
    let name = metric.map_or("a metric", |metric| metric.info().name);
    let Some(number) = read else {
        let message =
            format!("{key} must be a number such as {}, and this is {}", unit.example(), shown(node));
        let time = units::duration(text).filter(|_| unit == Unit::Millis);
        match time {
            Some(time) => log.error_with(
                node.at,
                message,
                format!("{name} is in milliseconds: write {}", time.as_secs_f64() * 1_000.0),
            ),
            None if percent.is_some() => {
                log.error_with(node.at, message, format!("{name} is no share: write a number without %"));
            }
            None => log.error(node.at, message),
        }
        return None;
    };
    if number < 0.0 {
        log.error(node.at, format!("{name} is never below 0, so {key} {number} holds always or never"));
    }
    match unit {
        Unit::Share if number > 1.0 => {
            let message = format!("{key} is a share from 0 to 1 for {name}, and this is {}", shown(node));
            match percent {
                None => log.error_with(node.at, message, format!("for per cent write {text}%")),
                Some(_) => log.error(node.at, message),
            }
        }
        Unit::Percent if number > 100.0 => {
            log.error(node.at, format!("{name} is at most 100, and this is {}", shown(node)));
        }
        Unit::Percent if number > 0.0 && number < 1.0 && percent.is_none() => log.error_with(
            node.at,
            format!("{name} is in per cent, from 0 to 100, and this is {}", shown(node)),
            format!("if it is a share, write {}", number * 100.0),
        ),
        _ => {}
    }
    Some(number)
}

/// In what a bound is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// 0 to 1.
    Share,
    /// 0 to 100.
    Percent,
    Millis,
    Plain,
}

impl Unit {
    fn example(self) -> &'static str {
        match self {
            Self::Share => "0.05 or 5%",
            Self::Percent => "90 or 90%",
            Self::Millis => "250, in milliseconds",
            Self::Plain => "10 or 2.5",
        }
    }
}

fn unit(metric: Metric) -> Unit {
    match metric {
        Metric::ErrorRate => Unit::Share,
        Metric::DiskUsedPercent => Unit::Percent,
        Metric::P50Ms | Metric::P95Ms | Metric::P99Ms => Unit::Millis,
        _ => Unit::Plain,
    }
}
