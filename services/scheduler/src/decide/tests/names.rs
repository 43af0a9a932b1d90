//! What names are answered with.

use gantry_model::EndpointMode;

use super::*;

#[test]
fn names_are_answered_with_ready_replicas_and_tasks_with_all_that_run() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| {
        service.replicas(3).alias("shopfront").endpoint_mode(EndpointMode::Dnsrr)
    });
    settle(&mut world);
    let ids: Vec<_> = world.replicas("shop/web").into_iter().map(|replica| replica.id).collect();
    world.see(&ids[0], |status| status.phase = Phase::Running);
    world.see(&ids[1], |status| (status.phase, status.health) = (Phase::Running, Health::Starting));
    let table = table(&world.snapshot, world.snapshot.nodes.keys().next().unwrap());
    assert_eq!(table.zones.len(), 1);
    let zone = &table.zones[0];
    assert_eq!(zone.network, "shop_default");
    let count =
        |name: &str| zone.names.iter().find(|known| known.name == name).map(|known| known.addresses.len());
    assert_eq!(
        (count("web"), count("web.shop"), count("shopfront"), count("tasks.web")),
        (Some(1), Some(1), Some(1), Some(2))
    );
    assert_eq!(table.askers.len(), 3);
}

#[test]
fn a_name_is_known_while_nothing_of_it_is_ready() {
    let mut world =
        World::new(NOW).node("n1").service("shop/web", |service| service.endpoint_mode(EndpointMode::Dnsrr));
    settle(&mut world);
    let table = table(&world.snapshot, world.snapshot.nodes.keys().next().unwrap());
    let web = table.zones[0].names.iter().find(|name| name.name == "web").unwrap();
    assert!(web.addresses.is_empty());
}
