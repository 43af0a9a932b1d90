//! Updates: one revision after the other.

use super::*;

#[test]
fn an_update_starts_first_and_goes_on_when_the_new_one_is_ready() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| service.replicas(2));
    settle(&mut world);
    world.run_all();
    world.revise("shop/web");
    settle(&mut world);
    assert_eq!(goals(&world, "shop/web").len(), 3, "one more at a time");
    world.run_all();
    settle(&mut world);
    let old_drained =
        world.replicas("shop/web").iter().any(|replica| replica.revision == 1 && replica.goal != Goal::Run);
    assert!(old_drained);
    for _ in 0..10 {
        world.run_all();
        world.pass(Duration::from_secs(2));
        settle(&mut world);
    }
    assert_eq!(goals(&world, "shop/web"), [(1, 2, Goal::Run), (2, 2, Goal::Run)]);
}

#[test]
fn an_update_that_does_not_become_ready_leaves_the_rest_alone_and_can_be_replaced() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| service.replicas(3));
    settle(&mut world);
    world.run_all();
    world.revise("shop/web");
    settle(&mut world);
    for _ in 0..5 {
        world.pass(Duration::from_secs(5));
        settle(&mut world);
    }
    assert_eq!(
        world
            .replicas("shop/web")
            .iter()
            .filter(|replica| replica.revision == 1 && replica.goal == Goal::Run)
            .count(),
        3
    );

    world.revise("shop/web");
    for _ in 0..20 {
        settle(&mut world);
        world.run_all();
        world.pass(Duration::from_secs(2));
    }
    assert_eq!(goals(&world, "shop/web"), [(1, 3, Goal::Run), (2, 3, Goal::Run), (3, 3, Goal::Run)]);
}

#[test]
fn a_stop_first_update_never_has_two_in_a_slot() {
    let mut world =
        World::new(NOW).node("n1").service("shop/db", |service| service.volume("data").replicas(1));
    settle(&mut world);
    world.run_all();
    world.revise("shop/db");
    for _ in 0..8 {
        settle(&mut world);
        assert_eq!(world.replicas("shop/db").len(), 1);
        world.run_all();
        world.pass(Duration::from_secs(2));
    }
    assert_eq!(goals(&world, "shop/db"), [(1, 2, Goal::Run)]);
}

#[test]
fn an_asked_for_order_holds_where_it_can() {
    let world = World::new(NOW)
        .service("a/volume", |service| service.volume("data"))
        .service("a/asked", |service| service.volume("data").order(UpdateOrder::StartFirst))
        .service("a/port", |service| service.host_port(80).order(UpdateOrder::StartFirst))
        .service("a/ingress", |service| service.port(81))
        .service("a/plain", |service| service);
    let order = |name: &str| {
        let service = &world.snapshot.services[&name.parse::<gantry_model::ServiceId>().unwrap()];
        service.update_order(&service.spec.template(None))
    };
    assert_eq!(order("a/volume"), UpdateOrder::StopFirst);
    assert_eq!(order("a/asked"), UpdateOrder::StartFirst);
    assert_eq!(order("a/port"), UpdateOrder::StopFirst);
    assert_eq!(order("a/ingress"), UpdateOrder::StartFirst, "the proxy listens, and not the container");
    assert_eq!(order("a/plain"), UpdateOrder::StartFirst);
}
