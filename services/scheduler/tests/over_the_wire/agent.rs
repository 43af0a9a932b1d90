//! An agent whose containers are only a map.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantry_api::agent::v1::Health;
use gantry_api::cluster::v1::{Goal, Phase};
use gantry_api::node::v1::relay_service_client::RelayServiceClient;
use gantry_api::node::v1::session_service_client::SessionServiceClient;
use gantry_api::node::v1::{
    Assignments, Heartbeat, Hello, ImageFound, RelayRequest, ReplicaEnd, ReplicaStatus, ReplicaUsage,
    Restarting, SessionRequest, StatusReport, UsageReport, open_relay, relay_request, session_request,
    session_response,
};
use gantry_identity::Role;
use tokio::sync::{Notify, mpsc};
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
    /// What it runs, with the newest restart that it was asked for.
    containers: Arc<Mutex<BTreeMap<String, (Phase, u64)>>>,
    /// What checks say of those that are unhealthy until they are restarted.
    unhealthy: Arc<Mutex<BTreeMap<String, String>>>,
    news: Arc<Notify>,
    ending: Arc<Notify>,
    /// How its processes ended.
    ends: Arc<Mutex<BTreeMap<String, Vec<ReplicaEnd>>>>,
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

    /// A replica is unhealthy until it is restarted.
    pub fn fail(&self, replica: &str, message: &str) {
        self.unhealthy.lock().unwrap().insert(replica.into(), message.into());
        self.news.notify_one();
    }

    /// The process of a replica was asked to end in that second, and had to be killed, as is known a little later.
    pub async fn kill(&self, replica: &str, second: i64) {
        let at = Some(prost_types::Timestamp { seconds: second, nanos: 0 });
        let end = ReplicaEnd { at, exit_code: 137, asked: true, ..ReplicaEnd::default() };
        for killed_after_grace in [false, true] {
            {
                let mut all = self.ends.lock().unwrap();
                let ends = all.entry(replica.into()).or_default();
                ends.retain(|known| known.at != at);
                ends.push(ReplicaEnd { killed_after_grace, ..end.clone() });
            }
            self.news.notify_one();
            tokio::task::yield_now().await;
        }
    }

    /// It is asked to end, says so, and does.
    pub fn end(&self) {
        self.ending.notify_one();
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
                () = self.ending.notified() => {
                    send(session_request::Message::Restarting(Restarting {})).await;
                    // Nothing more is heard of it, not even that its connection is closed.
                    while let Ok(Some(_)) = answers.message().await {}
                    return;
                }
                () = self.news.notified() => {
                    send(session_request::Message::Status(self.report(false))).await;
                    continue;
                }
                _ = beat.tick() => {
                    send(session_request::Message::Heartbeat(Heartbeat::default())).await;
                    send(session_request::Message::Usage(self.usage())).await;
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
            let asked = (phase, assignment.restart_sequence);
            let before = containers.insert(assignment.replica_id.clone(), asked);
            if before.is_some_and(|(_, sequence)| sequence < assignment.restart_sequence) {
                self.unhealthy.lock().unwrap().remove(&assignment.replica_id);
            }
        }
        self.heard.lock().unwrap().push(assignments);
    }

    /// Each of its containers uses a quarter of a core and 64 MiB.
    fn usage(&self) -> UsageReport {
        let containers = self.containers.lock().unwrap();
        let running = containers.iter().filter(|(_, (phase, _))| *phase == Phase::Running);
        let usage = |id: &String| ReplicaUsage {
            replica_id: id.clone(),
            cpu_microcores: Some(250_000),
            memory_bytes: Some(64 << 20),
        };
        UsageReport { replicas: running.map(|(id, _)| usage(id)).collect(), metrics: Vec::new() }
    }

    fn report(&self, full: bool) -> StatusReport {
        let containers = self.containers.lock().unwrap();
        let (unhealthy, ends) = (self.unhealthy.lock().unwrap(), self.ends.lock().unwrap());
        let status = |(id, (phase, sequence)): (&String, &(Phase, u64))| {
            let failure = unhealthy.get(id);
            let health = if failure.is_some() { Health::Unhealthy } else { Health::Unspecified };
            ReplicaStatus {
                replica_id: id.clone(),
                phase: (*phase).into(),
                restart_sequence: *sequence,
                health: health.into(),
                probe_ready: failure.map(|_| false),
                probe_message: failure.cloned().unwrap_or_default(),
                ends: ends.get(id).cloned().unwrap_or_default(),
                ..ReplicaStatus::default()
            }
        };
        StatusReport { full, replicas: containers.iter().map(status).collect(), now: None }
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
