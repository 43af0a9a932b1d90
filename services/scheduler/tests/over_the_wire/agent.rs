//! An agent whose containers are only a map.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantry_api::cluster::v1::{Goal, Phase};
use gantry_api::node::v1::relay_service_client::RelayServiceClient;
use gantry_api::node::v1::session_service_client::SessionServiceClient;
use gantry_api::node::v1::{
    Assignments, Heartbeat, Hello, ImageFound, RelayRequest, ReplicaStatus, SessionRequest, StatusReport,
    open_relay, relay_request, session_request, session_response,
};
use gantry_identity::Role;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::interval;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::support::Scheduler;

/// An agent that runs whatever it is told to.
#[derive(Clone, Default)]
pub struct Agent {
    /// The id of its node; `n1` where it is empty.
    node: String,
    /// What it runs.
    containers: Arc<Mutex<BTreeMap<String, Phase>>>,
    /// What it was told, message by message.
    pub heard: Arc<Mutex<Vec<Assignments>>>,
}

impl Agent {
    /// Of another node than `n1`.
    pub fn of(node: &str) -> Self {
        Self { node: node.into(), ..Self::default() }
    }

    /// Connects, and works until the session ends.
    pub fn connect(&self, scheduler: &Scheduler) -> JoinHandle<()> {
        let (agent, channel) = (self.clone(), scheduler.channel(Role::Node, self.node()));
        tokio::spawn(async move { agent.session(channel).await })
    }

    fn node(&self) -> &str {
        if self.node.is_empty() { "n1" } else { &self.node }
    }

    async fn session(self, channel: Channel) {
        let (messages, stream) = mpsc::channel(16);
        let send = |message| {
            let messages = messages.clone();
            async move { drop(messages.send(SessionRequest { message: Some(message) }).await) }
        };
        let hello = Hello {
            node_id: self.node().into(),
            name: format!("node-{}", self.node()),
            instance: "i1".into(),
            addresses: vec!["127.0.0.1".into()],
            ..Hello::default()
        };
        send(session_request::Message::Hello(hello)).await;
        send(session_request::Message::Status(self.report(true))).await;
        let answers = SessionServiceClient::new(channel.clone()).session(ReceiverStream::new(stream)).await;
        let Ok(mut answers) = answers.map(tonic::Response::into_inner) else { return };
        let mut beat = interval(Duration::from_secs(1));
        loop {
            let answer = tokio::select! {
                answer = answers.message() => answer,
                _ = beat.tick() => {
                    send(session_request::Message::Heartbeat(Heartbeat::default())).await;
                    continue;
                }
            };
            let Ok(Some(answer)) = answer else { return };
            match answer.message {
                Some(session_response::Message::Assignments(assignments)) => {
                    self.take(assignments);
                    send(session_request::Message::Status(self.report(false))).await;
                }
                Some(session_response::Message::OpenRelay(relay)) => {
                    assert!(matches!(relay.want, Some(open_relay::Want::Image(_))), "{relay:?}");
                    tokio::spawn(image(channel.clone(), relay.relay_id));
                }
                _ => {}
            }
        }
    }

    fn take(&self, assignments: Assignments) {
        let mut containers = self.containers.lock().unwrap();
        for assignment in &assignments.upserts {
            let phase = if assignment.goal() == Goal::Stop { Phase::Removed } else { Phase::Running };
            containers.insert(assignment.replica_id.clone(), phase);
        }
        self.heard.lock().unwrap().push(assignments);
    }

    fn report(&self, full: bool) -> StatusReport {
        let containers = self.containers.lock().unwrap();
        let status = |(id, phase): (&String, &Phase)| ReplicaStatus {
            replica_id: id.clone(),
            phase: (*phase).into(),
            ..ReplicaStatus::default()
        };
        StatusReport { full, replicas: containers.iter().map(status).collect() }
    }
}

/// Answers what an image stands for.
async fn image(channel: Channel, relay: String) {
    let found =
        ImageFound { digest: "sha256:1".into(), platform: "linux/amd64".into(), ..ImageFound::default() };
    let messages = [relay_request::Message::RelayId(relay), relay_request::Message::Image(found)];
    let requests = tokio_stream::iter(messages.map(|message| RelayRequest { message: Some(message) }));
    let mut answers = RelayServiceClient::new(channel).relay(requests).await.unwrap().into_inner();
    while let Ok(Some(_)) = answers.message().await {}
}
