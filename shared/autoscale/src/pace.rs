//! How many replicas may be added at once: at most doubling, or four more, in 15 seconds.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::Duration;

use gantry_model::Timestamp;

/// The time.
pub const OVER: Duration = Duration::from_secs(15);
/// After this time a goal is of another load: a pace's time, a start, and what must be seen before a change.
const GOAL: Duration = Duration::from_secs(20);
/// That many may be added in it, whatever there is.
pub const MORE: u32 = 4;
/// Changes that are remembered at most; there is about one a second.
const REMEMBERED: usize = 64;

/// What was added of late. It is seen from the counts themselves, whoever changed them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pace {
    count: Option<u32>,
    /// As many were needed when fewer were added because that was the most at once, and when that was.
    goal: Option<(Timestamp, u32)>,
    added: VecDeque<(Timestamp, u32)>,
}

impl Pace {
    /// Notes what the count is now. Says how it changed, if it did.
    pub fn observe(&mut self, count: u32, now: Timestamp) -> Option<Ordering> {
        self.added.retain(|(at, _)| *at <= now && now.since(*at) < OVER);
        let before = self.count.replace(count);
        if let Some(added) = before.and_then(|before| count.checked_sub(before)).filter(|added| *added > 0) {
            if self.added.len() == REMEMBERED {
                self.added.pop_front();
            }
            self.added.push_back((now, added));
        }
        before.map(|before| count.cmp(&before)).filter(|how| how.is_ne())
    }

    /// So many are needed, of which not all may be added at once; `None`: all were, or fewer will do.
    pub fn aims_at(&mut self, goal: Option<u32>, now: Timestamp) {
        self.goal = goal.map(|goal| (now, goal));
    }

    /// Whether what was begun for the load of late has not come to its end.
    pub fn is_on_its_way(&self, count: u32, now: Timestamp) -> bool {
        self.goal.is_some_and(|(since, goal)| count < goal && now.since(since) <= GOAL)
    }

    /// The most that there may be now; never fewer than there are.
    pub fn most(&self, count: u32) -> u32 {
        let added = self.added.iter().fold(0_u32, |sum, (_, added)| sum.saturating_add(*added));
        let before = count.saturating_sub(added);
        before.saturating_mul(2).max(before.saturating_add(MORE)).max(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1_000)
    }

    #[test]
    fn at_most_doubling_or_four_more_in_fifteen_seconds() {
        let mut pace = Pace::default();
        assert_eq!(pace.observe(3, at(0)), None, "the first sight is no change");
        assert_eq!([pace.most(3), pace.most(4), pace.most(100)], [7, 8, 200]);
        assert_eq!(pace.observe(5, at(1)), Some(Ordering::Greater));
        assert_eq!(pace.most(5), 7, "two of four are used up");
        pace.observe(7, at(2));
        assert_eq!(pace.most(7), 7);
        pace.observe(7, at(16));
        assert_eq!(pace.most(7), 10, "the first two are 15 seconds old");
        pace.observe(7, at(17));
        assert_eq!(pace.most(7), 14);
    }

    #[test]
    fn what_a_person_has_added_is_never_too_much() {
        let mut pace = Pace::default();
        pace.observe(2, at(0));
        pace.observe(50, at(1));
        assert_eq!(pace.most(50), 50);
    }
}
