//! What proxies are told of small worlds.

use std::time::Duration;

use gantry_api::node::v1::ListenerProtocol;
use gantry_model::{
    AppProtocol, Certificate, EndpointMode, Goal, NetworkMode, Phase, Port, Replica, Timestamp,
};
use gantry_testkit::World;

use super::*;
use crate::decide::decide;

const NOW: Timestamp = Timestamp::from_millis(100_000);

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

fn running(world: World) -> World {
    let mut world = world;
    settle(&mut world);
    world.run_all();
    settle(&mut world);
    world
}

fn table_of(world: &World, node: &str) -> Table {
    table(&world.snapshot, &NodeId::new(node).unwrap())
}

fn named(table: &Table, name: &str) -> Option<Vec<String>> {
    let names = &table.zones.first()?.names;
    names.iter().find(|known| known.name == name).map(|known| known.addresses.clone())
}

fn replica(world: &World, service: &str) -> Replica {
    world.replicas(service)[0].clone()
}

#[test]
fn every_proxy_signs_cookies_with_the_clusters_secret() {
    let world = World::new(Timestamp::from_millis(1)).node("n1").node("n2");
    for node in ["n1", "n2"] {
        assert_eq!(table(&world.snapshot, &NodeId::new(node).unwrap()).cookie_secret, "crumbs");
    }
    assert!(!format!("{:?}", world.snapshot.cluster).contains("crumbs"));
}

#[test]
fn a_published_port_is_opened_on_every_node() {
    let mut world = running(
        World::new(NOW).node("n1").node("n2").service("shop/web", |service| service.replicas(2).port(8000)),
    );
    for node in ["n1", "n2"] {
        let table = table_of(&world, node);
        let listener = &table.listeners[0];
        assert_eq!(
            (listener.port, listener.target_port, listener.service.as_str(), listener.owner.as_str()),
            (8000, 8000, "shop/web", "shop/web")
        );
        assert_eq!(listener.protocol(), ListenerProtocol::Unspecified);
        let group = &table.backends[0].groups[0];
        assert_eq!((group.name.as_str(), group.weight, group.endpoints.len()), ("revision 1", 1, 2));
        assert!(group.endpoints.is_sorted_by_key(|endpoint| &endpoint.replica_id));
    }
    world.change_service("shop/web", |service| service.stopped = true);
    assert!(table_of(&world, "n1").listeners.is_empty(), "clients learn of it at once");
}

#[test]
fn the_protocol_of_a_port_is_what_the_file_says() {
    let mut world = World::new(NOW).node("n1").service("shop/web", |service| service);
    for (word, want) in [
        (AppProtocol::Http, ListenerProtocol::Http),
        (AppProtocol::Http2, ListenerProtocol::Http),
        (AppProtocol::Grpc, ListenerProtocol::Http),
        (AppProtocol::Tcp, ListenerProtocol::Tcp),
    ] {
        world.change_service("shop/web", |service| {
            service.spec.ports = vec![Port { app_protocol: Some(word), ..Port::new(80, Some(80)) }];
        });
        assert_eq!(table_of(&world, "n1").listeners[0].protocol(), want);
    }
}

#[test]
fn a_port_that_is_left_to_choose_stays_and_is_nobody_elses() {
    let unpublished = |world: World, name: &str| {
        let mut world = world.service(name, |service| service);
        world.change_service(name, |service| service.spec.ports = vec![Port::new(80, None)]);
        world
    };
    let mut world = World::new(NOW).node("n1");
    for service in 0..40 {
        world = unpublished(world, &format!("s{service}/web"));
    }
    settle(&mut world);
    let ports = |world: &World| -> BTreeSet<u32> {
        table_of(world, "n1").listeners.iter().map(|listener| listener.port).collect()
    };
    let before = ports(&world);
    assert_eq!(before.len(), 40);
    assert!(before.iter().all(|port| (30_000..=32_767).contains(port)));
    world.change_service("s1/web", |service| service.replicas = 3);
    settle(&mut world);
    assert_eq!(ports(&world), before);
    world.change_service("s1/web", |service| service.spec.ports.clear());
    settle(&mut world);
    let of_s1 = &world.snapshot.services[&"s1/web".parse::<ServiceId>().unwrap()];
    assert!(of_s1.assigned_ports.is_empty());
}

#[test]
fn only_replicas_that_run_and_are_ready_are_endpoints() {
    let mut world =
        running(World::new(NOW).node("n1").service("shop/web", |service| service.replicas(3).port(80)));
    let replicas = world.replicas("shop/web");
    world.see(&replicas[0].id, |status| status.phase = Phase::Restarting);
    world.change_service("shop/web", |service| service.replicas = 2);
    settle(&mut world);
    assert_eq!(world.replicas("shop/web")[2].goal, Goal::Drain);
    let table = table_of(&world, "n1");
    let ids: Vec<_> =
        table.backends[0].groups[0].endpoints.iter().map(|one| one.replica_id.clone()).collect();
    assert_eq!(ids, [replicas[1].id.to_string()]);
}

#[test]
fn a_replica_on_the_network_of_its_host_is_reached_there() {
    let world = running(World::new(NOW).node("n1").node("n2").service("shop/web", |service| {
        service.port(80).container(|container| container.network_mode = NetworkMode::Host)
    }));
    let here = replica(&world, "shop/web").node.unwrap().to_string();
    let there = if here == "n1" { "n2" } else { "n1" };
    let address = |node: &str| table_of(&world, node).backends[0].groups[0].endpoints[0].address.clone();
    assert_eq!((address(&here).as_str(), address(there).as_str()), ("127.0.0.1", "192.0.2.1"));
}

#[test]
fn a_service_has_one_address_of_its_own_whatever_becomes_of_its_replicas() {
    let mut world = running(World::new(NOW).node("n1").service("shop/web", |service| service.alias("front")));
    let table = table_of(&world, "n1");
    let address = &table.addresses[0];
    assert!(address.address.starts_with("10.223."), "{address:?}");
    assert_eq!((address.network.as_str(), address.service.as_str()), ("shop_default", "shop/web"));
    assert_eq!(
        address.groups[0].endpoints[0].address,
        replica(&world, "shop/web").addresses["default"].to_string()
    );
    for name in ["web", "web.shop", "front"] {
        assert_eq!(named(&table, name).unwrap(), std::slice::from_ref(&address.address), "{name}");
    }
    let tasks = named(&table, "tasks.web").unwrap();
    assert_eq!(tasks, [replica(&world, "shop/web").addresses["default"].to_string()]);

    let id = replica(&world, "shop/web").id;
    world.see(&id, |status| status.phase = Phase::Exited);
    let table = table_of(&world, "n1");
    assert_eq!(
        named(&table, "web").unwrap(),
        std::slice::from_ref(&address.address),
        "the proxy answers for it"
    );
    assert!(table.addresses[0].groups[0].endpoints.is_empty());
    assert_eq!(table.backends.len(), 1, "for its policy");
}

#[test]
fn where_virtual_addresses_do_not_work_names_stand_for_replicas() {
    let mut world = running(World::new(NOW).node("n1").service("shop/web", |service| service));
    world.change_node_status("n1", |status| status.network_error = Some("nft is gone".into()));
    let own = replica(&world, "shop/web").addresses["default"].to_string();
    assert_eq!(named(&table_of(&world, "n1"), "web").unwrap(), [own]);
}

#[test]
fn a_later_service_of_the_same_name_has_another_address() {
    let mut world = running(World::new(NOW).node("n1").service("shop/web", |service| service));
    let before = table_of(&world, "n1").addresses[0].address.clone();
    world.remove_stack("shop", false);
    for _ in 0..6 {
        settle(&mut world);
        world.run_all();
        world.pass(Duration::from_secs(2));
    }
    assert!(world.snapshot.services.is_empty());
    let mut world = world.service("shop/web", |service| service);
    world.change_service("shop/web", |service| service.incarnation = "later".into());
    let world = running(world);
    assert_ne!(table_of(&world, "n1").addresses[0].address, before);
}

#[test]
fn a_service_that_leaves_frees_its_address_after_a_rest() {
    let mut world = running(
        World::new(NOW)
            .node("n1")
            .service("shop/web", |service| service)
            .service("shop/db", |service| service),
    );
    world.change_service("shop/web", |service| service.removing = true);
    for _ in 0..6 {
        settle(&mut world);
        world.run_all();
        world.pass(Duration::from_secs(1));
    }
    let network = world.snapshot.networks.values().next().unwrap();
    assert_eq!(network.vips.keys().collect::<Vec<_>>(), ["db"]);
    assert!(network.cooling.iter().any(|(address, _)| address.to_string().starts_with("10.223.")));
}

#[test]
fn a_replica_of_a_direct_service_inherits_its_address() {
    let mut world = running(World::new(NOW).node("n1").service("shop/db", |service| service.volume("data")));
    let before = replica(&world, "shop/db");
    assert!(table_of(&world, "n1").addresses.is_empty());
    assert_eq!(named(&table_of(&world, "n1"), "db").unwrap(), [before.addresses["default"].to_string()]);
    // Another service of the network does not get it in between.
    world = world.service("shop/web", |service| service.replicas(5).endpoint_mode(EndpointMode::Dnsrr));
    world.revise("shop/db");
    for _ in 0..8 {
        settle(&mut world);
        world.run_all();
        world.pass(Duration::from_secs(2));
    }
    let after = replica(&world, "shop/db");
    assert!(after.id != before.id && after.addresses == before.addresses);
}

#[test]
fn an_address_that_was_given_stays_when_the_service_becomes_smaller() {
    let mut world =
        running(World::new(NOW).node("n1").service("shop/db", |service| service.volume("data").replicas(2)));
    let before = named(&table_of(&world, "n1"), "db").unwrap();
    world.change_service("shop/db", |service| service.replicas = 1);
    settle(&mut world);
    assert_eq!(named(&table_of(&world, "n1"), "db").unwrap(), before);
    world.change_service("shop/db", |service| service.spec.endpoint_mode = Some(EndpointMode::Dnsrr));
    settle(&mut world);
    assert!(table_of(&world, "n1").addresses.is_empty(), "asked for");
}

#[test]
fn addresses_are_told_to_nodes_that_have_the_network_only() {
    let world = running(World::new(NOW).node("n1").node("n2").service("shop/web", |service| service));
    let here = replica(&world, "shop/web").node.unwrap().to_string();
    let there = if here == "n1" { "n2" } else { "n1" };
    assert_eq!(table_of(&world, &here).addresses.len(), 1);
    let table = table_of(&world, there);
    assert!(table.addresses.is_empty() && table.backends.is_empty());
}

#[test]
fn routes_open_port_80_and_certificates_port_443() {
    let mut world =
        World::new(NOW).node("n1").service("shop/web", |service| service.route("shop.example.com", "/"));
    let table = table_of(&world, "n1");
    let ports = |table: &Table| -> Vec<(u32, bool, bool)> {
        table.listeners.iter().map(|one| (one.port, one.routed, one.tls)).collect()
    };
    assert_eq!(ports(&table), [(80, true, false)]);
    assert_eq!((table.routes[0].host.as_str(), table.routes[0].target_port), ("shop.example.com", 80));
    assert_eq!(table.backends[0].service, "shop/web");

    world.change_service("shop/web", |service| {
        service.spec.routes[0].certificate =
            Some(Certificate { name: "a.pem".into(), cert_pem: "c".into(), key_pem: "k".into() });
    });
    let table = table_of(&world, "n1");
    assert_eq!(ports(&table), [(80, true, false), (443, true, true)]);
    assert_eq!(table.certificates[0].name, "a.pem of shop/web");

    let world = world.service("other/site", |service| service.port(80));
    let listener = &table_of(&world, "n1").listeners[0];
    assert!(listener.routed && listener.service == "other/site", "it gets what no route wants");
}

#[test]
fn what_is_published_everywhere_is_what_the_tables_of_all_nodes_have_together() {
    let world = World::new(NOW).node("n1").node("n2");
    let world = world.service("shop/web", |web| web.replicas(2).port(8000).route("shop.test", "/"));
    let world = running(world.service("blog/web", |web| web.replicas(2)));
    let all = everywhere(&world.snapshot);
    let mut addresses = BTreeSet::new();
    for node in ["n1", "n2"] {
        let table = table_of(&world, node);
        assert_eq!(table.listeners, all.listeners);
        assert_eq!(table.routes, all.routes);
        addresses.extend(table.addresses.into_iter().map(|one| one.address));
    }
    assert!(!addresses.is_empty());
    assert_eq!(addresses, all.addresses.into_iter().map(|one| one.address).collect());
}

#[test]
fn a_proxy_knows_who_sleeps_and_lets_requests_wait_for_a_start() {
    let rules = gantry_model::Autoscale { min: 0, max: 3, ..gantry_model::Autoscale::default() };
    let mut world = running(
        World::new(NOW)
            .node("n1")
            .service("shop/web", |service| service.replicas(0).port(8000).autoscale(rules)),
    );
    let seen = |world: &World| {
        let table = table_of(world, "n1");
        let backend = table.backends[0].clone();
        let endpoints: usize = backend.groups.iter().map(|group| group.endpoints.len()).sum();
        let queue = backend.policy.unwrap().queue_timeout.map(|time| time.seconds);
        (table.listeners.len(), backend.asleep, endpoints, queue)
    };
    assert_eq!(seen(&world), (1, true, 0, Some(60)));
    world.change_service("shop/web", |service| service.replicas = 1);
    assert_eq!(seen(&world), (1, false, 0, Some(60)), "it wakes up");
    world = running(world);
    assert_eq!(seen(&world), (1, false, 1, None), "now it is like any other");
    world.change_service("shop/web", |service| (service.replicas, service.stopped) = (0, true));
    assert!(!seen(&world).1, "one that a person has stopped does not sleep");
}
