//! An engine that restarts, and a whole host that does.

use gantry_e2e::{HostCluster, eventually_within};

use crate::world::{PATIENCE, deploy, page, serve, settles, web, while_the_scheduler_is_killed};

pub fn an_engine_restarts(cluster: &HostCluster) {
    deploy(cluster, "shop", &web(6));
    settles(cluster, "shop", 6);
    for kill in [false, true] {
        if kill {
            while_the_scheduler_is_killed(cluster, || cluster.host(2).restart_engine());
        } else {
            cluster.host(2).restart_engine();
        }
        comes_back(cluster);
    }
    // Killed, it leaves containers that its next one takes over.
    cluster.host(3).kill_engine();
    assert!(page(cluster.host(1), "/").is_some());
    cluster.host(3).start_engine();
    comes_back(cluster);
}

pub fn a_host_restarts(cluster: &HostCluster) {
    deploy(cluster, "shop", &web(6));
    settles(cluster, "shop", 6);
    cluster.host(3).power_off();
    eventually_within(PATIENCE, "the others serve", || serve(cluster, &[1, 2]).then_some(()));
    while_the_scheduler_is_killed(cluster, || cluster.host(3).power_on());
    comes_back(cluster);
    // Its part of every network was made again, by name and across hosts.
    cluster.ok(["scale", "shop/web=9"]);
    settles(cluster, "shop", 9);
    assert!(cluster.places("shop/web").contains(&"h3".to_owned()));
    for number in 1..=3 {
        let names = page(cluster.host(number), "/resolve/tasks.web").unwrap();
        assert_eq!(names.lines().count(), 9, "{names}");
        for address in names.lines() {
            let found = page(cluster.host(number), &format!("/fetch/{address}:8080"));
            assert!(found.is_some(), "{address} from h{number}");
        }
    }
}

fn comes_back(cluster: &HostCluster) {
    cluster.ready(&[1, 2, 3]);
    settles(cluster, "shop", 6);
    eventually_within(PATIENCE, "all three serve", || serve(cluster, &[1, 2, 3]).then_some(()));
}
