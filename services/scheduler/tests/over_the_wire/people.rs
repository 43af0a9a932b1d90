//! What people ask of the scheduler and see of it.

use gantry_api::agent::v1::ContainerSpec;
use gantry_api::cluster::v1::event_service_client::EventServiceClient;
use gantry_api::cluster::v1::node_service_client::NodeServiceClient;
use gantry_api::cluster::v1::replica_service_client::ReplicaServiceClient;
use gantry_api::cluster::v1::stack_service_client::StackServiceClient;
use gantry_api::cluster::v1::{
    ApplyStackRequest, ApplyStackResponse, ListEventsRequest, ListNodesRequest, ListReplicasRequest,
    PublishedPort, Replica, ServiceSpec, StackSpec, WatchStackRequest, apply_stack_response,
};
use gantry_identity::Role;
use tokio::time::timeout;
use tonic::Streaming;

use crate::support::{PATIENCE, Scheduler, eventually};

impl Scheduler {
    pub async fn replicas(&self) -> Vec<Replica> {
        let mut client = ReplicaServiceClient::new(self.channel(Role::Viewer, "bob"));
        client.list_replicas(ListReplicasRequest::default()).await.unwrap().into_inner().replicas
    }

    /// Waits until the agent is known and has said what it runs.
    pub async fn node_is_ready(&self) {
        self.nodes_are_ready(1).await;
    }

    /// Waits until so many agents are known and have said what they run.
    pub async fn nodes_are_ready(&self, count: usize) {
        let mut client = NodeServiceClient::new(self.channel(Role::Viewer, "bob"));
        eventually("as many ready nodes", async || {
            let nodes = client.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes;
            (nodes.iter().filter(|node| node.ready).count() == count).then_some(())
        })
        .await;
    }

    pub async fn deploy(&self, replicas: u32) {
        finish(self.begin_deploy(replicas).await).await;
    }

    /// Deploys, and does not wait for the outcome: the scheduler has begun.
    pub async fn begin_deploy(&self, replicas: u32) -> Streaming<ApplyStackResponse> {
        self.begin_deploy_of(|web| web.replicas = Some(replicas)).await
    }

    /// Deploys shop/web with something changed.
    pub async fn begin_deploy_of(
        &self,
        change: impl FnOnce(&mut ServiceSpec),
    ) -> Streaming<ApplyStackResponse> {
        let container = ContainerSpec { image: "test".into(), ..ContainerSpec::default() };
        let mut web = ServiceSpec {
            name: "web".into(),
            container: Some(container),
            ports: vec![PublishedPort { target: 80, published: 8080, ..PublishedPort::default() }],
            ..ServiceSpec::default()
        };
        change(&mut web);
        let spec = StackSpec { name: "shop".into(), services: vec![web], ..StackSpec::default() };
        let mut client = StackServiceClient::new(self.channel(Role::Operator, "ada"));
        let request = ApplyStackRequest { spec: Some(spec), ..ApplyStackRequest::default() };
        client.apply_stack(request).await.unwrap().into_inner()
    }

    /// What was told of a subject, oldest first.
    pub async fn events(&self, subject: &str) -> Vec<String> {
        let mut client = EventServiceClient::new(self.channel(Role::Viewer, "bob"));
        let request = ListEventsRequest { subject: subject.into(), ..ListEventsRequest::default() };
        let events = client.list_events(request).await.unwrap().into_inner().events;
        events.into_iter().map(|event| event.message).collect()
    }

    pub async fn converged(&self) {
        let mut client = StackServiceClient::new(self.channel(Role::Viewer, "bob"));
        let request = WatchStackRequest { name: "shop".into() };
        let mut states = client.watch_stack(request).await.unwrap().into_inner();
        let wait = async { while !states.message().await.unwrap().unwrap().converged {} };
        timeout(PATIENCE, wait).await.unwrap();
    }
}

/// Waits for the outcome of a deployment, which must be a result.
pub async fn finish(mut steps: Streaming<ApplyStackResponse>) {
    let mut done = false;
    while let Some(step) = steps.message().await.unwrap() {
        done = matches!(step.message, Some(apply_stack_response::Message::Result(_)));
    }
    assert!(done, "the last message is the result");
}

pub fn ids(replicas: &[Replica]) -> Vec<String> {
    replicas.iter().map(|replica| replica.id.clone()).collect()
}
