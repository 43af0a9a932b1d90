//! Files into a replica and out of it, and its processes, through its agent.

use std::sync::Arc;
use std::time::Duration;

use gantry_api::cluster::v1::copy_in_request::Message as FromPerson;
use gantry_api::cluster::v1::{
    CopyInRequest, CopyInStart, CopyOutResponse, ReplicaTarget, TopReplicaResponse,
};
use gantry_api::node::v1::open_relay::Want;
use gantry_api::node::v1::relay_request::Message as FromAgent;
use gantry_api::node::v1::relay_response::Message as ToAgent;
use gantry_api::node::v1::{CopyInWanted, CopyOutWanted, RelayResponse, TopWanted};
use gantry_model::{Replica, Snapshot};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::exec::choose;
use super::replicas::{Replicas, node_of};
use crate::session::Relay;

const START_WITHIN: Duration = Duration::from_secs(10);
/// The largest piece of an archive that is taken.
const MAX_CHUNK: usize = 1 << 20;

/// The replica that is meant.
pub fn target(snapshot: &Snapshot, target: Option<ReplicaTarget>) -> Result<Arc<Replica>, Status> {
    let target = target.ok_or_else(|| Status::invalid_argument("replica is missing"))?;
    choose(snapshot, &target.target, target.slot)
}

/// The processes of a replica.
pub async fn top(
    replicas: &Replicas,
    replica: &Replica,
    ps_args: String,
) -> Result<TopReplicaResponse, Status> {
    let snapshot = replicas.state.snapshot();
    let node = node_of(&snapshot, replica)?;
    let want = Want::Top(TopWanted { replica_id: replica.id.to_string(), ps_args });
    let mut relay = replicas.relays.open(&node.id, &node.name, want).await?;
    match relay.next().await? {
        Some(FromAgent::Top(processes)) => Ok(TopReplicaResponse {
            replica: replica.id.to_string(),
            node: node.name.clone(),
            processes: Some(processes),
        }),
        _ => Err(hung_up(&node.name)),
    }
}

fn hung_up(node: &str) -> Status {
    Status::unavailable(format!("node {node} hung up before it had answered"))
}

/// Asks for a file or folder of a replica.
pub async fn open_out(replicas: &Replicas, replica: &Replica, path: String) -> Result<Relay, Status> {
    if path.is_empty() {
        return Err(Status::invalid_argument("path is missing"));
    }
    let snapshot = replicas.state.snapshot();
    let node = node_of(&snapshot, replica)?;
    let want = Want::CopyOut(CopyOutWanted { replica_id: replica.id.to_string(), path });
    replicas.relays.open(&node.id, &node.name, want).await
}

/// Carries the archive of a file or folder to a person.
pub async fn carry_out(mut relay: Relay, answers: &mpsc::Sender<Result<CopyOutResponse, Status>>) {
    loop {
        let answer = match relay.next().await {
            Ok(Some(FromAgent::Archive(chunk))) => Ok(CopyOutResponse { chunk }),
            Ok(Some(_)) => continue,
            Ok(None) => return,
            Err(status) => Err(status),
        };
        let failed = answer.is_err();
        if answers.send(answer).await.is_err() || failed {
            return;
        }
    }
}

/// The first message, which says where to unpack.
pub async fn read_start(incoming: &mut Streaming<CopyInRequest>) -> Result<CopyInStart, Status> {
    let first = timeout(START_WITHIN, incoming.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the first message did not come"))??;
    match first.and_then(|first| first.message) {
        Some(FromPerson::Start(start)) if !start.path.is_empty() => Ok(start),
        _ => Err(Status::invalid_argument("the first message must say where to unpack")),
    }
}

/// Carries a person's archive into a replica.
pub async fn carry_in(
    replicas: &Replicas,
    replica: &Replica,
    path: String,
    mut incoming: Streaming<CopyInRequest>,
) -> Result<(), Status> {
    let snapshot = replicas.state.snapshot();
    let node = node_of(&snapshot, replica)?;
    let want = Want::CopyIn(CopyInWanted { replica_id: replica.id.to_string(), path });
    let mut relay = replicas.relays.open(&node.id, &node.name, want).await?;
    let outgoing = relay.outgoing.clone();
    let carrying = async {
        loop {
            let message = match incoming.message().await?.map(|message| message.message) {
                Some(Some(FromPerson::Chunk(chunk))) if chunk.len() <= MAX_CHUNK => ToAgent::Archive(chunk),
                Some(_) => return Err(Status::invalid_argument("a message of the copy is no piece of it")),
                None => ToAgent::ArchiveEnd(true),
            };
            let last = matches!(message, ToAgent::ArchiveEnd(_));
            let sent = outgoing.send(Ok(RelayResponse { message: Some(message) })).await;
            if last || sent.is_err() {
                return Ok(());
            }
        }
    };
    let mut carrying = std::pin::pin!(carrying);
    let mut carried = false;
    loop {
        tokio::select! {
            done = &mut carrying, if !carried => {
                done?;
                carried = true;
            }
            message = relay.next() => match message? {
                Some(FromAgent::Unpacked(_)) => return Ok(()),
                Some(_) => {}
                None => return Err(hung_up(&node.name)),
            },
        }
    }
}
