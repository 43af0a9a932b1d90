//! Repairs, step by step.

use gantry_model::{Conclusion, Finding, NodeId, PastRepair, RepairKind, Replica, ReplicaId};

use super::failover::live_on;
use super::*;

pub fn world(nodes: &[&str]) -> World {
    nodes.iter().fold(World::new(NOW), |world, node| world.node(node))
}

pub fn finding(reason: &str, conclusion: Conclusion) -> Finding {
    Finding { revision: 0, reason: reason.into(), message: format!("{reason} was seen"), conclusion }
}

/// Acts on a verdict that is based on what is stored now, or says why not.
pub fn submit(world: &mut World, finding: &Finding) -> Option<String> {
    let finding = Finding { revision: world.snapshot.revision, ..finding.clone() };
    let mut taken = act_on(&world.snapshot, [&finding], world.now);
    world.commit(&taken.plan.changes);
    taken.refusals.remove(0)
}

pub fn repair(world: &mut World, replica: &ReplicaId, kind: RepairKind) -> Option<String> {
    submit(world, &finding("Unhealthy", Conclusion::Repair { replica: replica.clone(), kind }))
}

pub fn fail(world: &mut World, replica: &ReplicaId) {
    world.see(replica, |status| (status.health, status.probe_ready) = (Health::Unhealthy, Some(false)));
}

/// The agent has restarted it, and it is well.
pub fn recover(world: &mut World, replica: &ReplicaId) {
    let asked = world.snapshot.replicas[replica].asked_restarts();
    world.see(replica, |status| {
        (status.restart_sequence, status.health, status.probe_ready) = (asked, Health::Healthy, Some(true));
    });
}

pub fn first(world: &World, service: &str) -> Replica {
    world.replicas(service).remove(0)
}

pub fn reasons(world: &World) -> Vec<String> {
    world.snapshot.events.values().map(|event| event.reason.clone()).collect()
}

pub fn ack(world: &mut World) {
    let revision = world.snapshot.revision;
    world.ack("p1", TableVersion { revision, sequence: 0 });
}

#[test]
fn an_unhealthy_replica_is_restarted_in_place_when_no_proxy_leads_to_it_any_more() {
    let mut world = world(&["n1"]).proxy("p1").service("shop/web", |service| service.replicas(2));
    settle(&mut world);
    world.run_all();
    let web = first(&world, "shop/web").id;
    fail(&mut world, &web);
    assert_eq!(repair(&mut world, &web, RepairKind::Restart), None);
    settle(&mut world);
    let now = first(&world, "shop/web");
    assert!(now.pause.is_some() && now.asked_restarts() == 0, "p1 does not know yet");
    ack(&mut world);
    settle(&mut world);
    let now = first(&world, "shop/web");
    assert_eq!((now.asked_restarts(), now.restart_sequence), (1, 0), "names are not waited for");
    assert!(now.repair.is_some() && now.pause.is_none());
    assert_eq!(repair_grace(&world.snapshot, &now), Some(Duration::from_secs(3)));

    recover(&mut world, &web);
    settle(&mut world);
    let now = first(&world, "shop/web");
    assert!(now.repair.is_none() && world.snapshot.takes_traffic(&now));
    assert_eq!(repair_grace(&world.snapshot, &now), None);
    let reasons = reasons(&world);
    assert!(reasons.ends_with(&["Unhealthy".into(), "Restarted".into(), "Healed".into()]), "{reasons:?}");
    let past = &world.snapshot.services[&now.service].repairs;
    assert_eq!((past.len(), past[0].kind, past[0].at), (1, RepairKind::Restart, NOW));
}

#[test]
fn requests_of_what_hangs_are_not_waited_for_long() {
    let mut world = world(&["n1"]).proxy("p1").service("shop/web", |service| service);
    settle(&mut world);
    world.run_all();
    let web = first(&world, "shop/web").id;
    fail(&mut world, &web);
    repair(&mut world, &web, RepairKind::Restart);
    world.still_serving("p1", &[&web]);
    ack(&mut world);
    world.pass(Duration::from_millis(1_900));
    settle(&mut world);
    assert_eq!(first(&world, "shop/web").asked_restarts(), 0);
    world.pass(Duration::from_millis(100));
    settle(&mut world);
    assert_eq!(first(&world, "shop/web").asked_restarts(), 1);
}

#[test]
fn a_grace_that_its_file_asks_for_is_kept() {
    let mut world = world(&["n1"]).service("shop/web", |service| {
        service.container(|container| container.stop_grace = Some(Duration::from_secs(30)))
    });
    settle(&mut world);
    world.run_all();
    let web = first(&world, "shop/web").id;
    fail(&mut world, &web);
    repair(&mut world, &web, RepairKind::Restart);
    assert_eq!(repair_grace(&world.snapshot, &first(&world, "shop/web")), None);
}

#[test]
fn what_hangs_has_as_little_time_when_it_is_replaced_and_what_crashes_has_its_own() {
    for (reason, grace) in [("Unhealthy", Some(Duration::from_secs(3))), ("CrashLoop", None)] {
        let mut world = world(&["n1", "n2"]).service("shop/web", |service| service.replicas(2));
        live_on(&mut world);
        let web = first(&world, "shop/web");
        fail(&mut world, &web.id);
        let replace = Conclusion::Repair { replica: web.id.clone(), kind: RepairKind::Replace };
        assert_eq!(submit(&mut world, &finding(reason, replace)), None);
        let leaving = Replica { goal: Goal::Stop, ..first(&world, "shop/web") };
        assert_eq!(
            (leaving.id.clone(), repair_grace(&world.snapshot, &leaving)),
            (web.id, grace),
            "{reason}"
        );
    }
}

#[test]
fn a_restart_that_does_not_help_comes_to_an_end_and_the_next_one_counts_on() {
    let mut world = world(&["n1"]).service("shop/web", |service| service);
    settle(&mut world);
    world.run_all();
    let web = first(&world, "shop/web").id;
    fail(&mut world, &web);
    repair(&mut world, &web, RepairKind::Restart);
    settle(&mut world);
    world.pass(Duration::from_secs(1));
    world.see(&web, |status| (status.restart_sequence, status.health) = (1, Health::Starting));
    world.pass(Duration::from_secs(5));
    settle(&mut world);
    assert!(first(&world, "shop/web").repair.is_some(), "it is coming up");
    fail(&mut world, &web);
    settle(&mut world);
    assert!(first(&world, "shop/web").repair.is_some(), "it may be what was said before");
    world.pass(Duration::from_secs(2));
    settle(&mut world);
    assert!(first(&world, "shop/web").repair.is_none());
    assert_eq!(reasons(&world).last().unwrap(), "NotHealed");

    repair(&mut world, &web, RepairKind::Restart);
    settle(&mut world);
    assert_eq!(first(&world, "shop/web").asked_restarts(), 2);
    world.pass(Duration::from_secs(69));
    settle(&mut world);
    assert!(first(&world, "shop/web").repair.is_some());
    world.pass(Duration::from_secs(1));
    settle(&mut world);
    assert!(first(&world, "shop/web").repair.is_none(), "its agent says nothing");
}

#[test]
fn what_fails_is_replaced_elsewhere_and_goes_when_the_new_one_serves() {
    let mut world = world(&["n1", "n2"]).service("shop/web", |service| service.replicas(2));
    live_on(&mut world);
    let web = first(&world, "shop/web");
    let node = web.node.clone().unwrap();
    // The other node has more to do, and is taken all the same.
    world =
        world.service("shop/other", |service| service.replicas(5).constraint(&format!("node.id != {node}")));
    live_on(&mut world);
    fail(&mut world, &web.id);
    assert_eq!(repair(&mut world, &web.id, RepairKind::Replace), None);
    settle(&mut world);
    let all = world.replicas("shop/web");
    let successor = all.iter().find(|one| one.slot == web.slot && one.id != web.id).unwrap().clone();
    assert!(successor.node.is_some() && successor.node != web.node);
    assert_eq!(all.iter().find(|one| one.id == web.id).unwrap().goal, Goal::Run);
    world.see(&successor.id, |status| status.phase = Phase::Running);
    settle(&mut world);
    assert!(world.replicas("shop/web").iter().all(|one| one.id != web.id || one.goal != Goal::Run));
    live_on(&mut world);
    assert_eq!(world.replicas("shop/web").len(), 2);
    assert!(reasons(&world).contains(&"Replaced".to_owned()));
}

#[test]
fn the_node_that_failed_it_is_the_last_choice_and_a_choice() {
    let mut world = world(&["n1"]).service("shop/web", |service| service);
    live_on(&mut world);
    let web = first(&world, "shop/web").id;
    fail(&mut world, &web);
    repair(&mut world, &web, RepairKind::Replace);
    live_on(&mut world);
    let now = first(&world, "shop/web");
    assert!(now.id != web && now.node == NodeId::new("n1").ok());

    // Also when the old one ends first.
    let mut world =
        self::world(&["n1", "n2"]).service("shop/web", |service| service.order(UpdateOrder::StopFirst));
    live_on(&mut world);
    let web = first(&world, "shop/web");
    fail(&mut world, &web.id);
    repair(&mut world, &web.id, RepairKind::Replace);
    live_on(&mut world);
    let now = first(&world, "shop/web");
    assert!(now.node != web.node && world.replicas("shop/web").len() == 1);
}

#[test]
fn what_a_volume_holds_and_what_never_runs_twice_is_replaced_where_it_is_or_after_its_end() {
    let mut world = world(&["n1", "n2"])
        .service("shop/db", |service| service.volume("data"))
        .service("shop/cron", ServiceBuilder::exclusive)
        .service("shop/log", ServiceBuilder::global);
    live_on(&mut world);
    for service in ["shop/db", "shop/cron", "shop/log"] {
        let before = first(&world, service);
        fail(&mut world, &before.id);
        assert_eq!(repair(&mut world, &before.id, RepairKind::Replace), None);
        settle(&mut world);
        let of_slot = |world: &World| {
            world.replicas(service).into_iter().filter(|one| one.slot == before.slot).collect::<Vec<_>>()
        };
        assert_eq!(of_slot(&world).len(), 1, "{service}");
        live_on(&mut world);
        let after = of_slot(&world);
        assert!(after.len() == 1 && after[0].id != before.id && world.snapshot.takes_traffic(&after[0]));
        if service != "shop/cron" {
            assert_eq!(after[0].node, before.node, "{service}");
        }
    }
}

#[test]
fn a_successor_that_fails_too_does_not_heap_up_others() {
    let mut world = world(&["n1", "n2", "n3"]).service("shop/web", |service| service);
    live_on(&mut world);
    let mut newest = first(&world, "shop/web").id;
    for _ in 0..5 {
        fail(&mut world, &newest);
        assert_eq!(repair(&mut world, &newest, RepairKind::Replace), None);
        settle(&mut world);
        let live = world.replicas("shop/web").into_iter().filter(|one| one.goal == Goal::Run);
        let live: Vec<_> = live.collect();
        assert!(live.len() <= 2, "{live:#?}");
        newest = live.iter().find(|one| one.repair.is_none()).unwrap().id.clone();
        world.see(&newest, |status| status.phase = Phase::Running);
        fail(&mut world, &newest);
        world.pass(Duration::from_secs(2));
    }
    recover(&mut world, &newest);
    live_on(&mut world);
    assert_eq!(world.replicas("shop/web").len(), 1);
}

#[test]
fn what_is_well_again_before_its_successor_stays() {
    let mut world = world(&["n1", "n2"]).service("shop/web", |service| service);
    live_on(&mut world);
    let web = first(&world, "shop/web").id;
    fail(&mut world, &web);
    repair(&mut world, &web, RepairKind::Replace);
    settle(&mut world);
    recover(&mut world, &web);
    world.pass(Duration::from_secs(29));
    settle(&mut world);
    assert_eq!(world.replicas("shop/web").iter().filter(|one| one.goal == Goal::Run).count(), 2);
    world.pass(Duration::from_secs(1));
    settle(&mut world);
    live_on(&mut world);
    let now = world.replicas("shop/web");
    assert!(now.len() == 1 && now[0].id == web && now[0].repair.is_none());
}

#[test]
fn what_people_ask_for_comes_first() {
    let ask: [fn(&mut World); 3] = [
        |world| world.change_service("shop/web", |service| service.restart_sequence += 1),
        |world| world.change_service("shop/web", |service| service.stopped = true),
        |world| world.revise("shop/web"),
    ];
    for kind in [RepairKind::Restart, RepairKind::Replace] {
        for ask in ask {
            let mut world = world(&["n1", "n2"]).proxy("p1").service("shop/web", |service| service);
            live_on(&mut world);
            let web = first(&world, "shop/web").id;
            fail(&mut world, &web);
            repair(&mut world, &web, kind);
            ask(&mut world);
            assert!(repair(&mut world, &web, kind).is_some());
            live_on(&mut world);
            recover_all(&mut world);
            live_on(&mut world);
            let service = world.snapshot.services[&"shop/web".parse().unwrap()].clone();
            let now = world.replicas("shop/web");
            assert_eq!(now.len(), service.wanted() as usize, "{kind:?} {now:#?}");
            for replica in now {
                assert!(replica.repair.is_none() && replica.pause.is_none(), "{replica:#?}");
                assert_eq!(replica.restart_sequence, service.restart_sequence);
                assert_eq!(replica.revision, service.revision);
            }
        }
    }
}

pub fn recover_all(world: &mut World) {
    let all: Vec<ReplicaId> = world.snapshot.statuses.keys().cloned().collect();
    for id in all {
        if world.snapshot.replicas[&id].goal == Goal::Run {
            recover(world, &id);
        }
    }
}

#[test]
fn repairs_are_remembered_for_an_hour_and_not_without_end() {
    let mut world = world(&["n1"]).service("shop/web", |service| service);
    settle(&mut world);
    world.run_all();
    let web = first(&world, "shop/web").id;
    let mut once = |seconds| {
        world.pass(Duration::from_secs(seconds));
        fail(&mut world, &web);
        assert_eq!(repair(&mut world, &web, RepairKind::Restart), None);
        settle(&mut world);
        recover(&mut world, &web);
        settle(&mut world);
        world.snapshot.services.values().next().unwrap().repairs.clone()
    };
    for count in 1..=70 {
        assert_eq!(once(30).len(), count.min(PastRepair::KEPT));
    }
    assert_eq!(once(30 * 60).len(), 61, "of the last hour");
    assert_eq!(once(61 * 60).len(), 1);
}
