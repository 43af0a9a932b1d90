use gantry_model::{Check, Phase, Timestamp};
use gantry_testkit::World;

use super::*;
use crate::mirror::Mirror;

fn take(mirror: &mut Mirror, message: Message) {
    mirror.take(WatchResponse { message: Some(message), revision: 1, now: None });
}

fn moment(snapshot: &Snapshot, is_watchdog: bool) -> Moment {
    Moment { snapshot: Arc::new(snapshot.clone()), failures: Failures::new(), is_watchdog }
}

fn people(snapshot: &Snapshot) -> Moment {
    moment(snapshot, false)
}

#[test]
fn a_mirror_that_takes_every_delta_equals_a_fresh_one() {
    let mut world =
        World::new(Timestamp::from_millis(1)).node("n1").service("s/web", |service| service.replicas(2));
    let mut mirror = Mirror::default();
    take(&mut mirror, Message::State(whole(&people(&world.snapshot))));
    let steps: [&dyn Fn(&mut World); 4] = [
        &|world| world.change_service("s/web", |service| service.replicas = 3),
        &|world| world.disconnect("n1"),
        &|world| world.remove_stack("s", false),
        &|world| *world = world.clone().service("t/db", |service| service),
    ];
    for step in steps {
        let before = world.snapshot.clone();
        step(&mut world);
        take(&mut mirror, Message::Delta(delta(&people(&before), &people(&world.snapshot))));
        let mut fresh = Mirror::default();
        take(&mut fresh, Message::State(whole(&people(&world.snapshot))));
        assert_eq!(mirror, fresh);
    }
}

fn world_with_replica() -> World {
    let mut world = World::new(Timestamp::from_millis(1)).node("n1").service("s/web", |service| service);
    let replica = gantry_model::Replica {
        id: gantry_model::ReplicaId::new("r1").unwrap(),
        service: "s/web".parse().unwrap(),
        slot: 1,
        revision: 1,
        goal: gantry_model::Goal::Run,
        node: world.snapshot.nodes.keys().next().cloned(),
        addresses: Default::default(),
        restart_sequence: 0,
        pending: None,
        drain: None,
        pause: None,
        leave: false,
        repairs: 0,
        repair: None,
        outcome: None,
        created_at: world.now,
    };
    world.commit(&[gantry_model::Change::Put(gantry_model::Record::Replica(Arc::new(replica)))]);
    world
}

#[test]
fn a_replicas_status_shows_in_its_service_too() {
    let mut world = world_with_replica();
    let replica = world.replicas("s/web").remove(0);
    let before = world.snapshot.clone();
    world.see(&replica.id, |status| status.phase = Phase::Running);
    let delta = delta(&people(&before), &people(&world.snapshot));
    let kinds: Vec<_> = delta.upserts.iter().map(|object| object.key.as_ref().unwrap().kind()).collect();
    assert_eq!(kinds, [Kind::Service, Kind::Replica]);
}

#[test]
fn watchdogs_read_what_became_of_health_and_nobody_else_does() {
    let mut world = world_with_replica();
    let id = world.replicas("s/web")[0].id.clone();
    let before = world.snapshot.clone();
    world.pass(Duration::from_secs(1));
    world.see(&id, |status| status.phase = Phase::Running);
    assert!(
        delta(&people(&before), &people(&world.snapshot)).upserts.iter().all(|object| object
            .key
            .as_ref()
            .unwrap()
            .kind()
            != Kind::Case)
    );
    let cases = |delta: &Delta| -> Vec<gantry_api::feed::v1::Case> {
        let each = delta.upserts.iter().filter_map(|object| match &object.object {
            Some(Content::Case(case)) => Some(case.clone()),
            _ => None,
        });
        each.collect()
    };
    let told = delta(&moment(&before, true), &moment(&world.snapshot, true));
    let ready = &cases(&told)[0];
    assert!(ready.ready && ready.wanted && ready.reported && !ready.in_repair);
    assert_eq!(ready.ready_since, Some(write_time(world.now)));

    // What does not show in a case is not told as one.
    let before = world.snapshot.clone();
    world.pass(Duration::from_secs(1));
    world.see(&id, |status| status.container_id = "c1".into());
    let told = delta(&moment(&before, true), &moment(&world.snapshot, true));
    assert!(cases(&told).is_empty() && !told.upserts.is_empty());

    let before = world.snapshot.clone();
    world.see(&id, |status| {
        (status.probe_ready, status.probe_message) = (Some(false), "HTTP 503".into());
    });
    let failing = cases(&delta(&moment(&before, true), &moment(&world.snapshot, true))).remove(0);
    assert!(!failing.ready && failing.message == "HTTP 503");
    assert_eq!(failing.condition(), gantry_api::feed::v1::Condition::Failing);
    assert_eq!(failing.condition_since, Some(write_time(world.now)));

    // The clock of its node is far behind: that does not show.
    let before = world.snapshot.clone();
    let end = gantry_model::End { at: Timestamp::from_millis(7), exit_code: 1, ..Default::default() };
    world.see(&id, |status| status.ends = vec![end]);
    let ended = cases(&delta(&moment(&before, true), &moment(&world.snapshot, true))).remove(0);
    assert_eq!(ended.ends[0].at, Some(write_time(world.now)));

    let mut failures = moment(&world.snapshot, true);
    failures.failures.insert(id, (2, 9));
    let told = cases(&delta(&moment(&world.snapshot, true), &failures));
    assert_eq!((told[0].failed_requests, told[0].requests), (2, 9));
}

#[test]
fn watchdogs_read_whether_a_service_was_ever_ready() {
    let mut world = world_with_replica();
    let replica = world.replicas("s/web").remove(0);
    let never = |world: &World| {
        let course = object(&moment(&world.snapshot, true), Kind::Course, "s/web".into());
        match course.and_then(|course| course.object) {
            Some(Content::Course(course)) => course.never_ready,
            other => panic!("{other:?}"),
        }
    };
    world.snapshot.started_at = world.snapshot.services.values().next().unwrap().created_at;
    assert!(never(&world));
    world.see(&replica.id, |status| status.phase = Phase::Running);
    assert!(!never(&world));
    world.see(&replica.id, |status| status.phase = Phase::Exited);
    assert!(!never(&world), "it was ready once");
    let mut later = world_with_replica();
    later.snapshot.started_at = later.now.after(Duration::from_secs(1));
    assert!(!never(&later), "who knows what was before");
}

#[test]
fn watchdogs_read_which_nodes_are_held() {
    let mut world = World::new(Timestamp::from_millis(1)).node("n1");
    let before = world.snapshot.clone();
    let id = world.snapshot.nodes.keys().next().unwrap().clone();
    let known = world.snapshot.node_statuses.get(&id).map(|known| known.as_ref().clone());
    let held = gantry_model::NodeStatus { held: true, ..known.unwrap_or_default() };
    world.snapshot.node_statuses.insert_mut(id, Arc::new(held));
    let told = delta(&moment(&before, true), &moment(&world.snapshot, true));
    let hearings: Vec<bool> = told
        .upserts
        .iter()
        .filter_map(|object| match &object.object {
            Some(Content::Hearing(hearing)) => Some(hearing.held),
            _ => None,
        })
        .collect();
    assert_eq!(hearings, [true]);
}

#[test]
fn the_feed_carries_no_secrets() {
    let secret = || [("PASSWORD".to_owned(), "hunter2".to_owned())].into();
    let hook = || gantry_model::Hook {
        command: vec!["notify".into(), "--token=hunter2".into()],
        environment: secret(),
        ..gantry_model::Hook::default()
    };
    let world = World::new(Timestamp::from_millis(1)).service("s/web", |service| {
        let mut service = service.container(|container| {
            container.environment = secret();
            (container.post_start, container.pre_stop) = (vec![hook()], vec![hook()]);
        });
        let check = |check| Some(gantry_model::HealthProbe::new(check));
        service.spec.liveness = check(Check::Exec { command: vec!["ping".into(), "-phunter2".into()] });
        service.spec.readiness = check(Check::Http {
            port: 80,
            path: "/?token=hunter2".into(),
            headers: secret(),
            status: (200, 399),
            body: String::new(),
        });
        service
    });
    for reader in [false, true] {
        let mut mirror = Mirror::default();
        take(&mut mirror, Message::State(whole(&moment(&world.snapshot, reader))));
        let mut spec = mirror.services["s/web"].spec.clone().unwrap();
        let container = spec.container.take().unwrap();
        // Its `Debug` leaves out what is secret.
        assert!(container.environment.is_empty());
        for hook in [&container.post_start[0], &container.pre_stop[0]] {
            assert_eq!((hook.command.as_slice(), hook.environment.len()), (&["notify".to_owned()][..], 0));
        }
        let told = format!("{spec:?}");
        assert!(!told.contains("hunter2") && told.contains("PASSWORD") && told.contains("ping"), "{told}");
    }
}
