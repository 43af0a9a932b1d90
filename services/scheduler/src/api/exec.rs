//! A process in a replica's container, between a person and an agent.

use std::sync::Arc;
use std::time::Duration;

use gantry_api::agent::v1::exec_response::Message as FromProcess;
use gantry_api::cluster::v1::exec_request::Message as FromPerson;
use gantry_api::cluster::v1::exec_response::Message as ToPerson;
use gantry_api::cluster::v1::{ExecRequest, ExecResponse, ExecTarget};
use gantry_api::node::v1::open_relay::Want;
use gantry_api::node::v1::relay_request::Message as FromAgent;
use gantry_api::node::v1::relay_response::Message as ToAgent;
use gantry_api::node::v1::{ExecWanted, RelayResponse};
use gantry_model::{Goal, Phase, Replica, Snapshot};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::find_service;
use super::replicas::{find_replica, node_of};
use crate::session::{Relay, Relays};

const TARGET_WITHIN: Duration = Duration::from_secs(10);

/// The first message, which says what to run and where.
pub async fn read_target(incoming: &mut Streaming<ExecRequest>) -> Result<ExecTarget, Status> {
    let first = timeout(TARGET_WITHIN, incoming.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the first message did not come"))??;
    match first.and_then(|first| first.message) {
        Some(FromPerson::Start(target)) => Ok(target),
        _ => Err(Status::invalid_argument("the first message must say what to start")),
    }
}

/// The replica that is meant.
pub fn choose(snapshot: &Snapshot, target: &str, slot: u32) -> Result<Arc<Replica>, Status> {
    if !target.contains('/') {
        return find_replica(snapshot, target).cloned();
    }
    let service = find_service(snapshot, target)?;
    let running = |replica: &&Arc<Replica>| {
        snapshot.status_of(&replica.id).is_some_and(|status| status.phase == Phase::Running)
    };
    let mut candidates = snapshot
        .replicas_of(&service.id)
        .filter(|replica| replica.goal == Goal::Run)
        .filter(|replica| slot == 0 || replica.slot == slot);
    candidates.find(running).cloned().ok_or_else(|| {
        let which = if slot == 0 { "no replica".to_owned() } else { format!("no replica {slot}") };
        Status::failed_precondition(format!(
            "{which} of {} runs: `gantry why {}` says why",
            service.id, service.id
        ))
    })
}

/// Asks the replica's agent to start the process.
pub async fn open(
    relays: &Relays,
    snapshot: &Snapshot,
    replica: &Replica,
    target: ExecTarget,
) -> Result<Relay, Status> {
    let node = node_of(snapshot, replica)?;
    let start = target.start.ok_or_else(|| Status::invalid_argument("start is missing"))?;
    if start.command.is_empty() {
        return Err(Status::invalid_argument("the command is empty"));
    }
    let want = ExecWanted { replica_id: replica.id.to_string(), start: Some(start) };
    relays.open(&node.id, &node.name, Want::Exec(want)).await
}

/// Carries input and output until the process ends.
pub async fn carry(
    mut incoming: Streaming<ExecRequest>,
    mut relay: Relay,
    answers: &mpsc::Sender<Result<ExecResponse, Status>>,
) -> Result<(), Status> {
    let mut listening = true;
    loop {
        tokio::select! {
            message = relay.next() => {
                let Some(message) = message? else {
                    return Err(Status::unavailable("the agent hung up before the process ended"));
                };
                let FromAgent::Exec(response) = message else { continue };
                let (message, last) = match response.message {
                    Some(FromProcess::Stdout(data)) => (ToPerson::Stdout(data), false),
                    Some(FromProcess::Stderr(data)) => (ToPerson::Stderr(data), false),
                    Some(FromProcess::ExitCode(code)) => (ToPerson::ExitCode(code), true),
                    None => continue,
                };
                let sent = answers.send(Ok(ExecResponse { message: Some(message) })).await;
                if last || sent.is_err() {
                    return Ok(());
                }
            }
            message = incoming.message(), if listening => {
                let message = match message {
                    Ok(Some(message)) => message.message,
                    // The person's side has nothing more to say; output still flows.
                    Ok(None) => Some(FromPerson::StdinEnd(true)),
                    Err(_) => return Ok(()),
                };
                let message = match message {
                    Some(FromPerson::Stdin(data)) => ToAgent::Stdin(data),
                    Some(FromPerson::Resize(size)) => ToAgent::Resize(size),
                    Some(FromPerson::StdinEnd(_)) => {
                        listening = false;
                        ToAgent::StdinEnd(true)
                    }
                    Some(FromPerson::Start(_)) | None => continue,
                };
                let _ = relay.outgoing.send(Ok(RelayResponse { message: Some(message) })).await;
            }
            () = answers.closed() => return Ok(()),
        }
    }
}
