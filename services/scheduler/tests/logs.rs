//! Logs of a service over the wire: a real scheduler, and agents that tell what a test has written.

#![allow(clippy::unwrap_used)] // A test that cannot be set up has failed.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantry_api::agent::v1::{ContainerSpec, StreamLogsResponse as Piece};
use gantry_api::cluster::v1::replica_service_client::ReplicaServiceClient;
use gantry_api::cluster::v1::stack_service_client::StackServiceClient;
use gantry_api::cluster::v1::{
    ApplyStackRequest, ListReplicasRequest, Phase, ServiceSpec, StackSpec, StreamLogsRequest,
    StreamLogsResponse,
};
use gantry_api::node::v1::relay_service_client::RelayServiceClient;
use gantry_api::node::v1::session_service_client::SessionServiceClient;
use gantry_api::node::v1::{
    Hello, ImageFound, OpenRelay, RelayRequest, ReplicaStatus, SessionRequest, StatusReport, open_relay,
    relay_request, session_request, session_response,
};
use gantry_identity::Role;
use prost_types::Timestamp;
use support::{PATIENCE, Scheduler, eventually};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

/// Runs two replicas of `shop/web`, one on each node; answers with the slot on each.
async fn deploy(scheduler: &Scheduler) -> BTreeMap<String, u32> {
    let container = ContainerSpec { image: "test".into(), ..ContainerSpec::default() };
    let web = ServiceSpec {
        name: "web".into(),
        container: Some(container),
        replicas: Some(2),
        ..ServiceSpec::default()
    };
    let spec = StackSpec { name: "shop".into(), services: vec![web], ..StackSpec::default() };
    let mut stacks = StackServiceClient::new(scheduler.channel(Role::Operator, "ada"));
    let mut replicas = ReplicaServiceClient::new(scheduler.channel(Role::Viewer, "bob"));
    eventually("a replica on each node", async || {
        let request = ApplyStackRequest { spec: Some(spec.clone()), ..ApplyStackRequest::default() };
        // Until both nodes are there this may be refused.
        if let Ok(steps) = stacks.apply_stack(request).await {
            let mut steps = steps.into_inner();
            while let Ok(Some(_)) = steps.message().await {}
        }
        let all = replicas.list_replicas(ListReplicasRequest::default()).await.unwrap().into_inner();
        let slots: BTreeMap<String, u32> = all
            .replicas
            .iter()
            .filter(|replica| replica.phase() == Phase::Running)
            .map(|replica| (replica.node.clone(), replica.slot))
            .collect();
        (slots.len() == 2).then_some(slots)
    })
    .await
}

async fn logs(scheduler: &Scheduler, follow: bool) -> Streaming<StreamLogsResponse> {
    let request =
        StreamLogsRequest { services: vec!["shop/web".into()], follow, ..StreamLogsRequest::default() };
    let mut client = ReplicaServiceClient::new(scheduler.channel(Role::Viewer, "bob"));
    client.stream_logs(request).await.unwrap().into_inner()
}

/// How an agent answers when it is asked for a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answers {
    /// With all its lines.
    AtOnce,
    /// Not at all: it is out of reach, and its session does not know yet.
    Never,
    /// With its lines, and then nothing more, not even that it is alive.
    ThenNothing,
}

/// An agent whose containers have written `lines` at those seconds.
fn agent(scheduler: &Scheduler, node: &'static str, lines: &'static [i64], answers: Answers) {
    let channel = scheduler.channel(Role::Node, node);
    tokio::spawn(async move {
        let (messages, stream) = mpsc::channel(64);
        let say = |message| {
            let messages = messages.clone();
            async move { drop(messages.send(SessionRequest { message: Some(message) }).await) }
        };
        let hello = Hello { node_id: node.into(), name: node.into(), ..Hello::default() };
        say(session_request::Message::Hello(hello)).await;
        let status = StatusReport { full: true, ..StatusReport::default() };
        say(session_request::Message::Status(status)).await;
        let session = SessionServiceClient::new(channel.clone()).session(ReceiverStream::new(stream)).await;
        let mut session = session.unwrap().into_inner();
        let beating = messages.clone();
        tokio::spawn(async move {
            let beat = session_request::Message::Heartbeat(Default::default());
            let mut every = interval(Duration::from_secs(1));
            while beating.send(SessionRequest { message: Some(beat.clone()) }).await.is_ok() {
                every.tick().await;
            }
        });
        let known = Arc::new(Mutex::new(BTreeMap::new()));
        while let Ok(Some(message)) = session.message().await {
            match message.message {
                Some(session_response::Message::Assignments(assignments)) => {
                    for assignment in assignments.upserts {
                        let status = ReplicaStatus {
                            replica_id: assignment.replica_id.clone(),
                            phase: Phase::Running.into(),
                            container_id: "c".into(),
                            ..ReplicaStatus::default()
                        };
                        known.lock().unwrap().insert(assignment.replica_id, status);
                    }
                    let replicas = known.lock().unwrap().values().cloned().collect();
                    say(session_request::Message::Status(StatusReport { full: true, replicas, now: None }))
                        .await;
                }
                Some(session_response::Message::OpenRelay(ask)) => {
                    tokio::spawn(relay(channel.clone(), ask, lines, answers));
                }
                _ => {}
            }
        }
    });
}

async fn relay(channel: Channel, ask: OpenRelay, lines: &'static [i64], answers: Answers) {
    let (messages, stream) = mpsc::channel(64);
    let say = |message| messages.try_send(RelayRequest { message: Some(message) }).unwrap();
    let mut stay = false;
    match ask.want {
        Some(open_relay::Want::Image(_)) => {
            say(relay_request::Message::RelayId(ask.relay_id));
            let found = ImageFound { digest: "sha256:1".into(), ..ImageFound::default() };
            say(relay_request::Message::Image(found));
        }
        Some(open_relay::Want::Logs(wanted)) if answers != Answers::Never => {
            say(relay_request::Message::RelayId(ask.relay_id));
            let since = wanted.since.map_or(i64::MIN, |since| since.seconds);
            for second in lines.iter().filter(|second| **second > since) {
                let time = Some(Timestamp { seconds: *second, nanos: 0 });
                let data = format!("{second}\n").into_bytes();
                say(relay_request::Message::Log(Piece { time, data, ..Piece::default() }));
            }
            stay = answers == Answers::ThenNothing || wanted.follow;
        }
        _ => return,
    }
    let answer = RelayServiceClient::new(channel).relay(ReceiverStream::new(stream)).await;
    let Ok(mut answer) = answer.map(tonic::Response::into_inner) else { return };
    if stay {
        let alive = async {
            if answers == Answers::ThenNothing {
                std::future::pending::<()>().await;
            }
            let mut every = interval(Duration::from_secs(1));
            loop {
                every.tick().await;
                drop(messages.try_send(RelayRequest { message: Some(relay_request::Message::Alive(true)) }));
            }
        };
        tokio::select! {
            () = alive => {}
            _ = answer.message() => {}
        }
    }
    drop(messages);
    while let Ok(Some(_)) = answer.message().await {}
}

/// Everything until the end: the lines, and the warnings.
async fn read_all(mut pieces: Streaming<StreamLogsResponse>) -> (Vec<String>, Vec<String>) {
    let (mut lines, mut warnings) = (Vec::new(), Vec::new());
    let reading = async {
        while let Some(piece) = pieces.message().await.unwrap() {
            if piece.warning.is_empty() {
                lines.push(String::from_utf8(piece.data).unwrap().trim().to_owned());
            } else {
                warnings.push(format!("{}: {}", piece.slot, piece.warning));
            }
        }
    };
    timeout(PATIENCE, reading).await.unwrap();
    (lines, warnings)
}

#[tokio::test]
async fn the_logs_of_replicas_on_several_nodes_are_merged_in_order_of_time() {
    let scheduler = Scheduler::start().await;
    agent(&scheduler, "n1", &[1, 4, 5, 8], Answers::AtOnce);
    agent(&scheduler, "n2", &[2, 3, 6, 7], Answers::AtOnce);
    deploy(&scheduler).await;
    let (lines, warnings) = read_all(logs(&scheduler, false).await).await;
    assert_eq!(lines, ["1", "2", "3", "4", "5", "6", "7", "8"]);
    assert_eq!(warnings, [""; 0]);
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_a_warning_and_the_rest_is_shown() {
    for answers in [Answers::Never, Answers::ThenNothing] {
        let scheduler = Scheduler::start().await;
        agent(&scheduler, "n1", &[1, 2], Answers::AtOnce);
        agent(&scheduler, "n2", &[], answers);
        let slots = deploy(&scheduler).await;
        let (lines, warnings) = read_all(logs(&scheduler, false).await).await;
        assert_eq!(lines, ["1", "2"], "{answers:?}");
        assert_eq!(warnings.len(), 1, "{answers:?}: {warnings:?}");
        assert!(warnings[0].starts_with(&format!("{}: node n2 ", slots["n2"])), "{warnings:?}");
    }
}

#[tokio::test]
async fn followed_logs_are_shown_as_they_come_although_others_are_silent() {
    let scheduler = Scheduler::start().await;
    agent(&scheduler, "n1", &[1, 3], Answers::AtOnce);
    agent(&scheduler, "n2", &[2], Answers::AtOnce);
    deploy(&scheduler).await;
    let mut pieces = logs(&scheduler, true).await;
    let mut lines = Vec::new();
    while lines.len() < 3 {
        let piece = timeout(PATIENCE, pieces.message()).await.unwrap().unwrap().unwrap();
        assert_eq!(piece.warning, "");
        lines.push(piece.data);
    }
    assert_eq!(lines.concat(), b"1\n2\n3\n");
}
