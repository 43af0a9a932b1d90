//! Which of several watchdogs acts. In memory: one that led before the scheduler was started anew is
//! known from the event of it, and has one lease time to come back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_model::{Snapshot, Timestamp};

/// The right to act ends after this time, unless it is asked for again.
const LEASE: Duration = Duration::from_secs(5);
/// The reason of events about leaders, whose subject is `watchdog:INSTANCE`.
pub const REASON: &str = "WatchdogLeads";
const SUBJECT: &str = "watchdog:";

/// Who leads; clones share it.
#[derive(Clone)]
pub struct Lease {
    held: Arc<Mutex<Held>>,
}

struct Held {
    holder: String,
    until: Timestamp,
}

/// What somebody who asked is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who leads.
    pub leader: String,
    /// Whether the one who asked does.
    pub leads: bool,
    /// It did not before.
    pub is_new: bool,
    /// For how long that is so.
    pub expires_in: Duration,
}

impl Lease {
    /// Of a scheduler that starts now.
    pub fn new(snapshot: &Snapshot, now: Timestamp) -> Self {
        let mut events = snapshot.events.values().rev();
        let last = events.find(|event| event.reason == REASON);
        let holder = last.and_then(|event| event.subject.strip_prefix(SUBJECT)).unwrap_or_default();
        let until = if holder.is_empty() { now } else { now.after(LEASE) };
        Self { held: Arc::new(Mutex::new(Held { holder: holder.to_owned(), until })) }
    }

    /// `instance` asks for the right to act, or keeps it.
    pub fn ask(&self, instance: &str, now: Timestamp) -> Answer {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let known = held.holder == instance;
        let leads = known || now >= held.until;
        if leads {
            *held = Held { holder: instance.to_owned(), until: now.after(LEASE) };
        }
        let expires_in = held.until.since(now);
        Answer { leader: held.holder.clone(), leads, is_new: leads && !known, expires_in }
    }

    /// Whether `instance` may act now.
    pub fn is_held_by(&self, instance: &str, now: Timestamp) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.holder == instance && now < held.until
    }
}

/// The subject of events about a watchdog.
pub fn subject(instance: &str) -> String {
    format!("{SUBJECT}{instance}")
}

#[cfg(test)]
mod tests {
    use gantry_model::Severity;
    use gantry_testkit::World;

    use super::*;
    use crate::decide::record_event;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn at(seconds: u64) -> Timestamp {
        START.after(Duration::from_secs(seconds))
    }

    #[test]
    fn one_leads_until_it_does_not_ask_any_more() {
        let lease = Lease::new(&World::new(START).snapshot, START);
        let first = lease.ask("a", at(0));
        assert!(first.leads && first.is_new && first.expires_in == LEASE);
        let second = lease.ask("b", at(1));
        assert_eq!((second.leads, second.leader.as_str()), (false, "a"));
        assert_eq!(second.expires_in, Duration::from_secs(4));
        let kept = lease.ask("a", at(4));
        assert!(kept.leads && !kept.is_new);
        assert!(lease.is_held_by("a", at(8)) && !lease.is_held_by("b", at(8)));
        assert!(!lease.is_held_by("a", at(9)), "it has not asked for too long");
        let taken = lease.ask("b", at(9));
        assert!(taken.leads && taken.is_new && !lease.ask("a", at(10)).leads);
    }

    #[test]
    fn after_a_restart_of_the_scheduler_the_one_that_led_has_time_to_come_back() {
        let mut world = World::new(START);
        let led = |instance: &str, world: &mut World| {
            let subject = subject(instance);
            let changes =
                record_event(&world.snapshot, START, Severity::Normal, &subject, None, REASON, String::new());
            world.commit(&changes);
        };
        led("a", &mut world);
        led("b", &mut world);
        let lease = Lease::new(&world.snapshot, START);
        assert!(!lease.ask("a", at(4)).leads && lease.ask("b", at(4)).leads);
        let lease = Lease::new(&world.snapshot, START);
        assert!(lease.ask("a", at(5)).leads);
    }
}
