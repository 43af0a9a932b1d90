//! Autoscaling as `gantry.cluster.v1.Autoscale`. Whether it makes sense for its service is checked with
//! the whole of it.

use gantry_api::Invalid;
use gantry_api::cluster::v1 as wire;

use super::parts::{bounded, read_duration, some_number, write_duration};
use crate::autoscale::{Autoscale, AutoscaleMode, MetricTarget, Recurrence, ScheduleEntry};

/// Reads how a service is scaled.
pub fn read_autoscale(read: wire::Autoscale) -> Result<Autoscale, Invalid> {
    bounded("autoscale.metrics", &read.metrics)?;
    bounded("autoscale.schedule", &read.schedule)?;
    let default = Autoscale::default();
    Ok(Autoscale {
        min: read.min.unwrap_or(default.min),
        max: read.max,
        cpu: some_number(read.cpu_percent),
        memory: some_number(read.memory_percent),
        rps: some_number(read.rps),
        concurrency: some_number(read.concurrency),
        p95: read_duration("autoscale.p95", read.p95)?,
        p99: read_duration("autoscale.p99", read.p99)?,
        metrics: read.metrics.into_iter().map(read_metric).collect::<Result<_, _>>()?,
        scale_up_after: read_duration("autoscale.scale_up_after", read.scale_up_after)?
            .unwrap_or(default.scale_up_after),
        scale_down_after: read_duration("autoscale.scale_down_after", read.scale_down_after)?
            .unwrap_or(default.scale_down_after),
        mode: match wire::AutoscaleMode::try_from(read.mode) {
            Ok(wire::AutoscaleMode::Unspecified | wire::AutoscaleMode::Auto) => AutoscaleMode::Auto,
            Ok(wire::AutoscaleMode::Recommend) => AutoscaleMode::Recommend,
            Ok(wire::AutoscaleMode::Off) => AutoscaleMode::Off,
            Err(_) => return Err(Invalid::new("autoscale.mode", "is not known to this version")),
        },
        schedule: read.schedule.iter().map(read_entry).collect::<Result<_, _>>()?,
    })
}

fn read_metric(metric: wire::AutoscaleMetric) -> Result<MetricTarget, Invalid> {
    Ok(MetricTarget {
        service: metric.service,
        port: u16::try_from(metric.port)
            .map_err(|_| Invalid::new("autoscale.metrics.port", "is above 65535"))?,
        path: if metric.path.is_empty() { "/metrics".to_owned() } else { metric.path },
        name: metric.name,
        target: metric.target,
    })
}

fn read_entry(entry: &wire::AutoscaleScheduleEntry) -> Result<ScheduleEntry, Invalid> {
    let begins = Recurrence::parse(&entry.cron, &entry.timezone)
        .map_err(|bad| Invalid::new("autoscale.schedule", format!("cannot be read: {bad}")))?;
    Ok(ScheduleEntry { begins, min: entry.min, max: entry.max })
}

/// Writes how a service is scaled.
pub fn write_autoscale(autoscale: &Autoscale) -> wire::Autoscale {
    wire::Autoscale {
        min: Some(autoscale.min),
        max: autoscale.max,
        cpu_percent: autoscale.cpu.unwrap_or_default(),
        memory_percent: autoscale.memory.unwrap_or_default(),
        rps: autoscale.rps.unwrap_or_default(),
        concurrency: autoscale.concurrency.unwrap_or_default(),
        p95: autoscale.p95.map(write_duration),
        p99: autoscale.p99.map(write_duration),
        metrics: autoscale
            .metrics
            .iter()
            .map(|metric| wire::AutoscaleMetric {
                service: metric.service.clone(),
                port: metric.port.into(),
                path: metric.path.clone(),
                name: metric.name.clone(),
                target: metric.target,
            })
            .collect(),
        scale_up_after: Some(write_duration(autoscale.scale_up_after)),
        scale_down_after: Some(write_duration(autoscale.scale_down_after)),
        mode: match autoscale.mode {
            AutoscaleMode::Auto => wire::AutoscaleMode::Auto,
            AutoscaleMode::Recommend => wire::AutoscaleMode::Recommend,
            AutoscaleMode::Off => wire::AutoscaleMode::Off,
        }
        .into(),
        schedule: autoscale
            .schedule
            .iter()
            .map(|entry| wire::AutoscaleScheduleEntry {
                cron: entry.begins.cron().to_owned(),
                timezone: entry.begins.timezone().to_owned(),
                min: entry.min,
                max: entry.max,
            })
            .collect(),
    }
}
