//! Nodes that are lost, drained, relabelled or come back.

use gantry_model::{Availability, NodeId};

use super::*;

fn world(nodes: &[&str]) -> World {
    nodes.iter().fold(World::new(NOW), |world, node| world.node(node))
}

/// Everybody does what they are told, and time passes, until nothing happens any more.
pub fn live_on(world: &mut World) {
    for _ in 0..30 {
        settle(world);
        let revision = world.snapshot.revision;
        let proxies: Vec<String> = world.snapshot.proxies.keys().cloned().collect();
        for proxy in proxies {
            let node = world.snapshot.proxies[&proxy].node.clone();
            if world.snapshot.verdict_on(&node) == gantry_model::Verdict::Ready {
                world.ack(&proxy, TableVersion { revision, sequence: 0 });
            }
        }
        world.run_all();
        world.pass(Duration::from_secs(2));
    }
    settle(world);
}

fn serving(world: &World, service: &str) -> usize {
    world.replicas(service).iter().filter(|replica| world.snapshot.takes_traffic(replica)).count()
}

#[test]
fn a_lost_nodes_replicas_are_replaced_at_once_and_forgotten_when_the_new_ones_serve() {
    let mut world = world(&["n1", "n2"]).service("shop/web", |service| service.replicas(4));
    live_on(&mut world);
    world.lose("n2");
    settle(&mut world);
    let replicas = world.replicas("shop/web");
    assert_eq!(replicas.len(), 6, "two successors, and nothing has gone yet");
    assert_eq!(serving(&world, "shop/web"), 2);
    assert!(replicas.iter().filter(|replica| replica.goal == Goal::Run).count() == 6);

    world.run_all();
    settle(&mut world);
    assert_eq!(serving(&world, "shop/web"), 4);
    live_on(&mut world);
    assert_eq!(world.nodes_of("shop/web"), ["n1", "n1", "n1", "n1"]);
    assert_eq!(world.replicas("shop/web").len(), 4, "records of what was replaced are gone");
}

#[test]
fn a_node_that_comes_back_first_keeps_its_replicas() {
    let mut world = world(&["n1", "n2"]).service("shop/web", |service| service.replicas(2));
    live_on(&mut world);
    let before: Vec<_> = world.replicas("shop/web").into_iter().map(|replica| replica.id).collect();
    world.lose("n2");
    settle(&mut world);
    assert_eq!(world.replicas("shop/web").len(), 3);
    world.come_back("n2");
    settle(&mut world);
    live_on(&mut world);
    let after: Vec<_> = world.replicas("shop/web").into_iter().map(|replica| replica.id).collect();
    assert_eq!(before, after);
}

#[test]
fn a_node_that_comes_back_later_finds_its_replicas_replaced() {
    let mut world = world(&["n1", "n2"]).service("shop/web", |service| service.replicas(2));
    live_on(&mut world);
    world.lose("n2");
    live_on(&mut world);
    world.come_back("n2");
    let of_n2 = world.snapshot.replicas_on(&NodeId::new("n2").unwrap()).count();
    assert_eq!(of_n2, 0, "its agent is told to run nothing, and removes what it has");
    live_on(&mut world);
    assert_eq!(world.nodes_of("shop/web"), ["n1", "n1"], "nothing moves back by itself");
}

#[test]
fn what_has_no_room_elsewhere_waits_and_says_so() {
    let mut world =
        world(&["n1", "n2"]).service("shop/web", |service| service.replicas(2).reserve(3_000_000_000));
    live_on(&mut world);
    world.lose("n2");
    settle(&mut world);
    let waiting = world.replicas("shop/web").into_iter().find(|replica| replica.node.is_none()).unwrap();
    let reason = waiting.pending.unwrap();
    assert!(reason.contains("1 has no room") && reason.contains("1 is not ready (it is lost"), "{reason}");
}

#[test]
fn a_replica_with_a_volume_waits_for_its_node_and_stays_known_as_it_was() {
    let mut world = world(&["n1", "n2"]).service("shop/db", |service| service.volume("data"));
    live_on(&mut world);
    let db = world.replicas("shop/db")[0].clone();
    let node = db.node.clone().unwrap();
    world.lose(node.as_str());
    live_on(&mut world);
    let now = world.replicas("shop/db");
    assert_eq!((now.len(), now[0].id == db.id), (1, true));
    let reason = now[0].pending.clone().unwrap();
    assert_eq!(reason, format!("{node} is lost, and it stays there: its volume data is there"));
    assert!(!world.snapshot.takes_traffic(&now[0]) && world.snapshot.is_endpoint(&now[0]));
    assert_eq!(
        explain(&world.snapshot, &now[0]),
        [format!("{node} is lost"), "it stays: its volume data is there".to_owned()]
    );
    world.come_back(node.as_str());
    live_on(&mut world);
    let now = world.replicas("shop/db");
    assert!(now[0].id == db.id && now[0].pending.is_none() && world.snapshot.takes_traffic(&now[0]));
}

#[test]
fn an_exclusive_service_is_replaced_when_it_must_have_ended() {
    let mut world = world(&["n1", "n2"]).service("shop/cron", |service| {
        service.exclusive().container(|container| container.stop_grace = Some(Duration::from_secs(20)))
    });
    live_on(&mut world);
    let node = world.replicas("shop/cron")[0].node.clone().unwrap();
    world.lose(node.as_str());
    world.pass(Duration::from_secs(35));
    settle(&mut world);
    assert_eq!(goals(&world, "shop/cron"), [(1, 1, Goal::Run)]);
    world.pass(Duration::from_secs(1));
    settle(&mut world);
    assert_eq!(
        goals(&world, "shop/cron"),
        [(1, 1, Goal::Drain)],
        "if its node comes back now, it ends there"
    );
    world.pass(Duration::from_secs(10));
    settle(&mut world);
    let now = world.replicas("shop/cron");
    assert!(now.len() == 1 && now[0].goal == Goal::Run && now[0].node != Some(node));
}

#[test]
fn a_job_that_is_done_is_not_run_again_because_its_node_is_lost() {
    let mut world =
        world(&["n1", "n2"]).service("shop/migrate", |service| service.restart(RestartPolicy::No));
    settle(&mut world);
    let job = world.replicas("shop/migrate")[0].clone();
    world.see(&job.id, |status| (status.phase, status.exit_code) = (Phase::Exited, Some(0)));
    settle(&mut world);
    world.lose(job.node.unwrap().as_str());
    settle(&mut world);
    assert_eq!(world.replicas("shop/migrate").len(), 1);
}

#[test]
fn a_node_that_was_taken_off_the_record_is_lost() {
    let mut world = world(&["n1", "n2"]).service("shop/web", |service| service.replicas(2));
    live_on(&mut world);
    world.commit(&[gantry_model::Change::Delete(gantry_model::Key::Node(NodeId::new("n2").unwrap()))]);
    live_on(&mut world);
    assert_eq!(world.nodes_of("shop/web"), ["n1", "n1"]);
    assert_eq!(world.snapshot.replicas.size(), 2);
}

#[test]
fn the_proxy_of_a_lost_node_holds_drains_for_a_while_and_is_then_forgotten() {
    let mut world = world(&["n1", "n2"]).proxy("p1").service("shop/web", |service| service.replicas(2));
    let proxy = gantry_model::Proxy { instance: "p2".into(), node: NodeId::new("n2").unwrap(), since: NOW };
    world.commit(&[gantry_model::Change::Put(gantry_model::Record::Proxy(std::sync::Arc::new(proxy)))]);
    live_on(&mut world);
    world.lose("n2");
    settle(&mut world);
    assert_eq!(world.snapshot.proxies.size(), 2);
    world.pass(lost::LOST + Duration::from_secs(10));
    settle(&mut world);
    assert_eq!(world.snapshot.proxies.size(), 2, "it is still connected");
    world.snapshot.acks.remove_mut("p2");
    settle(&mut world);
    assert_eq!(world.snapshot.proxies.size(), 1);
}

#[test]
fn a_drained_node_is_left_without_a_moment_of_less() {
    let mut world = world(&["n1", "n2", "n3"])
        .proxy("p1")
        .service("shop/web", |service| service.replicas(3))
        .service("shop/edge", |service| service.host_port(80));
    live_on(&mut world);
    let edge = world.replicas("shop/edge")[0].node.clone().unwrap().to_string();
    world.change_node(&edge, |node| node.availability = Availability::Drain);
    for _ in 0..12 {
        settle(&mut world);
        assert!(serving(&world, "shop/web") >= 3 && serving(&world, "shop/edge") >= 1);
        world.run_all();
        let revision = world.snapshot.revision;
        world.ack("p1", TableVersion { revision, sequence: 0 });
        world.pass(Duration::from_secs(1));
    }
    let id = NodeId::new(&edge).unwrap();
    assert_eq!(world.snapshot.replicas_on(&id).count(), 0);
    assert!(is_drained(&world.snapshot, &world.snapshot.nodes[&id]));
    assert_eq!((world.replicas("shop/web").len(), world.replicas("shop/edge").len()), (3, 1));
}

#[test]
fn what_a_volume_holds_stays_on_a_drained_node_and_says_so() {
    let mut world = world(&["n1", "n2"]).service("shop/db", |service| service.volume("data"));
    live_on(&mut world);
    let node = world.replicas("shop/db")[0].node.clone().unwrap();
    world.change_node(node.as_str(), |node| node.availability = Availability::Drain);
    live_on(&mut world);
    assert_eq!(serving(&world, "shop/db"), 1);
    let reason = world.replicas("shop/db")[0].pending.clone().unwrap();
    assert_eq!(reason, format!("{node} is being drained, and it stays there: its volume data is there"));
    assert!(is_drained(&world.snapshot, &world.snapshot.nodes[&node]));
    world.change_node(node.as_str(), |node| node.availability = Availability::Active);
    live_on(&mut world);
    assert_eq!(world.replicas("shop/db")[0].pending, None);
}

#[test]
fn what_fits_nowhere_else_goes_on_serving_on_a_drained_node() {
    let mut world = world(&["n1"]).service("shop/web", |service| service.replicas(2));
    live_on(&mut world);
    world.change_node("n1", |node| node.availability = Availability::Drain);
    live_on(&mut world);
    assert_eq!((serving(&world, "shop/web"), world.replicas("shop/web").len()), (2, 2));
    assert!(!is_drained(&world.snapshot, &world.snapshot.nodes[&NodeId::new("n1").unwrap()]));
    let reason = world.replicas("shop/web")[0].pending.clone().unwrap();
    assert!(reason.starts_with("n1 is being drained, and it stays there: no node fits"), "{reason}");
    world = world.node("n2");
    live_on(&mut world);
    assert_eq!(world.nodes_of("shop/web"), ["n2", "n2"]);
}

#[test]
fn a_stop_first_service_leaves_one_after_the_other() {
    let mut world =
        world(&["n1"]).service("shop/web", |service| service.replicas(3).order(UpdateOrder::StopFirst));
    live_on(&mut world);
    world = world.node("n2");
    world.change_node("n1", |node| node.availability = Availability::Drain);
    for _ in 0..20 {
        settle(&mut world);
        assert!(serving(&world, "shop/web") >= 2);
        for slot in 1..=3 {
            let of_slot = world.replicas("shop/web").into_iter().filter(|replica| replica.slot == slot);
            assert!(of_slot.count() <= 1);
        }
        world.run_all();
        world.pass(Duration::from_secs(2));
    }
    assert_eq!(world.nodes_of("shop/web"), ["n2", "n2", "n2"]);
}

#[test]
fn replicas_that_a_changed_constraint_or_label_forbids_are_moved_and_no_revision_is_made() {
    let mut world =
        world(&["n1", "n2"]).label("n2", "zone", "a").service("shop/web", |service| service.replicas(2));
    live_on(&mut world);
    world.change_service("shop/web", |service| {
        service.spec.placement.constraints = vec!["node.labels.zone == a".parse().unwrap()];
    });
    live_on(&mut world);
    assert_eq!(world.nodes_of("shop/web"), ["n2", "n2"]);
    assert!(world.replicas("shop/web").iter().all(|replica| replica.revision == 1));
    world = world.label("n1", "zone", "a").label("n2", "zone", "b");
    live_on(&mut world);
    assert_eq!(world.nodes_of("shop/web"), ["n1", "n1"]);
}

#[test]
fn a_service_on_every_node_follows_the_nodes() {
    let mut world = world(&["n1", "n2"]).service("ops/log", ServiceBuilder::global);
    live_on(&mut world);
    assert_eq!(world.nodes_of("ops/log"), ["n1", "n2"]);
    let slots = |world: &World| -> BTreeMap<String, u32> {
        world
            .replicas("ops/log")
            .into_iter()
            .map(|replica| (replica.node.unwrap().to_string(), replica.slot))
            .collect()
    };
    let before = slots(&world);

    world = world.node("n0");
    live_on(&mut world);
    let after = slots(&world);
    assert_eq!((after.len(), after["n1"], after["n2"]), (3, before["n1"], before["n2"]));

    world.change_node("n1", |node| node.availability = Availability::Drain);
    live_on(&mut world);
    assert_eq!(slots(&world).keys().collect::<Vec<_>>(), ["n0", "n2"]);
    world.change_node("n2", |node| node.availability = Availability::Pause);
    world.lose("n0");
    live_on(&mut world);
    assert_eq!(slots(&world).keys().collect::<Vec<_>>(), ["n0", "n2"], "each keeps what it has");

    world.revise("ops/log");
    world.come_back("n0");
    world.change_node("n2", |node| node.availability = Availability::Active);
    live_on(&mut world);
    assert!(world.replicas("ops/log").iter().all(|replica| replica.revision == 2));
    assert_eq!(slots(&world), after.into_iter().filter(|(node, _)| node != "n1").collect());
}

#[test]
fn a_service_that_is_to_be_on_every_node_keeps_what_it_has() {
    let mut world = world(&["n1", "n2"]).service("shop/web", |service| service.replicas(3));
    live_on(&mut world);
    let before = world.replicas("shop/web");
    world.change_service("shop/web", |service| service.spec.mode = gantry_model::Mode::Global);
    live_on(&mut world);
    assert_eq!(world.nodes_of("shop/web"), ["n1", "n2"]);
    let after = world.replicas("shop/web");
    assert!(after.iter().all(|replica| before.iter().any(|old| old.id == replica.id)));
    world.change_service("shop/web", |service| {
        service.spec.mode = gantry_model::Mode::Replicated;
        service.replicas = 1;
    });
    live_on(&mut world);
    assert_eq!(world.replicas("shop/web").len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever becomes of nodes: goals only move forward, what a volume holds never runs elsewhere, what
    /// is exclusive never has two while the first may run, decisions come to an end, and when all nodes
    /// are back every service has what it wants.
    #[test]
    fn whatever_becomes_of_nodes_it_converges(steps in prop::collection::vec((0..12_u8, 0..4_usize), 1..30)) {
        let mut world = world(&["n1", "n2", "n3", "n4"])
            .proxy("p1")
            .service("s/web", |service| service.replicas(3))
            .service("s/stop", |service| service.replicas(2).order(UpdateOrder::StopFirst))
            .service("s/db", |service| service.volume("data"))
            .service("s/one", ServiceBuilder::exclusive)
            .service("s/all", ServiceBuilder::global)
            .service("s/edge", |service| service.replicas(2).host_port(80));
        for (step, which) in steps {
            let node = ["n1", "n2", "n3", "n4"][which];
            let goals: BTreeMap<_, _> = world.snapshot.replicas.values().map(|replica| (replica.id.clone(), replica.goal)).collect();
            let lost = world.snapshot.verdict_on(&NodeId::new(node).unwrap()) == gantry_model::Verdict::Lost;
            match step {
                0 if !lost => world.lose(node),
                1 | 2 => if lost { world.come_back(node) },
                3 => world.change_node(node, |node| node.availability = Availability::Drain),
                4 => world.change_node(node, |node| node.availability = Availability::Active),
                5 => world.change_node(node, |node| node.availability = Availability::Pause),
                6 => world.revise(["s/web", "s/stop", "s/db", "s/all"][which]),
                7 => world.change_service("s/web", |service| service.replicas = u32::try_from(which).unwrap()),
                8 => world.change_service("s/web", |service| {
                    service.spec.placement.constraints = vec![format!("node.hostname != {node}").parse().unwrap()];
                }),
                9 => world.crash_one(which),
                10 => {
                    let placed: Vec<_> = world.snapshot.replicas.values().filter(|replica| replica.node.is_some()).cloned().collect();
                    if let Some(replica) = placed.get(which) {
                        let change = Action::Leave { replica: replica.id.clone() }.changes(&world.snapshot, world.now);
                        world.commit(&change);
                    }
                }
                _ => {
                    world.run_all();
                    let revision = world.snapshot.revision;
                    world.ack("p1", TableVersion { revision, sequence: 0 });
                }
            }
            world.pass(Duration::from_millis(700 * which as u64));
            settle(&mut world);
            for (id, goal) in goals {
                if let Some(now) = world.snapshot.replicas.get(&id) {
                    prop_assert!(now.goal >= goal, "{id} went back from {goal:?} to {:?}", now.goal);
                }
            }
            let home = world.snapshot.volumes.values().next().unwrap().node.clone();
            prop_assert!(world.replicas("s/db").iter().all(|replica| replica.node.is_none() || replica.node == home));
            let running = world.replicas("s/one").into_iter().filter(|replica| replica.node.is_some() && !world.snapshot.is_lost(replica)).count();
            prop_assert!(running <= 1);
        }
        for node in ["n1", "n2", "n3", "n4"] {
            if world.snapshot.verdict_on(&NodeId::new(node).unwrap()) != gantry_model::Verdict::Ready {
                world.come_back(node);
            }
            world.change_node(node, |node| node.availability = Availability::Active);
        }
        live_on(&mut world);
        live_on(&mut world);
        for service in world.snapshot.services.values() {
            let replicas: Vec<_> = world.snapshot.replicas_of(&service.id).collect();
            let slots: Vec<_> = replicas.iter().map(|replica| replica.slot).collect();
            prop_assert_eq!(slots, service.slots(), "{}: {:#?}", service.id, replicas);
            for replica in replicas {
                prop_assert!(
                    replica.goal == Goal::Run && replica.revision == service.revision && world.snapshot.takes_traffic(replica),
                    "{replica:#?}"
                );
            }
        }
    }
}
