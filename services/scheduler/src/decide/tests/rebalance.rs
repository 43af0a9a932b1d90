//! Evening nodes out after some have joined.

use gantry_model::Goal;

use super::super::rebalance::{mark, moves};
use super::failover::live_on;
use super::*;

fn counts(world: &World) -> Vec<usize> {
    world.snapshot.nodes.keys().map(|node| world.snapshot.replicas_on(node).count()).collect()
}

fn planned(world: &World) -> Vec<(String, u32, String, String)> {
    let line = |planned: super::super::rebalance::Move| {
        (
            planned.replica.service.to_string(),
            planned.replica.slot,
            planned.from.to_string(),
            planned.to.to_string(),
        )
    };
    moves(&world.snapshot).into_iter().map(line).collect()
}

fn rebalance(world: &mut World) {
    let changes = mark(&world.snapshot, &moves(&world.snapshot), world.now);
    world.commit(&changes);
}

#[test]
fn a_node_that_joined_gets_its_share_without_a_moment_of_less() {
    let mut world = World::new(NOW).node("n1").node("n2").service("shop/web", |service| service.replicas(12));
    live_on(&mut world);
    world = world.node("n3");
    assert_eq!(planned(&world).len(), 4);
    rebalance(&mut world);
    let mut most = 0;
    for _ in 0..20 {
        settle(&mut world);
        let serving =
            world.replicas("shop/web").iter().filter(|replica| world.snapshot.takes_traffic(replica)).count();
        assert!(serving >= 12);
        let live = world.replicas("shop/web").iter().filter(|replica| replica.goal == Goal::Run).count();
        most = most.max(live - 12);
        world.run_all();
        world.pass(Duration::from_secs(2));
    }
    assert_eq!((counts(&world), most), (vec![4, 4, 4], 4));
    assert!(world.replicas("shop/web").iter().all(|replica| !replica.leave));
    assert_eq!(planned(&world), []);
}

#[test]
fn only_some_move_at_a_time() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| service.replicas(20));
    live_on(&mut world);
    world = world.node("n2");
    rebalance(&mut world);
    settle(&mut world);
    let live = world.replicas("shop/web").len();
    assert_eq!(live, 24);
    live_on(&mut world);
    assert_eq!(counts(&world), [10, 10]);
}

#[test]
fn services_of_one_replica_are_evened_out_too() {
    let mut world = World::new(NOW).node("n1");
    for service in ["a/a", "a/b", "a/c", "a/d"] {
        world = world.service(service, |service| service);
    }
    live_on(&mut world);
    world = world.node("n2");
    rebalance(&mut world);
    live_on(&mut world);
    assert_eq!(counts(&world), [2, 2]);
}

#[test]
fn what_cannot_start_first_or_may_not_go_stays() {
    let mut world = World::new(NOW)
        .node("n1")
        .service("a/stop", |service| service.replicas(4).order(UpdateOrder::StopFirst))
        .service("a/db", |service| service.replicas(2).volume("data").order(UpdateOrder::StartFirst))
        .service("a/here", |service| service.replicas(4).constraint("node.hostname == n1"))
        .service("a/big", |service| service.reserve(3_000_000_000));
    live_on(&mut world);
    world = world.node("n2");
    world.change_node("n2", |node| node.host.cpus = 1);
    assert_eq!(planned(&world), []);
}

#[test]
fn what_is_spread_over_zones_stays_so() {
    let mut world = World::new(NOW)
        .node("n1")
        .node("n2")
        .label("n1", "zone", "a")
        .label("n2", "zone", "b")
        .service("shop/web", |service| service.replicas(8).spread("node.labels.zone"));
    live_on(&mut world);
    assert_eq!(counts(&world), [4, 4]);
    world = world.node("n3").label("n3", "zone", "b");
    let moves = planned(&world);
    assert_eq!(moves.len(), 2);
    assert!(moves.iter().all(|(_, _, from, to)| from == "n2" && to == "n3"), "{moves:?}");
}

#[test]
fn a_mark_that_cannot_be_followed_is_taken_back() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| service.replicas(4));
    live_on(&mut world);
    world = world.node("n2");
    rebalance(&mut world);
    world.disconnect("n2");
    settle(&mut world);
    assert!(world.replicas("shop/web").iter().all(|replica| !replica.leave));
    assert_eq!(world.replicas("shop/web").len(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// However services lie: following the plan gives a state in which there is nothing more to move,
    /// and no node has more than one replica of a plain service above another.
    #[test]
    fn after_a_rebalance_all_is_even(
        services in prop::collection::vec((0..7_u32, any::<bool>()), 1..6),
        before in 1..4_usize,
        joined in 0..4_usize,
    ) {
        let mut world = World::new(NOW);
        for node in 0..before {
            world = world.node(&format!("n{node}")).label(&format!("n{node}"), "zone", ["a", "b"][node % 2]);
        }
        for (at, (replicas, spread)) in services.iter().enumerate() {
            world = world.service(&format!("s/w{at}"), |service| {
                let service = service.replicas(*replicas);
                if *spread { service.spread("node.labels.zone") } else { service }
            });
        }
        live_on(&mut world);
        for node in before..before + joined {
            world = world.node(&format!("n{node}")).label(&format!("n{node}"), "zone", ["a", "b"][node % 2]);
        }
        // Others may be placed meanwhile, and successors somewhere else than was planned.
        let mut rounds = 0;
        while !planned(&world).is_empty() {
            rounds += 1;
            prop_assert!(rounds <= 10, "it goes on and on: {:?}", planned(&world));
            rebalance(&mut world);
            live_on(&mut world);
        }
        for (at, (_, spread)) in services.iter().enumerate() {
            if *spread {
                continue;
            }
            let id: gantry_model::ServiceId = format!("s/w{at}").parse().unwrap();
            let counts: Vec<_> = world.snapshot.nodes.keys().map(|node| {
                world.snapshot.replicas_on(node).filter(|replica| replica.service == id).count()
            }).collect();
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
        }
    }
}

#[test]
fn a_slot_that_was_asked_to_leave_node_after_node_comes_to_rest() {
    let mut world = World::new(Timestamp::from_millis(100_000))
        .node("n1")
        .node("n2")
        .node("n3")
        .service("shop/web", |service| service.replicas(1));
    settle(&mut world);
    for _ in 0..3 {
        let newest = world.replicas("shop/web").into_iter().rfind(|replica| !replica.leave);
        let Some(newest) = newest.filter(|replica| replica.node.is_some()) else { break };
        let change = Action::Leave { replica: newest.id }.changes(&world.snapshot, world.now);
        world.commit(&change);
        settle(&mut world);
    }
    assert!(world.replicas("shop/web").iter().filter(|replica| replica.leave).count() >= 3, "each is left");
    live_on(&mut world);
    live_on(&mut world);
    let left = world.replicas("shop/web");
    assert_eq!(left.len(), 1, "{left:#?}");
    assert!(world.snapshot.takes_traffic(&left[0]), "{left:#?}");
}
