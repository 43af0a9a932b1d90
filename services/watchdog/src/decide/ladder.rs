//! What an unhealthy replica needs: first a restart in place, and after as many restarts as its service
//! allows within the window a successor, elsewhere where that is possible. What crashes is the engine's to
//! start again, for a while.

use std::time::Duration;

use gantry_model::{End, Timestamp};

use super::{crash, flaps};
use crate::world::{Case, Condition, Course, Hearing, RepairKind, Snapshot};

/// For how long the engine and the agent are left to get a replica up by themselves: the engine's longest
/// pause between two tries.
pub const BOUND: Duration = Duration::from_mins(1);

/// Lines that a process wrote before it ended, and characters of them, that are kept with the event: when its
/// replica has been replaced nobody else has them.
const LAST_LINES: usize = 3;
const LAST_CHARACTERS: usize = 400;

/// Where a replica stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rung {
    /// Nothing is to be done.
    Well,
    /// Something is wrong, and nothing is done yet.
    Waits {
        /// What would be done.
        next: Option<RepairKind>,
        /// Why not yet.
        why: String,
        /// Until when, where that is known.
        until: Option<Timestamp>,
    },
    /// Something is to be done.
    Due(Step),
}

/// What is to be done about a replica, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What.
    pub kind: RepairKind,
    /// Why, in one word.
    pub reason: &'static str,
    /// What was seen.
    pub seen: String,
    /// What its process wrote before it ended, where that led to this; else empty.
    pub wrote: String,
}

fn waits(why: impl Into<String>) -> Rung {
    Rung::Waits { next: None, why: why.into(), until: None }
}

/// Where a replica stands, for itself. What its service allows is another matter.
pub fn rung(case: &Case, course: &Course, snapshot: &Snapshot, now: Timestamp) -> Rung {
    let restarts_anew = case.condition == Condition::Starting && !case.ends.is_empty();
    if !case.wanted || case.ready || !(case.is_broken() || restarts_anew) {
        return Rung::Well;
    }
    let Some(node) = &case.node else { return Rung::Well };
    if case.in_repair {
        return waits("it is being repaired");
    }
    if !case.reported || !snapshot.nodes.get(node).is_some_and(Hearing::is_heard) {
        return waits("nothing is heard of its node now");
    }
    let (step, until) = match needed(case, course, now) {
        Need::Nothing => return Rung::Well,
        Need::Time(why, until) => return Rung::Waits { next: None, why: why.to_owned(), until: Some(until) },
        Need::Step(step) => (allowed(step, case, course), flaps::due(&flaps::past(course, case.slot, now))),
    };
    let held = |why: String, until| Rung::Waits { next: Some(step.kind), why, until };
    if course.disabled {
        return held("its service is not to be repaired".to_owned(), None);
    }
    if course.is_changing(now) {
        return held("its service is being changed".to_owned(), None);
    }
    match until {
        Some(until) if until > now => {
            let repairs = flaps::past(course, case.slot, now).len();
            held(format!("a pause after {}", times(repairs, "repair", "repairs")), Some(until))
        }
        _ => Rung::Due(step),
    }
}

/// What is left of an update that is stuck is kept going where it is: a successor would be of the revision
/// that does not come up.
fn allowed(step: Step, case: &Case, course: &Course) -> Step {
    let kind = if case.revision == course.revision { step.kind } else { RepairKind::Restart };
    Step { kind, ..step }
}

enum Need {
    Nothing,
    Time(&'static str, Timestamp),
    Step(Step),
}

fn needed(case: &Case, course: &Course, now: Timestamp) -> Need {
    let crashes = crash::looping(case, now);
    // The limit is to be reached before the oldest ends are forgotten.
    let limit = usize::try_from(course.restart_limit).unwrap_or(usize::MAX).min(End::KEPT - 1);
    if let Some(crashes) = &crashes
        && crashes.ends > limit
        && crashes.lasts >= BOUND
    {
        let ends = times(crashes.ends, "end", "ends");
        let seen = format!(
            "crash loop, {}: {ends} of its process, and it has not stayed up for {}",
            crashes.named_by.words(),
            lasting(crashes.lasts)
        );
        let wrote = wrote_last(case);
        return Need::Step(Step { kind: RepairKind::Replace, reason: "CrashLoop", seen, wrote });
    }
    let bound = case.condition_since.after(BOUND);
    match case.condition {
        Condition::Unhealthy => Need::Step(next_step(case, course, now, "Unhealthy", "is unhealthy")),
        Condition::Restarting if bound > now => {
            Need::Time("the engine starts what crashed again by itself", bound)
        }
        Condition::Restarting => {
            let step = next_step(case, course, now, "NotRestarted", "was not started again");
            let cause = case.ends.last().map(|end| format!(": {}", end.words()));
            let wrote = wrote_last(case);
            Need::Step(Step { seen: step.seen + &cause.unwrap_or_default(), wrote, ..step })
        }
        Condition::Failed if bound > now => Need::Time("its agent tries again by itself", bound),
        // The agent has tried to start it all the while: another restart is nothing new.
        Condition::Failed => Need::Step(Step {
            kind: RepairKind::Replace,
            reason: "Failed",
            seen: format!("cannot be started{}", quoted(&case.message)),
            wrote: String::new(),
        }),
        _ => Need::Nothing,
    }
}

/// A restart; a successor where restarts did not help.
fn next_step(case: &Case, course: &Course, now: Timestamp, reason: &'static str, what: &'static str) -> Step {
    let within = |at: Timestamp| now.since(at) < course.window;
    let repairs = course.repairs.iter().filter(|repair| {
        repair.replica == case.replica && repair.kind == RepairKind::Restart && within(repair.at)
    });
    let ends = crash::own_ends(case).filter(|end| within(end.at));
    let ends = ends.count();
    let restarts = repairs.count() + ends;
    let limit = usize::try_from(course.restart_limit).unwrap_or(usize::MAX);
    let seen = format!("{what}{}", quoted(&case.message));
    if restarts < limit {
        return Step { kind: RepairKind::Restart, reason, seen, wrote: String::new() };
    }
    let tried = format!(
        "{seen}; {} within {} did not help",
        times(restarts, "restart", "restarts"),
        lasting(course.window)
    );
    let wrote = if ends > 0 { wrote_last(case) } else { String::new() };
    Step { kind: RepairKind::Replace, reason, seen: tried, wrote }
}

/// What its process wrote before the newest end of its own of which anything is known.
fn wrote_last(case: &Case) -> String {
    let wrote = |end: &End| end.wrote(LAST_LINES, LAST_CHARACTERS);
    crash::own_ends(case).rev().map(wrote).find(|text| !text.is_empty()).unwrap_or_default()
}

fn quoted(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default().trim();
    let short: String = line.chars().take(200).collect();
    if short.is_empty() { String::new() } else { format!(" ({short})") }
}

fn times(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A length of time, for people.
pub fn lasting(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 120 && seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::sample::{World, at, end};
    use crate::world::RepairKind::{Replace, Restart};

    fn world() -> World {
        World::new().node("n1").node("n2").service("s/web", 2, &["n1", "n2"])
    }

    fn look(world: &mut World, seconds: u64) -> Rung {
        let case = world.case("s/web", 1).clone();
        rung(&case, world.course("s/web"), &world.snapshot, at(seconds))
    }

    fn step(rung: Rung) -> Step {
        let Rung::Due(step) = rung else { panic!("{rung:?}") };
        step
    }

    #[test]
    fn an_unhealthy_replica_is_restarted_and_after_the_limit_replaced() {
        let mut world = world();
        world.condition("s/web", 1, Condition::Unhealthy, 5);
        world.case("s/web", 1).message = "GET / answered 500\nmore".into();
        let first = step(look(&mut world, 5));
        assert_eq!((first.kind, first.reason), (Restart, "Unhealthy"));
        assert_eq!(first.seen, "is unhealthy (GET / answered 500)");
        for time in [5, 20, 50] {
            world.repaired("s/web", 1, Restart, time, "Unhealthy");
        }
        let Rung::Waits { next, until, .. } = look(&mut world, 60) else { panic!("its pause is not over") };
        assert_eq!((next, until), (Some(Replace), Some(at(70))));
        let last = step(look(&mut world, 70));
        assert_eq!(last.kind, Replace);
        assert!(last.seen.ends_with("3 restarts within 10 min did not help"), "{}", last.seen);
        assert_eq!(step(look(&mut world, 606)).kind, Restart, "the first is out of the window");
    }

    #[test]
    fn restarts_that_a_person_asked_for_do_not_count_to_the_limit() {
        let mut world = world();
        let asked = |time| End { asked: true, ..end(time, 143, false) };
        world.case("s/web", 1).ends = [10, 20, 30, 40].map(asked).to_vec();
        world.condition("s/web", 1, Condition::Unhealthy, 50);
        assert_eq!(step(look(&mut world, 50)).kind, Restart);
        world.case("s/web", 1).ends.extend([41, 42, 43].map(|time| end(time, 1, false)));
        assert_eq!(step(look(&mut world, 50)).kind, Replace);
    }

    #[test]
    fn its_successor_begins_at_the_first_rung_and_inherits_the_pauses() {
        let mut world = world();
        for time in [0, 10, 30] {
            world.repaired("s/web", 1, Restart, time, "Unhealthy");
        }
        world.repaired("s/web", 1, Replace, 60, "Unhealthy");
        world.succeed("s/web", 1, "n2");
        world.condition("s/web", 1, Condition::Unhealthy, 70);
        assert!(matches!(look(&mut world, 99), Rung::Waits { until: Some(until), .. } if until == at(100)));
        assert_eq!(step(look(&mut world, 100)).kind, Restart);
    }

    #[test]
    fn what_crashes_is_left_to_the_engine_for_a_while() {
        let mut world = world();
        world.condition("s/web", 1, Condition::Restarting, 10);
        world.case("s/web", 1).ends = vec![end(10, 1, false)];
        assert!(
            matches!(look(&mut world, 69), Rung::Waits { next: None, until: Some(until), .. } if until == at(70))
        );
        let stuck = step(look(&mut world, 70));
        assert_eq!((stuck.kind, stuck.reason), (Restart, "NotRestarted"));
        assert_eq!(stuck.seen, "was not started again: exit code 1");
        assert_eq!(stuck.wrote, "");
        world.case("s/web", 1).ends[0].last_lines = "no such table\n".into();
        assert_eq!(step(look(&mut world, 70)).wrote, "no such table");
    }

    #[test]
    fn a_crash_loop_is_named_and_ends_with_a_successor() {
        let mut world = world();
        world.case("s/web", 1).ends = [0, 1, 3, 7, 15, 31].map(|time| end(time, 137, true)).to_vec();
        world.condition("s/web", 1, Condition::Restarting, 31);
        world.case("s/web", 1).ready_since = at(0);
        assert!(matches!(look(&mut world, 59), Rung::Waits { .. }));
        let found = step(look(&mut world, 60));
        assert_eq!((found.kind, found.reason), (Replace, "CrashLoop"));
        assert_eq!(
            found.seen,
            "crash loop, out of memory: 6 ends of its process, and it has not stayed up for 60 s"
        );
    }

    #[test]
    fn ready_for_moments_between_crashes_is_a_loop_all_the_same() {
        let mut world = world();
        world.case("s/web", 1).ends = [0, 25, 50, 75].map(|time| end(time, 139, false)).to_vec();
        world.condition("s/web", 1, Condition::Restarting, 75);
        let found = step(look(&mut world, 75));
        assert!(found.seen.starts_with("crash loop, killed by SIGSEGV: 4 ends"), "{}", found.seen);
        // The same while it is being started once more.
        world.condition("s/web", 1, Condition::Starting, 76);
        assert_eq!(step(look(&mut world, 76)).reason, "CrashLoop");
    }

    #[test]
    fn what_cannot_be_started_is_replaced_after_a_while() {
        let mut world = world();
        world.condition("s/web", 1, Condition::Failed, 0);
        assert!(matches!(look(&mut world, 59), Rung::Waits { .. }));
        assert_eq!((step(look(&mut world, 60)).kind, step(look(&mut world, 60)).reason), (Replace, "Failed"));
    }

    #[test]
    fn what_is_well_or_not_wanted_or_at_rest_or_not_placed_needs_nothing() {
        let mut world = world();
        for condition in [Condition::Starting, Condition::Healthy, Condition::Failing, Condition::AtRest] {
            world.condition("s/web", 1, condition, 0);
            assert_eq!(look(&mut world, 3_000), Rung::Well, "{condition:?}");
        }
        world.condition("s/web", 1, Condition::Unhealthy, 0);
        world.case("s/web", 1).wanted = false;
        assert_eq!(look(&mut world, 3_000), Rung::Well);
        (world.case("s/web", 1).wanted, world.case("s/web", 1).node) = (true, None);
        assert_eq!(look(&mut world, 3_000), Rung::Well);
    }

    #[test]
    fn an_update_that_is_stuck_does_not_keep_what_still_serves_from_being_restarted() {
        let mut world = world();
        let course = world.service_mut("s/web");
        (course.changing, course.revision, course.progressed_at) = (true, 2, at(0));
        world.condition("s/web", 1, Condition::Unhealthy, 10);
        let Rung::Waits { why, .. } = look(&mut world, 119) else { panic!("the update goes on") };
        assert_eq!(why, "its service is being changed");
        assert_eq!(step(look(&mut world, 120)).kind, Restart);
        for time in [120, 140, 200] {
            world.repaired("s/web", 1, Restart, time, "Unhealthy");
        }
        assert_eq!(step(look(&mut world, 300)).kind, Restart, "a successor would be of the bad revision");
        world.case("s/web", 1).revision = 2;
        assert_eq!(step(look(&mut world, 300)).kind, Replace);
    }

    #[test]
    fn nothing_is_done_while_others_are_at_work_or_nothing_is_known() {
        type Change = fn(&mut World);
        let changes: [Change; 5] = [
            |world| world.case("s/web", 1).in_repair = true,
            |world| world.case("s/web", 1).reported = false,
            |world| world.hearing("n1").connected = false,
            |world| {
                let course = world.service_mut("s/web");
                (course.changing, course.progressed_at) = (true, at(2_881));
            },
            |world| world.service_mut("s/web").disabled = true,
        ];
        for change in changes {
            let mut world = world();
            world.condition("s/web", 1, Condition::Unhealthy, 0);
            change(&mut world);
            assert!(matches!(look(&mut world, 3_000), Rung::Waits { until: None, .. }));
        }
    }
}
