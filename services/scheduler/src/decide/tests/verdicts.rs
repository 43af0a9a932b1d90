//! Which of a watchdog's verdicts are acted on, and what failed checks lead to by themselves.

use gantry_model::{Availability, Conclusion, Node, NodeId, RepairKind, ReplicaId};

use super::failover::live_on;
use super::heal::{fail, finding, first, reasons, recover, repair, submit, world};
use super::*;

fn endpoints(world: &World, service: &str) -> usize {
    let node = world.snapshot.nodes.keys().next().unwrap();
    let table = table(&world.snapshot, node);
    let named = table.addresses.iter().filter(|address| address.service == service);
    named.flat_map(|address| &address.groups).map(|group| group.endpoints.len()).sum()
}

#[test]
fn a_verdict_that_does_not_hold_any_more_changes_nothing() {
    let mut world = world(&["n1", "n2"]).service("shop/web", |service| service.replicas(2));
    settle(&mut world);
    world.run_all();
    let web = first(&world, "shop/web");
    let refused = |change: &dyn Fn(&mut World)| {
        let mut changed = world.clone();
        fail(&mut changed, &web.id);
        change(&mut changed);
        let before = changed.snapshot.replicas.get(&web.id).cloned();
        let why = repair(&mut changed, &web.id, RepairKind::Restart).unwrap_or_default();
        assert_eq!(changed.snapshot.replicas.get(&web.id).cloned(), before, "{why}");
        why
    };
    assert_eq!(refused(&|world| recover(world, &web.id)), "it is ready by now");
    assert_eq!(
        refused(&|world| drop(repair(world, &web.id, RepairKind::Restart))),
        "it is being repaired already"
    );
    assert_eq!(
        refused(&|world| {
            world.change_service("shop/web", |service| service.replicas = 0);
            settle(world);
        }),
        "it is being ended"
    );
    assert_eq!(
        refused(&|world| world.disconnect(web.node.as_ref().unwrap().as_str())),
        "its node is not heard now"
    );
    assert!(
        refused(&|world| world.lose(web.node.as_ref().unwrap().as_str())).starts_with("its node is lost")
    );
    assert_eq!(
        refused(&|world| world.change_service("shop/web", |service| service.spec.heal.disabled = true)),
        "its service is not to be repaired"
    );
    assert_eq!(
        refused(&|world| world.see(&web.id, |status| status.phase = Phase::Paused)),
        "it has ended as it should, or is paused"
    );
    let gone = ReplicaId::new("gone").unwrap();
    assert_eq!(repair(&mut world, &gone, RepairKind::Restart).unwrap(), "it is gone");
}

#[test]
fn a_repair_that_was_concluded_before_the_last_one_showed_is_refused() {
    let mut world = world(&["n1"]).service("shop/web", |service| service.replicas(4));
    settle(&mut world);
    world.run_all();
    let ids: Vec<ReplicaId> = world.replicas("shop/web").into_iter().map(|one| one.id).collect();
    for id in &ids {
        fail(&mut world, id);
    }
    let based_on = |revision, id: &ReplicaId| {
        let conclusion = Conclusion::Repair { replica: id.clone(), kind: RepairKind::Restart };
        gantry_model::Finding { revision, ..finding("Unhealthy", conclusion) }
    };
    let seen = world.snapshot.revision;
    // What is concluded together is taken together.
    let together = [based_on(seen, &ids[0]), based_on(seen, &ids[1])];
    let taken = act_on(&world.snapshot, &together, world.now);
    assert_eq!(taken.refusals, [None, None]);
    world.commit(&taken.plan.changes);
    let refusal = |world: &World, revision| {
        act_on(&world.snapshot, [&based_on(revision, &ids[2])], world.now).refusals.remove(0)
    };
    assert!(refusal(&world, seen).unwrap().starts_with("it was concluded from revision"));
    assert_eq!(refusal(&world, world.snapshot.revision), None);
}

/// It is being started once more.
fn ended(status: &mut gantry_model::ReplicaStatus, asked: bool) {
    status.phase = Phase::Starting;
    status.ends = vec![gantry_model::End { exit_code: 1, asked, ..Default::default() }];
}

#[test]
fn only_what_is_known_to_be_unwell_is_repaired() {
    let mut world = world(&["n1"]).service("shop/web", |service| service);
    settle(&mut world);
    world.run_all();
    let web = first(&world, "shop/web").id;
    let refused = |change: fn(&mut gantry_model::ReplicaStatus)| {
        let mut changed = world.clone();
        changed.see(&web, change);
        repair(&mut changed, &web, RepairKind::Restart)
    };
    let unwell = Some("it is not known to be unwell now".to_owned());
    assert_eq!(refused(|status| status.probe_ready = Some(false)), unwell, "one check failed");
    assert_eq!(refused(|status| status.phase = Phase::Starting), unwell);
    assert_eq!(refused(|status| ended(status, true)), unwell);
    assert_eq!(refused(|status| ended(status, false)), None, "it may be in a loop");
    for phase in [Phase::Restarting, Phase::Failed] {
        let mut changed = world.clone();
        changed.see(&web, |status| status.phase = phase);
        assert_eq!(repair(&mut changed, &web, RepairKind::Restart), None);
    }
}

#[test]
fn what_still_serves_is_repaired_while_an_update_is_stuck() {
    let mut world = world(&["n1"]).service("shop/web", |service| service.replicas(2));
    settle(&mut world);
    world.run_all();
    // Nothing of the new revision comes up.
    world.revise("shop/web");
    settle(&mut world);
    let old = world.replicas("shop/web").into_iter().find(|one| one.revision == 1).unwrap();
    fail(&mut world, &old.id);
    world.pass(Duration::from_secs(119));
    settle(&mut world);
    assert_eq!(repair(&mut world, &old.id, RepairKind::Restart).unwrap(), "its service is being updated");
    world.pass(Duration::from_secs(1));
    assert!(repair(&mut world, &old.id, RepairKind::Replace).unwrap().starts_with("it is of an older"));
    assert_eq!(repair(&mut world, &old.id, RepairKind::Restart), None);
    settle(&mut world);
    assert_eq!(world.snapshot.replicas[&old.id].asked_restarts(), 1);
    recover(&mut world, &old.id);
    settle(&mut world);
    assert!(world.snapshot.takes_traffic(&world.snapshot.replicas[&old.id]));
    assert_eq!(reasons(&world).last().unwrap(), "Healed");
}

#[test]
fn what_waits_for_a_persons_restart_that_is_stuck_is_repaired() {
    let mut world = world(&["n1"]).service("shop/web", |service| service.replicas(3));
    settle(&mut world);
    world.run_all();
    // The first one does not come back.
    world.change_service("shop/web", |service| service.restart_sequence += 1);
    settle(&mut world);
    let last = world.replicas("shop/web").into_iter().rfind(|one| one.restart_sequence == 0).unwrap().id;
    world.pass(Duration::from_secs(119));
    fail(&mut world, &last);
    settle(&mut world);
    let refused = repair(&mut world, &last, RepairKind::Restart).unwrap();
    assert_eq!(refused, "it is about to be restarted, as a person asked");
    world.pass(Duration::from_secs(1));
    assert_eq!(repair(&mut world, &last, RepairKind::Restart), None);
    settle(&mut world);
    let now = &world.snapshot.replicas[&last];
    assert!(now.asked_restarts() == 1 && now.pause.is_none() && now.repair.is_none(), "{now:?}");
}

#[test]
fn a_replacement_that_an_update_overtakes_comes_to_an_end() {
    let mut world = world(&["n1"]).service("shop/web", |service| service);
    settle(&mut world);
    world.run_all();
    let old = first(&world, "shop/web").id;
    fail(&mut world, &old);
    assert_eq!(repair(&mut world, &old, RepairKind::Replace), None);
    world.revise("shop/web");
    settle(&mut world);
    assert!(world.snapshot.replicas.get(&old).is_none_or(|replica| replica.repair.is_none()));
}

pub fn quarantine(world: &mut World, node: &str, begins: bool) -> Option<String> {
    let node = NodeId::new(node).unwrap();
    submit(world, &finding("NodeFailing", Conclusion::Quarantine { node, begins }))
}

#[test]
fn a_node_in_quarantine_keeps_what_it_has_and_gets_nothing_new() {
    let mut world = world(&["n1", "n2"]).service("shop/web", |service| service.replicas(2));
    live_on(&mut world);
    assert_eq!(quarantine(&mut world, "n1", true), None);
    world.change_service("shop/web", |service| service.replicas = 4);
    world = world.service("shop/log", ServiceBuilder::global);
    live_on(&mut world);
    assert_eq!(world.nodes_of("shop/web"), ["n1", "n2", "n2", "n2"]);
    assert_eq!(world.nodes_of("shop/log"), ["n2"]);
    let shown = |world: &World| {
        let node: &Node = &world.snapshot.nodes[&NodeId::new("n1").unwrap()];
        gantry_model::wire::View(&world.snapshot).node(node).conditions
    };
    assert!(shown(&world)[0].starts_with("in quarantine since"), "{:?}", shown(&world));

    world = world.service("shop/near", |service| service.constraint("node.hostname == n1"));
    settle(&mut world);
    let why = explain(&world.snapshot, &first(&world, "shop/near"));
    assert!(
        why.iter().any(|line| line.contains("1 of 2 nodes is in quarantine, as too much failed there")),
        "{why:?}"
    );

    assert!(quarantine(&mut world, "n2", true).unwrap().contains("one at a time"));
    assert_eq!(quarantine(&mut world, "n1", false), None);
    assert!(quarantine(&mut world, "n1", false).unwrap().contains("no quarantine"));
    live_on(&mut world);
    assert_eq!(world.nodes_of("shop/near"), ["n1"]);
    assert!(shown(&world).is_empty());
}

#[test]
fn the_last_node_that_takes_anything_is_not_quarantined() {
    let mut world = world(&["n1", "n2"]);
    world.change_node("n2", |node| node.availability = Availability::Pause);
    assert!(quarantine(&mut world, "n1", true).unwrap().contains("the last node"));
    world.change_node("n2", |node| node.availability = Availability::Active);
    world.lose("n2");
    assert!(quarantine(&mut world, "n1", true).unwrap().contains("the last node"));
}

#[test]
fn people_are_told_only_of_what_there_is() {
    let mut world = world(&["n1"]).service("shop/web", |service| service);
    let mut note = |subject: &str| {
        submit(&mut world, &finding("Told", Conclusion::Note { subject: subject.into(), warning: true }))
    };
    for known in ["shop/web", "node:n1", "cluster"] {
        assert_eq!(note(known), None);
    }
    for unknown in ["shop/db", "node:n2", "moon", ""] {
        assert!(note(unknown).is_some(), "{unknown}");
    }
    assert_eq!(reasons(&world), ["Told", "Told", "Told"]);
}

#[test]
fn a_replica_whose_check_fails_gets_nothing_more_unless_it_is_the_last() {
    let mut world = world(&["n1"]).service("shop/web", |service| service.replicas(2));
    settle(&mut world);
    world.run_all();
    let ids: Vec<ReplicaId> = world.replicas("shop/web").into_iter().map(|one| one.id).collect();
    assert_eq!(endpoints(&world, "shop/web"), 2);
    let not_ready = |status: &mut gantry_model::ReplicaStatus| status.probe_ready = Some(false);
    world.see(&ids[0], not_ready);
    assert_eq!(endpoints(&world, "shop/web"), 1, "at once");
    world.see(&ids[1], not_ready);
    assert_eq!(endpoints(&world, "shop/web"), 2, "a slow check of each is no reason to answer nobody");
    world.see(&ids[0], |status| status.health = Health::Unhealthy);
    assert_eq!(endpoints(&world, "shop/web"), 1);
    world.see(&ids[1], |status| status.health = Health::Unhealthy);
    assert_eq!(endpoints(&world, "shop/web"), 0, "what is unhealthy is out always");

    // It has not been ready yet since it was started again.
    world.see(&ids[0], |status| {
        (status.health, status.started_at) = (Health::None, Some(NOW.after(Duration::from_secs(1))));
    });
    assert_eq!(endpoints(&world, "shop/web"), 0);
    world.see(&ids[0], |status| status.probe_ready = Some(true));
    assert_eq!(endpoints(&world, "shop/web"), 1);
    world.see(&ids[0], not_ready);
    assert_eq!(endpoints(&world, "shop/web"), 1);
    // Whatever its checks say: what drains gets nothing new.
    world.change_service("shop/web", |service| service.restart_sequence += 1);
    settle(&mut world);
    world.pass(Duration::from_secs(20));
    settle(&mut world);
    assert_eq!(endpoints(&world, "shop/web"), 0);
}
