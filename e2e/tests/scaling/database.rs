//! A service that is slow because what it asks is slow.

use std::time::Duration;

use gantry_e2e::Cluster;

use crate::world::{CALM, PORT, WINDOW, alert, events, has, load, scaled, stays, steps};

fn shop() -> String {
    format!(
        "
services:
  web:
    image: gantry-e2e/probe
    ports: ['{PORT}:8080']
    stop_grace_period: 1s
    x-gantry: {{autoscale: {{min: 1, max: 8, p95: 150ms, scale_down_after: {}s}}}}
  db:
    image: gantry-e2e/probe
    stop_grace_period: 1s
",
        WINDOW.as_secs()
    )
}

#[test]
fn replicas_that_gain_nothing_are_not_added_without_end_and_people_are_told_where_to_look() {
    let cluster = Cluster::start();
    cluster.ok(["up", "-p", "shop", "-f", &cluster.file("shop", &shop())]);
    has(&cluster, "shop/web", "one replica", |count| count == 1);
    // 16 requests wait for each other in the database: 320 ms, however many replicas ask it.
    let load = load("/fetch/db:8080/serial/20", 16, Duration::ZERO).start();
    alert(&cluster, "bottleneck-elsewhere", "shop/web", true);
    let up = steps(&cluster, "shop/web", 1, 8);
    assert_eq!(up.len(), 2, "{up:#?}");
    assert!(up.iter().all(|step| step.to == step.from + 1 && step.why.starts_with("p95 ")), "{up:#?}");
    let count = up.last().unwrap().to;
    stays(&cluster, "shop/web", count, CALM);
    let line = scaled(&cluster, "shop/web").unwrap();
    assert!(line["held"].as_str().is_some_and(|held| held.contains("the bottleneck is elsewhere")), "{line}");
    let told = events(&cluster, "shop/web");
    let told = told.iter().filter(|(reason, _)| reason == "BottleneckElsewhere").count();
    assert_eq!(told, 1, "once");

    load.stop().none_failed(500);
    alert(&cluster, "bottleneck-elsewhere", "shop/web", false);
    has(&cluster, "shop/web", "one replica again", |count| count == 1);
    println!("{:#?}", steps(&cluster, "shop/web", 1, 8));
}
