//! A service that is scaled by its requests a second.

use std::time::Duration;

use gantry_e2e::Cluster;

use crate::world::{CALM, PORT, WINDOW, forty_a_second, has, load, scaled, stays, steps};

fn web() -> String {
    format!(
        "
services:
  web:
    image: gantry-e2e/probe
    ports: ['{PORT}:8080']
    stop_grace_period: 1s
    x-gantry: {{autoscale: {{min: 2, max: 6, rps: 11, scale_down_after: {}s}}}}
",
        WINDOW.as_secs()
    )
}

#[test]
fn a_service_has_one_replica_for_each_share_of_its_requests_and_never_more_or_fewer_than_it_may() {
    let cluster = Cluster::start();
    cluster.ok(["up", "-p", "shop", "-f", &cluster.file("shop", &web())]);
    has(&cluster, "shop/web", "its fewest", |count| count == 2);
    let some = forty_a_second().start();
    let line = has(&cluster, "shop/web", "four replicas", |count| count == 4);
    let signal = &line["signals"][0];
    assert_eq!((signal["name"].as_str(), signal["target"].as_f64()), (Some("rps"), Some(11.0)), "{line}");
    stays(&cluster, "shop/web", 4, CALM);

    // For which more are needed than there may be.
    let many = load("/", 60, Duration::from_secs(1)).start();
    has(&cluster, "shop/web", "its most", |count| count == 6);
    stays(&cluster, "shop/web", 6, CALM);
    let line = scaled(&cluster, "shop/web").unwrap();
    assert!(line["held"].as_str().is_some_and(|held| held.contains("max is 6")), "{line}");

    many.stop().none_failed(400);
    has(&cluster, "shop/web", "four replicas again", |count| count == 4);
    some.stop().none_failed(400);
    has(&cluster, "shop/web", "its fewest again", |count| count == 2);
    let all = steps(&cluster, "shop/web", 2, 6);
    assert!(all.iter().all(|step| step.why.starts_with("rps ")), "{all:#?}");
    let counts: Vec<u64> = all.iter().map(|step| step.to).collect();
    assert_eq!(counts.iter().max(), Some(&6), "{all:#?}");
    println!("{all:#?}");
}
