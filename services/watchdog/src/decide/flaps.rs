//! Healthy again and again for moments is not healthy: pauses between repairs of a slot grow until it has
//! been calm there for long, and a replica that was in trouble counts as well only when it has stayed
//! ready for a while.

use std::time::Duration;

use gantry_model::Timestamp;

use crate::world::{Case, Course, PastRepair};

/// Where nothing was repaired for this long, what was before is forgotten.
pub const CALM: Duration = Duration::from_mins(10);
/// Before the second repair of a slot; twice as long before every further one.
const PAUSE: Duration = Duration::from_secs(5);
/// No pause is longer.
pub const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// For how long a replica has to stay ready after its first trouble; twice as long after each further.
pub const TRUST: Duration = Duration::from_secs(10);
const LONGEST_TRUST: Duration = Duration::from_mins(2);

/// `first`, doubled with every time after the first one; nothing before the first.
pub fn growing(first: Duration, times: usize, longest: Duration) -> Duration {
    match times.checked_sub(1) {
        None => Duration::ZERO,
        Some(more) => first.saturating_mul(1 << more.min(16)).min(longest),
    }
}

/// The repairs of a service, oldest first, since it was last calm.
pub fn unbroken(course: &Course, of: impl Fn(&PastRepair) -> bool, now: Timestamp) -> Vec<&PastRepair> {
    let mut chain = Vec::new();
    let mut later = now;
    for repair in course.repairs.iter().rev().filter(|repair| of(repair)) {
        if later.since(repair.at) >= CALM {
            break;
        }
        later = repair.at;
        chain.push(repair);
    }
    chain.reverse();
    chain
}

/// The repairs of a slot since it was last calm there. A successor inherits the past of its slot.
pub fn past(course: &Course, slot: u32, now: Timestamp) -> Vec<&PastRepair> {
    unbroken(course, |repair| repair.slot == slot, now)
}

/// When the next repair of a slot with this past is due.
pub fn due(past: &[&PastRepair]) -> Option<Timestamp> {
    let last = past.last()?;
    Some(last.at.after(growing(PAUSE, past.len(), LONGEST_PAUSE)))
}

/// Whether a replica that was in trouble so often of late is well again.
pub fn is_well(case: &Case, troubles: usize, now: Timestamp) -> bool {
    case.ready && now.since(case.ready_since) >= growing(TRUST, troubles, LONGEST_TRUST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::sample::{START, World, at};
    use crate::world::RepairKind::Restart;

    #[test]
    fn pauses_grow_with_every_repair_up_to_a_bound() {
        let mut world = World::new().service("s/web", 1, &["n1"]);
        let mut pauses = Vec::new();
        let mut time = 0;
        for _ in 0..9 {
            world.repaired("s/web", 1, Restart, time, "Unhealthy");
            let course = world.course("s/web");
            let pause = due(&past(course, 1, at(time))).unwrap().since(at(time)).as_secs();
            pauses.push(pause);
            time += pause;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn after_a_calm_time_pauses_begin_anew_and_other_slots_have_their_own() {
        let mut world = World::new().service("s/web", 2, &["n1"]);
        for time in [0, 100] {
            world.repaired("s/web", 1, Restart, time, "Unhealthy");
        }
        let course = world.course("s/web").clone();
        assert_eq!(past(&course, 1, at(101)).len(), 2);
        assert_eq!(past(&course, 2, at(101)).len(), 0);
        assert_eq!(past(&course, 1, at(700)).len(), 0);
        world.repaired("s/web", 1, Restart, 701, "Unhealthy");
        assert_eq!(past(world.course("s/web"), 1, at(702)).len(), 1, "what was before the calm is forgotten");
    }

    #[test]
    fn a_replica_that_is_ready_for_a_moment_is_not_well_yet() {
        let mut world = World::new().service("s/web", 1, &["n1"]);
        let case = world.case("s/web", 1);
        (case.ready, case.ready_since) = (true, START);
        let well = |troubles, seconds| is_well(case, troubles, at(seconds));
        assert!(well(0, 0), "it was never in trouble");
        assert!(!well(1, 9) && well(1, 10));
        assert!(!well(3, 39) && well(3, 40));
        assert!(!well(50, 119) && well(50, 120));
    }
}
