//! `x-gantry.autoscale`: what it becomes, and what is refused, with its line.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::fs;
use std::time::Duration;

use gantry_compose::{Options, Problems, Project, load};
use gantry_model::{Autoscale, AutoscaleMode, MetricTarget, Recurrence, ScheduleEntry};

fn load_text(text: &str) -> Result<Project, Problems> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("compose.yaml"), text).unwrap();
    load(&folder.path().join("compose.yaml"), &Options { name: Some("shop".into()), ..Options::default() })
}

/// The service `web` with this autoscaling and, beside its image, these keys.
fn scaled(autoscale: &str, more: &str) -> String {
    format!(
        "services:\n  web:\n    image: a\n    {more}\n    x-gantry:\n      autoscale: {autoscale}\n  queue: {{image: b}}\n"
    )
}

fn read(text: &str) -> Autoscale {
    let project = load_text(text).unwrap_or_else(|problems| panic!("{text}\n{}", problems.render(false)));
    project.stack.services["web"].autoscale.clone().unwrap()
}

fn problems(text: &str) -> String {
    match load_text(text) {
        Ok(_) => panic!("it is fine: {text}"),
        Err(problems) => problems.render(false),
    }
}

#[test]
fn it_is_read_key_for_key() {
    let read = read(
        "services:
  web:
    image: a
    ports: ['80']
    mem_limit: 64M
    x-gantry:
      autoscale:
        min: 0
        max: 20
        cpu: 70%
        memory: 80 %
        rps: 100
        concurrency: 2.5
        p95: 250ms
        p99: 1s
        metrics:
          - {service: queue, port: 15692, path: /m, name: 'jobs_waiting{queue=\"mail\"}', target: 30}
          - {port: 9000, name: open_orders, target: 0.5}
        scale_up_after: 5s
        scale_down_after: 2m
        mode: recommend
        schedule:
          - {cron: '0 8 * * 1-5', timezone: Europe/Berlin, min: 4}
          - {cron: '0 20 * * *', max: 5}
  queue: {image: b}
",
    );
    let metric = |service: &str, port, path: &str, name: &str, target| MetricTarget {
        service: service.into(),
        port,
        path: path.into(),
        name: name.into(),
        target,
    };
    let entry =
        |cron, zone, min, max| ScheduleEntry { begins: Recurrence::parse(cron, zone).unwrap(), min, max };
    let expected = Autoscale {
        min: 0,
        max: 20,
        cpu: Some(70),
        memory: Some(80),
        rps: Some(100.0),
        concurrency: Some(2.5),
        p95: Some(Duration::from_millis(250)),
        p99: Some(Duration::from_secs(1)),
        metrics: vec![
            metric("queue", 15692, "/m", "jobs_waiting{queue=\"mail\"}", 30.0),
            metric("", 9000, "/metrics", "open_orders", 0.5),
        ],
        scale_up_after: Duration::from_secs(5),
        scale_down_after: Duration::from_mins(2),
        mode: AutoscaleMode::Recommend,
        schedule: vec![
            entry("0 8 * * 1-5", "Europe/Berlin", Some(4), None),
            entry("0 20 * * *", "UTC", None, Some(5)),
        ],
    };
    assert_eq!(read, expected);
}

#[test]
fn what_is_not_said_has_its_default() {
    let short = read(&scaled("{max: 3, cpu: 70, metric: {port: 1, name: jobs, target: 1}}", ""));
    assert_eq!((short.min, short.max, short.cpu, short.metrics.len()), (1, 3, Some(70), 1));
    assert_eq!(short.scale_up_after, Duration::from_secs(3));
    assert_eq!((short.scale_down_after, short.mode), (Duration::from_mins(5), AutoscaleMode::Auto));
}

#[test]
fn every_mistake_says_where_it_is_and_what_is_expected() {
    for (autoscale, wanted) in [
        ("[a]", &["autoscale of x-gantry", "must be a map", "compose.yaml:6"][..]),
        ("{cpu: 70%}", &["autoscale needs max: NUMBER"]),
        ("{max: many, cpu: 70%}", &["max must be a whole number"]),
        ("{max: 0, cpu: 70%}", &["max must be at least 1"]),
        (
            "{min: 4, max: 3, cpu: 70%}",
            &["min is 4 and max is 3: min must not be above max", "compose.yaml:6:24"],
        ),
        ("{max: 3}", &["autoscale has no target", "rps: 100"]),
        ("{max: 3, cpu: high}", &["cpu must be a share such as 70%", "\"high\""]),
        ("{max: 3, cpu: 0.7}", &["cpu must be a share such as 70%"]),
        ("{max: 3, memory: 80%}", &["set deploy.resources.limits.memory"]),
        ("{max: 3, rps: 0}", &["rps must be above 0"]),
        ("{max: 3, p95: soon}", &["p95 must be a time such as 30s"]),
        ("{max: 3, p95: 30s}", &["p95 must be above 0 and at most 20s"]),
        ("{max: 3, cpu: 70%, scale_down_after: 2d}", &["scale_down_after must be at most 24h"]),
        ("{max: 3, cpu: 70%, mode: recomend}", &["there is no mode", "did you mean recommend?"]),
        ("{max: 3, cpus: 70%}", &["has no key cpus", "did you mean cpu?"]),
        ("{max: 3, metric: [a]}", &["a metric of autoscale must be a map"]),
        ("{max: 3, metric: {port: 1, name: jobs}}", &["a metric needs target"]),
        (
            "{max: 3, metric: {port: 1, name: a b, target: 1}}",
            &["name must be a metric such as jobs_waiting"],
        ),
        (
            "{max: 3, metric: {port: 1, name: jobs, target: 1, service: mail}}",
            &["the file has no service mail"],
        ),
        ("{max: 3, metrics: {port: 1, name: jobs, target: 1}}", &["metrics must be a list"]),
        (
            "{max: 3, metrics: [], metric: {port: 1, name: jobs, target: 1}}",
            &["metric and metrics do not go together"],
        ),
        (
            "{min: 0, max: 3, metric: {port: 1, name: jobs, target: 1}}",
            &["nothing would wake it from min: 0", "compose.yaml:6:24"],
        ),
        (
            "{min: 0, max: 3, metric: {port: 1, name: jobs, target: 1, service: web}}",
            &["set service: QUEUE in the metric"],
        ),
        ("{max: 3, cpu: 70%, schedule: [{min: 2}]}", &["an entry of schedule needs cron"]),
        (
            "{max: 3, cpu: 70%, schedule: [{cron: 8am}]}",
            &["\"8am\" is no cron expression", "write five fields"],
        ),
        (
            "{max: 3, cpu: 70%, schedule: [{cron: '0 8 * * *', timezone: Mars}]}",
            &["there is no time zone \"Mars\"", "Europe/Berlin"],
        ),
        (
            "{max: 3, cpu: 70%, schedule: [{cron: '0 8 * * *', min: 4}]}",
            &["from \"0 8 * * *\" UTC on min is 4 and max is 3"],
        ),
    ] {
        let shown = problems(&scaled(autoscale, ""));
        for part in wanted {
            assert!(shown.contains(part), "{autoscale}\nshould say {part:?}:\n{shown}");
        }
    }
}

#[test]
fn ports_of_the_host_under_a_target_of_traffic_are_a_warning_with_its_line() {
    let text = scaled("{max: 3, rps: 100}", "ports: [{target: 80, published: 80, mode: host}]");
    let said = load_text(&text).unwrap().remarks.render(false);
    assert!(said.contains("rps sees nothing of what comes to ports with mode: host"), "{said}");
    assert!(said.contains("compose.yaml:6:"), "{said}");
}

#[test]
fn it_goes_with_services_whose_count_is_free() {
    for (more, wanted) in [
        ("deploy: {mode: global}", "mode: global has one replica on every node"),
        ("restart: 'no'", "runs once is not scaled by load"),
        ("cpus: 1", "cpu must be at most 90%"),
    ] {
        let shown = problems(&scaled("{max: 3, cpu: 95%}", more));
        assert!(shown.contains(wanted), "{more}:\n{shown}");
    }
    let both = "services: {web: {image: a, x-gantry: {exclusive: true, autoscale: {max: 2, cpu: 70%}}}}";
    assert!(problems(both).contains("an exclusive service has one replica: it is not scaled by load"));
}

#[test]
fn what_proxies_measure_needs_traffic_through_them() {
    let apart = "deploy: {endpoint_mode: dnsrr}";
    for autoscale in
        ["{max: 3, rps: 100}", "{max: 3, concurrency: 5}", "{max: 3, p95: 1s}", "{min: 0, max: 3, cpu: 70%}"]
    {
        let shown = problems(&scaled(autoscale, apart));
        assert!(shown.contains("needs traffic that goes through the proxy: publish a port"), "{shown}");
        read(&scaled(autoscale, "ports: ['80']"));
        read(&scaled(autoscale, "expose: ['80']"));
    }
    assert!(problems(&scaled("{max: 3, rps: 1}", "network_mode: host")).contains("through the proxy"));
}
