//! Two nodes that the scheduler hears, and that do not hear each other.

use gantry_e2e::{HostCluster, eventually_within};
use serde_json::Value;

use crate::world::{PATIENCE, deploy, page, settles, untouched, web};

/// What is wrong with a node, as `gantry node inspect` shows it.
fn conditions(cluster: &HostCluster, name: &str) -> String {
    let node = cluster.json_may_fail(["node", "inspect", name]);
    let conditions = node.as_ref().and_then(|node| node["conditions"].as_array());
    let lines: Vec<_> = conditions.into_iter().flatten().filter_map(Value::as_str).collect();
    lines.join("\n")
}

pub fn two_nodes_are_parted(cluster: &HostCluster) {
    deploy(cluster, "shop", &web(3));
    settles(cluster, "shop", 3);
    let before = untouched(cluster, "shop");
    assert_eq!(before.len(), 3);
    // A cut of earlier may still be healing.
    let whole = |name: &str| conditions(cluster, name).is_empty();
    eventually_within(PATIENCE, "no path is broken", || (whole("h2") && whole("h3")).then_some(()));

    cluster.hosts().part(2, 3);
    let told = |node: &str, other: &str| conditions(cluster, node).contains(other);
    eventually_within(PATIENCE, "people see the broken path", || {
        (told("h2", "h3") || told("h3", "h2")).then_some(())
    });
    cluster.kill(1, "scheduler");
    eventually_within(PATIENCE, "they see it when the scheduler is back", || {
        (told("h2", "h3") || told("h3", "h2")).then_some(())
    });
    // Each proxy finds its way around the replica that it does not reach.
    for number in 1..=3 {
        for _ in 0..10 {
            assert!(page(cluster.host(number), "/").is_some(), "by h{number}");
        }
    }
    // Neither is lost to the scheduler, so nothing is replaced; and what runs there can be changed.
    assert_eq!(untouched(cluster, "shop"), before);
    let nodes = cluster.nodes();
    assert!(nodes.len() == 3 && nodes.values().all(|ready| *ready), "{nodes:?}");
    cluster.ok(["scale", "shop/web=6"]);
    settles(cluster, "shop", 6);

    cluster.hosts().mend();
    eventually_within(PATIENCE, "the path is good again", || {
        (!told("h2", "h3") && !told("h3", "h2")).then_some(())
    });
    settles(cluster, "shop", 6);
    assert!(untouched(cluster, "shop").is_superset(&before));
}
