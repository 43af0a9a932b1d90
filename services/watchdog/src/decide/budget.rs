//! How many replicas of a service may be under repair at a time: one, or a tenth of them.

use std::collections::BTreeSet;
use std::time::Duration;

use gantry_model::Timestamp;

use super::flaps;
use crate::memory::Memory;
use crate::world::{Case, Condition, Course};

/// After its repair a replica has this long to become well before another one's turn comes.
const SETTLES: Duration = Duration::from_secs(30);
/// As above, while it is still being started.
const STARTS: Duration = Duration::from_mins(2);
/// A repair that takes longer, such as one whose successor finds no place, does not hold up others.
pub const LONGEST_REPAIR: Duration = Duration::from_mins(10);

/// How many slots may be under repair at a time.
pub fn of(course: &Course) -> usize {
    usize::try_from(course.wanted / 10).unwrap_or(usize::MAX).max(1)
}

/// The slots of a service that are under repair, or have not settled after it. A replica and its successor
/// share a slot, and count once.
pub fn taken<'a>(
    cases: impl Iterator<Item = &'a Case>,
    course: &Course,
    memory: &Memory,
    now: Timestamp,
) -> BTreeSet<u32> {
    let busy = cases.filter(|case| {
        if memory.is_under_way(&case.replica) {
            return true;
        }
        if case.in_repair {
            // Its own: that of a successor, which fails as well, does not hold the place any longer.
            let own = course.repairs.iter().rfind(|repair| repair.replica == case.replica);
            return now.since(own.map_or(case.ready_since, |repair| repair.at)) < LONGEST_REPAIR;
        }
        let past = flaps::past(course, case.slot, now);
        let last = past.last().map(|repair| repair.at);
        let Some(last) = last else { return false };
        let settles = if case.condition == Condition::Starting { STARTS } else { SETTLES };
        // It failed again: that is settled, too.
        let failed = case.is_broken() && case.condition_since > last;
        now.since(last) < settles && !failed && !flaps::is_well(case, past.len(), now)
    });
    busy.map(|case| case.slot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::sample::{World, at};
    use crate::world::PastRepair;
    use crate::world::RepairKind::{Replace, Restart};

    fn taken_at(world: &mut World, seconds: u64) -> Vec<u32> {
        let (course, snapshot) = (world.course("s/web").clone(), world.snapshot.clone());
        taken(snapshot.cases.values(), &course, &Memory::default(), at(seconds)).into_iter().collect()
    }

    #[test]
    fn a_tenth_but_at_least_one() {
        let budget = |wanted| of(World::new().service("s/web", wanted, &["n1"]).course("s/web"));
        assert_eq!([0, 1, 9, 10, 19, 20, 40].map(budget), [1, 1, 1, 1, 1, 2, 4]);
    }

    #[test]
    fn a_repair_counts_until_its_replica_is_well_or_has_had_its_time() {
        let mut world = World::new().service("s/web", 3, &["n1"]);
        assert!(taken_at(&mut world, 0).is_empty());
        world.repaired("s/web", 2, Restart, 0, "Unhealthy");
        world.case("s/web", 2).in_repair = true;
        world.condition("s/web", 2, Condition::Starting, 0);
        assert_eq!(taken_at(&mut world, 300), [2]);
        assert!(taken_at(&mut world, 600).is_empty(), "that one holds nobody up for ever");
        world.case("s/web", 2).in_repair = false;
        assert_eq!((taken_at(&mut world, 119), taken_at(&mut world, 120)), (vec![2], vec![]));
        world.condition("s/web", 2, Condition::Failing, 5);
        assert_eq!((taken_at(&mut world, 29), taken_at(&mut world, 30)), (vec![2], vec![]));
        world.condition("s/web", 2, Condition::Unhealthy, 6);
        assert!(taken_at(&mut world, 6).is_empty(), "it did not help");
        world.condition("s/web", 2, Condition::Healthy, 5);
        assert_eq!((taken_at(&mut world, 14), taken_at(&mut world, 15)), (vec![2], vec![]));
    }

    #[test]
    fn a_replica_whose_successor_fails_again_and_again_does_not_hold_its_place_for_ever() {
        let mut world = World::new().service("s/web", 2, &["n1"]);
        world.repaired("s/web", 1, Replace, 0, "Unhealthy");
        world.case("s/web", 1).in_repair = true;
        let successor = world.add("s/web", 1, "n1");
        for seconds in [20, 320, 620] {
            let again = PastRepair {
                at: at(seconds),
                replica: successor.clone(),
                ..world.course("s/web").repairs[0].clone()
            };
            world.service_mut("s/web").repairs.push(again);
            let case = world.snapshot.cases.get_mut(&successor).unwrap();
            (case.ready, case.condition, case.condition_since) =
                (false, Condition::Unhealthy, at(seconds + 5));
        }
        assert_eq!(taken_at(&mut world, 599), [1]);
        assert!(taken_at(&mut world, 630).is_empty(), "its own repair began ten minutes ago");
    }

    #[test]
    fn a_replica_and_its_successor_count_once() {
        let mut world = World::new().service("s/web", 3, &["n1"]);
        world.repaired("s/web", 2, Replace, 0, "Unhealthy");
        world.case("s/web", 2).in_repair = true;
        world.add("s/web", 2, "n1");
        assert_eq!(taken_at(&mut world, 1), [2]);
    }
}
