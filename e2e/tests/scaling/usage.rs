//! What replicas use, of which all this is made.

use gantry_e2e::{Cluster, eventually};

#[test]
fn what_a_replica_uses_is_measured_each_second_and_becomes_advice_after_a_while() {
    let cluster = Cluster::start();
    let file = cluster.file("seen", "services: {web: {image: gantry-e2e/probe, mem_limit: 64M}}");
    cluster.ok(["up", "-f", &file]);
    let top = eventually("the use of a replica that was measured", || {
        let top = cluster.json(["top", "--no-stream", "--replicas", "seen/web"]);
        top[1]["memory"].as_u64().filter(|memory| *memory > 0).map(|_| top)
    });
    assert_eq!(top[0]["memory"], top[1]["memory"], "{top}");
    assert!(top[0]["cpu_cores"].as_f64().is_some_and(|cores| cores < 2.0), "{top}");
    let advice = cluster.json(["advise", "seen/web"]);
    assert!(advice[0]["missing"].as_str().unwrap().contains("a minute is needed"), "{advice}");
}
