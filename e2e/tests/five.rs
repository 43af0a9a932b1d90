//! Five hosts, most of which vanish at once.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

#[path = "many/world.rs"]
#[allow(dead_code)] // The scenarios of three hosts need the rest.
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use gantry_e2e::{Dice, HostCluster, comes_true, throughout};
use serde_json::Value;

use world::{PATIENCE, deploy, serve, settles, untouched, web};

const REPLICAS: usize = 10;
const GONE: [u8; 3] = [3, 4, 5];
/// More than three times what one node takes to be lost.
const LONG: Duration = Duration::from_secs(25);

/// Ids and places of the replicas, whatever their state.
fn placed(cluster: &HostCluster) -> Result<BTreeSet<String>, String> {
    let all = cluster.json_may_fail(["ps", "shop"]).ok_or("gantry ps has failed")?;
    let all = all.as_array().into_iter().flatten();
    Ok(all.map(|it| format!("{} {}", it["id"], it["node"])).collect())
}

#[test]
fn when_three_of_five_nodes_vanish_at_once_nothing_is_evicted() {
    let cluster = HostCluster::start(5);
    deploy(&cluster, "shop", &web(u32::try_from(REPLICAS).unwrap()));
    settles(&cluster, "shop", REPLICAS);
    let mut dice = Dice::new();
    let containers = untouched(&cluster, "shop");
    let before = placed(&cluster).unwrap();
    assert_eq!((containers.len(), before.len()), (REPLICAS, REPLICAS));
    nothing_moves(&cluster, &before, None);
    assert_eq!(untouched(&cluster, "shop"), containers, "no container was touched");
    // Once more, and the watchdog starts anew with nothing but what the feed says.
    let moment = Duration::from_millis(dice.roll(12_000));
    nothing_moves(&cluster, &before, Some(moment));
    assert_eq!(untouched(&cluster, "shop"), containers, "no container was touched");
    // One alone is lost, as ever.
    cluster.host(5).cut();
    comes_true(PATIENCE, "what one lost node ran runs elsewhere", || {
        let places = cluster.places("shop/web");
        let away = places.len() == REPLICAS && !places.contains(&"h5".to_owned());
        if away { Ok(()) } else { Err(format!("{places:?}")) }
    });
}

fn nothing_moves(cluster: &HostCluster, before: &BTreeSet<String>, watchdog_dies_after: Option<Duration>) {
    for number in GONE {
        cluster.host(number).cut();
    }
    if let Some(moment) = watchdog_dies_after {
        gantry_e2e::after(moment);
        cluster.kill(1, "watchdog");
    }
    comes_true(PATIENCE, "the three are seen to be away", || {
        let nodes = cluster.nodes();
        let away = nodes.values().filter(|ready| !**ready).count();
        if away == GONE.len() { Ok(()) } else { Err(format!("{nodes:?}")) }
    });
    throughout(LONG, "every replica is left where it is", || {
        let now = placed(cluster)?;
        if now == *before { Ok(()) } else { Err(format!("{now:?} instead of {before:?}")) }
    });
    let alert = comes_true(PATIENCE, "an alert says so", || {
        let all = cluster.json_may_fail(["alerts", "ls"]).ok_or("gantry alerts ls has failed")?;
        let found = all.as_array().into_iter().flatten().find(|it| it["rule"] == "nodes-held").cloned();
        found.ok_or_else(|| all.to_string())
    });
    assert!(!alert["summary"].as_str().unwrap_or_default().is_empty(), "{alert}");
    // Who is gone is still in the proxies' tables, and each finds out by itself whom it does not reach.
    comes_true(PATIENCE, "who is there serves", || {
        if serve(cluster, &[1, 2]) { Ok(()) } else { Err("no answer".to_owned()) }
    });

    cluster.hosts().mend();
    cluster.ready(&[1, 2, 3, 4, 5]);
    settles(cluster, "shop", REPLICAS);
    assert_eq!(placed(cluster).as_ref(), Ok(before));
    comes_true(PATIENCE, "the alert is over", || {
        let all = cluster.json_may_fail(["alerts", "ls"]).unwrap_or(Value::Null);
        let active = all.as_array().is_none_or(|all| all.iter().any(|it| it["rule"] == "nodes-held"));
        if active { Err(all.to_string()) } else { Ok(()) }
    });
}
