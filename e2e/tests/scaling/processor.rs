//! A service whose requests cost processor time.

use std::time::Duration;

use gantry_e2e::Cluster;

use crate::world::{Step, WINDOW, busy_web, has, heavy, load, settled, stays, steps};

#[test]
fn a_step_of_load_gets_replicas_a_constant_one_keeps_them_and_its_end_takes_them_after_the_window() {
    let cluster = Cluster::start();
    cluster.ok(["up", "-p", "shop", "-f", &cluster.file("shop", &busy_web())]);
    // A hundredth of a core.
    let light = load("/burn?ms=5", 1, Duration::from_millis(500)).start();
    assert_eq!(settled(&cluster, "shop/web"), 1);

    let heavy = heavy().start();
    has(&cluster, "shop/web", "at least three replicas", |count| count >= 3);
    let busy = settled(&cluster, "shop/web");
    let up = steps(&cluster, "shop/web", 1, 8);
    let is_up = |step: &Step| step.to > step.from && step.why.starts_with("cpu ");
    assert!(up.iter().all(is_up), "straight up: {up:#?}");

    heavy.stop().none_failed(100);
    // Not before it was so for a whole window, of which looking takes a part.
    stays(&cluster, "shop/web", busy, WINDOW / 2);
    has(&cluster, "shop/web", "one replica", |count| count == 1);
    light.stop().none_failed(10);
    let all = steps(&cluster, "shop/web", 1, 8);
    let (before, down) = all.split_at(up.len());
    assert_eq!(before, up);
    assert!(!down.is_empty() && down.iter().all(|step| step.to < step.from), "straight down: {all:#?}");
    println!("{all:#?}");
}
