//! A service that answers the later the more requests it has at once.

use std::time::Duration;

use gantry_e2e::Cluster;

use crate::world::{PORT, WINDOW, has, load, settled, steps};

fn web() -> String {
    format!(
        "
services:
  web:
    image: gantry-e2e/probe
    ports: ['{PORT}:8080']
    stop_grace_period: 1s
    x-gantry: {{autoscale: {{min: 1, max: 6, p95: 450ms, scale_down_after: {}s}}}}
",
        WINDOW.as_secs()
    )
}

#[test]
fn steps_are_taken_until_answers_are_quick_enough_and_no_further() {
    let cluster = Cluster::start();
    cluster.ok(["up", "-p", "shop", "-f", &cluster.file("shop", &web())]);
    has(&cluster, "shop/web", "one replica", |count| count == 1);
    // 20 ms for each of 32 requests at once: 640 ms with one replica, 320 ms with two, 213 ms with three.
    let load = load("/crowded/20", 32, Duration::ZERO).start();
    has(&cluster, "shop/web", "at least two replicas", |count| count >= 2);
    let enough = settled(&cluster, "shop/web");
    assert!((2..=4).contains(&enough), "{:#?}", steps(&cluster, "shop/web", 1, 6));
    let up = steps(&cluster, "shop/web", 1, 6);
    assert!(up.iter().all(|step| step.to == step.from + 1 && step.why.starts_with("p95 ")), "{up:#?}");

    load.stop().none_failed(500);
    has(&cluster, "shop/web", "one replica again", |count| count == 1);
    println!("{:#?}", steps(&cluster, "shop/web", 1, 6));
}
