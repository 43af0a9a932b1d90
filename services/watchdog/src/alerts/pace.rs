//! A digest instead of a storm.

use gantry_model::Timestamp;
use gantry_model::alert::Grouping;

/// What one receiver was told of late.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pace {
    /// When notices about single changes were sent, at most as many as the limit.
    sent: Vec<Timestamp>,
    /// Since when changes are held back.
    holding: Option<Timestamp>,
}

/// What is to be done about changes that a receiver has to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: a change that is held back may be joined by others, or be over before it is told.
    Hold,
    /// The oldest is sent by itself.
    One,
    /// All are sent as one.
    Digest,
}

impl Pace {
    /// What is to be done about so many changes at `now`.
    pub fn next(&self, pending: usize, grouping: Grouping, now: Timestamp) -> Next {
        if pending == 0 {
            return Next::Hold;
        }
        let limit = usize::try_from(grouping.limit).unwrap_or(usize::MAX);
        match self.holding {
            None if self.recent(grouping, now).count() + pending <= limit => Next::One,
            None => Next::Hold,
            Some(since) if now.since(since) < grouping.window => Next::Hold,
            Some(_) if pending == 1 => Next::One,
            Some(_) => Next::Digest,
        }
    }

    fn recent(&self, grouping: Grouping, now: Timestamp) -> impl Iterator<Item = &Timestamp> {
        self.sent.iter().filter(move |sent| now.since(**sent) < grouping.window)
    }

    /// Takes note of what is done.
    pub fn note(&mut self, next: Next, pending: usize, grouping: Grouping, now: Timestamp) {
        match next {
            Next::Hold if pending == 0 => self.holding = None,
            Next::Hold => drop(self.holding.get_or_insert(now)),
            Next::One | Next::Digest => {
                self.sent = self.recent(grouping, now).copied().collect();
                self.sent.push(now);
                self.holding = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// Changes come at these times; when notices are sent, and about how many each.
    fn sent(arrivals: &[i64], until: i64) -> Vec<(i64, usize)> {
        let (mut pace, grouping) = (Pace::default(), Grouping::default());
        let mut pending = 0;
        let mut notices = Vec::new();
        for now in (0..=until).step_by(100) {
            pending += arrivals.iter().filter(|arrival| (now - 99..=now).contains(*arrival)).count();
            loop {
                let next = pace.next(pending, grouping, at(now));
                pace.note(next, pending, grouping, at(now));
                let told = match next {
                    Next::Hold => break,
                    Next::One => 1,
                    Next::Digest => pending,
                };
                pending -= told;
                notices.push((now, told));
            }
        }
        assert_eq!(pending, 0, "nobody waits for ever");
        notices
    }

    #[test]
    fn a_few_changes_are_told_at_once_and_many_as_one_digest() {
        assert_eq!(sent(&[0, 0, 100], 30_000), [(0, 1), (0, 1), (100, 1)]);
        assert_eq!(sent(&[0; 20], 30_000), [(10_000, 20)]);
        let growing: Vec<i64> = (0..20).map(|number| number * 200).collect();
        let notices = sent(&growing, 30_000);
        assert_eq!((notices.len(), notices[5]), (6, (11_000, 15)), "five by themselves, the others as one");
    }

    #[test]
    fn a_change_now_and_then_is_never_held_back() {
        let seldom: Vec<i64> = (0..20).map(|number| number * 3_000).collect();
        assert!(sent(&seldom, 100_000).iter().all(|(at, told)| at % 3_000 == 0 && *told == 1));
    }

    proptest! {
        #[test]
        fn a_storm_is_few_notices_and_nothing_waits_for_longer_than_the_window(
            arrivals in prop::collection::vec(0_i64..60_000, 0..200)
        ) {
            let notices = sent(&arrivals, 80_000);
            prop_assert_eq!(notices.iter().map(|(_, told)| told).sum::<usize>(), arrivals.len());
            for (from, _) in &notices {
                let within = notices.iter().filter(|(at, _)| (*from..*from + 10_000).contains(at)).count();
                prop_assert!(within <= 6, "{} notices within 10 s of {}: {:?}", within, from, notices);
            }
            let mut waiting: Vec<i64> = arrivals.clone();
            waiting.sort_unstable();
            let mut waiting = waiting.into_iter();
            for (at, told) in notices {
                for arrived in waiting.by_ref().take(told) {
                    prop_assert!(at - arrived <= 10_100, "it came at {} and was told at {}", arrived, at);
                }
            }
        }
    }
}
