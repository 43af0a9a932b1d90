//! Replicas whose health is checked, by processes of the simulated engine: what is told of them, and when.

use gantry_api::cluster::v1 as cluster;
use gantry_model::Health;

use super::*;
use crate::managed::Board;

const SECOND: Duration = Duration::from_secs(1);

/// Asked every second, and within half of one; unhealthy after three failures.
fn probe() -> cluster::HealthProbe {
    let exec = cluster::ExecCheck { command: vec!["check".into()] };
    let time = |millis: i32| Some(prost_types::Duration { seconds: 0, nanos: millis * 1_000_000 });
    cluster::HealthProbe {
        check: Some(cluster::health_probe::Check::Exec(exec)),
        interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        timeout: time(500),
        retries: 3,
        start_period: None,
        start_interval: time(200),
    }
}

/// Replica 1, checked for both uses.
fn checked() -> Assignments {
    let assignment =
        Assignment { readiness: Some(probe()), liveness: Some(probe()), ..assignment(1, Goal::Run) };
    Assignments { full: true, upserts: vec![assignment], ..Assignments::default() }
}

impl Node {
    fn board(&self) -> Board {
        self.agent.as_ref().unwrap().0.board().clone()
    }

    /// Whether it may take traffic, and its health.
    fn told(&self) -> (Option<bool>, Health) {
        let status = self.status();
        (status.probe_ready, status.health)
    }
}

#[tokio::test(start_paused = true)]
async fn one_failure_takes_a_replica_out_of_the_routes_and_several_make_it_unhealthy() {
    let mut node = Node::start().await;
    node.engine.processes_end(Some((1, "not yet")));
    node.assign(checked()).await;
    pass(SECOND).await;
    assert_eq!(node.told(), (Some(false), Health::Starting));
    assert_eq!(node.status().probe_message, "check: ended with exit code 1: not yet");
    assert!(!node.status().is_ready());

    node.engine.processes_end(Some((0, "")));
    pass(SECOND).await;
    assert_eq!(node.told(), (Some(true), Health::Healthy));
    assert!(node.status().is_ready() && node.status().probe_message.is_empty());

    // As if it were frozen: its checks never end.
    pass(SECOND * 60).await;
    node.engine.processes_end(None);
    pass(SECOND * 2).await;
    assert_eq!(node.told(), (Some(false), Health::Healthy));
    assert_eq!(node.status().probe_message, "check: has not ended within 500ms");
    pass(SECOND * 3).await;
    assert_eq!(node.told(), (Some(false), Health::Unhealthy));
}

#[tokio::test(start_paused = true)]
async fn what_stays_as_it_is_is_not_told_again() {
    let mut node = Node::start().await;
    node.assign(checked()).await;
    pass(SECOND * 5).await;
    let mut statuses = node.board().subscribe();
    statuses.borrow_and_update();
    let before = node.engine.processes().len();
    pass(SECOND * 20).await;
    assert!(node.engine.processes().len() >= before + 18, "it is checked all the time");
    assert!(!statuses.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_started_again_must_pass_again() {
    let mut node = Node::start().await;
    node.assign(checked()).await;
    pass(SECOND * 5).await;
    assert_eq!(node.told(), (Some(true), Health::Healthy));
    node.engine.processes_end(Some((1, "")));
    node.engine.kill(&id(1));
    pass(SECOND / 2).await;
    assert_eq!(node.running(), [id(1)]);
    assert_eq!(node.told(), (Some(false), Health::Starting));
    node.engine.processes_end(Some((0, "")));
    pass(SECOND).await;
    assert_eq!(node.told(), (Some(true), Health::Healthy));
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_starts_anew_says_nothing_of_a_replica_before_it_knows() {
    let mut node = Node::start().await;
    node.assign(checked()).await;
    pass(SECOND * 5).await;
    node.restart_agent().await;
    node.agent.as_ref().unwrap().0.settled().await;
    assert_eq!(node.told(), (Some(true), Health::Healthy), "the first that is told of it");

    // It does not wait for ever.
    node.engine.processes_end(None);
    node.restart_agent().await;
    node.agent.as_ref().unwrap().0.settled().await;
    assert_eq!(node.told(), (Some(false), Health::Starting));
}

#[tokio::test(start_paused = true)]
async fn checks_that_are_new_do_not_take_a_running_replica_out_before_they_have_a_result() {
    let mut node = Node::start().await;
    node.assign(all(&BTreeSet::from([1]))).await;
    pass(SECOND).await;
    assert_eq!(node.told(), (None, Health::None));
    let mut statuses = node.board().subscribe();
    statuses.borrow_and_update();
    node.assign(checked()).await;
    statuses.changed().await.unwrap();
    assert_eq!(node.told(), (Some(true), Health::Healthy), "the first that is told after that");

    node.assign(all(&BTreeSet::from([1]))).await;
    pass(SECOND).await;
    assert_eq!(node.told(), (None, Health::None), "nothing is checked any more");
    let asked = node.engine.processes().len();
    pass(SECOND * 10).await;
    assert_eq!(node.engine.processes().len(), asked);
}

#[tokio::test(start_paused = true)]
async fn what_ends_is_not_checked_any_more() {
    let mut node = Node::start().await;
    node.assign(checked()).await;
    pass(SECOND * 5).await;
    node.assign(all(&BTreeSet::new())).await;
    pass(SECOND).await;
    let asked = node.engine.processes().len();
    pass(SECOND * 10).await;
    assert_eq!((node.engine.processes().len(), node.running().len()), (asked, 0));
}
