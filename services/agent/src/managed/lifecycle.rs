//! One step from what is seen towards what is wanted. Pure.

use gantry_api::agent::v1::ContainerState as State;
use gantry_model::{Goal, RestartPolicy, Timestamp};

use super::assignment::Assignment;
use super::lease::Standing;
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
    /// Stop the container and keep it: it may not run at the moment.
    Halt,
    /// Run its hooks after a start.
    PostStart,
    /// Remove the container.
    Remove,
    /// Nothing is left of a replica that is not wanted.
    Gone,
}

/// What else a step depends on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances {
    /// What an exclusive replica may do.
    pub standing: Standing,
    /// When the run was started whose hooks were run.
    pub hooked: Option<Timestamp>,
    /// How often this agent started it again.
    pub restarts: u32,
}

/// The next step. `desired` is `None` for a container that nobody wants any more.
pub fn lifecycle(
    desired: Option<&Assignment>,
    observed: Option<&Observed>,
    circumstances: Circumstances,
) -> Step {
    let goal = desired.map_or(Goal::Stop, |desired| desired.goal);
    let exclusive = desired.is_some_and(|desired| desired.exclusive);
    match (circumstances.standing, observed) {
        (Standing::Held, _) => {}
        _ if !exclusive || goal == Goal::Stop => {}
        (Standing::Over, Some(observed)) => return halt(observed),
        (Standing::Over, None) | (Standing::Kept, _) => return Step::Idle,
    }
    match (goal, desired, observed) {
        (Goal::Stop, _, None) => Step::Gone,
        (Goal::Stop, _, Some(observed)) => end(observed),
        (Goal::Run, Some(desired), None) if !desired.completed => Step::Create,
        (Goal::Run | Goal::Drain, Some(desired), Some(observed)) => keep(desired, observed, circumstances),
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

/// What may not run at the moment is stopped, and stays what it is.
fn halt(observed: &Observed) -> Step {
    match observed.state {
        State::Running | State::Restarting => Step::Halt,
        State::Paused => Step::Unpause,
        State::Created | State::Exited | State::Removing | State::Dead | State::Unspecified => Step::Idle,
    }
}

fn keep(desired: &Assignment, observed: &Observed, circumstances: Circumstances) -> Step {
    let restart = must_restart(desired, observed);
    let starts = || restart || must_start(desired, observed, circumstances.restarts);
    match observed.state {
        State::Running | State::Restarting if restart => Step::Restart,
        State::Running if must_hook(desired, observed, circumstances.hooked) => Step::PostStart,
        State::Paused if restart => Step::Unpause,
        State::Created if desired.goal == Goal::Run => Step::Start,
        State::Exited if desired.goal == Goal::Run && starts() => Step::Start,
        State::Dead => Step::Remove,
        _ => Step::Idle,
    }
}

/// A restart was asked for after the container was last started.
fn must_restart(desired: &Assignment, observed: &Observed) -> bool {
    desired.restart_asked_at.is_some_and(|asked| observed.started_at.is_some_and(|started| started < asked))
}

/// Its hooks have not been run in this run of its process.
fn must_hook(desired: &Assignment, observed: &Observed, hooked: Option<Timestamp>) -> bool {
    let has_hooks = desired.goal == Goal::Run && !desired.container.post_start.is_empty();
    has_hooks && observed.started_at.is_some() && observed.started_at != hooked
}

/// The engine starts again what crashed. What it leaves alone was stopped or killed by hand, or
/// could not be started: that is brought back here, unless it is meant to end. So is all that is
/// exclusive: the engine would not ask whether it may run.
fn must_start(desired: &Assignment, observed: &Observed, own_restarts: u32) -> bool {
    match desired.container.restart.unwrap_or(RestartPolicy::UnlessStopped) {
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
        RestartPolicy::No => false,
        RestartPolicy::OnFailure { max_retries } => {
            let tries = if desired.exclusive { own_restarts } else { observed.restart_count };
            let given_up = max_retries.is_some_and(|max| tries >= max);
            observed.exit_code != 0 && !given_up && !desired.completed
        }
    }
}

#[cfg(test)]
mod tests {
    use gantry_model::{Container, Health, Hook, ReplicaId};

    use super::*;

    fn lifecycle(desired: Option<&Assignment>, observed: Option<&Observed>) -> Step {
        super::lifecycle(desired, observed, Circumstances::default())
    }

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
            repair_grace: None,
            completed: false,
            readiness: None,
            liveness: None,
            published_ports: vec![],
            exclusive: false,
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
        assert_eq!(lifecycle(Some(&asked(2_000)), Some(&observed(State::Restarting, 1))), Step::Restart);
        assert_eq!(lifecycle(Some(&asked(2_000)), Some(&observed(State::Exited, 0))), Step::Start);
        assert_eq!(lifecycle(Some(&asked(1_000)), Some(&observed(State::Running, 0))), Step::Idle);
    }

    #[test]
    fn what_is_exclusive_runs_only_while_its_lease_lasts() {
        let run = Assignment { exclusive: true, ..desired(Goal::Run, RestartPolicy::Always) };
        let at = |standing, observed: Option<&Observed>| {
            super::lifecycle(Some(&run), observed, Circumstances { standing, ..Circumstances::default() })
        };
        let (running, ended) = (observed(State::Running, 0), observed(State::Exited, 137));
        assert_eq!(at(Standing::Held, None), Step::Create);
        assert_eq!(at(Standing::Held, Some(&ended)), Step::Start);
        for seen in [None, Some(&running), Some(&ended), Some(&observed(State::Created, 0))] {
            assert_eq!(at(Standing::Kept, seen), Step::Idle, "{seen:?}");
        }
        assert_eq!(at(Standing::Over, Some(&running)), Step::Halt);
        assert_eq!(at(Standing::Over, Some(&observed(State::Restarting, 1))), Step::Halt);
        assert_eq!(at(Standing::Over, Some(&observed(State::Paused, 0))), Step::Unpause);
        assert_eq!((at(Standing::Over, Some(&ended)), at(Standing::Over, None)), (Step::Idle, Step::Idle));
        // Others do not care, and what is to end ends.
        let other = Assignment { exclusive: false, ..run.clone() };
        let over = Circumstances { standing: Standing::Over, ..Circumstances::default() };
        assert_eq!(super::lifecycle(Some(&other), Some(&ended), over), Step::Start);
        let stop = Assignment { goal: Goal::Stop, ..run.clone() };
        assert_eq!(super::lifecycle(Some(&stop), Some(&running), over), Step::Stop);
    }

    #[test]
    fn the_agent_counts_the_tries_of_what_it_starts_itself() {
        let policy = RestartPolicy::OnFailure { max_retries: Some(2) };
        let once = Assignment { exclusive: true, ..desired(Goal::Run, policy) };
        let tried = |restarts| Circumstances { restarts, ..Circumstances::default() };
        let ended = observed(State::Exited, 1);
        assert_eq!(super::lifecycle(Some(&once), Some(&ended), tried(1)), Step::Start);
        assert_eq!(super::lifecycle(Some(&once), Some(&ended), tried(2)), Step::Idle);
    }

    #[test]
    fn hooks_are_run_once_after_every_start() {
        let mut run = desired(Goal::Run, RestartPolicy::Always);
        run.container.post_start = vec![Hook { command: vec!["warm-up".into()], ..Hook::default() }];
        let running = observed(State::Running, 0);
        let hooked = |hooked| Circumstances { hooked, ..Circumstances::default() };
        assert_eq!(super::lifecycle(Some(&run), Some(&running), hooked(None)), Step::PostStart);
        let of_the_run_before = Some(Timestamp::from_millis(500));
        assert_eq!(super::lifecycle(Some(&run), Some(&running), hooked(of_the_run_before)), Step::PostStart);
        assert_eq!(super::lifecycle(Some(&run), Some(&running), hooked(running.started_at)), Step::Idle);
        run.goal = Goal::Drain;
        assert_eq!(super::lifecycle(Some(&run), Some(&running), hooked(None)), Step::Idle);
    }
}
