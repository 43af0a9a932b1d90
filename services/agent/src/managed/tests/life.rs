//! How replicas end: what is remembered of it, hooks and graces.

use gantry_api::agent::v1::LifecycleHook;
use gantry_model::{Phase, ReplicaStatus};

use super::*;

/// Shorter than anything that is waited for here.
pub(super) const MOMENT: Duration = Duration::from_millis(500);

fn hook(word: &str) -> LifecycleHook {
    LifecycleHook { command: vec![word.to_owned()], ..LifecycleHook::default() }
}

/// Replica 1, as a test wants it.
pub(super) fn one(change: impl FnOnce(&mut Assignment, &mut ContainerSpec)) -> Assignments {
    let mut assignment = assignment(1, Goal::Run);
    let mut container = assignment.container.take().unwrap();
    change(&mut assignment, &mut container);
    assignment.container = Some(container);
    Assignments { full: true, upserts: vec![assignment], ..Assignments::default() }
}

impl Node {
    pub(super) fn status(&self) -> ReplicaStatus {
        let (fleet, _) = self.agent.as_ref().unwrap();
        fleet.board().get()[&id(1)].clone()
    }

    fn words(&self) -> Vec<String> {
        self.status().ends.iter().map(gantry_model::End::words).collect()
    }

    pub(super) fn states(&self) -> Vec<State> {
        self.engine.there().into_iter().map(|(_, state)| state).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn ends_are_told_with_what_was_written_last_also_after_a_restart_of_the_agent() {
    let mut node = Node::start().await;
    node.assign(one(|_, _| ())).await;
    pass(MOMENT).await;
    assert_eq!(node.words(), Vec::<String>::new());
    node.engine.ends(&id(1), 3);
    pass(LONG).await;
    node.engine.starve(&id(1));
    node.engine.ends(&id(1), 137);
    pass(LONG).await;
    let before = node.status();
    assert_eq!(node.words(), ["exit code 3", "out of memory"]);
    assert_eq!((before.phase, before.restarts), (Phase::Running, 2));
    assert!(before.ends[1].last_lines.starts_with("c1 wrote this until "), "{before:?}");

    node.restart_agent().await;
    pass(MOMENT).await;
    assert_eq!((node.status().ends, node.status().restarts), (before.ends, 2));
    node.engine.ends(&id(1), 139);
    node.restart_agent().await;
    pass(LONG).await;
    assert_eq!(node.words(), ["exit code 3", "out of memory", "killed by SIGSEGV"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_remembered_of_a_replica_goes_with_it() {
    let mut node = Node::start().await;
    node.assign(one(|_, _| ())).await;
    pass(MOMENT).await;
    node.engine.ends(&id(1), 3);
    pass(LONG).await;
    node.assign(all(&BTreeSet::new())).await;
    pass(LONG).await;
    let saved = std::fs::read_to_string(node.folder.path().join("lives.json")).unwrap();
    assert_eq!(saved, "{}");
}

#[tokio::test(start_paused = true)]
async fn hooks_run_after_every_start_and_before_every_stop() {
    let mut node = Node::start().await;
    let wanted = |restarts| {
        one(|assignment, container| {
            assignment.restart_sequence = restarts;
            container.post_start = vec![hook("warm"), hook("up")];
            container.pre_stop = vec![hook("drain")];
        })
    };
    node.assign(wanted(0)).await;
    pass(MOMENT).await;
    node.engine.ends(&id(1), 1);
    pass(LONG).await;
    assert_eq!(node.engine.done(), ["start", "warm", "up", "start", "warm", "up"]);

    node.restart_agent().await;
    pass(LONG).await;
    assert_eq!(node.engine.done().len(), 6, "this run has had them");

    // The engine's clock is that of the test, and the agent is told the time of the request.
    let asked = Timestamp::default().after(Duration::from_hours(10));
    let (fleet, _) = node.agent.as_ref().unwrap();
    node.revision += 1;
    fleet.assign(lineage("t1", node.revision), wanted(1), asked).await.unwrap();
    pass(Duration::from_millis(1)).await;
    assert_eq!(node.engine.done()[6..9], ["drain", "stop", "start"]);
}

#[tokio::test(start_paused = true)]
async fn hooks_that_fail_keep_nobody_from_starting_or_stopping_and_are_named() {
    let mut node = Node::start().await;
    node.engine.hook_ends("warm", Some(7));
    node.engine.hook_ends("drain", None);
    node.assign(one(|_, container| {
        container.post_start = vec![hook("warm"), hook("never-reached")];
        container.pre_stop = vec![hook("drain")];
        container.stop_grace = Some(prost_types::Duration { seconds: 6, nanos: 0 });
    }))
    .await;
    pass(MOMENT).await;
    let status = node.status();
    assert_eq!(status.phase, Phase::Running);
    assert_eq!(status.message, "its post_start hook `warm` ended with exit code 7: the last words");

    let stop = Assignments { upserts: vec![one_stopping(6)], ..Assignments::default() };
    node.assign(stop).await;
    pass(Duration::from_secs(4)).await;
    assert_eq!(node.states(), [State::Running], "the hook has a second more");
    pass(Duration::from_secs(2)).await;
    assert!(node.states().is_empty());
    assert_eq!(node.engine.done(), ["start", "warm", "drain", "stop"]);
    let status = node.status();
    assert_eq!(
        (status.phase, status.message.as_str()),
        (Phase::Removed, "its pre_stop hook `drain` did not end within 5 s")
    );
}

fn one_stopping(grace: i64) -> Assignment {
    let mut assignment = assignment(1, Goal::Stop);
    if let Some(container) = &mut assignment.container {
        container.pre_stop = vec![hook("drain")];
        container.stop_grace = Some(prost_types::Duration { seconds: grace, nanos: 0 });
    }
    assignment
}

#[tokio::test(start_paused = true)]
async fn what_is_stopped_because_it_hangs_has_the_time_that_is_asked_for() {
    let mut node = Node::start().await;
    node.engine.ignores_signals(&id(1));
    node.assign(one(|_, _| ())).await;
    pass(MOMENT).await;
    let mut stop = assignment(1, Goal::Stop);
    stop.repair_grace = Some(prost_types::Duration { seconds: 3, nanos: 0 });
    node.assign(Assignments { upserts: vec![stop], ..Assignments::default() }).await;
    pass(Duration::from_millis(2_900)).await;
    assert_eq!(node.states(), [State::Running]);
    pass(MOMENT).await;
    assert!(node.states().is_empty());
    assert_eq!(node.status().message, "it did not end within its stop grace of 3 s, and was killed");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_ignores_its_stop_signal_is_killed_and_that_is_said() {
    let mut node = Node::start().await;
    node.engine.ignores_signals(&id(1));
    node.assign(one(|_, _| ())).await;
    pass(MOMENT).await;
    node.assign(Assignments { upserts: vec![one_stopping(4)], ..Assignments::default() }).await;
    pass(Duration::from_secs(3)).await;
    assert_eq!(node.states(), [State::Running]);
    pass(Duration::from_secs(2)).await;
    assert!(node.states().is_empty());
    let status = node.status();
    assert_eq!(status.message, "it did not end within its stop grace of 4 s, and was killed");
    assert_eq!(node.words(), ["killed: it did not end within its stop grace"]);
    assert!(status.ends[0].asked && status.ends[0].killed_after_grace);
}
