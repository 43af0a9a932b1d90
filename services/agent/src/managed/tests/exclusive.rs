//! The lease of exclusive replicas: they never run when their successors may.

use super::life::{MOMENT, one};
use super::*;
use crate::managed::LEASE;

fn exclusive() -> Assignments {
    one(|assignment, _| assignment.exclusive = true)
}

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

impl Node {
    /// Something is heard of the scheduler.
    async fn hear(&self) -> bool {
        let (fleet, _) = self.agent.as_ref().unwrap();
        fleet.renew().await
    }

    fn state_of(&self, number: u8) -> Option<State> {
        let there = self.engine.there();
        there.into_iter().find(|(replica, _)| *replica == id(number)).map(|(_, state)| state)
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_exclusive_ends_with_its_lease_and_runs_again_when_it_is_assigned_again() {
    let mut node = Node::start().await;
    let wanted = Assignments { upserts: vec![assignment(2, Goal::Run)], ..exclusive() };
    node.assign(exclusive()).await;
    pass(MOMENT).await;
    for _ in 0..5 {
        pass(Duration::from_secs(4)).await;
        assert!(node.hear().await);
    }
    assert_eq!(node.running(), [id(1)]);
    // Another one beside it does not care for the lease.
    node.assign(Assignments { full: false, ..wanted }).await;
    pass(LEASE + MOMENT).await;
    let there = node.engine.there();
    assert_eq!(there, [(id(1), State::Exited), (id(2), State::Running)]);
    let status = node.status();
    assert!(status.message.contains("was not heard for 9 s"), "{status:?}");
    assert!(status.ends[0].asked, "that is no crash");

    // What comes late on the old session is not believed to be true still.
    assert!(!node.hear().await);
    pass(LONG).await;
    assert_eq!(node.engine.there(), there);
    let both = vec![exclusive().upserts.remove(0), assignment(2, Goal::Run)];
    node.assign(Assignments { full: true, upserts: both, ..Assignments::default() }).await;
    pass(Duration::from_secs(2)).await;
    assert_eq!(node.running(), [id(1), id(2)]);
    assert_eq!(node.status().message, "");
}

#[tokio::test(start_paused = true)]
async fn the_word_of_an_older_state_gives_no_lease() {
    let mut node = Node::start().await;
    node.assign(exclusive()).await;
    node.assign(exclusive()).await;
    pass(LEASE + MOMENT).await;
    assert_eq!(node.states(), [State::Exited]);
    let answer = node.assign_from(lineage("t1", 1), exclusive()).await;
    assert!(matches!(answer, Assigned::Refused(_)), "{answer:?}");
    pass(MOMENT).await;
    assert_eq!(node.states(), [State::Exited]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_starts_without_a_scheduler_lets_what_is_exclusive_go_on_for_what_is_left() {
    let mut node = Node::start().await;
    node.assign(exclusive()).await;
    // Until when it was heard is on disk.
    pass(Duration::from_secs(3)).await;
    node.restart_agent().await;
    pass(MOMENT).await;
    assert_eq!(node.states(), [State::Running]);
    // It is not started again without a word, not even while the lease lasts.
    node.engine.ends(&id(1), 1);
    pass(MOMENT).await;
    assert_eq!(node.states(), [State::Exited]);

    node.assign(exclusive()).await;
    pass(MOMENT).await;
    assert_eq!(node.states(), [State::Running]);
    node.restart_agent().await;
    pass(LEASE + MOMENT).await;
    assert_eq!(node.states(), [State::Exited]);

    // Nothing is known of when the scheduler was heard: it has no time left.
    node.assign(exclusive()).await;
    pass(MOMENT).await;
    std::fs::remove_file(node.folder.path().join("lease.json")).unwrap();
    node.restart_agent().await;
    pass(MOMENT).await;
    assert_eq!(node.states(), [State::Exited]);
}

#[tokio::test(start_paused = true)]
async fn what_is_exclusive_and_crashes_is_started_again_by_the_agent_with_growing_pauses() {
    let mut node = Node::start().await;
    node.assign(exclusive()).await;
    pass(MOMENT).await;
    let mut pauses = Vec::new();
    for _ in 0..6 {
        node.engine.ends(&id(1), 1);
        let began = tokio::time::Instant::now();
        while node.states() != [State::Running] {
            pass(Duration::from_millis(10)).await;
            node.hear().await;
        }
        pauses.push(began.elapsed());
    }
    assert!(pauses[5] > pauses[1] * 3, "{pauses:?}");
    assert_eq!(node.status().restarts, 6);
}

#[tokio::test(start_paused = true)]
async fn what_is_exclusive_ends_in_time_however_many_others_are_slow_to_stop() {
    let mut node = Node::start().await;
    let others: BTreeSet<u8> = (10..40).collect();
    let mut wanted = all(&others);
    wanted.upserts.extend(exclusive().upserts);
    node.assign(wanted).await;
    pass(MOMENT).await;
    assert_eq!(node.states(), [State::Running; 31]);
    // All but the exclusive one take an hour to end.
    let mut stopping = exclusive().upserts;
    for number in &others {
        node.engine.ignores_signals(&id(*number));
        let mut other = assignment(*number, Goal::Stop);
        other.container.as_mut().unwrap().stop_grace = Some(seconds(3_600));
        stopping.push(other);
    }
    node.assign(Assignments { full: true, upserts: stopping, ..Assignments::default() }).await;
    pass(LEASE + MOMENT).await;
    assert_eq!(node.state_of(10), Some(State::Running));
    assert_eq!(node.state_of(1), Some(State::Exited));
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_what_is_exclusive_waits_for_no_other_stop() {
    let mut node = Node::start().await;
    let others: BTreeSet<u8> = (10..40).collect();
    let mut wanted = all(&others);
    wanted.upserts.extend(exclusive().upserts);
    node.assign(wanted).await;
    pass(MOMENT).await;
    let mut next = one(|assignment, _| {
        (assignment.exclusive, assignment.restart_sequence) = (true, 1);
    })
    .upserts;
    for number in &others {
        node.engine.ignores_signals(&id(*number));
        let mut other = assignment(*number, Goal::Stop);
        other.container.as_mut().unwrap().stop_grace = Some(seconds(3_600));
        next.push(other);
    }
    node.assign_at(Timestamp::default().after(LONG * 2), next).await;
    pass(MOMENT).await;
    // Else it would run on for as long as it waits, also when its lease is over.
    assert!(node.engine.done().ends_with(&["stop".to_owned(), "start".to_owned()]));
    pass(LEASE + MOMENT).await;
    assert_eq!(node.state_of(1), Some(State::Exited));
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_outlasts_the_lease_starts_nothing() {
    let mut node = Node::start().await;
    let wanted = |restarts| {
        one(|assignment, container| {
            (assignment.exclusive, assignment.restart_sequence) = (true, restarts);
            container.stop_grace = Some(seconds(30));
        })
    };
    node.assign(wanted(0)).await;
    node.engine.ignores_signals(&id(1));
    pass(MOMENT).await;
    assert_eq!(node.engine.done(), ["start"]);
    node.assign_at(Timestamp::default().after(LONG), wanted(1).upserts).await;
    pass(LONG).await;
    assert_eq!(
        (node.states(), node.engine.done()),
        (vec![State::Exited], vec!["start".into(), "stop".into()])
    );
    assert!(node.status().message.contains("was not heard for 9 s"), "{:?}", node.status());
}

#[tokio::test(start_paused = true)]
async fn an_image_that_comes_after_the_lease_is_not_started() {
    let mut node = Node::start().await;
    let digest = node.engine.registry_has(b"web");
    node.engine.pulls_take(LEASE * 6);
    let wanted = || {
        one(|assignment, _| {
            assignment.exclusive = true;
            assignment.image_digest.clone_from(&digest);
        })
    };
    node.assign(wanted()).await;
    pass(LONG).await;
    assert_eq!((node.states(), node.engine.done()), (vec![], vec![]));
    // It is when it is assigned anew; what is heard meanwhile lets it wait for its image.
    node.assign(wanted()).await;
    for _ in 0..20 {
        pass(Duration::from_secs(4)).await;
        assert!(node.hear().await);
    }
    assert_eq!(node.running(), [id(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_suspended_for_longer_than_the_lease_ends_what_is_exclusive_at_once() {
    let mut node = Node::start().await;
    node.assign(exclusive()).await;
    pass(MOMENT).await;
    assert_eq!(node.running(), [id(1)]);
    // Timers do not know of it.
    node.suspended.store(3_600, Ordering::Relaxed);
    assert!(!node.hear().await, "what waited in the connection comes too late");
    pass(MOMENT).await;
    assert_eq!(node.states(), [State::Exited]);
}
