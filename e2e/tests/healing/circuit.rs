//! Most replicas of a service are ill at once: the cause is likely elsewhere.

use std::time::Duration;

use gantry_e2e::{Cluster, Dice, Hook, Lives, Load, comes_true};

use crate::alerts::{self, has_ended, told};
use crate::world::{
    PORT, all_ready, event, file_with_state, health, host_name, ill, in_routes, replicas_of, say_health,
    shown,
};

fn web() -> String {
    format!(
        "
services:
  web:
    image: gantry-e2e/probe
    ports: ['{PORT}:8080']
    volumes: ['./state:/state']
    stop_grace_period: 1s
    deploy: {{replicas: 5}}
    x-gantry: {{health: {}, heal: {{restart_limit: 20}}}}
",
        health("/well/state")
    )
}

/// Three of five, and no restart helps them.
#[test]
fn three_of_five_unhealthy_at_once_are_repaired_one_at_a_time_with_growing_pauses_and_one_alert() {
    let cluster = Cluster::start();
    let mut dice = Dice::new();
    let hook = Hook::start();
    alerts::tell(&cluster, &hook);
    let (file, state) = file_with_state(&cluster, "shop", &web());
    cluster.ok(["up", "-p", "shop", "-f", &file]);
    let before = all_ready(&cluster, "shop/web", 5);
    let names: Vec<_> = before[..3].iter().map(|replica| host_name(&cluster, replica)).collect();
    let lives = Lives::of(&cluster);
    let load = Load { pause: Duration::from_millis(50), ..Load::on(PORT) }.start();

    for name in &names {
        ill(&state, name, true);
    }
    let moment = Duration::from_millis(dice.roll(20_000));
    cluster.while_killed("watchdog", moment, || {
        // Four trials are three pauses.
        comes_true(Duration::from_mins(5), "the fourth trial repair begins", || {
            let starts = lives.starts("shop/web");
            let seen = || replicas_of(&cluster, "shop/web").map_or_else(|error| error, |it| shown(&it));
            if starts.len() >= 4 { Ok(()) } else { Err(format!("{starts:#?}; {}", seen())) }
        });
    });
    let starts = lives.starts("shop/web");
    let pauses: Vec<_> =
        starts.windows(2).map(|two| two[1].at.as_secs_f64() - two[0].at.as_secs_f64()).collect();
    println!("pauses between trial repairs: {pauses:.1?} s");
    // A second is what looking and restarting may differ by.
    assert!(pauses.windows(2).all(|two| two[1] >= two[0] - 1.0), "they do not shrink: {pauses:?}");
    assert!(pauses.last() > pauses.first(), "they grow: {pauses:?}");
    assert_eq!(lives.away_at_once("shop/web"), 1, "one at a time");
    assert_eq!(in_routes("shop/web").len(), 2, "the others serve: {:?}", in_routes("shop/web"));
    event(&cluster, "shop/web", "why it goes so slowly", |reason, _| reason == "ManyUnhealthy");
    let fired = told(&hook, "circuit-open", "shop/web");
    assert_eq!(fired, ["firing"], "one alert, and not one for each: {:#?}", hook.notices());

    for name in &names {
        ill(&state, name, false);
    }
    let after = all_ready(&cluster, "shop/web", 5);
    assert!(
        before.iter().all(|old| after.iter().any(|new| new["id"] == old["id"])),
        "nobody was replaced: {}",
        shown(&after)
    );
    has_ended(&cluster, &hook, "circuit-open", "shop/web");
    load.stop().none_failed(1_000);
}

/// Three of five that a restart cures.
#[test]
fn three_of_five_that_a_restart_cures_are_restarted_once_each_one_after_the_other() {
    let cluster = Cluster::start();
    let mut dice = Dice::new();
    let text = web().replace("/well/state", "/health");
    let (file, _) = file_with_state(&cluster, "shop", &text);
    cluster.ok(["up", "-p", "shop", "-f", &file]);
    let before = all_ready(&cluster, "shop/web", 5);
    let lives = Lives::of(&cluster);
    before[..3].iter().for_each(|replica| say_health(replica, 503));
    let moment = Duration::from_millis(dice.roll(10_000));
    cluster.while_killed("watchdog", moment, || {
        comes_true(Duration::from_mins(4), "all three are restarted", || {
            let counts = lives.counts("shop/web");
            if counts.len() >= 3 { Ok(()) } else { Err(format!("{counts:?}")) }
        });
    });
    all_ready(&cluster, "shop/web", 5);
    let counts = lives.counts("shop/web");
    assert!(counts.len() == 3 && counts.values().all(|count| *count == 1), "{counts:?}");
    assert_eq!(lives.away_at_once("shop/web"), 1, "one at a time");
}
