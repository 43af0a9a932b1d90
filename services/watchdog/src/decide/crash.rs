//! Crash loops, as the ends of a replica's process show them.

use std::time::Duration;

use gantry_model::{End, Timestamp};

use crate::world::Case;

/// A process that ran, or waited for the engine, for longer than this was not in a loop. The engine's own
/// longest pause is a minute.
const GAP: Duration = Duration::from_mins(2);

/// Ends of a replica that followed each other quickly.
#[derive(Debug, Clone, PartialEq)]
pub struct Loop<'a> {
    /// How many.
    pub ends: usize,
    /// How long it has not stayed ready.
    pub lasts: Duration,
    /// The one that names it.
    pub named_by: &'a End,
}

/// The ends that nobody asked for, oldest first.
pub fn own_ends(case: &Case) -> impl DoubleEndedIterator<Item = &End> + Clone {
    case.ends.iter().filter(|end| end.is_own())
}

/// The loop that a replica, which is not ready, is in.
pub fn looping(case: &Case, now: Timestamp) -> Option<Loop<'_>> {
    let mut later = now;
    // Newest first.
    let quick: Vec<&End> = own_ends(case)
        .rev()
        .take_while(|end| {
            let quick = later.since(end.at) < GAP;
            later = end.at;
            quick
        })
        .collect();
    let (last, first) = (quick.first()?, quick.last()?);
    let lasts = last.at.since(first.at).max(now.since(case.ready_since));
    let named_by = End::naming(quick.iter().rev().copied())?;
    Some(Loop { ends: quick.len(), lasts, named_by })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::sample::{World, at, end};
    use crate::world::Condition;

    #[test]
    fn ends_that_follow_each_other_are_a_loop() {
        let mut world = World::new().service("s/web", 1, &["n1"]);
        world.condition("s/web", 1, Condition::Restarting, 500);
        let case = world.case("s/web", 1);
        case.ends = [0, 300, 400, 490, 500].map(|time| end(time, 1, false)).to_vec();
        let case = case.clone();
        let found = looping(&case, at(505)).unwrap();
        assert_eq!((found.ends, found.lasts), (4, Duration::from_secs(200)));
        assert_eq!(looping(&case, at(700)), None, "that was long ago");
    }

    #[test]
    fn what_was_asked_to_end_is_in_no_loop() {
        let mut world = World::new().service("s/web", 1, &["n1"]);
        let case = world.case("s/web", 1);
        case.ends = [10, 20, 30, 40].map(|time| End { asked: true, ..end(time, 143, false) }).to_vec();
        case.ready = false;
        assert_eq!((own_ends(case).count(), looping(case, at(41))), (0, None));
        case.ends.push(end(50, 1, false));
        assert_eq!(looping(case, at(51)).unwrap().ends, 1);
    }

    #[test]
    fn memory_that_ran_out_once_names_a_loop_of_kills() {
        let mut world = World::new().service("s/web", 1, &["n1"]);
        let case = world.case("s/web", 1);
        case.ends = vec![end(10, 137, true), end(20, 137, true), end(30, 137, false)];
        assert_eq!(looping(case, at(31)).unwrap().named_by.words(), "out of memory");
    }
}
