//! Decisions on small worlds, built with `gantry-testkit`.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_model::{Condition, Goal, Health, Phase, RestartPolicy, TableVersion, Timestamp, UpdateOrder};
use gantry_testkit::{ServiceBuilder, World};
use proptest::prelude::*;

use super::*;

mod failover;
mod heal;
mod heal_histories;
mod large;
mod names;
mod placement;
mod rebalance;
mod restart;
mod stacks;
mod update;
mod verdicts;
mod why;

const NOW: Timestamp = Timestamp::from_millis(100_000);

/// Decides until nothing is left to do, as the scheduler does.
fn settle(world: &mut World) {
    for _ in 0..50 {
        let plan = decide(&world.snapshot, world.now);
        if plan.changes.is_empty() {
            return;
        }
        world.commit(&plan.changes);
    }
    panic!("decisions do not come to an end");
}

fn goals(world: &World, service: &str) -> Vec<(u32, u64, Goal)> {
    world.replicas(service).iter().map(|replica| (replica.slot, replica.revision, replica.goal)).collect()
}

#[test]
fn a_service_gets_its_replicas_each_with_an_address_of_its_own() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| service.replicas(3));
    settle(&mut world);
    let replicas = world.replicas("shop/web");
    assert_eq!(goals(&world, "shop/web"), [(1, 1, Goal::Run), (2, 1, Goal::Run), (3, 1, Goal::Run)]);
    let addresses: std::collections::BTreeSet<_> =
        replicas.iter().map(|replica| replica.addresses["default"]).collect();
    assert_eq!(addresses.len(), 3);
    assert!(replicas.iter().all(|replica| replica.node.is_some()));
}

#[test]
fn deciding_again_changes_nothing() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| service.replicas(3));
    settle(&mut world);
    assert!(decide(&world.snapshot, world.now).actions.is_empty());
}

#[test]
fn scaling_down_drains_the_newest_slots() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| service.replicas(3));
    settle(&mut world);
    world.run_all();
    world.change_service("shop/web", |service| service.replicas = 1);
    settle(&mut world);
    assert_eq!(
        goals(&world, "shop/web")
            .iter()
            .map(|(slot, _, goal)| (*slot, *goal > Goal::Run))
            .collect::<Vec<_>>(),
        [(1, false), (2, true), (3, true)]
    );
}

#[test]
fn a_replica_is_not_stopped_before_every_proxy_acknowledged() {
    let mut world =
        World::new(NOW).node("n1").proxy("p1").proxy("p2").service("shop/web", |service| service.replicas(1));
    settle(&mut world);
    world.run_all();
    world.change_service("shop/web", |service| service.removing = true);
    settle(&mut world);
    assert_eq!(goals(&world, "shop/web")[0].2, Goal::Drain);

    let revision = world.snapshot.revision;
    world.ack("p1", TableVersion { revision, sequence: 0 });
    settle(&mut world);
    assert_eq!(goals(&world, "shop/web")[0].2, Goal::Drain, "p2 does not know yet");

    world.ack("p2", TableVersion { revision, sequence: 0 });
    settle(&mut world);
    assert_eq!(goals(&world, "shop/web")[0].2, Goal::Stop);
}

#[test]
fn a_proxy_that_never_answers_holds_a_stop_for_the_drain_timeout_only() {
    let mut world = World::new(NOW).node("n1").proxy("p1").service("shop/web", |service| service.replicas(1));
    settle(&mut world);
    world.run_all();
    world.change_service("shop/web", |service| service.removing = true);
    settle(&mut world);
    world.pass(Duration::from_millis(9_900));
    settle(&mut world);
    assert_eq!(goals(&world, "shop/web")[0].2, Goal::Drain);
    world.pass(Duration::from_millis(200));
    settle(&mut world);
    assert_eq!(goals(&world, "shop/web")[0].2, Goal::Stop);
}

#[test]
fn a_second_replica_on_a_port_of_the_host_is_pending_with_that_reason() {
    let mut world =
        World::new(NOW).node("n1").service("shop/web", |service| service.replicas(2).host_port(8000));
    settle(&mut world);
    let replicas = world.replicas("shop/web");
    assert!(replicas[0].node.is_some());
    assert_eq!(
        replicas[1].pending.as_deref(),
        Some("no node fits; 1 node: 1 has port 8000/tcp taken (by shop/web, replica 1)")
    );
    assert_eq!(
        explain(&world.snapshot, &replicas[1]),
        ["1 of 1 node has port 8000/tcp taken (by shop/web, replica 1)"]
    );
}

#[test]
fn a_node_that_is_not_ready_gets_nothing() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| service.replicas(1));
    world.disconnect("n1");
    settle(&mut world);
    let reason = world.replicas("shop/web")[0].pending.clone().unwrap();
    assert!(reason.contains("its agent is not connected"), "{reason}");
}

#[test]
fn reservations_never_exceed_the_node() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| {
        service
            .replicas(3)
            .container(|container| container.resources.reserved_nano_cpus = Some(1_500_000_000))
    });
    settle(&mut world);
    let placed = world.replicas("shop/web").iter().filter(|replica| replica.node.is_some()).count();
    assert_eq!(placed, 2, "the test node has 4 cores");
    let reason = world.replicas("shop/web")[2].pending.clone().unwrap();
    assert!(reason.contains("reserves 1.50 cores and 0.80 are free"), "{reason}");
}

#[test]
fn replicas_spread_over_nodes() {
    let mut world =
        World::new(NOW).node("n1").node("n2").node("n3").service("shop/web", |service| service.replicas(6));
    settle(&mut world);
    let mut by_node: BTreeMap<_, u32> = BTreeMap::new();
    for replica in world.replicas("shop/web") {
        *by_node.entry(replica.node.unwrap()).or_default() += 1;
    }
    assert_eq!(by_node.into_values().collect::<Vec<_>>(), [2, 2, 2]);
}

#[test]
fn a_volume_binds_its_users_to_its_node() {
    let mut world = World::new(NOW)
        .node("n1")
        .node("n2")
        .service("shop/db", |service| service.replicas(3).volume("data"));
    settle(&mut world);
    let nodes: std::collections::BTreeSet<_> =
        world.replicas("shop/db").into_iter().map(|replica| replica.node).collect();
    assert_eq!(nodes.len(), 1);
    let volume = world.snapshot.volumes.values().next().unwrap();
    assert_eq!(nodes.into_iter().next().unwrap(), volume.node);
}

#[test]
fn old_revisions_are_forgotten_but_for_the_last_ten() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| service.replicas(1));
    for _ in 0..15 {
        world.revise("shop/web");
        for _ in 0..4 {
            settle(&mut world);
            world.run_all();
            world.pass(Duration::from_secs(2));
        }
    }
    let kept: Vec<u64> = world.snapshot.revisions.keys().map(|(_, number)| *number).collect();
    assert_eq!(kept, (7..=16).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever people ask and whatever happens: goals only move forward, no slot is lost, no two
    /// replicas share an address or a port, and in the end every service has what it wants.
    #[test]
    fn whatever_happens_it_converges(steps in prop::collection::vec((0..8_u8, 0..4_u32), 1..40)) {
        let mut world = World::new(NOW)
            .node("n1")
            .proxy("p1")
            .service("s/web", |service| service.replicas(2))
            .service("s/db", |service| service.volume("data"))
            .service("s/edge", |service| service.host_port(80).depends_on("web", Condition::Started));
        for (step, argument) in steps {
            let before: BTreeMap<_, _> = world.snapshot.replicas.values().map(|replica| (replica.id.clone(), replica.goal)).collect();
            match step {
                0 => world.change_service("s/web", |service| service.replicas = argument),
                1 => world.revise("s/web"),
                2 => world.revise("s/db"),
                3 => world.change_service("s/edge", |service| service.stopped = argument % 2 == 0),
                4 => world.run_all(),
                5 => world.crash_one(argument as usize),
                6 => world.change_service("s/web", |service| service.restart_sequence += 1),
                _ => { let revision = world.snapshot.revision; world.ack("p1", TableVersion { revision, sequence: 0 }); }
            }
            world.pass(Duration::from_millis(u64::from(argument) * 700));
            settle(&mut world);
            for (id, goal) in before {
                if let Some(now) = world.snapshot.replicas.get(&id) {
                    prop_assert!(now.goal >= goal, "{id} went back from {goal:?} to {:?}", now.goal);
                }
            }
            let mut addresses: Vec<_> = world.snapshot.replicas.values().flat_map(|replica| replica.addresses.values()).collect();
            let all = addresses.len();
            addresses.sort();
            addresses.dedup();
            prop_assert_eq!(addresses.len(), all);
            let table = table(&world.snapshot, world.snapshot.nodes.keys().next().unwrap());
            let groups = table.backends.iter().flat_map(|backend| &backend.groups);
            for endpoint in groups.chain(table.addresses.iter().flat_map(|address| &address.groups)).flat_map(|group| &group.endpoints) {
                let replica = &world.snapshot.replicas[&endpoint.replica_id.parse::<gantry_model::ReplicaId>().unwrap()];
                prop_assert!(replica.goal == Goal::Run && world.snapshot.is_ready(replica), "{replica:?}");
            }
            let own: std::collections::BTreeSet<_> = table.addresses.iter().map(|address| &address.address).collect();
            prop_assert_eq!(own.len(), table.addresses.len());
            for service in ["s/db", "s/edge"] {
                prop_assert!(world.replicas(service).iter().filter(|replica| replica.node.is_some()).count() <= 1);
            }
        }
        world.change_service("s/edge", |service| service.stopped = false);
        for _ in 0..60 {
            settle(&mut world);
            let revision = world.snapshot.revision;
            world.ack("p1", TableVersion { revision, sequence: 0 });
            world.run_all();
            world.pass(Duration::from_secs(2));
        }
        settle(&mut world);
        for service in world.snapshot.services.values() {
            let replicas: Vec<_> = world.snapshot.replicas_of(&service.id).collect();
            let slots: Vec<_> = replicas.iter().map(|replica| replica.slot).collect();
            // Nothing of `edge` can be placed while `web` is scaled to zero.
            prop_assert_eq!(slots, (1..=service.wanted()).collect::<Vec<_>>());
            prop_assert!(replicas.iter().all(|replica| replica.goal == Goal::Run && replica.revision == service.revision));
        }
    }
}
