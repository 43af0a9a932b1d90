//! A service that nobody wants anything of has no replica, until somebody does.

use std::time::Duration;

use gantry_e2e::{Cluster, Dice, Load, after, comes_true};

use crate::world::{PATIENCE, PORT, load, replicas, scaled, stays, steps};

fn web() -> String {
    format!(
        "
services:
  web:
    image: gantry-e2e/probe
    ports: ['{PORT}:8080']
    stop_grace_period: 1s
    x-gantry: {{autoscale: {{min: 0, max: 2, rps: 1000, scale_down_after: 5s}}}}
"
    )
}

/// Waits until it sleeps, down to its last container.
#[track_caller]
fn sleeps(cluster: &Cluster) {
    comes_true(PATIENCE, "shop/web sleeps", || {
        let (line, left) = (scaled(cluster, "shop/web")?, replicas(cluster, "shop/web"));
        if line["replicas"] == 0 && left.is_empty() { Ok(()) } else { Err(format!("{line}; {left:#?}")) }
    });
}

/// So many requests at once, each of which is the first of its connection.
fn first(requests: u32, path: &str) -> Load {
    Load { requests: Some(requests.into()), ..load(path, requests, Duration::ZERO) }
}

/// Waits until somebody has decided that it sleeps no more.
#[track_caller]
fn is_woken(cluster: &Cluster) {
    comes_true(PATIENCE, "shop/web is woken", || {
        let line = scaled(cluster, "shop/web")?;
        if line["replicas"].as_u64().is_some_and(|count| count > 0) { Ok(()) } else { Err(line.to_string()) }
    });
}

#[test]
fn who_comes_first_to_a_service_that_sleeps_is_answered_and_so_are_those_who_come_with_it() {
    let cluster = Cluster::start();
    let mut dice = Dice::new();
    cluster.ok(["up", "-p", "shop", "-f", &cluster.file("shop", &web())]);
    sleeps(&cluster);
    stays(&cluster, "shop/web", 0, Duration::from_secs(10));
    first(1, "/").start().finish().none_failed(1);
    sleeps(&cluster);
    first(20, "/").start().finish().none_failed(20);

    // Also when the one who decides is killed once it has decided. What is asked for takes longer than that.
    sleeps(&cluster);
    let asked = first(5, "/slow/10000").start();
    is_woken(&cluster);
    after(Duration::from_millis(dice.roll(500)));
    cluster.without("scheduler", || {
        assert_eq!(asked.unfinished(), 5, "it was killed after they were answered");
    });
    asked.finish().none_failed(5);
    sleeps(&cluster);
    let all = steps(&cluster, "shop/web", 0, 2);
    let woken = all.iter().filter(|step| step.from == 0).count();
    assert_eq!(woken, 3, "once each time: {all:#?}");
    println!("{all:#?}");
}
