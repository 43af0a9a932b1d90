//! The only replica of a service: there is nobody who could serve instead, so it is always repaired.

use std::time::Duration;

use gantry_e2e::{Cluster, Dice, Lives, comes_true, get};

use crate::world::{
    PORT, all_ready, event, file_with_state, health, host_name, ill, replicas_of, say_health, shown, text,
};

fn web(path: &str) -> String {
    format!(
        "
services:
  web:
    image: gantry-e2e/probe
    ports: ['{PORT}:8080']
    volumes: ['./state:/state']
    stop_grace_period: 1s
    x-gantry: {{health: {}, heal: {{restart_limit: 2, window: 10m}}}}
",
        health(path)
    )
}

#[test]
fn the_only_replica_is_repaired_also_when_the_watchdog_is_killed_meanwhile() {
    let cluster = Cluster::start();
    let mut dice = Dice::new();
    let (file, _) = file_with_state(&cluster, "shop", &web("/health"));
    cluster.ok(["up", "-p", "shop", "-f", &file]);
    for dies in [None, Some(Duration::from_millis(dice.roll(3_000)))] {
        let before = all_ready(&cluster, "shop/web", 1);
        let lives = Lives::of(&cluster);
        say_health(&before[0], 503);
        let repaired = || {
            comes_true(Duration::from_mins(2), "it is restarted", || {
                let seen = || replicas_of(&cluster, "shop/web").map_or_else(|error| error, |it| shown(&it));
                if lives.starts("shop/web").is_empty() { Err(seen()) } else { Ok(()) }
            });
        };
        match dies {
            None => repaired(),
            Some(moment) => cluster.while_killed("watchdog", moment, repaired),
        }
        let after = all_ready(&cluster, "shop/web", 1);
        assert_eq!(after[0]["id"], before[0]["id"], "it was restarted in its place");
        assert_eq!(lives.starts("shop/web").len(), 1, "once");
        let page = get(&format!("http://127.0.0.1:{PORT}/"), None).unwrap();
        assert_eq!(page.status, 200, "{page:?}");
    }
    // Every repair says why.
    event(&cluster, "shop/web", "that it was unhealthy", |reason, message| {
        reason == "Unhealthy" && message.contains("503")
    });
}

#[test]
fn a_replica_that_restarts_do_not_help_gets_a_successor_after_the_limit() {
    let cluster = Cluster::start();
    let mut dice = Dice::new();
    let (file, state) = file_with_state(&cluster, "shop", &web("/well/state"));
    cluster.ok(["up", "-p", "shop", "-f", &file]);
    let before = all_ready(&cluster, "shop/web", 1);
    let lives = Lives::of(&cluster);
    // Ill is whoever has this host name: the same container, however often it is started.
    ill(&state, &host_name(&cluster, &before[0]), true);
    let moment = Duration::from_millis(dice.roll(20_000));
    let after = cluster.while_killed("watchdog", moment, || {
        comes_true(Duration::from_mins(4), "a successor serves", || {
            let now = replicas_of(&cluster, "shop/web")?;
            let one = now.len() == 1 && now[0]["id"] != before[0]["id"] && now[0]["ready"] == true;
            if one { Ok(now) } else { Err(format!("{}; {:?}", shown(&now), lives.counts("shop/web"))) }
        })
    });
    assert_ne!(text(&after[0], "container"), text(&before[0], "container"));
    let counts = lives.counts("shop/web");
    assert_eq!(counts[text(&before[0], "container")], 2, "as often as the limit says: {counts:?}");
    assert_eq!(counts[text(&after[0], "container")], 1, "{counts:?}");
    let why = cluster.ok(["why", "shop/web"]);
    assert!(why.contains("did not help"), "the chain is told: {why}");
}
