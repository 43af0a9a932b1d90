use proptest::prelude::*;

use super::Presence::{Lost, Ready, Suspect};
use super::*;
use crate::decide::sample::{START, World};

fn world(nodes: usize) -> World {
    (1..=nodes).fold(World::new(), |world, node| world.node(&format!("n{node}")))
}

fn silent(world: &mut World, node: &str, since: Duration) {
    let hearing = world.hearing(node);
    (hearing.silent_since, hearing.connected) = (Some(START.after(since)), false);
}

fn after(world: &World, time: Duration) -> Vec<Presence> {
    judge(&world.snapshot.nodes, START.after(time)).values().map(|judgement| judgement.presence).collect()
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_silent_node_is_suspect_and_then_lost() {
    let mut world = world(3);
    silent(&mut world, "n2", ms(0));
    assert_eq!(after(&world, ms(2_900)), [Ready, Ready, Ready]);
    assert_eq!(after(&world, ms(3_000)), [Ready, Suspect, Ready]);
    assert_eq!(after(&world, ms(5_900)), [Ready, Suspect, Ready]);
    assert_eq!(after(&world, ms(6_000)), [Ready, Lost, Ready]);
}

#[test]
fn a_node_is_not_lost_while_its_session_or_its_proxy_is_there() {
    let mut world = world(1);
    silent(&mut world, "n1", ms(0));
    world.hearing("n1").connected = true;
    assert_eq!(after(&world, ms(60_000)), [Suspect]);
    (world.hearing("n1").connected, world.hearing("n1").proxy_heard) = (false, true);
    assert_eq!(after(&world, ms(60_000)), [Suspect]);
    world.hearing("n1").proxy_heard = false;
    assert_eq!(after(&world, ms(60_000)), [Lost]);
}

#[test]
fn when_most_nodes_go_at_once_none_is_lost() {
    let mut world = world(5);
    for (node, since) in [("n1", 0), ("n2", 1_000), ("n3", 4_000)] {
        silent(&mut world, node, ms(since));
    }
    assert_eq!(after(&world, ms(60_000)), [Suspect, Suspect, Suspect, Ready, Ready]);
    let judged = judge(&world.snapshot.nodes, START.after(ms(60_000)));
    assert!(judged[&NodeId::new("n1").unwrap()].held);
    // One of them comes back: those that were held have a while to follow, and then they were on their own.
    let back = world.hearing("n3");
    (back.silent_since, back.connected, back.returned_at) = (None, true, Some(START.after(ms(60_000))));
    assert_eq!(
        after(&world, ms(60_000)),
        [Lost, Lost, Ready, Ready, Ready],
        "as after a start of the scheduler"
    );
    (world.hearing("n1").held, world.hearing("n2").held) = (true, true);
    assert_eq!(after(&world, ms(79_999)), [Suspect, Suspect, Ready, Ready, Ready]);
    assert_eq!(after(&world, ms(80_000)), [Lost, Lost, Ready, Ready, Ready]);
    // Who came back before has nothing to do with it.
    let back = world.hearing("n3");
    back.returned_at = Some(START);
    silent(&mut world, "n1", ms(1_000));
    silent(&mut world, "n2", ms(2_000));
    assert_eq!(after(&world, ms(10_000)), [Lost, Lost, Ready, Ready, Ready]);
}

#[test]
fn nodes_that_go_one_after_the_other_are_lost() {
    let mut world = world(3);
    silent(&mut world, "n1", ms(0));
    silent(&mut world, "n2", ms(60_000));
    assert_eq!(after(&world, ms(70_000)), [Lost, Lost, Ready], "two were there when n2 went");
    silent(&mut world, "n3", ms(61_000));
    assert_eq!(after(&world, ms(90_000)), [Lost, Lost, Lost]);
}

#[test]
fn of_two_nodes_one_can_be_lost() {
    let mut world = world(2);
    silent(&mut world, "n1", ms(0));
    assert_eq!(after(&world, ms(6_000)), [Lost, Ready]);
}

#[test]
fn nodes_that_a_scheduler_has_not_heard_since_its_start_have_the_same_time() {
    let mut world = world(3);
    silent(&mut world, "n3", ms(0));
    assert_eq!(after(&world, ms(5_900)), [Ready, Ready, Suspect]);
    assert_eq!(after(&world, ms(6_000)), [Ready, Ready, Lost]);
    silent(&mut world, "n2", ms(0));
    assert_eq!(after(&world, ms(60_000)), [Ready, Suspect, Suspect], "more likely it is this side");
}

#[test]
fn a_restart_that_was_announced_has_its_time() {
    let mut world = world(1);
    silent(&mut world, "n1", ms(0));
    world.hearing("n1").restarting_since = Some(START);
    assert_eq!(after(&world, ms(59_000)), [Suspect]);
    assert_eq!(after(&world, ms(60_000)), [Lost]);
}

#[test]
fn a_node_that_comes_and_goes_is_watched_longer_every_time() {
    let mut world = world(1);
    for (flaps, trusted) in [(1, 0), (2, 5_000), (3, 10_000), (40, 300_000)] {
        (world.hearing("n1").flaps, world.hearing("n1").returned_at) = (flaps, Some(START));
        if trusted > 0 {
            assert_eq!(after(&world, ms(trusted - 1)), [Suspect]);
        }
        assert_eq!(after(&world, ms(trusted)), [Ready]);
    }
}

#[test]
fn what_is_known_of_a_node_is_not_said_again() {
    let mut world = world(2);
    silent(&mut world, "n1", ms(0));
    let memory = Memory::default();
    let said = verdicts(&world.snapshot, &memory, START.after(ms(7_000)));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].to_string().starts_with("node n1 is lost (NodeLost: "), "{}", said[0]);
    let Conclusion::Node { silent_since, .. } = said[0].conclusion else { panic!("{said:?}") };
    assert_eq!(silent_since, Some(START), "so that a word that comes too late is refused");
    world.hearing("n1").presence = Lost;
    assert_eq!(verdicts(&world.snapshot, &memory, START.after(ms(7_100))), []);
}

#[test]
fn what_does_not_show_is_said_again_and_what_is_held_is_said_once() {
    let mut world = world(3);
    silent(&mut world, "n1", ms(0));
    silent(&mut world, "n2", ms(0));
    let mut memory = Memory::default();
    let say = |memory: &mut Memory, world: &World, at| {
        let now = START.after(ms(at));
        memory.settle(&world.snapshot, &Default::default(), now);
        let said = verdicts(&world.snapshot, memory, now);
        for verdict in &said {
            memory.sent(verdict, now);
        }
        said
    };
    assert_eq!(say(&mut memory, &world, 3_000).len(), 2);
    assert_eq!(say(&mut memory, &world, 3_500), [], "it may be on its way");
    assert_eq!(say(&mut memory, &world, 4_000).len(), 2);
    for node in ["n1", "n2"] {
        world.hearing(node).presence = Suspect;
    }
    let held = say(&mut memory, &world, 6_000);
    assert_eq!(held.iter().map(|verdict| verdict.reason).collect::<Vec<_>>(), ["NodesVanished"; 2]);
    assert_eq!(say(&mut memory, &world, 60_000), []);
}

proptest! {
    /// However nodes go silent: of those that were there within one lost time of each other, never
    /// more than half are judged to be lost.
    #[test]
    fn never_more_than_half_at_once(
        since in prop::collection::vec(prop::option::of(0..40_000_u64), 3..12),
        at in 0..60_000_u64,
    ) {
        let mut world = world(since.len());
        for (node, since) in since.iter().enumerate() {
            if let Some(since) = since {
                silent(&mut world, &format!("n{}", node + 1), ms(*since));
            }
        }
        let now = START.after(ms(at));
        let judged = judge(&world.snapshot.nodes, now);
        for (node, _) in judged.iter().filter(|(_, judgement)| judgement.presence == Lost) {
            let own = world.snapshot.nodes[node].silent_since.unwrap();
            prop_assert!(now.since(own) >= LOST);
            let others: Vec<_> = world.snapshot.nodes.values().map(|hearing| hearing.silent_since).collect();
            let there = others.iter().filter(|other| other.is_none_or(|other| own.since(other) <= LOST)).count();
            let with = others.iter().flatten()
                .filter(|other| own.since(**other) <= LOST && other.since(own) <= LOST).count();
            prop_assert!(there < MANY || with * 2 <= there, "{with} of {there}");
        }
    }
}
