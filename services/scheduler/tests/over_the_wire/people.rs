//! What people ask of the scheduler and see of it.

use std::time::Duration;

use gantry_api::agent::v1::ContainerSpec;
use gantry_api::cluster::v1::node_service_client::NodeServiceClient;
use gantry_api::cluster::v1::replica_service_client::ReplicaServiceClient;
use gantry_api::cluster::v1::stack_service_client::StackServiceClient;
use gantry_api::cluster::v1::{
    ApplyStackRequest, ListNodesRequest, ListReplicasRequest, PublishedPort, Replica, ServiceSpec, StackSpec,
    WatchStackRequest, apply_stack_response,
};
use gantry_identity::Role;
use tokio::time::{sleep, timeout};

use crate::support::{PATIENCE, Scheduler};

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
        let wait = async {
            loop {
                let nodes = client.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes;
                if nodes.iter().filter(|node| node.ready).count() == count {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap();
    }

    pub async fn deploy(&self, replicas: u32) {
        let container = ContainerSpec { image: "test".into(), ..ContainerSpec::default() };
        let web = ServiceSpec {
            name: "web".into(),
            container: Some(container),
            replicas: Some(replicas),
            ports: vec![PublishedPort { target: 80, published: 8080, ..PublishedPort::default() }],
            ..ServiceSpec::default()
        };
        let spec = StackSpec { name: "shop".into(), services: vec![web], ..StackSpec::default() };
        let mut client = StackServiceClient::new(self.channel(Role::Operator, "ada"));
        let request = ApplyStackRequest { spec: Some(spec), ..ApplyStackRequest::default() };
        let mut steps = client.apply_stack(request).await.unwrap().into_inner();
        let mut done = false;
        while let Some(step) = steps.message().await.unwrap() {
            done = matches!(step.message, Some(apply_stack_response::Message::Result(_)));
        }
        assert!(done, "the last message is the result");
    }

    pub async fn converged(&self) {
        let mut client = StackServiceClient::new(self.channel(Role::Viewer, "bob"));
        let request = WatchStackRequest { name: "shop".into() };
        let mut states = client.watch_stack(request).await.unwrap().into_inner();
        let wait = async { while !states.message().await.unwrap().unwrap().converged {} };
        timeout(PATIENCE, wait).await.unwrap();
    }
}

pub fn ids(replicas: &[Replica]) -> Vec<String> {
    replicas.iter().map(|replica| replica.id.clone()).collect()
}
