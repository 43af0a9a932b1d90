//! What is deployed runs, and goes on running while the scheduler is restarted.

use gantry_api::cluster::v1::Goal;

use crate::agent::Agent;
use crate::people::{finish, ids};
use crate::support::Scheduler;

#[tokio::test]
async fn a_deploy_reaches_the_agent_and_scaling_in_ends_the_highest_slots() {
    let scheduler = Scheduler::start().await;
    let agent = Agent::default();
    let _session = agent.connect(&scheduler);
    scheduler.node_is_ready().await;
    scheduler.deploy(3).await;
    scheduler.converged().await;
    let before = scheduler.replicas().await;
    assert_eq!(
        before.iter().map(|replica| (replica.slot, replica.state.as_str())).collect::<Vec<_>>(),
        [(1, "running"), (2, "running"), (3, "running")]
    );

    scheduler.deploy(1).await;
    scheduler.converged().await;
    assert_eq!(ids(&scheduler.replicas().await), ids(&before)[..1]);
    let heard = agent.heard.lock().unwrap();
    assert!(heard[0].full, "first everything, then changes");
    let stopped = heard.iter().flat_map(|message| &message.upserts).filter(|one| one.goal() == Goal::Stop);
    assert_eq!(stopped.count(), 2);
}

#[tokio::test]
async fn a_deploy_right_after_a_restart_waits_for_the_nodes() {
    let mut scheduler = Scheduler::start().await;
    let agent = Agent::default();
    let session = agent.connect(&scheduler);
    scheduler.node_is_ready().await;
    scheduler.stop().await;
    session.abort();
    scheduler.resume().await;
    let begun = scheduler.begin_deploy(1).await;
    let _session = agent.connect(&scheduler);
    finish(begun).await;
    scheduler.converged().await;
}

#[tokio::test]
async fn a_restarted_scheduler_knows_everything_and_disturbs_nothing_while_the_agent_is_away() {
    let mut scheduler = Scheduler::start().await;
    let agent = Agent::default();
    let session = agent.connect(&scheduler);
    scheduler.node_is_ready().await;
    scheduler.deploy(2).await;
    scheduler.converged().await;
    let before = ids(&scheduler.replicas().await);

    scheduler.stop().await;
    session.abort();
    scheduler.resume().await;
    let alone = scheduler.replicas().await;
    assert_eq!(ids(&alone), before);
    assert!(alone.iter().all(|replica| replica.goal() == Goal::Run), "{alone:?}");

    agent.heard.lock().unwrap().clear();
    let _session = agent.connect(&scheduler);
    scheduler.converged().await;
    assert_eq!(ids(&scheduler.replicas().await), before);
    let heard = agent.heard.lock().unwrap();
    assert!(
        heard.iter().flat_map(|message| &message.upserts).all(|one| one.goal() == Goal::Run),
        "{heard:?}"
    );
}
