//! A service that is updated while its load wants more replicas than its file names.

use gantry_e2e::{Cluster, get};

use crate::world::{CALM, PORT, WINDOW, forty_a_second, has, replicas, stays, steps, url};

fn web(version: u32) -> String {
    format!(
        "
services:
  web:
    image: gantry-e2e/probe
    ports: ['{PORT}:8080']
    environment: {{VERSION: '{version}'}}
    stop_grace_period: 1s
    deploy: {{replicas: 1}}
    x-gantry: {{autoscale: {{min: 1, max: 6, rps: 11, scale_down_after: {}s}}}}
",
        WINDOW.as_secs()
    )
}

#[test]
fn an_update_keeps_the_count_that_the_load_needs_and_costs_no_request() {
    let cluster = Cluster::start();
    cluster.ok(["up", "-p", "shop", "-f", &cluster.file("shop", &web(1))]);
    let load = forty_a_second().start();
    has(&cluster, "shop/web", "four replicas", |count| count == 4);
    let before = steps(&cluster, "shop/web", 1, 6);

    cluster.ok(["up", "-p", "shop", "-f", &cluster.file("shop", &web(2))]);
    has(&cluster, "shop/web", "four replicas still", |count| count == 4);
    stays(&cluster, "shop/web", 4, CALM);
    let now = replicas(&cluster, "shop/web");
    assert_eq!(now.len(), 4, "{now:#?}");
    for replica in &now {
        let page = get(&url(replica, "/env/VERSION"), None).unwrap();
        assert_eq!(page.body.trim(), "2", "{replica}");
    }
    assert_eq!(steps(&cluster, "shop/web", 1, 6), before, "the load has not changed");

    // What comes after an update is decided as ever.
    load.stop().none_failed(400);
    has(&cluster, "shop/web", "one replica", |count| count == 1);
    steps(&cluster, "shop/web", 1, 6);
}
