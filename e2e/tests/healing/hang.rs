//! A process hangs: it keeps its connections and answers nobody.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gantry_e2e::{Cluster, Dice, Lives, Load, comes_true};

use crate::world::{PATIENCE, PORT, address, all_ready, in_routes, replicas_of, shown, text};

/// One failed check takes a replica out, the second one, 2 s later, makes it unhealthy: who is out of the routes and
/// not yet unhealthy has failed one check.
fn web() -> String {
    format!(
        "
services:
  web:
    image: gantry-e2e/probe
    ports: ['{PORT}:8080']
    stop_grace_period: 1s
    deploy: {{replicas: 3}}
    x-gantry: {{health: {{http: /health, port: 8080, interval: 2s, timeout: 300ms, retries: 2}}}}
"
    )
}

#[test]
fn a_process_that_hangs_leaves_the_routes_at_once_is_restarted_and_costs_no_later_request() {
    let cluster = Cluster::start();
    let mut dice = Dice::new();
    cluster.ok(["up", "-p", "shop", "-f", &cluster.file("shop", &web())]);
    hangs(&cluster, 2, Watchdog::Works);
    hangs(&cluster, 1, Watchdog::DiesAfter(Duration::from_millis(dice.roll(5_000))));
    hangs(&cluster, 3, Watchdog::IsAway);
}

/// What becomes of the watchdog meanwhile.
#[derive(Clone, Copy)]
enum Watchdog {
    Works,
    DiesAfter(Duration),
    /// It comes when the replica has left the routes.
    IsAway,
}

fn hangs(cluster: &Cluster, slot: u64, watchdog: Watchdog) {
    let before = all_ready(cluster, "shop/web", 3);
    let victim = before.iter().find(|replica| replica["slot"] == slot).unwrap();
    let (container, own) = (text(victim, "container"), address(victim).to_owned());
    assert!(in_routes("shop/web").contains(&own), "it takes traffic at first");
    let lives = Lives::of(cluster);
    let load = Load::on(PORT).start();
    load.pass(1_000);

    let began = Instant::now();
    let leaves = || {
        cluster.signal(container, "STOP");
        comes_true(PATIENCE, "it is out of the routes", || {
            let routes = in_routes("shop/web");
            if routes.contains(&own) { Err(format!("{own} among {routes:?}")) } else { Ok(()) }
        });
        let out = Instant::now();
        // Not because it was found unhealthy, and repaired, but at the first failed check.
        let now = replicas_of(cluster, "shop/web").unwrap();
        let state = now.iter().find(|replica| replica["id"] == victim["id"]).map(|it| text(it, "state"));
        assert_ne!(state, Some("unhealthy"), "it left the routes only then: {}", shown(&now));
        assert!(lives.starts("shop/web").is_empty(), "it left the routes only when it was restarted");
        out
    };
    let comes_back = || {
        comes_true(PATIENCE, "it is restarted and back in the routes", || {
            let (started, routes) = (lives.counts("shop/web"), in_routes("shop/web"));
            let back = started.contains_key(container) && routes.contains(&own);
            let seen = || replicas_of(cluster, "shop/web").map_or_else(|error| error, |it| shown(&it));
            if back { Ok(()) } else { Err(format!("started {started:?}, routes {routes:?}; {}", seen())) }
        });
    };
    let both = || {
        let out = leaves();
        comes_back();
        out
    };
    let out = match watchdog {
        Watchdog::Works => both(),
        Watchdog::DiesAfter(moment) => cluster.while_killed("watchdog", moment, both),
        Watchdog::IsAway => {
            let out = cluster.without("watchdog", leaves);
            comes_back();
            out
        }
    };
    println!(
        "hung → out of the routes: {:.1} s, back: {:.1} s",
        out.duration_since(began).as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    let after = all_ready(cluster, "shop/web", 3);
    load.pass(3_000);
    let report = load.stop();
    report.none_failed_since(out);
    assert!(report.bodies.len() >= 3, "every replica has answered: {:?}", report.bodies);
    let ids = |replicas: &[serde_json::Value]| {
        replicas.iter().map(|replica| text(replica, "id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&after), ids(&before), "it was restarted in its place");
    assert_eq!(lives.counts("shop/web"), BTreeMap::from([(container.to_owned(), 1)]), "once, and no other");
}
