//! What rules find and has not been there for long enough to be an alert. A watchdog that starts anew goes
//! on from there. Nothing of it is stored: after a restart of the scheduler the watchdog says it again.

use std::time::Duration;

use gantry_api::feed::v1::WaitingFindings;
use gantry_model::Timestamp;

/// When nobody watched for so long, nobody knows whether what was found has been there all the time.
const UNWATCHED: Duration = Duration::from_mins(1);

/// What waits, as it was reported last, and who watches.
#[derive(Debug, Default)]
pub struct Waiting {
    told: Option<WaitingFindings>,
    /// Watchdogs that are connected.
    watchers: usize,
    /// Since when there is none.
    alone_since: Option<Timestamp>,
}

impl Waiting {
    /// What a watchdog says that waits.
    pub fn tell(&mut self, waiting: WaitingFindings) {
        self.told = Some(waiting);
    }

    /// What was said last.
    pub fn told(&self) -> Option<WaitingFindings> {
        self.told.clone()
    }

    /// Whether a watchdog is connected.
    pub fn is_watched(&self) -> bool {
        self.watchers > 0
    }

    /// A watchdog has come.
    pub fn come(&mut self, now: Timestamp) {
        self.watchers += 1;
        if self.alone_since.take().is_some_and(|since| now.since(since) >= UNWATCHED) {
            self.told = None;
        }
    }

    /// A watchdog is gone.
    pub fn leave(&mut self, now: Timestamp) {
        self.watchers = self.watchers.saturating_sub(1);
        if self.watchers == 0 {
            self.alone_since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    #[test]
    fn what_waits_is_kept_for_the_next_watchdog_unless_nobody_watched_for_long() {
        let mut waiting = Waiting::default();
        waiting.come(at(0));
        assert_eq!(waiting.told(), None, "nobody has said anything");
        waiting.tell(WaitingFindings::default());
        waiting.come(at(1));
        waiting.leave(at(2));
        assert!(waiting.is_watched());
        waiting.leave(at(300));
        assert!(!waiting.is_watched());
        waiting.come(at(359));
        assert!(waiting.told().is_some());
        waiting.leave(at(400));
        waiting.come(at(460));
        assert_eq!(waiting.told(), None, "who knows what was meanwhile");
    }
}
