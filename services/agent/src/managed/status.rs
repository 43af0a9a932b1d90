//! What the scheduler is told of a replica. Pure.

use gantry_api::agent::v1::ContainerState as State;
use gantry_model::{End, Phase, ReplicaStatus};

use super::assignment::Assignment;
use super::lease::{LEASE, Standing};
use crate::engine::Observed;

/// What a supervisor is doing at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Activity {
    /// Nothing.
    #[default]
    Waiting,
    /// Making image, networks and volumes ready; in words what that waits for.
    Preparing(String),
    /// Making or starting the container.
    Starting,
    /// Stopping or removing it.
    Stopping,
    /// The last step failed, with these words, and is tried again.
    Failed(String),
    /// All is gone.
    Gone,
}

/// What is known besides what is wanted and seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Notes<'a> {
    /// How often this agent started it again; the engine counts only its own.
    pub restarts: u32,
    /// What people should know of its last start or stop; empty if nothing.
    pub said: &'a str,
    /// What an exclusive replica may do.
    pub standing: Standing,
}

/// The status of a replica.
pub fn status(
    desired: Option<&Assignment>,
    observed: Option<&Observed>,
    activity: &Activity,
    notes: Notes<'_>,
) -> ReplicaStatus {
    let mut status = observed.map(seen).unwrap_or_default();
    status.restarts = status.restarts.saturating_add(notes.restarts);
    if status.message.is_empty() {
        notes.said.clone_into(&mut status.message);
    }
    if notes.standing == Standing::Over && desired.is_some_and(|desired| desired.exclusive) {
        status.message = format!(
            "the scheduler was not heard for {} s: it is exclusive, and runs when it is assigned again",
            LEASE.as_secs()
        );
    }
    status.restart_sequence = done_restart(desired, observed);
    match activity {
        Activity::Waiting => {
            if observed.is_none() && desired.is_some_and(|desired| desired.completed) {
                status.phase = Phase::Exited;
            }
        }
        Activity::Preparing(message) => {
            status.phase = Phase::Preparing;
            status.message.clone_from(message);
        }
        Activity::Starting if status.phase != Phase::Running => status.phase = Phase::Starting,
        Activity::Starting => {}
        Activity::Stopping => status.phase = Phase::Stopping,
        Activity::Failed(message) => {
            // A container that runs is running, whatever else could not be done with it.
            if status.phase != Phase::Running {
                status.phase = Phase::Failed;
            }
            status.message.clone_from(message);
        }
        Activity::Gone => status.phase = Phase::Removed,
    }
    status
}

fn seen(observed: &Observed) -> ReplicaStatus {
    let ended = matches!(observed.state, State::Exited | State::Restarting | State::Dead);
    ReplicaStatus {
        phase: match observed.state {
            State::Created => Phase::Starting,
            State::Running => Phase::Running,
            State::Paused => Phase::Paused,
            State::Restarting => Phase::Restarting,
            State::Removing => Phase::Stopping,
            State::Exited | State::Dead => Phase::Exited,
            State::Unspecified => Phase::Preparing,
        },
        container_id: observed.id.clone(),
        message: message(observed, ended),
        exit_code: ended.then_some(observed.exit_code),
        oom_killed: observed.oom_killed,
        restarts: observed.restart_count,
        health: observed.health,
        started_at: observed.started_at,
        finished_at: observed.finished_at,
        restart_sequence: 0,
        ports: observed.ports.clone(),
        ..ReplicaStatus::default()
    }
}

fn message(observed: &Observed, ended: bool) -> String {
    if !observed.error.is_empty() {
        return observed.error.clone();
    }
    if ended && (observed.oom_killed || observed.exit_code != 0) {
        let (exit_code, oom_killed) = (observed.exit_code, observed.oom_killed);
        return End { exit_code, oom_killed, ..End::default() }.words();
    }
    if observed.state == State::Paused {
        return "paused by hand: `docker unpause` lets it go on".to_owned();
    }
    String::new()
}

/// The newest restart that this container has had.
fn done_restart(desired: Option<&Assignment>, observed: Option<&Observed>) -> u64 {
    let (Some(desired), Some(observed)) = (desired, observed) else { return 0 };
    let pending = desired
        .restart_asked_at
        .is_some_and(|asked| observed.started_at.is_none_or(|started| started < asked));
    if pending { desired.restart_sequence.saturating_sub(1) } else { desired.restart_sequence }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::tests::observed;

    #[test]
    fn an_end_is_told_in_the_words_of_all_others() {
        let message = |exit_code, oom_killed| {
            let ended = Observed { state: State::Exited, exit_code, oom_killed, ..observed() };
            status(None, Some(&ended), &Activity::Waiting, Notes::default()).message
        };
        assert_eq!((message(137, true), message(0, false)), ("out of memory".into(), String::new()));
        for exit_code in [3, 127, 137, 139] {
            assert_eq!(message(exit_code, false), End { exit_code, ..End::default() }.words());
        }
    }
}
