//! For how long exclusive replicas may run without a word of the scheduler. Pure, but for its file.
//!
//! The scheduler replaces an exclusive replica of a node that it does not hear only when the node's agent
//! must have stopped it. So an agent that does not hear the scheduler stops it, and starts it again only
//! when a session has said everything anew: what comes late on an old one may not be true any more.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::clock::Clock;
use super::disk::{read_json, write_json};
use serde::{Deserialize, Serialize};

/// How long what was heard of the scheduler is good for. The scheduler counts with a second more: a stop
/// takes a moment longer than its grace.
pub const LEASE: Duration = Duration::from_secs(9);

const FILE: &str = "lease.json";

/// What exclusive replicas may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Standing {
    /// Run, and be started.
    #[default]
    Held,
    /// Go on, but not be started: the agent has just started, and has not heard that they are wanted.
    Kept,
    /// Nothing: they are stopped.
    Over,
}

/// How long this node's exclusive replicas may run. Times are those of a [`Clock`]: a lease that was over while the
/// host was suspended is over when it goes on.
#[derive(Debug, Clone, Copy)]
pub struct Lease {
    heard: Duration,
    until: Duration,
    confirmed: bool,
}

impl Lease {
    /// That of an agent which starts, and heard the scheduler `ago` in its life before; `None`: never.
    pub fn inherited(ago: Option<Duration>, now: Duration) -> Self {
        let left = LEASE.saturating_sub(ago.unwrap_or(LEASE));
        Self { heard: now, until: now + left, confirmed: false }
    }

    /// Something was heard of a scheduler that is believed. False if it came too late: only a session that
    /// says everything anew makes up for that.
    pub fn renew(&mut self, now: Duration) -> bool {
        if !self.confirmed || now >= self.until {
            return false;
        }
        (self.heard, self.until) = (now, now + LEASE);
        true
    }

    /// A scheduler that is believed has said everything that it wants.
    pub fn confirm(&mut self, now: Duration) {
        *self = Self { heard: now, until: now + LEASE, confirmed: true };
    }

    /// What exclusive replicas may do.
    pub fn standing(&self, now: Duration) -> Standing {
        match (now < self.until, self.confirmed) {
            (true, true) => Standing::Held,
            (true, false) => Standing::Kept,
            (false, _) => Standing::Over,
        }
    }

    /// How long ago it was renewed; `None` if not since the agent started.
    pub fn age(&self, now: Duration) -> Option<Duration> {
        self.confirmed.then(|| now.saturating_sub(self.heard))
    }
}

/// When the scheduler was heard last, on the host's own clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Heard {
    /// Which run of the host's kernel.
    boot: String,
    /// Milliseconds since that began.
    uptime: u64,
}

/// The run of the kernel, and how long it has lasted.
fn uptime() -> io::Result<Heard> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
    let uptime = u64::try_from(Clock::of_host().now().as_millis()).unwrap_or(u64::MAX);
    Ok(Heard { boot, uptime })
}

/// Saves in `folder` that the scheduler was heard `ago`.
pub fn save(folder: &Path, ago: Duration) -> io::Result<()> {
    let mut heard = uptime()?;
    heard.uptime = heard.uptime.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX));
    write_json(&folder.join(FILE), &heard)
}

/// How long ago the scheduler was heard, by what was saved in `folder`; `None` if that is not known.
pub fn load(folder: &Path) -> Option<Duration> {
    let saved: Option<Heard> = read_json(&folder.join(FILE)).unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot read when the scheduler was heard last");
        None
    });
    age(&saved?, &uptime().ok()?)
}

fn age(saved: &Heard, now: &Heard) -> Option<Duration> {
    let age = now.uptime.checked_sub(saved.uptime).filter(|_| saved.boot == now.boot)?;
    Some(Duration::from_millis(age))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(1);

    #[test]
    fn what_is_heard_in_time_renews_and_what_comes_late_does_not() {
        let start = Duration::from_hours(1);
        let mut lease = Lease::inherited(None, start);
        assert_eq!(lease.standing(start), Standing::Over);
        assert!(!lease.renew(start), "nothing has been said of what is wanted");
        lease.confirm(start);
        let late = start + LEASE.saturating_sub(MOMENT);
        assert_eq!(lease.standing(late), Standing::Held);
        assert!(lease.renew(late));
        assert_eq!(lease.standing(start + LEASE), Standing::Held);
        let over = late + LEASE;
        assert_eq!(lease.standing(over), Standing::Over);
        assert!(!lease.renew(over) && lease.standing(over) == Standing::Over);
        lease.confirm(over);
        assert_eq!(lease.standing(over), Standing::Held);
    }

    #[test]
    fn an_agent_that_starts_has_what_is_left() {
        let start = Duration::from_hours(1);
        let lease = Lease::inherited(Some(Duration::from_secs(4)), start);
        assert_eq!(lease.standing(start), Standing::Kept);
        assert_eq!(lease.standing(start + LEASE.saturating_sub(Duration::from_secs(4))), Standing::Over);
        assert_eq!(Lease::inherited(Some(LEASE), start).standing(start), Standing::Over);
    }

    #[test]
    fn a_host_that_was_started_anew_has_nothing_left() {
        let heard = |boot: &str, uptime| Heard { boot: boot.into(), uptime };
        assert_eq!(age(&heard("a", 1_000), &heard("a", 3_500)), Some(Duration::from_millis(2_500)));
        assert_eq!(age(&heard("a", 1_000), &heard("b", 3_500)), None);
        assert_eq!(age(&heard("a", 9_000), &heard("a", 3_500)), None);
    }

    #[test]
    fn what_was_saved_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()), None);
        save(folder.path(), Duration::from_secs(5)).unwrap();
        let age = load(folder.path()).unwrap();
        assert!(age >= Duration::from_secs(5) && age < Duration::from_mins(5), "{age:?}");
    }
}
