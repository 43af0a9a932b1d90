//! A host is gone, and comes back.

use std::time::{Duration, Instant};

use gantry_e2e::{HostCluster, eventually_within};

use crate::world::{PATIENCE, PORT, deploy, host_of, serve, settles};

fn shop() -> String {
    format!(
        "
services:
  web: {{image: gantry-e2e/probe, ports: ['{PORT}:8080'], deploy: {{replicas: 6}}}}
  db:
    image: gantry-e2e/probe
    deploy: {{placement: {{constraints: ['node.hostname != h1']}}}}
"
    )
}

pub fn a_host_is_cut_off(cluster: &HostCluster) {
    fail_over(cluster, false);
}

pub fn a_host_and_the_scheduler(cluster: &HostCluster) {
    fail_over(cluster, true);
}

fn fail_over(cluster: &HostCluster, kill: bool) {
    deploy(cluster, "shop", &shop());
    settles(cluster, "shop", 7);
    let lost = host_of(cluster, "shop/db");
    let others: Vec<u8> = (1..=3).filter(|number| *number != lost.number()).collect();
    let before = cluster.containers(lost.number());
    assert!(!before.is_empty());

    lost.cut();
    let began = Instant::now();
    if kill {
        gantry_e2e::after(Duration::from_secs(2));
        cluster.kill(1, "scheduler");
    }
    eventually_within(PATIENCE, "all run elsewhere and serve", || {
        let places = [cluster.places("shop/web"), cluster.places("shop/db")];
        let counts = places.each_ref().map(|places| places.iter().filter(|it| **it != lost.name()).count());
        (counts == [6, 1] && serve(cluster, &others)).then_some(())
    });
    let also = if kill { ", its scheduler killed meanwhile" } else { "" };
    println!("host cut off{also} → everything serves again: {:.1} s", began.elapsed().as_secs_f64());
    let page = crate::world::page(cluster.host(others[0]), "/fetch/db:8080");
    assert!(page.is_some(), "the new database is found");
    // Nobody told the other side, which goes on.
    assert_eq!(cluster.containers(lost.number()), before);

    lost.heal();
    if kill {
        cluster.kill(1, "scheduler");
    }
    cluster.ready(&[1, 2, 3]);
    settles(cluster, "shop", 7);
    assert!(serve(cluster, &[1, 2, 3]));
    let back = cluster.containers(lost.number());
    assert!(before.iter().all(|name| !back.contains(name)), "what was replaced is gone: {back:?}");
    // It is of use again.
    cluster.ok(["scale", "shop/web=9"]);
    settles(cluster, "shop", 10);
    assert!(cluster.places("shop/web").contains(&lost.name()));
}
