//! A node is emptied while people are served.

use gantry_e2e::{HostCluster, Load, eventually_within};

use crate::world::{PATIENCE, PORT, deploy, settles, web, while_the_scheduler_is_killed};

/// In all, at two hosts.
const REQUESTS: u64 = 20_000;

pub fn no_request_fails(cluster: &HostCluster) {
    deploy(cluster, "shop", &web(6));
    settles(cluster, "shop", 6);
    // The drained host serves the port too.
    let loads = [1, 2].map(|number| Load::to((cluster.host(number).address(), PORT)).start());
    let half = REQUESTS / 2;
    loads[0].pass(half / 5);

    let said = cluster.ok(["node", "drain", "h2", "--timeout", "60s"]);
    assert!(!cluster.places("shop/web").contains(&"h2".to_owned()), "{said}");
    settles(cluster, "shop", 6);
    cluster.ok(["node", "update", "h2", "--availability", "active"]);
    loads[0].pass(half / 5);

    // Once more, while the scheduler is killed: it may end the command, but not what was begun.
    while_the_scheduler_is_killed(cluster, || cluster.run(["node", "drain", "h3", "--timeout", "60s"]));
    eventually_within(PATIENCE, "the drain was taken or can be asked for again", || {
        (cluster.run(["node", "drain", "h3", "--timeout", "60s"]).code == Some(0)).then_some(())
    });
    assert!(!cluster.places("shop/web").contains(&"h3".to_owned()));
    settles(cluster, "shop", 6);
    cluster.ok(["node", "update", "h3", "--availability", "active"]);

    for load in &loads {
        load.pass(half.saturating_sub(load.sent()));
    }
    for load in loads {
        load.stop().none_failed(half);
    }
}
