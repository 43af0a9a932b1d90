//! A host is gone, and comes back.

use std::time::{Duration, Instant};

use gantry_e2e::{Dice, HostCluster, eventually_within};

use crate::world::{PORT, deploy, host_of, serve, settles};

/// A node is lost after 6 s of silence; the rest is for starting elsewhere on a busy machine.
const IN_TIME: Duration = Duration::from_secs(20);

fn shop() -> String {
    format!(
        "
services:
  web: {{image: gantry-e2e/probe, ports: ['{PORT}:8080'], deploy: {{replicas: 6}}}}
  db:
    image: gantry-e2e/probe
    deploy: {{placement: {{constraints: ['node.hostname != h1']}}}}
"
    )
}

/// What happens to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Its cable is pulled: it goes on by itself.
    Cut,
    /// All its processes stop, and its links stay up.
    Frozen,
}

pub fn a_host_is_cut_off(cluster: &HostCluster) {
    fail_over(cluster, Fault::Cut, None);
}

pub fn a_host_and_the_scheduler(cluster: &HostCluster) {
    fail_over(cluster, Fault::Cut, Some("scheduler"));
}

pub fn a_host_and_the_watchdog(cluster: &HostCluster) {
    fail_over(cluster, Fault::Cut, Some("watchdog"));
}

pub fn a_host_freezes(cluster: &HostCluster) {
    fail_over(cluster, Fault::Frozen, None);
}

pub fn a_host_freezes_and_the_watchdog_is_killed(cluster: &HostCluster) {
    fail_over(cluster, Fault::Frozen, Some("watchdog"));
}

fn fail_over(cluster: &HostCluster, fault: Fault, killed: Option<&str>) {
    deploy(cluster, "shop", &shop());
    settles(cluster, "shop", 7);
    let lost = host_of(cluster, "shop/db");
    let others: Vec<u8> = (1..=3).filter(|number| *number != lost.number()).collect();
    let before = cluster.containers(lost.number());
    assert!(!before.is_empty());

    match fault {
        Fault::Cut => lost.cut(),
        Fault::Frozen => lost.freeze(),
    }
    let began = Instant::now();
    if let Some(part) = killed {
        // Before it can have been found lost.
        let moment = Duration::from_millis(Dice::new().roll(5_000));
        gantry_e2e::after(moment);
        cluster.kill(1, part);
    }
    eventually_within(IN_TIME, "all run elsewhere and serve", || {
        let places = [cluster.places("shop/web"), cluster.places("shop/db")];
        let counts = places.each_ref().map(|places| places.iter().filter(|it| **it != lost.name()).count());
        (counts == [6, 1] && serve(cluster, &others)).then_some(())
    });
    let also = killed.map(|part| format!(", the {part} killed meanwhile")).unwrap_or_default();
    println!("host {fault:?}{also} → everything serves again: {:.1} s", began.elapsed().as_secs_f64());
    let events = cluster.ok(["events", &format!("node:{}", lost.name())]);
    assert!(events.contains("NodeLost"), "why it was replaced is said: {events}");
    let page = crate::world::page(cluster.host(others[0]), "/fetch/db:8080");
    assert!(page.is_some(), "the new database is found");
    // Nobody told the other side, which goes on. A frozen engine says nothing.
    if fault == Fault::Cut {
        assert_eq!(cluster.containers(lost.number()), before);
    }

    cluster.hosts().mend();
    if let Some(part) = killed {
        cluster.kill(1, part);
    }
    cluster.ready(&[1, 2, 3]);
    settles(cluster, "shop", 7);
    assert!(serve(cluster, &[1, 2, 3]));
    let back = cluster.containers(lost.number());
    assert!(before.iter().all(|name| !back.contains(name)), "what was replaced is gone: {back:?}");
    // It is of use again.
    cluster.ok(["scale", "shop/web=9"]);
    settles(cluster, "shop", 10);
    assert!(cluster.places("shop/web").contains(&lost.name()));
}
