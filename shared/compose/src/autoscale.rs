//! `x-gantry.autoscale` of a service: how many replicas it has by its load.

use gantry_model::{Autoscale, AutoscaleMode, MetricTarget, Recurrence, ScheduleEntry, ServiceSpec};

use crate::diagnostic::At;
use crate::keys;
use crate::project::Context;
use crate::section::Section;
use crate::tree::{Node, Value};

/// Reads how the service `name` is scaled into its spec, of which everything else is there already.
pub fn read(own: &Section<'_>, name: &str, spec: &mut ServiceSpec, context: &Context<'_>) {
    let Some(section) = own.section("autoscale") else { return };
    let default = Autoscale::default();
    let errors = section.log.errors();
    let max = section.number("max");
    if section.get("max").is_none() {
        section.log.error_with(
            section.at,
            "autoscale needs max: NUMBER",
            "add max: the most replicas that the service may have",
        );
    }
    let autoscale = Autoscale {
        min: section.number("min").unwrap_or(default.min),
        max: max.unwrap_or_default(),
        cpu: section.percent("cpu"),
        memory: section.percent("memory"),
        rps: section.decimal("rps"),
        concurrency: section.decimal("concurrency"),
        p95: section.duration("p95"),
        p99: section.duration("p99"),
        metrics: metrics(&section, name, context),
        scale_up_after: section.duration("scale_up_after").unwrap_or(default.scale_up_after),
        scale_down_after: section.duration("scale_down_after").unwrap_or(default.scale_down_after),
        mode: section.choice("mode", &AutoscaleMode::WORDS).unwrap_or_default(),
        schedule: schedule(&section),
    };
    spec.autoscale = Some(autoscale);
    // What follows from a value that could not be read is not worth saying.
    if section.log.errors() == errors {
        for fault in spec.autoscale_faults() {
            section.log.error(place(&section, fault.key), fault.message);
        }
        if let Some(doubt) = spec.autoscale_doubt() {
            section.log.warning(place(&section, doubt.key), doubt.message);
        }
    }
    section.finish(keys::AUTOSCALE);
}

/// Where a fault is shown: at the value of its key, or at the whole section.
fn place(section: &Section<'_>, key: &str) -> At {
    match key {
        "metrics" if section.get("metric").is_some() => section.value_at("metric"),
        key => section.value_at(key),
    }
}

/// One metric, or a list of them.
fn metrics(section: &Section<'_>, scaled: &str, context: &Context<'_>) -> Vec<MetricTarget> {
    if section.get("metric").is_some() && section.get("metrics").is_some() {
        section
            .log
            .error(section.key_at("metric"), "metric and metrics do not go together: put all into metrics");
    }
    let one = section.get("metric").into_iter();
    let many = section.get("metrics").map(|node| items(section, "metrics", node)).unwrap_or_default();
    one.chain(many).filter_map(|node| metric(section, node, scaled, context)).collect()
}

fn metric(section: &Section<'_>, node: &Node, scaled: &str, context: &Context<'_>) -> Option<MetricTarget> {
    let metric = Section::open(section.log, "a metric of autoscale", node)?;
    let at = metric.at;
    let service = metric.text("service").unwrap_or_default();
    if !service.is_empty() && !context.services.contains(service.as_str()) {
        metric.log.error(metric.value_at("service"), format!("the file has no service {service}"));
    }
    // Its own name says no more than none.
    let service = if service == scaled { String::new() } else { service };
    let (port, name, target) = (metric.number("port"), metric.text("name"), metric.decimal("target"));
    let path = metric.text("path").unwrap_or_else(|| "/metrics".to_owned());
    for key in ["port", "name", "target"] {
        if metric.get(key).is_none() {
            metric.log.error(at, format!("a metric needs {key}"));
        }
    }
    metric.finish(keys::METRIC);
    Some(MetricTarget { service, port: port?, path, name: name?, target: target? })
}

fn schedule(section: &Section<'_>) -> Vec<ScheduleEntry> {
    let Some(node) = section.get("schedule") else { return Vec::new() };
    items(section, "schedule", node).into_iter().filter_map(|node| entry(section, node)).collect()
}

fn entry(section: &Section<'_>, node: &Node) -> Option<ScheduleEntry> {
    let entry = Section::open(section.log, "an entry of schedule", node)?;
    let at = entry.at;
    let (cron, timezone) = (entry.text("cron"), entry.text("timezone").unwrap_or_default());
    let (min, max) = (entry.number("min"), entry.number("max"));
    let key = if timezone.is_empty() { "cron" } else { "timezone" };
    let begins = match cron.map(|cron| Recurrence::parse(&cron, &timezone)) {
        Some(Ok(begins)) => Some(begins),
        Some(Err(bad)) => {
            let key = if matches!(bad, gantry_model::BadRecurrence::Zone(_)) { key } else { "cron" };
            entry.log.error(entry.value_at(key), bad.to_string());
            None
        }
        None => {
            if entry.get("cron").is_none() {
                entry.log.error_with(at, "an entry of schedule needs cron", "such as cron: \"0 8 * * 1-5\"");
            }
            None
        }
    };
    entry.finish(keys::SCHEDULE_ENTRY);
    Some(ScheduleEntry { begins: begins?, min, max })
}

fn items<'a>(section: &Section<'_>, key: &str, node: &'a Node) -> Vec<&'a Node> {
    match &node.value {
        Value::List(items) => items.iter().collect(),
        _ => {
            section.log.error(node.at, format!("{key} must be a list, and this is {}", node.kind()));
            Vec::new()
        }
    }
}
