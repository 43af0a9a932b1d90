//! One step from what is seen towards what is wanted. Pure.

use gantry_api::agent::v1::ContainerState as State;
use gantry_model::{Goal, RestartPolicy};

use super::assignment::Assignment;
use crate::engine::Observed;

/// What a supervisor does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing, until something changes.
    Idle,
    /// Make the container and start it.
    Create,
    /// Start the container.
    Start,
    /// Stop and start the container, as a person asked.
    Restart,
    /// Let the container go on, so that it can be stopped.
    Unpause,
    /// Stop the container.
    Stop,
    /// Remove the container.
    Remove,
    /// Nothing is left of a replica that is not wanted.
    Gone,
}

/// The next step. `desired` is `None` for a container that nobody wants any more.
pub fn lifecycle(desired: Option<&Assignment>, observed: Option<&Observed>) -> Step {
    let goal = desired.map_or(Goal::Stop, |desired| desired.goal);
    match (goal, desired, observed) {
        (Goal::Stop, _, None) => Step::Gone,
        (Goal::Stop, _, Some(observed)) => end(observed),
        (Goal::Run, Some(desired), None) if !desired.completed => Step::Create,
        (Goal::Run | Goal::Drain, Some(desired), Some(observed)) => keep(desired, observed),
        // A replica that drains is not brought back, and one that has completed is not run again.
        _ => Step::Idle,
    }
}

fn end(observed: &Observed) -> Step {
    match observed.state {
        State::Running | State::Restarting => Step::Stop,
        State::Paused => Step::Unpause,
        State::Removing => Step::Idle,
        State::Created | State::Exited | State::Dead | State::Unspecified => Step::Remove,
    }
}

fn keep(desired: &Assignment, observed: &Observed) -> Step {
    let restart = must_restart(desired, observed);
    match observed.state {
        State::Running if restart => Step::Restart,
        State::Paused if restart => Step::Unpause,
        State::Created if desired.goal == Goal::Run => Step::Start,
        State::Exited if desired.goal == Goal::Run && (restart || must_start(desired, observed)) => {
            Step::Start
        }
        State::Dead => Step::Remove,
        _ => Step::Idle,
    }
}

/// A restart was asked for after the container was last started.
fn must_restart(desired: &Assignment, observed: &Observed) -> bool {
    desired.restart_asked_at.is_some_and(|asked| observed.started_at.is_some_and(|started| started < asked))
}

/// The engine starts again what crashed. What it leaves alone was stopped or killed by hand, or
/// could not be started: that is brought back here, unless it is meant to end.
fn must_start(desired: &Assignment, observed: &Observed) -> bool {
    match desired.container.restart.unwrap_or(RestartPolicy::UnlessStopped) {
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        RestartPolicy::No => false,
        RestartPolicy::OnFailure { max_retries } => {
            let given_up = max_retries.is_some_and(|max| observed.restart_count >= max);
            observed.exit_code != 0 && !given_up && !desired.completed
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_model::{Container, Health, ReplicaId, Timestamp};

    use super::*;

    fn desired(goal: Goal, restart: RestartPolicy) -> Assignment {
        Assignment {
            replica: ReplicaId::new("r1").unwrap(),
            service: "s/web".parse().unwrap(),
            slot: 1,
            goal,
            name: "s-web-1-r1".into(),
            container: Container { restart: Some(restart), ..Container::default() },
            image_digest: String::new(),
            networks: vec![],
            ports: vec![],
            restart_sequence: 0,
            restart_asked_at: None,
            completed: false,
        }
    }

    fn observed(state: State, exit_code: i32) -> Observed {
        Observed {
            id: "c1".into(),
            replica: ReplicaId::new("r1").unwrap(),
            image_id: String::new(),
            state,
            exit_code,
            oom_killed: false,
            error: String::new(),
            restart_count: 0,
            health: Health::None,
            started_at: Some(Timestamp::from_millis(1_000)),
            finished_at: None,
            ports: vec![],
        }
    }

    #[test]
    fn what_is_wanted_is_made_started_and_left_alone() {
        let run = desired(Goal::Run, RestartPolicy::Always);
        assert_eq!(lifecycle(Some(&run), None), Step::Create);
        assert_eq!(lifecycle(Some(&run), Some(&observed(State::Created, 0))), Step::Start);
        assert_eq!(lifecycle(Some(&run), Some(&observed(State::Running, 0))), Step::Idle);
        assert_eq!(lifecycle(Some(&run), Some(&observed(State::Restarting, 1))), Step::Idle);
        assert_eq!(lifecycle(Some(&run), Some(&observed(State::Paused, 0))), Step::Idle);
    }

    #[test]
    fn what_was_stopped_by_hand_is_started_again() {
        let run = desired(Goal::Run, RestartPolicy::UnlessStopped);
        assert_eq!(lifecycle(Some(&run), Some(&observed(State::Exited, 137))), Step::Start);
        assert_eq!(lifecycle(Some(&run), Some(&observed(State::Exited, 0))), Step::Start);
    }

    #[test]
    fn what_runs_once_is_run_once() {
        let once = desired(Goal::Run, RestartPolicy::No);
        assert_eq!(lifecycle(Some(&once), Some(&observed(State::Exited, 1))), Step::Idle);
        let done = Assignment { completed: true, ..once };
        assert_eq!(lifecycle(Some(&done), None), Step::Idle, "its container was removed by hand");
    }

    #[test]
    fn on_failure_ends_with_success_or_after_its_tries() {
        let policy = |max_retries| desired(Goal::Run, RestartPolicy::OnFailure { max_retries });
        assert_eq!(lifecycle(Some(&policy(None)), Some(&observed(State::Exited, 0))), Step::Idle);
        assert_eq!(lifecycle(Some(&policy(None)), Some(&observed(State::Exited, 143))), Step::Start);
        let tired = Observed { restart_count: 3, ..observed(State::Exited, 1) };
        assert_eq!(lifecycle(Some(&policy(Some(3))), Some(&tired)), Step::Idle);
    }

    #[test]
    fn a_replica_that_drains_is_neither_stopped_nor_brought_back() {
        let drain = desired(Goal::Drain, RestartPolicy::Always);
        assert_eq!(lifecycle(Some(&drain), Some(&observed(State::Running, 0))), Step::Idle);
        assert_eq!(lifecycle(Some(&drain), Some(&observed(State::Exited, 0))), Step::Idle);
        assert_eq!(lifecycle(Some(&drain), None), Step::Idle);
    }

    #[test]
    fn the_end_is_stop_remove_gone() {
        for unwanted in [Some(desired(Goal::Stop, RestartPolicy::Always)), None] {
            let unwanted = unwanted.as_ref();
            assert_eq!(lifecycle(unwanted, Some(&observed(State::Paused, 0))), Step::Unpause);
            assert_eq!(lifecycle(unwanted, Some(&observed(State::Running, 0))), Step::Stop);
            assert_eq!(lifecycle(unwanted, Some(&observed(State::Restarting, 0))), Step::Stop);
            assert_eq!(lifecycle(unwanted, Some(&observed(State::Exited, 0))), Step::Remove);
            assert_eq!(lifecycle(unwanted, Some(&observed(State::Removing, 0))), Step::Idle);
            assert_eq!(lifecycle(unwanted, None), Step::Gone);
        }
    }

    #[test]
    fn a_restart_is_done_once() {
        let asked = |at| Assignment {
            restart_asked_at: Some(Timestamp::from_millis(at)),
            ..desired(Goal::Run, RestartPolicy::No)
        };
        assert_eq!(lifecycle(Some(&asked(2_000)), Some(&observed(State::Running, 0))), Step::Restart);
        assert_eq!(lifecycle(Some(&asked(2_000)), Some(&observed(State::Exited, 0))), Step::Start);
        assert_eq!(lifecycle(Some(&asked(1_000)), Some(&observed(State::Running, 0))), Step::Idle);
    }
}
