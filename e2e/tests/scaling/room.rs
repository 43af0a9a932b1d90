//! Two services want more than there is room for.

use gantry_e2e::{Cluster, Load, comes_true, throughout};
use serde_json::Value;

use crate::world::{CALM, PATIENCE, PORT, WINDOW, alert, forty_a_second, has, replicas, steps};

/// Four replicas of both have room together: the twentieth part of a node is not given away.
const SHARE: f64 = 0.2;
const ROOM: usize = 4;

fn both(cpus: f64) -> String {
    let one = |name: &str, port: u16| {
        format!(
            "
  {name}:
    image: gantry-e2e/probe
    ports: ['{port}:8080']
    stop_grace_period: 1s
    deploy: {{resources: {{reservations: {{cpus: '{:.3}'}}}}}}
    x-gantry: {{autoscale: {{min: 1, max: 3, rps: 11, scale_down_after: {}s}}}}
",
            cpus * SHARE,
            WINDOW.as_secs()
        )
    };
    format!("services:{}{}", one("bread", PORT), one("cake", PORT + 1))
}

fn ready(replicas: &[Value]) -> usize {
    replicas.iter().filter(|replica| replica["ready"] == true).count()
}

#[test]
fn who_comes_too_late_waits_takes_nothing_from_the_other_and_gets_what_it_leaves() {
    let cluster = Cluster::start();
    let cpus: f64 = cluster.docker(["info", "-f", "{{.NCPU}}"]).parse().unwrap();
    cluster.ok(["up", "-p", "shop", "-f", &cluster.file("shop", &both(cpus))]);
    has(&cluster, "shop/bread", "one replica", |count| count == 1);
    has(&cluster, "shop/cake", "one replica", |count| count == 1);
    let bread = forty_a_second().start();
    has(&cluster, "shop/bread", "its most", |count| count == 3);
    let cake = Load { address: ([127, 0, 0, 1], PORT + 1).into(), ..forty_a_second() }.start();

    comes_true(PATIENCE, "replicas of shop/cake wait for room", || {
        let cakes = replicas(&cluster, "shop/cake");
        let waits = |it: &&Value| it["message"].as_str().is_some_and(|message| message.contains("no room"));
        let waiting = cakes.iter().filter(waits).count();
        if cakes.len() == 3 && waiting == 2 { Ok(()) } else { Err(format!("{cakes:#?}")) }
    });
    alert(&cluster, "no-room", "shop/cake", true);
    throughout(CALM, "all that has room runs", || {
        let (bread, cakes) = (replicas(&cluster, "shop/bread"), replicas(&cluster, "shop/cake"));
        let (all, own) = (ready(&bread) + ready(&cakes), ready(&cakes));
        if (all, own) == (ROOM, 1) { Ok(()) } else { Err(format!("{bread:#?}\n{cakes:#?}")) }
    });
    let why = cluster.ok(["why", "shop/cake"]);
    assert!(why.contains("no room"), "{why}");

    bread.stop().none_failed(400);
    has(&cluster, "shop/bread", "one replica again", |count| count == 1);
    has(&cluster, "shop/cake", "its most", |count| count == 3);
    alert(&cluster, "no-room", "shop/cake", false);
    cake.stop().none_failed(400);
    for service in ["shop/bread", "shop/cake"] {
        println!("{service}: {:#?}", steps(&cluster, service, 1, 3));
    }
}
