//! The scheduler's host is gone for good.

use gantry_e2e::{HostCluster, eventually_within};

use crate::world::{PATIENCE, deploy, serve, settles, untouched, web};

/// Where the scheduler goes.
const NEXT: u8 = 4;

pub fn on_another_host(cluster: &HostCluster) {
    deploy(cluster, "shop", &web(6));
    settles(cluster, "shop", 6);
    let backup = cluster.folder().join("backup").to_string_lossy().into_owned();
    cluster.ok(["backup", &backup]);
    cluster.host(1).power_off();
    let before = untouched(cluster, "shop");
    assert_eq!(before.len(), 4);
    // Without it what runs goes on.
    eventually_within(PATIENCE, "the others serve", || serve(cluster, &[2, 3]).then_some(()));

    cluster.on(NEXT, &["restore", &backup]).ok();
    let address = format!("{}:7070", cluster.host(NEXT).address());
    for number in [2, 3] {
        let engine = cluster.host(number).docker_host();
        cluster.ok(["node", "repoint", &address, "--docker-host", &engine]);
    }
    cluster.ready(&[2, 3]);
    assert!(untouched(cluster, "shop").is_superset(&before), "nothing that ran was touched");
    // What the lost host had is replaced.
    settles(cluster, "shop", 6);
    assert!(untouched(cluster, "shop").is_superset(&before));
    assert!(!cluster.places("shop/web").contains(&"h1".to_owned()));
    cluster.ok(["scale", "shop/web=7"]);
    settles(cluster, "shop", 7);
    assert!(serve(cluster, &[2, 3]));
    // Hosts join by its new address.
    let invitation = cluster.invite(&[]);
    assert!(invitation.ends_with(&address), "{invitation}");
}
