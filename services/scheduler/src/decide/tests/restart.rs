//! Restarts that people ask for, and what a stop waits for.

use gantry_model::End;

use super::*;

#[test]
fn a_restart_goes_one_by_one() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| service.replicas(2));
    settle(&mut world);
    world.run_all();
    world.change_service("shop/web", |service| service.restart_sequence = 1);
    let asked = |world: &World| {
        world.replicas("shop/web").iter().filter(|replica| replica.restart_sequence == 1).count()
    };
    for done in 1..=2 {
        settle(&mut world);
        world.pass(Duration::from_secs(1));
        settle(&mut world);
        assert_eq!(asked(&world), done);
        world.run_all();
    }
    settle(&mut world);
    assert!(world.replicas("shop/web").iter().all(|replica| world.snapshot.takes_traffic(replica)));
}

#[test]
fn a_replica_is_not_restarted_before_every_proxy_has_taken_it_out_and_its_requests_have_ended() {
    let mut world = World::new(NOW).node("n1").proxy("p1").service("shop/web", |service| service);
    settle(&mut world);
    world.run_all();
    world.change_service("shop/web", |service| service.restart_sequence = 1);
    settle(&mut world);
    world.pass(Duration::from_secs(2));
    settle(&mut world);
    let web = world.replicas("shop/web")[0].clone();
    assert!(web.restart_sequence == 0 && web.pause.is_some(), "p1 does not know yet");
    let node = web.node.clone().unwrap();
    let endpoints = |world: &World| table(&world.snapshot, &node).addresses[0].groups[0].endpoints.len();
    assert_eq!(endpoints(&world), 0, "one alone is drained too: its requests wait in the proxy");

    world.still_serving("p1", &[&web.id]);
    let revision = world.snapshot.revision;
    world.ack("p1", TableVersion { revision, sequence: 0 });
    settle(&mut world);
    assert_eq!(world.replicas("shop/web")[0].restart_sequence, 0, "a request is in flight");

    world.still_serving("p1", &[]);
    settle(&mut world);
    assert_eq!(world.replicas("shop/web")[0].restart_sequence, 1);
    assert_eq!(endpoints(&world), 0, "its agent has not restarted it yet");
    world.run_all();
    assert_eq!(endpoints(&world), 1);
}

#[test]
fn a_restart_of_all_at_once_leaves_one_that_serves() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| service.replicas(3));
    settle(&mut world);
    world.run_all();
    world.change_service("shop/web", |service| {
        service.spec.update.parallelism = 0;
        service.restart_sequence = 1;
    });
    let serving = |world: &World| {
        world.replicas("shop/web").iter().filter(|replica| world.snapshot.takes_traffic(replica)).count()
    };
    for _ in 0..6 {
        settle(&mut world);
        assert!(serving(&world) >= 1);
        world.pass(Duration::from_secs(2));
        settle(&mut world);
        assert!(serving(&world) >= 1);
        world.run_all();
    }
    assert!(world.replicas("shop/web").iter().all(|replica| replica.restart_sequence == 1));
    assert_eq!(serving(&world), 3);
}

#[test]
fn a_replica_with_requests_in_flight_is_stopped_only_after_the_drain_timeout() {
    let mut world = World::new(NOW).node("n1").proxy("p1").service("shop/web", |service| service);
    world.change_service("shop/web", |service| {
        service.spec.policy.drain_timeout = Some(Duration::from_secs(30));
    });
    settle(&mut world);
    world.run_all();
    world.change_service("shop/web", |service| service.removing = true);
    settle(&mut world);
    let web = world.replicas("shop/web")[0].id.clone();
    world.still_serving("p1", &[&web]);
    let revision = world.snapshot.revision;
    world.ack("p1", TableVersion { revision, sequence: 0 });
    world.pass(Duration::from_secs(29));
    settle(&mut world);
    assert_eq!(goals(&world, "shop/web")[0].2, Goal::Drain);
    world.pass(Duration::from_secs(1));
    settle(&mut world);
    assert_eq!(goals(&world, "shop/web")[0].2, Goal::Stop);
}

#[test]
fn a_replica_that_had_to_be_killed_leaves_an_event_that_says_so() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| {
        service.replicas(2).container(|container| container.stop_grace = Some(Duration::from_secs(4)))
    });
    settle(&mut world);
    world.run_all();
    world.change_service("shop/web", |service| service.removing = true);
    settle(&mut world);
    world.pass(Duration::from_secs(30));
    settle(&mut world);
    let replicas = world.replicas("shop/web");
    assert!(replicas.iter().all(|replica| replica.goal == Goal::Stop), "{replicas:?}");
    for (replica, killed) in replicas.iter().zip([false, true]) {
        let end = End { exit_code: 137, asked: true, killed_after_grace: killed, ..End::default() };
        world.see(&replica.id, |status| (status.phase, status.ends) = (Phase::Removed, vec![end]));
    }
    settle(&mut world);
    assert!(world.replicas("shop/web").is_empty());
    let killed = world.snapshot.events.values().filter(|event| event.reason == "Killed");
    let messages: Vec<_> = killed.map(|event| event.message.as_str()).collect();
    assert_eq!(messages, ["replica 2 did not end within its stop grace of 4 s, and was killed"]);
}
