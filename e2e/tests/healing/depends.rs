//! A database is down, and the service that needs it says that it is ill.

use std::time::Duration;

use gantry_e2e::{Cluster, Dice, Lives, comes_true, throughout};

use crate::world::{all_ready, event, health, in_routes, replicas_of, shown, text};

const PORT: u16 = crate::world::PORT;
/// For how long it is down: many times what makes a replica unhealthy.
const DOWN: Duration = Duration::from_secs(45);
/// What trials may come to in that time: after 30 s, and then after a minute.
const TRIALS: usize = 2;

#[test]
fn when_the_database_is_down_the_web_service_is_not_restarted_in_a_storm() {
    let cluster = Cluster::start();
    let mut dice = Dice::new();
    // Nobody repairs the database, so that it stays down for as long as this test wants.
    let file = cluster.file(
        "shop",
        &format!(
            "
services:
  web:
    image: gantry-e2e/probe
    ports: ['{PORT}:8080']
    depends_on: [db]
    stop_grace_period: 1s
    deploy: {{replicas: 4}}
    x-gantry: {{health: {}}}
  db:
    image: gantry-e2e/probe
    x-gantry: {{health: {}, heal: {{off: true}}}}
",
            health("/with/db:8080"),
            health("/health"),
        ),
    );
    cluster.ok(["up", "-p", "shop", "-f", &file]);
    all_ready(&cluster, "shop/web", 4);
    let db = all_ready(&cluster, "shop/db", 1);
    let database = text(&db[0], "container");
    let lives = Lives::of(&cluster);

    cluster.signal(database, "STOP");
    comes_true(Duration::from_secs(30), "no web replica takes traffic for its health", || {
        let now = replicas_of(&cluster, "shop/web")?;
        let ill = now.iter().all(|replica| replica["ready"] != true);
        if ill { Ok(()) } else { Err(shown(&now)) }
    });
    let moment = Duration::from_millis(dice.roll(30_000));
    cluster.while_killed("watchdog", moment, || {
        throughout(DOWN, "web is left alone but for a trial", || {
            let starts = lives.starts("shop/web");
            if starts.len() <= TRIALS { Ok(()) } else { Err(format!("{starts:#?}")) }
        });
    });
    assert_eq!(lives.starts("shop/db").len(), 0, "it said that it is not to be repaired");
    assert!(lives.away_at_once("shop/web") <= 1, "one at a time");
    event(&cluster, "shop/web", "that the cause is the database", |reason, message| {
        reason == "DependencyDown" && message.contains("shop/db")
    });

    let before = lives.starts("shop/web").len();
    cluster.signal(database, "CONT");
    all_ready(&cluster, "shop/web", 4);
    assert_eq!(in_routes("shop/web").len(), 4);
    let after = lives.starts("shop/web").len();
    // One may have been under way when it came back.
    assert!(after <= before + 1, "nobody had to be restarted for that: {:#?}", lives.starts("shop/web"));
}
