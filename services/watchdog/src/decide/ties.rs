//! Who comes first where not all can be repaired at once: a stable order.

use gantry_model::{ReplicaId, Timestamp};

use crate::world::{Case, Course};

/// The slot that was repaired the longest ago, or never, comes first, and of several the lowest. All repairs on
/// record count, also those before a calm time: with long pauses the others would be forgotten, and the same few
/// would have their turn again and again.
pub fn key<'a>(case: &'a Case, course: &Course) -> (Timestamp, u32, &'a ReplicaId) {
    let last = course.repairs.iter().rfind(|repair| repair.slot == case.slot);
    (last.map_or(Timestamp::default(), |repair| repair.at), case.slot, &case.replica)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::sample::World;
    use crate::world::RepairKind::Restart;

    #[test]
    fn everybody_has_a_turn() {
        let mut world = World::new().service("s/web", 3, &["n1"]);
        world.repaired("s/web", 1, Restart, 10, "Unhealthy");
        world.repaired("s/web", 2, Restart, 5, "Unhealthy");
        let course = world.course("s/web").clone();
        let mut cases: Vec<_> = world.snapshot.cases.values().collect();
        cases.sort_by_key(|case| key(case, &course));
        assert_eq!(cases.iter().map(|case| case.slot).collect::<Vec<_>>(), [3, 2, 1]);
    }
}
