//! Something is wrong with one host, and the services there say so.

use std::time::Duration;

use gantry_e2e::{Dice, HostCluster, comes_true};
use serde_json::Value;

use crate::world::{PORT, deploy, host_of, serve, settles};

/// Restarts in its place, before a replica moves.
const LIMIT: u32 = 2;

pub fn a_replica_moves(cluster: &HostCluster) {
    move_away(cluster, 0);
}

pub fn a_replica_moves_all_the_same(cluster: &HostCluster) {
    move_away(cluster, 3);
}

fn move_away(cluster: &HostCluster, kills: u32) {
    // Every host has this folder, and a replica is ill where `all` is in it.
    let folders: Vec<_> = (1..=3).map(|number| cluster.host(number).own_folder("state")).collect();
    let (path, _) = &folders[0];
    let text = format!(
        "
services:
  web:
    image: gantry-e2e/probe
    ports: ['{PORT}:8080']
    volumes: ['{}:/state:ro']
    stop_grace_period: 1s
    deploy: {{replicas: 2}}
    x-gantry:
      health: {{http: /well/state, port: 8080, interval: 500ms, timeout: 300ms, retries: 3}}
      heal: {{restart_limit: {LIMIT}, window: 10m}}
",
        path.display()
    );
    deploy(cluster, "shop", &text);
    settles(cluster, "shop", 2);
    let before = cluster.replicas("shop");
    let bad = host_of(cluster, "shop/web");
    let others: Vec<u8> = (1..=3).filter(|number| *number != bad.number()).collect();
    let own = bad.folder().join("state/all");
    std::fs::write(&own, "").unwrap();

    let mut dice = Dice::new();
    for _ in 0..kills {
        gantry_e2e::after(Duration::from_millis(dice.roll(10_000)));
        cluster.kill(1, "watchdog");
    }
    comes_true(Duration::from_mins(4), "what was ill there runs elsewhere", || {
        let places = cluster.places("shop/web");
        let away = places.len() == 2 && !places.contains(&bad.name());
        let seen =
            || format!("{places:?}\n{}{}", cluster.run(["ps", "shop"]), cluster.run(["why", "shop/web"]));
        if away && serve(cluster, &others) { Ok(()) } else { Err(seen()) }
    });
    settles(cluster, "shop", 2);
    let after = cluster.replicas("shop");
    let well = |replica: &&Value| replica["node"] != bad.name().as_str();
    for stays in before.iter().filter(well) {
        let same = after.iter().find(|replica| replica["id"] == stays["id"]);
        assert_eq!(same.map(|it| &it["started"]), Some(&stays["started"]), "nobody touched it: {after:#?}");
    }
    let why = cluster.ok(["why", "shop/web"]);
    assert!(why.contains(&format!("{LIMIT} restarts")) && why.contains("did not help"), "{why}");
    std::fs::remove_file(own).unwrap();
}
