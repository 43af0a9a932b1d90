//! Repairs of replicas, and what is known of a replica's health for judging whether it needs one.

use serde::{Deserialize, Serialize};

use crate::container::RestartPolicy;
use crate::health::Health;
use crate::ids::{NodeId, ReplicaId};
use crate::replica::{Goal, Replica};
use crate::status::{Phase, ReplicaStatus};
use crate::time::Timestamp;

/// What is done about a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairKind {
    /// It is taken out of the routes, drained, and its process started again.
    Restart,
    /// It gets a successor, on another node where that is possible, and ends when that one serves.
    Replace,
}

/// A repair that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// What is done.
    pub kind: RepairKind,
    /// When it began.
    pub since: Timestamp,
    /// Why, in one word.
    pub reason: String,
}

impl Repair {
    /// As people read it: `CrashLoop` is a crash loop.
    pub fn cause(&self) -> String {
        let mut words = String::new();
        for letter in self.reason.chars() {
            if letter.is_uppercase() && !words.is_empty() {
                words.push(' ');
            }
            words.extend(letter.to_lowercase());
        }
        words
    }
}

/// One repair of a service, kept so that a watchdog which starts anew knows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastRepair {
    /// When it began.
    pub at: Timestamp,
    /// The stored change that began it.
    #[serde(default)]
    pub revision: u64,
    /// The replica.
    pub replica: ReplicaId,
    /// Its slot.
    pub slot: u32,
    /// The node where it ran.
    pub node: Option<NodeId>,
    /// What was done.
    pub kind: RepairKind,
    /// Why, in one word.
    pub reason: String,
}

impl PastRepair {
    /// Repairs of a service that are kept.
    pub const KEPT: usize = 64;
    /// For how long one is kept.
    pub const KEPT_FOR: std::time::Duration = std::time::Duration::from_hours(1);
}

/// What the checks of a replica say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Checked {
    /// Not known.
    #[default]
    Unknown,
    /// It is being made or started, and has its start period.
    Starting,
    /// It runs, and its checks pass, where it has any.
    Healthy,
    /// The last check failed, not yet as often as its retries allow.
    Failing,
    /// As many checks in a row failed as its retries allow.
    Unhealthy,
    /// It ended, and is started again by the engine or the agent.
    Restarting,
    /// It cannot be made or started.
    Failed,
    /// It has ended as it should, is paused by a person, or is being stopped.
    AtRest,
}

/// What the checks of a replica say, and what is seen of its process. `passed` says whether a check has
/// passed since that was started: without it a failed one means that it is still coming up.
pub fn checked(
    replica: &Replica,
    status: Option<&ReplicaStatus>,
    policy: RestartPolicy,
    passed: bool,
) -> Checked {
    if replica.goal != Goal::Run || replica.outcome.is_some() {
        return Checked::AtRest;
    }
    let Some(status) = status else { return Checked::Unknown };
    match status.phase {
        Phase::Preparing | Phase::Starting | Phase::Removed => Checked::Starting,
        Phase::Running => match (status.health, status.probe_ready) {
            (Health::Unhealthy, _) => Checked::Unhealthy,
            (Health::Starting, _) => Checked::Starting,
            (_, Some(false)) if passed => Checked::Failing,
            (_, Some(false)) => Checked::Starting,
            (Health::None | Health::Healthy, _) => Checked::Healthy,
        },
        Phase::Restarting => Checked::Restarting,
        // What is kept running is started again by its agent; all else is as its file says.
        Phase::Exited if !policy.runs_once() => Checked::Restarting,
        Phase::Paused | Phase::Stopping | Phase::Exited => Checked::AtRest,
        Phase::Failed => Checked::Failed,
    }
}

/// Since when a replica is as it is, in times of the scheduler. Nothing of it is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    /// It takes traffic, as [`crate::Snapshot::takes_traffic`] has it.
    pub ready: bool,
    /// Since when `ready` is as it is.
    pub ready_since: Timestamp,
    /// What its checks say.
    pub checked: Checked,
    /// Since when `checked` is as it is.
    pub checked_since: Timestamp,
    /// Its checks have passed since its process was started, which was then.
    pub passed: bool,
    /// When the process was started that `passed` is about.
    pub started_at: Option<Timestamp>,
    /// It has been failing for longer than a slow check explains.
    pub overdue: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_reads_as_words() {
        let cause = |reason: &str| {
            let since = Timestamp::default();
            Repair { kind: RepairKind::Restart, since, reason: reason.into() }.cause()
        };
        assert_eq!(
            [cause("Unhealthy"), cause("CrashLoop"), cause("NotRestarted")],
            ["unhealthy", "crash loop", "not restarted"]
        );
    }

    fn replica() -> Replica {
        serde_json::from_str(
            r#"{"id": "r1", "service": "s/web", "slot": 1, "revision": 1, "goal": "Run", "node": "n1",
                "addresses": {}, "restart_sequence": 0, "pending": null, "drain": null, "outcome": null,
                "created_at": 0}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_check_that_fails_is_not_yet_an_unhealthy_replica() {
        let replica = replica();
        let seen = |phase, health, probe_ready, passed| {
            let status = ReplicaStatus { phase, health, probe_ready, ..ReplicaStatus::default() };
            checked(&replica, Some(&status), RestartPolicy::Always, passed)
        };
        assert_eq!(seen(Phase::Running, Health::None, None, false), Checked::Healthy);
        assert_eq!(seen(Phase::Running, Health::Starting, Some(false), false), Checked::Starting);
        assert_eq!(seen(Phase::Running, Health::None, Some(false), false), Checked::Starting);
        assert_eq!(seen(Phase::Running, Health::Healthy, Some(false), true), Checked::Failing);
        assert_eq!(seen(Phase::Running, Health::Unhealthy, Some(false), true), Checked::Unhealthy);
        assert_eq!(seen(Phase::Restarting, Health::Unhealthy, Some(false), true), Checked::Restarting);
        assert_eq!(seen(Phase::Failed, Health::None, None, false), Checked::Failed);
        assert_eq!(checked(&replica, None, RestartPolicy::Always, true), Checked::Unknown);
    }

    #[test]
    fn an_end_is_as_it_should_be_only_where_nothing_is_to_go_on() {
        let status = ReplicaStatus { phase: Phase::Exited, ..ReplicaStatus::default() };
        let with = |policy| checked(&replica(), Some(&status), policy, true);
        assert_eq!(with(RestartPolicy::UnlessStopped), Checked::Restarting);
        assert_eq!(with(RestartPolicy::No), Checked::AtRest);
        let draining = Replica { goal: Goal::Drain, ..replica() };
        assert_eq!(checked(&draining, Some(&status), RestartPolicy::Always, true), Checked::AtRest);
    }
}
