//! Scheduler, watchdog and agent come back in any order, and nobody repairs more than is ill.

use std::collections::BTreeMap;

use gantry_e2e::{Cluster, Lives, comes_true};

use crate::world::{PATIENCE, all_ready, health, replicas_of, shown, text};

#[test]
fn scheduler_watchdog_and_agent_start_in_any_order_and_repair_what_is_ill_and_nothing_else() {
    let cluster = Cluster::start();
    let text_of_it = format!(
        "
services:
  web: {{image: gantry-e2e/probe, stop_grace_period: 1s, deploy: {{replicas: 3}}, x-gantry: {{health: {}}}}}
",
        health("/health")
    );
    cluster.ok(["up", "-p", "shop", "-f", &cluster.file("shop", &text_of_it)]);
    let orders = [
        ["watchdog", "scheduler", "agent"],
        ["watchdog", "agent", "scheduler"],
        ["scheduler", "watchdog", "agent"],
        ["scheduler", "agent", "watchdog"],
        ["agent", "watchdog", "scheduler"],
        ["agent", "scheduler", "watchdog"],
    ];
    for (round, order) in orders.into_iter().enumerate() {
        let before = all_ready(&cluster, "shop/web", 3);
        // Another replica hangs each time.
        let victim = text(&before[round % before.len()], "container");
        for part in order {
            cluster.docker(["kill", &cluster.container(part)]);
        }
        let lives = Lives::of(&cluster);
        cluster.signal(victim, "STOP");
        for part in order {
            cluster.start_part(part);
        }
        comes_true(PATIENCE, &format!("started in the order {order:?}, what hangs is repaired"), || {
            let counts = lives.counts("shop/web");
            let now = replicas_of(&cluster, "shop/web")?;
            if counts.contains_key(victim) { Ok(()) } else { Err(format!("{counts:?}; {}", shown(&now))) }
        });
        all_ready(&cluster, "shop/web", 3);
        assert_eq!(lives.counts("shop/web"), BTreeMap::from([(victim.to_owned(), 1)]), "after {order:?}");
    }
}
