//! Replicas that end while they serve.

use std::time::Duration;

use gantry_api::cluster::v1::Goal;
use gantry_api::node::v1::Table;

use crate::agent::Agent;
use crate::proxy::Proxy;
use crate::support::{Scheduler, eventually_within, never_within};

fn endpoints(table: &Table) -> usize {
    table.backends.iter().flat_map(|backend| &backend.groups).map(|group| group.endpoints.len()).sum()
}

#[tokio::test]
async fn a_replica_ends_when_its_proxy_has_let_go_of_it_and_its_requests_are_over() {
    let scheduler = Scheduler::start().await;
    let agent = Agent::default();
    let _session = agent.connect(&scheduler);
    scheduler.node_is_ready().await;
    let mut proxy = Proxy::connect(&scheduler).await;
    scheduler.deploy(2).await;
    let table = proxy.table(|table| endpoints(table) == 2).await;
    proxy.ack(&table).await;
    assert_eq!((table.listeners[0].port, table.listeners[0].service.as_str()), (8080, "shop/web"));

    scheduler.deploy(1).await;
    let table = proxy.table(|table| endpoints(table) == 1).await;
    let leaving = scheduler.replicas().await[1].id.clone();
    proxy.still_serving(&table, vec![leaving.clone()]).await;
    proxy.ack(&table).await;
    // For longer than its name may be remembered.
    never_within(Duration::from_millis(1500), "its end, while a request is in flight", async || {
        let now = scheduler.replicas().await;
        let drains = now.get(1).is_some_and(|it| it.id == leaving && it.goal() == Goal::Drain);
        (!drains).then_some(())
    })
    .await;

    proxy.still_serving(&table, Vec::new()).await;
    // Well before the drain timeout, which is 10 s.
    eventually_within(Duration::from_secs(5), "its end", async || {
        (scheduler.replicas().await.len() == 1).then_some(())
    })
    .await;
}
