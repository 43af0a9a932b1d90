//! Which node a replica gets, and what is said where there is none.

use gantry_model::{Availability, NodeStatus, Verdict};

use super::*;

fn world(nodes: &[&str]) -> World {
    nodes.iter().fold(World::new(NOW), |world, node| world.node(node))
}

fn pending(world: &World, service: &str) -> String {
    world.replicas(service).iter().find_map(|replica| replica.pending.clone()).unwrap_or_default()
}

fn sorted(mut nodes: Vec<String>) -> Vec<String> {
    nodes.sort();
    nodes
}

#[test]
fn a_node_that_is_paused_drained_or_not_trusted_gets_nothing() {
    let mut world = world(&["n1", "n2", "n3", "n4"]);
    world.change_node("n1", |node| node.availability = Availability::Pause);
    world.change_node("n2", |node| node.availability = Availability::Drain);
    world.change_node_status("n3", |status| {
        (status.silent_since, status.verdict) = (Some(NOW), Verdict::Suspect);
    });
    world = world.service("shop/web", |service| service.replicas(4));
    settle(&mut world);
    assert_eq!(world.nodes_of("shop/web"), ["n4", "n4", "n4", "n4"]);

    world.change_node("n4", |node| node.availability = Availability::Pause);
    world.change_service("shop/web", |service| service.replicas = 5);
    settle(&mut world);
    assert_eq!(world.nodes_of("shop/web")[..4], ["n4", "n4", "n4", "n4"], "it keeps what it has");
    assert_eq!(
        pending(&world, "shop/web"),
        "no node fits; 4 nodes: 1 is being drained, 1 is not ready (its agent is not heard), 2 are paused"
    );
}

#[test]
fn constraints_are_kept() {
    let mut world = world(&["n1", "n2", "n3"])
        .label("n2", "zone", "a")
        .label("n3", "zone", "a")
        .service("shop/web", |service| {
            service.replicas(4).constraint("node.labels.zone == a").constraint("node.hostname != n3")
        });
    settle(&mut world);
    assert_eq!(world.nodes_of("shop/web"), ["n2", "n2", "n2", "n2"]);
}

#[test]
fn what_each_filter_said_is_said_with_the_number_of_nodes() {
    let mut world = world(&["n1", "n2", "n3"]).label("n1", "zone", "a").service("shop/web", |service| {
        service.replicas(2).constraint("node.labels.zone == a").reserve(2_000_000_000)
    });
    settle(&mut world);
    assert_eq!(
        pending(&world, "shop/web"),
        "no node fits; 3 nodes: 2 do not match node.labels.zone == a, \
         1 has no room (it reserves 2.00 cores and 1.80 are free)"
    );
    let waiting = world.replicas("shop/web").into_iter().find(|replica| replica.node.is_none()).unwrap();
    assert_eq!(
        explain(&world.snapshot, &waiting),
        [
            "2 of 3 nodes do not match node.labels.zone == a",
            "1 of 3 nodes has no room (it reserves 2.00 cores and 1.80 are free)"
        ]
    );
}

#[test]
fn of_many_nodes_without_room_the_best_is_shown() {
    let mut world = world(&["n1", "n2", "n3"]);
    world.change_node("n2", |node| node.host.cpus = 2);
    world = world.service("shop/web", |service| service.reserve(5_000_000_000));
    settle(&mut world);
    assert_eq!(
        pending(&world, "shop/web"),
        "no node fits; 3 nodes: 3 have no room (it reserves 5.00 cores and 3.80 are free at most)"
    );
}

#[test]
fn replicas_are_spread_over_zones_first_and_over_nodes_then() {
    let mut world = world(&["n1", "n2", "n3", "n4"]);
    for (node, zone) in [("n1", "a"), ("n2", "a"), ("n3", "a"), ("n4", "b")] {
        world = world.label(node, "zone", zone);
    }
    world = world.service("shop/web", |service| service.replicas(6).spread("node.labels.zone"));
    settle(&mut world);
    assert_eq!(sorted(world.nodes_of("shop/web")), ["n1", "n2", "n3", "n4", "n4", "n4"]);
}

#[test]
fn a_zone_without_room_does_not_hold_replicas_back() {
    let mut world = world(&["n1", "n2"])
        .label("n1", "zone", "a")
        .label("n2", "zone", "b")
        .service("shop/web", |service| service.replicas(4).spread("node.labels.zone").reserve(1_500_000_000));
    world.change_node("n1", |node| node.host.cpus = 2);
    settle(&mut world);
    assert_eq!(sorted(world.nodes_of("shop/web")), ["-", "n1", "n2", "n2"]);
}

#[test]
fn no_node_gets_more_of_a_service_than_it_allows() {
    let mut world = world(&["n1", "n2"]).service("shop/web", |service| service.replicas(5).max_per_node(2));
    settle(&mut world);
    assert_eq!(sorted(world.nodes_of("shop/web")), ["-", "n1", "n1", "n2", "n2"]);
    assert_eq!(
        pending(&world, "shop/web"),
        "no node fits; 2 nodes: 2 have 2 of it already, as many as it allows on one node"
    );
    // An update is not in its own way.
    world.change_service("shop/web", |service| service.replicas = 4);
    world.revise("shop/web");
    for _ in 0..20 {
        settle(&mut world);
        world.run_all();
        world.pass(Duration::from_secs(2));
    }
    assert!(world.replicas("shop/web").iter().all(|replica| replica.revision == 2));
    assert_eq!(sorted(world.nodes_of("shop/web")), ["n1", "n1", "n2", "n2"]);
}

#[test]
fn the_platform_that_is_asked_for_is_kept() {
    let mut world = world(&["n1", "n2"]);
    for (node, architecture) in [("n1", "x86_64"), ("n2", "aarch64")] {
        world.change_node(node, |node| {
            (node.host.os, node.host.architecture) = ("linux".into(), architecture.into());
        });
    }
    world = world
        .service("shop/arm", |service| {
            service.container(|container| container.platform = Some("linux/arm64".into()))
        })
        .service("shop/riscv", |service| {
            service.container(|container| container.platform = Some("linux/riscv64".into()))
        })
        .service("shop/windows", |service| {
            service.container(|container| container.platform = Some("windows/amd64".into()))
        });
    settle(&mut world);
    assert_eq!(world.nodes_of("shop/arm"), ["n2"]);
    assert_ne!(world.nodes_of("shop/riscv"), ["-"], "engines may emulate what no node is");
    assert_eq!(
        pending(&world, "shop/windows"),
        "no node fits; 2 nodes: 2 do not run windows/amd64 (linux/amd64; linux/arm64)"
    );
}

#[test]
fn services_that_share_a_volume_run_together_and_what_is_elsewhere_is_named() {
    let mut world = world(&["n1", "n2", "n3"])
        .service("shop/db", |service| service.volume("data"))
        .service("shop/backup", |service| service.volume("data"));
    settle(&mut world);
    assert_eq!(world.nodes_of("shop/db"), world.nodes_of("shop/backup"));
    let home = world.nodes_of("shop/db").remove(0);
    world = world.service("shop/report", |service| {
        service.constraint(&format!("node.id != {home}")).container(|container| {
            container.mounts.clone_from(&ServiceBuilder::default().volume("data").spec.container.mounts);
        })
    });
    // The world makes the volume anew: it is where it was.
    let mut volume = world.snapshot.volumes.values().next().unwrap().as_ref().clone();
    volume.node = Some(gantry_model::NodeId::new(&home).unwrap());
    world.commit(&[gantry_model::Change::Put(gantry_model::Record::Volume(std::sync::Arc::new(volume)))]);
    settle(&mut world);
    let reason = pending(&world, "shop/report");
    assert!(reason.contains(&format!("2 do not have the volume data, which is on {home}")), "{reason}");
}

#[test]
fn a_node_on_which_a_service_fails_is_taken_last() {
    let mut world = world(&["n1", "n2"]).service("shop/web", |service| service.replicas(2));
    settle(&mut world);
    let first = world.replicas("shop/web")[0].clone();
    world.see(&first.id, |status| status.phase = Phase::Failed);
    world.change_service("shop/web", |service| service.replicas = 4);
    settle(&mut world);
    let other = world.replicas("shop/web")[1].node.clone().unwrap().to_string();
    assert_eq!(world.nodes_of("shop/web")[2..], [other.clone(), other]);
}

#[test]
fn a_node_that_comes_and_goes_is_not_trusted() {
    let mut world = world(&["n1", "n2"]).service("shop/web", |service| service.replicas(2));
    world.change_node_status("n1", |status| {
        *status = NodeStatus { verdict: Verdict::Suspect, flaps: 2, ..status.clone() };
    });
    settle(&mut world);
    assert_eq!(world.nodes_of("shop/web"), ["n2", "n2"]);
}

#[test]
fn the_same_state_gives_the_same_answer() {
    let build = || {
        let mut world = world(&["n3", "n1", "n2"])
            .service("b/web", |service| service.replicas(4))
            .service("a/web", |service| service.replicas(3));
        settle(&mut world);
        (world.nodes_of("a/web"), world.nodes_of("b/web"))
    };
    assert_eq!(build(), build());
    assert_eq!(build().0, ["n1", "n2", "n3"]);
}

/// One node of a random world: cores, zone, availability, whether it is heard.
type RandomNode = (u32, u8, u8, bool);

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever the nodes and services are: what is placed obeys every filter, and nothing waits that
    /// could run.
    #[test]
    fn what_is_placed_fits_and_what_waits_does_not(
        nodes in prop::collection::vec((1..5_u32, 0..3_u8, 0..4_u8, prop::bool::weighted(0.8)), 1..7),
        services in prop::collection::vec((1..6_u32, 0..3_i64, 0..4_u8, 0..3_u32, any::<bool>()), 1..5),
    ) {
        let mut world = World::new(NOW);
        for (at, (cpus, zone, availability, heard)) in nodes.iter().enumerate() {
            let _: &RandomNode = &nodes[at];
            let name = format!("n{at}");
            world = world.node(&name).label(&name, "zone", ["a", "b", "c"][usize::from(*zone)]);
            world.change_node(&name, |node| {
                node.host.cpus = *cpus;
                node.availability = match availability {
                    2 => Availability::Pause,
                    3 => Availability::Drain,
                    _ => Availability::Active,
                };
            });
            if !heard {
                world.disconnect(&name);
            }
        }
        for (at, (replicas, cores, zone, most, spread)) in services.iter().enumerate() {
            world = world.service(&format!("s/w{at}"), |mut service| {
                service = service.replicas(*replicas).reserve(cores * 1_000_000_000);
                if *zone < 3 {
                    service = service.constraint(&format!("node.labels.zone != {}", ["a", "b", "c"][usize::from(*zone)]));
                }
                if *most > 0 {
                    service = service.max_per_node(*most);
                }
                if *spread { service.spread("node.labels.zone") } else { service }
            });
        }
        settle(&mut world);
        let free = |node: &gantry_model::Node| {
            let reserved: i64 = world.snapshot.replicas_on(&node.id).map(|replica| {
                world.snapshot.revision_of(replica).unwrap().template.container.resources.reserved_nano_cpus.unwrap_or(0)
            }).sum();
            i64::from(node.host.cpus) * 950_000_000 - reserved
        };
        let count = |node: &gantry_model::Node, service: &gantry_model::ServiceId| {
            world.snapshot.replicas_on(&node.id).filter(|replica| replica.service == *service).count()
        };
        for replica in world.snapshot.replicas.values() {
            let service = &world.snapshot.services[&replica.service];
            let placement = &service.spec.placement;
            let fixed = |node: &gantry_model::Node| {
                node.availability == Availability::Active
                    && world.snapshot.node_statuses[&node.id].problem().is_none()
                    && placement.constraints.iter().all(|constraint| constraint.matches(node))
            };
            let most = placement.max_replicas_per_node.map_or(usize::MAX, |most| most as usize);
            match &replica.node {
                Some(node) => {
                    let node = &world.snapshot.nodes[node];
                    prop_assert!(fixed(node) && free(node) >= 0 && count(node, &service.id) <= most);
                }
                None => {
                    let reserved = service.spec.container.resources.reserved_nano_cpus.unwrap_or(0);
                    for node in world.snapshot.nodes.values() {
                        let fits = fixed(node) && free(node) >= reserved && count(node, &service.id) < most;
                        prop_assert!(!fits, "{} waits, and {} is free: {:?}", service.id, node.name, replica.pending);
                    }
                }
            }
        }
    }
}
