//! A service that is scaled by a number that it tells itself.

use gantry_e2e::{Cluster, get};

use crate::world::{CALM, WINDOW, has, replicas, stays, steps, url};

fn web() -> String {
    format!(
        "
services:
  web:
    image: gantry-e2e/probe
    stop_grace_period: 1s
    x-gantry:
      autoscale:
        min: 1
        max: 4
        scale_down_after: {}s
        metric: {{port: 8080, name: 'probe_jobs_waiting{{queue=\"mail\"}}', target: 30}}
",
        WINDOW.as_secs()
    )
}

/// Has the first replica, which is taken away last, say that so many jobs wait.
fn wait(cluster: &Cluster, jobs: u32) {
    let first = replicas(cluster, "shop/web").remove(0);
    let page = get(&url(&first, &format!("/metrics?jobs={jobs}")), None).unwrap();
    assert_eq!(page.status, 200, "{page:?}");
}

#[test]
fn jobs_that_wait_get_replicas_which_go_when_there_are_none_left() {
    let cluster = Cluster::start();
    cluster.ok(["up", "-p", "shop", "-f", &cluster.file("shop", &web())]);
    has(&cluster, "shop/web", "one replica", |count| count == 1);
    stays(&cluster, "shop/web", 1, WINDOW);

    wait(&cluster, 90);
    let line = has(&cluster, "shop/web", "three replicas", |count| count == 3);
    assert_eq!(line["signals"][0]["target"], 30.0, "{line}");
    stays(&cluster, "shop/web", 3, CALM);
    wait(&cluster, 1_000);
    has(&cluster, "shop/web", "its most", |count| count == 4);
    wait(&cluster, 0);
    has(&cluster, "shop/web", "one replica again", |count| count == 1);
    let all = steps(&cluster, "shop/web", 1, 4);
    assert!(all.iter().all(|step| step.why.contains("probe_jobs_waiting")), "{all:#?}");
    println!("{all:#?}");
}
