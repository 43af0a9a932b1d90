//! Nodes that are gone, and what is done when they are back.

use gantry_api::cluster::v1::RebalanceRequest;
use gantry_api::cluster::v1::placement_service_client::PlacementServiceClient;
use gantry_identity::Role;

use crate::agent::Agent;
use crate::support::watchdog::Watchdog;
use crate::support::{Scheduler, eventually};

#[tokio::test]
async fn the_replicas_of_a_node_that_is_gone_are_replaced_and_it_finds_nothing_to_run_when_it_is_back() {
    let scheduler = Scheduler::start().await;
    let (one, two) = (Agent::default(), Agent::of("n2"));
    let _session = one.connect(&scheduler);
    let session = two.connect(&scheduler);
    let _judging = Watchdog::start(&scheduler, "w1").await.judge();
    scheduler.nodes_are_ready(2).await;
    scheduler.deploy(4).await;
    scheduler.converged().await;
    let on = |node: &'static str| {
        let scheduler = &scheduler;
        async move { scheduler.replicas().await.iter().filter(|replica| replica.node == node).count() }
    };
    assert_eq!((on("node-n1").await, on("node-n2").await), (2, 2));

    session.abort();
    eventually("all of them on the other node", async || {
        ((on("node-n1").await, on("node-n2").await) == (4, 0)).then_some(())
    })
    .await;
    scheduler.converged().await;

    two.heard.lock().unwrap().clear();
    let _session = two.connect(&scheduler);
    scheduler.nodes_are_ready(2).await;
    let heard = eventually("what it is to run", async || {
        Some(two.heard.lock().unwrap().clone()).filter(|heard| !heard.is_empty())
    })
    .await;
    assert!(heard[0].full && heard.iter().all(|message| message.upserts.is_empty()), "{heard:?}");

    // People may have it even again.
    let mut client = PlacementServiceClient::new(scheduler.channel(Role::Operator, "ada"));
    let planned = client.rebalance(RebalanceRequest { plan: true }).await.unwrap().into_inner();
    assert_eq!(planned.moves.len(), 2);
    assert_eq!(on("node-n2").await, 0, "a plan moves nothing");
    client.rebalance(RebalanceRequest { plan: false }).await.unwrap();
    eventually("as many on both", async || {
        ((on("node-n1").await, on("node-n2").await) == (2, 2)).then_some(())
    })
    .await;
}
