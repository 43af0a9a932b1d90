use gantry_identity::Role;
use gantry_model::ClusterId;
use gantry_testkit::World;

use super::*;
use crate::decide::decide;

fn world() -> World {
    let mut world = World::new(Timestamp::from_millis(1))
        .node("n1")
        .service("shop/db", |service| service.volume("data").volume("logs"));
    let plan = decide(&world.snapshot, world.now);
    world.commit(&plan.changes);
    world.node("n2")
}

fn by() -> Identity {
    Identity { cluster: ClusterId::new("test").unwrap(), role: Role::Operator, name: "ada".into() }
}

fn ask(world: &mut World, node: &str) -> Result<Begun, Status> {
    let request = MoveVolumeRequest { stack: "shop".into(), key: "data".into(), node: node.into() };
    let (changes, answer) = begin_move(&world.snapshot, &request, "m1", &by(), world.now)?;
    world.commit(&changes);
    Ok(answer)
}

fn change(world: &mut World, change: impl FnOnce(&mut Volume)) {
    let mut volume = find(&world.snapshot, "shop", "data").unwrap().clone();
    change(&mut volume);
    world.commit(&[Change::Put(Record::Volume(Arc::new(volume)))]);
}

#[test]
fn a_move_begins_and_says_which_other_volumes_its_users_need() {
    let mut world = world();
    let (volume, warnings) = ask(&mut world, "n2").unwrap();
    assert_eq!(volume.moving.as_ref().map(|moving| moving.stage), Some(MoveStage::Stopping));
    assert_eq!(volume.node.as_ref().map(NodeId::as_str), Some("n1"), "until the copy is whole");
    assert!(warnings.len() == 1 && warnings[0].contains("shop/logs"), "{warnings:?}");
    let shown = show(&world.snapshot, &volume);
    assert_eq!((shown.node.as_str(), shown.moving_to.as_str()), ("n1", "n2"));
    assert!(shown.message.contains("waiting for its users"), "{}", shown.message);
}

#[test]
fn a_move_back_gives_it_up_until_the_volume_has_moved() {
    let mut world = world();
    ask(&mut world, "n2").unwrap();
    let (volume, _) = ask(&mut world, "n1").unwrap();
    assert_eq!(volume.moving, None);

    ask(&mut world, "n2").unwrap();
    change(&mut world, |volume| {
        MoveStep::Copy.apply(volume);
        MoveStep::Switch.apply(volume);
    });
    let refused = ask(&mut world, "n1").unwrap_err();
    assert!(refused.message().contains("still being removed"), "{refused}");
}

#[test]
fn who_asks_again_gets_the_same_answer_and_changes_nothing() {
    let mut world = world();
    assert_eq!(ask(&mut world, "n1").unwrap().0.moving, None, "it is there");
    let (first, _) = ask(&mut world, "n2").unwrap();
    let told = world.snapshot.events.size();
    assert_eq!(ask(&mut world, "n2").unwrap().0, first);
    assert_eq!(*find(&world.snapshot, "shop", "data").unwrap(), first);
    assert_eq!(world.snapshot.events.size(), told);
}

#[test]
fn what_cannot_be_moved_is_refused_with_the_reason_and_nothing_changes() {
    type Alter = fn(&mut World);
    let cases: [(&str, Alter, &str); 5] = [
        ("n3", |_| (), "there is no node n3"),
        ("n2", |world| world.disconnect("n2"), "n2 cannot take it"),
        ("n2", |world| world.disconnect("n1"), "n1 has it, and"),
        ("n2", |world| change(world, |volume| volume.external = true), "is external"),
        ("n2", |world| change(world, |volume| volume.driver = Some("rexray".into())), "by its driver"),
    ];
    for (node, alter, words) in cases {
        let mut world = world();
        alter(&mut world);
        let before = world.snapshot.revision;
        let refused = ask(&mut world, node).unwrap_err();
        assert!(refused.message().contains(words), "{refused}");
        assert_eq!(world.snapshot.revision, before);
    }
}

#[test]
fn a_volume_on_a_file_server_is_on_every_node() {
    let mut world = world();
    change(&mut world, |volume| drop(volume.options.insert("type".into(), "nfs".into())));
    let volume = find(&world.snapshot, "shop", "data").unwrap();
    assert_eq!(show(&world.snapshot, volume).node, "");
    assert!(ask(&mut world, "n2").unwrap_err().message().contains("by its driver"));
}

#[test]
fn a_volume_can_be_made_for_a_stack_that_comes_later() {
    let mut world = world();
    let request = CreateVolumeRequest {
        stack: "blog".into(),
        key: "data".into(),
        node: "n2".into(),
        ..CreateVolumeRequest::default()
    };
    let (changes, volume) = create(&world.snapshot, &request, &by(), world.now).unwrap();
    world.commit(&changes);
    assert_eq!((volume.name.as_str(), volume.node.as_ref().map(NodeId::as_str)), ("blog_data", Some("n2")));
    let again = create(&world.snapshot, &request, &by(), world.now).unwrap_err();
    assert_eq!(again.code(), tonic::Code::AlreadyExists);
}
