//! Whole services, case by case.

use gantry_model::Timestamp;

use crate::decide::sample::{World, at, end};
use crate::decide::{Outlook, decide, outlook};
use crate::memory::Memory;
use crate::verdict::{Conclusion, Verdict};
use crate::world::Condition::{Healthy, Restarting, Starting, Unhealthy};
use crate::world::RepairKind::Restart;

fn look(world: &World, seconds: u64) -> Outlook {
    outlook(&world.snapshot, &Memory::default(), at(seconds))
}

/// The slots that are repaired now, with the reason.
fn repairs(world: &World, verdicts: &[Verdict]) -> Vec<(u32, &'static str)> {
    let repairs = verdicts.iter().filter_map(|verdict| match &verdict.conclusion {
        Conclusion::Repair { replica, .. } => Some((world.snapshot.cases[replica].slot, verdict.reason)),
        _ => None,
    });
    repairs.collect()
}

fn notes(verdicts: &[Verdict]) -> Vec<&'static str> {
    let notes = verdicts.iter().filter(|verdict| matches!(verdict.conclusion, Conclusion::Note { .. }));
    notes.map(|verdict| verdict.reason).collect()
}

#[test]
fn one_unhealthy_replica_is_repaired_at_once_and_with_its_reason() {
    let mut world = World::new().node("n1").service("s/web", 3, &["n1"]);
    world.condition("s/web", 2, Unhealthy, 5);
    let verdicts = look(&world, 5).verdicts;
    assert_eq!(verdicts.len(), 1);
    assert_eq!(verdicts[0].message, "s/web.2 is unhealthy; it is restarted");
}

#[test]
fn what_a_crash_loop_wrote_last_is_kept_with_the_event() {
    let mut world = World::new().node("n1").service("s/web", 1, &["n1"]);
    let mut ends = [0, 20, 40, 60].map(|time| end(time, 1, false));
    ends[3].last_lines = format!("first\nsecond\nno memory for {}\nbye\n", "x".repeat(400));
    world.case("s/web", 1).ends = ends.to_vec();
    world.condition("s/web", 1, Restarting, 0);
    let verdicts = look(&world, 61).verdicts;
    let [crash_loop] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!(crash_loop.reason, "CrashLoop");
    let (seen, wrote) = crash_loop.message.split_once("; it wrote last: ").unwrap();
    assert!(
        seen.starts_with("s/web.1 crash loop, exit code 1: 4 ends") && seen.ends_with("it is replaced"),
        "{seen}"
    );
    assert!(wrote.chars().count() == 400 && wrote.ends_with("xxx | bye"), "{wrote}");
}

#[test]
fn two_of_a_service_are_repaired_one_after_the_other() {
    let mut world = World::new().node("n1").service("s/web", 5, &["n1"]);
    world.condition("s/web", 4, Unhealthy, 5);
    world.condition("s/web", 2, Unhealthy, 6);
    let first = look(&world, 6);
    assert_eq!(repairs(&world, &first.verdicts), [(2, "Unhealthy")]);
    assert_eq!(first.prospects.len(), 2);
    assert_eq!(first.prospects[1].waits_for, "another replica's repair; 1 at a time");
    // It was told, and does not show in the feed yet.
    let mut memory = Memory::default();
    memory.sent(&first.verdicts[0], at(6));
    assert_eq!(decide(&world.snapshot, &memory, at(7)), []);
    // It shows.
    world.repaired("s/web", 2, Restart, 7, "Unhealthy");
    world.case("s/web", 2).in_repair = true;
    assert_eq!(look(&world, 8).verdicts, []);
    // It is over: the other one's turn comes when the first has stayed ready.
    world.case("s/web", 2).in_repair = false;
    world.condition("s/web", 2, Healthy, 9);
    assert_eq!(look(&world, 18).verdicts, []);
    assert_eq!(repairs(&world, &look(&world, 19).verdicts), [(4, "Unhealthy")]);
}

#[test]
fn a_tenth_of_a_large_service_is_repaired_at_a_time() {
    let mut world = World::new().node("n1").service("s/web", 40, &["n1"]);
    for slot in 1..=9 {
        world.condition("s/web", slot, Unhealthy, 5);
    }
    assert_eq!(look(&world, 5).verdicts.len(), 4);
}

#[test]
fn the_only_replicas_are_always_repaired() {
    for replicas in [1, 2] {
        let mut world = World::new().node("n1").service("s/db", replicas, &["n1"]);
        for slot in 1..=replicas {
            world.condition("s/db", slot, Unhealthy, 5);
        }
        let verdicts = look(&world, 5).verdicts;
        assert_eq!((repairs(&world, &verdicts), notes(&verdicts)), (vec![(1, "Unhealthy")], vec![]));
    }
}

#[test]
fn when_most_are_unhealthy_people_are_told_once_and_repairs_are_trials() {
    let mut world = World::new().node("n1").service("s/web", 5, &["n1"]);
    for slot in 1..=3 {
        world.condition("s/web", slot, Unhealthy, 0);
    }
    let first = look(&world, 0);
    assert_eq!(notes(&first.verdicts), ["ManyUnhealthy"]);
    assert_eq!(repairs(&world, &first.verdicts), [(1, "ManyUnhealthy")]);
    let mut memory = Memory::default();
    for verdict in &first.verdicts {
        memory.sent(verdict, at(0));
    }

    // No trial helps. Every watchdog goes on where the last one was, also one that has forgotten all.
    let mut trials = vec![(1, 0)];
    world.repaired("s/web", 1, Restart, 0, "ManyUnhealthy");
    world.condition("s/web", 1, Starting, 0);
    let mut failing = Some((1, 3));
    for seconds in 1..700 {
        if let Some((slot, _)) = failing.take_if(|(_, at)| *at == seconds) {
            world.condition("s/web", slot, Unhealthy, seconds);
        }
        let standing = look(&world, seconds).standing;
        memory.settle(&world.snapshot, &standing, at(seconds));
        for memory in [&memory, &Memory::default()] {
            let verdicts = decide(&world.snapshot, memory, at(seconds));
            assert_eq!(notes(&verdicts), [] as [&str; 0], "after {seconds} s");
        }
        for (slot, _) in repairs(&world, &decide(&world.snapshot, &memory, at(seconds))) {
            trials.push((slot, seconds));
            world.repaired("s/web", slot, Restart, seconds, "ManyUnhealthy");
            world.condition("s/web", slot, Starting, seconds);
            failing = Some((slot, seconds + 3));
        }
    }
    assert_eq!(trials, [(1, 0), (2, 10), (3, 30), (1, 70), (2, 150), (3, 310), (1, 610)]);
}

#[test]
fn the_breaker_closes_when_enough_have_stayed_well() {
    let mut world = World::new().node("n1").service("s/web", 5, &["n1"]);
    for slot in 1..=3 {
        world.condition("s/web", slot, Unhealthy, 0);
    }
    world.repaired("s/web", 1, Restart, 0, "ManyUnhealthy");
    world.condition("s/web", 1, Healthy, 2);
    assert_eq!(look(&world, 11).verdicts, [], "ready for a moment is not well");
    assert_eq!(repairs(&world, &look(&world, 12).verdicts), [(2, "Unhealthy")]);
}

#[test]
fn while_what_it_needs_is_down_a_service_is_not_restarted_in_a_storm() {
    let mut world = World::new().node("n1").service("s/db", 1, &["n1"]).service("s/web", 2, &["n1"]);
    world.service_mut("s/web").depends_on = vec![World::id("s/db")];
    world.condition("s/db", 1, Unhealthy, 0);
    for slot in 1..=2 {
        world.condition("s/web", slot, Unhealthy, 1);
    }
    let first = look(&world, 1);
    let of = |service: &str| {
        let id = World::id(service);
        first
            .verdicts
            .iter()
            .filter(|verdict| {
                matches!(&verdict.conclusion,
            Conclusion::Repair { replica, .. } if world.snapshot.cases[replica].service == id)
            })
            .count()
    };
    assert_eq!((of("s/db"), of("s/web")), (1, 0), "the cause is repaired");
    assert_eq!(notes(&first.verdicts), ["DependencyDown"]);
    let waiting = first.prospects.iter().find(|prospect| prospect.service == World::id("s/web")).unwrap();
    assert_eq!(waiting.waits_for, "s/db, which it needs, does not serve; the next trial");
    assert_eq!(waiting.due, Some(at(31)));
    // A trial now and then, in case that it is not so.
    world.case("s/db", 1).in_repair = true;
    assert_eq!(repairs(&world, &look(&world, 31).verdicts), [(1, "DependencyDown")]);
    world.repaired("s/web", 1, Restart, 31, "DependencyDown");
    assert_eq!(repairs(&world, &look(&world, 90).verdicts), []);
    assert_eq!(repairs(&world, &look(&world, 91).verdicts), [(2, "DependencyDown")]);
    // It is back, and has been for a while: what is unhealthy now is so by itself.
    world.case("s/db", 1).in_repair = false;
    world.condition("s/db", 1, Healthy, 50);
    assert_eq!(repairs(&world, &look(&world, 59).verdicts), []);
    assert_eq!(repairs(&world, &look(&world, 61).verdicts), [(2, "Unhealthy")]);
}

#[test]
fn what_has_run_once_is_not_down() {
    let mut world = World::new().node("n1").service("s/job", 1, &["n1"]).service("s/web", 1, &["n1"]);
    world.service_mut("s/web").depends_on = vec![World::id("s/job")];
    world.condition("s/job", 1, crate::world::Condition::AtRest, 0);
    (world.case("s/job", 1).wanted, world.service_mut("s/job").finished) = (false, true);
    world.condition("s/web", 1, Unhealthy, 1);
    assert_eq!(repairs(&world, &look(&world, 1).verdicts), [(1, "Unhealthy")]);
}

#[test]
fn what_is_stopped_or_finds_no_place_is_down() {
    type Change = fn(&mut World);
    let down: [Change; 3] = [
        // As `gantry stop` leaves it: its replica drains, and then is gone.
        |world| {
            world.condition("s/db", 1, crate::world::Condition::AtRest, 0);
            (world.case("s/db", 1).wanted, world.service_mut("s/db").wanted) = (false, 0);
        },
        |world| {
            world.snapshot.cases.retain(|_, case| case.service != World::id("s/db"));
            world.service_mut("s/db").wanted = 0;
        },
        |world| {
            world.condition("s/db", 1, crate::world::Condition::Unknown, 0);
            (world.case("s/db", 1).wanted, world.case("s/db", 1).node) = (false, None);
        },
    ];
    for change in down {
        let mut world = World::new().node("n1").service("s/db", 1, &["n1"]).service("s/web", 1, &["n1"]);
        world.service_mut("s/web").depends_on = vec![World::id("s/db")];
        world.condition("s/web", 1, Unhealthy, 60);
        assert_eq!(repairs(&world, &look(&world, 61).verdicts), [(1, "Unhealthy")], "it serves");
        change(&mut world);
        let found = look(&world, 61);
        assert_eq!(
            (repairs(&world, &found.verdicts), notes(&found.verdicts)),
            (vec![], vec!["DependencyDown"])
        );
        assert_eq!(repairs(&world, &look(&world, 90).verdicts), [(1, "DependencyDown")], "a trial");
    }
    let mut world = World::new().node("n1").service("s/web", 1, &["n1"]);
    world.service_mut("s/web").depends_on = vec![World::id("s/gone")];
    world.condition("s/web", 1, Unhealthy, 60);
    assert_eq!(repairs(&world, &look(&world, 61).verdicts), [(1, "Unhealthy")], "there is no such service");
}

#[test]
fn a_successor_that_fails_is_repaired_while_the_one_before_waits_for_it() {
    let mut world = World::new().node("n1").node("n2").service("s/web", 3, &["n1"]);
    world.condition("s/web", 1, Unhealthy, 0);
    world.repaired("s/web", 1, crate::world::RepairKind::Replace, 0, "Unhealthy");
    world.case("s/web", 1).in_repair = true;
    let successor = world.add("s/web", 1, "n2");
    let case = world.snapshot.cases.get_mut(&successor).unwrap();
    (case.ready, case.condition) = (false, Unhealthy);
    let verdicts = look(&world, 20).verdicts;
    assert!(
        matches!(&verdicts[..], [Verdict { conclusion: Conclusion::Repair { replica, .. }, .. }] if *replica == successor)
    );
}

#[test]
fn requests_that_fail_while_checks_pass_are_told_once_and_nothing_is_done() {
    let mut world = World::new().node("n1").service("s/web", 3, &["n1"]);
    for slot in [1, 3] {
        let case = world.case("s/web", slot);
        (case.failed_requests, case.requests) = (15, 20);
    }
    let found = look(&world, 100);
    assert_eq!((notes(&found.verdicts), repairs(&world, &found.verdicts)), (vec!["RequestsFail"], vec![]));
    assert_eq!(
        found.verdicts[0].message,
        "s/web.1: 15 of the last 20 requests to it failed, and its checks pass, and so it is with 1 more of its \
         service; nothing is done about it"
    );
    let shown: Vec<_> = found.prospects.iter().map(|one| (one.slot, one.next)).collect();
    assert_eq!(shown, [(1, None), (3, None)]);
    let mut memory = Memory::default();
    memory.sent(&found.verdicts[0], at(100));
    for seconds in [400, 800, 1_200] {
        memory.settle(&world.snapshot, &found.standing, at(seconds));
        assert_eq!(decide(&world.snapshot, &memory, at(seconds)), [], "it goes on");
    }
}

#[test]
fn a_refusal_is_taken_for_a_moment() {
    let mut world = World::new().node("n1").service("s/web", 1, &["n1"]);
    world.condition("s/web", 1, Unhealthy, 0);
    let verdict = look(&world, 0).verdicts.remove(0);
    let mut memory = Memory::default();
    memory.refused(&verdict, at(0), "its node is drained");
    let settle =
        |memory: &mut Memory, now: Timestamp| memory.settle(&world.snapshot, &Default::default(), now);
    settle(&mut memory, at(1));
    let waiting = outlook(&world.snapshot, &memory, at(1));
    assert_eq!((waiting.verdicts.len(), waiting.prospects.len()), (0, 1));
    assert_eq!(waiting.prospects[0].waits_for, "the scheduler refused: its node is drained");
    settle(&mut memory, at(2));
    assert_eq!(decide(&world.snapshot, &memory, at(2)).len(), 1);
}

#[test]
fn a_new_watchdog_starts_no_storm() {
    // Repairs go on, and others wait for their pauses: whoever looks anew concludes the same.
    let mut world = World::new().node("n1").service("s/a", 4, &["n1"]).service("s/b", 4, &["n1"]);
    for service in ["s/a", "s/b"] {
        world.condition(service, 1, Unhealthy, 0);
        world.repaired(service, 1, Restart, 0, "Unhealthy");
        world.condition(service, 2, Unhealthy, 1);
    }
    world.condition("s/a", 1, Starting, 1);
    assert_eq!(look(&world, 2).verdicts, []);
}
