//! Logs of replicas, merged by time.
//!
//! Without `follow` the logs are merged exactly: each replica's own log is in order, so always the
//! oldest of the pieces at their heads goes first. With `follow` the past is merged the same way, then
//! pieces are passed on as they come. A replica that cannot be reached is a warning, not an end.

use std::collections::BTreeSet;
use std::sync::Arc;

use gantry_api::cluster::v1::{StreamLogsRequest, StreamLogsResponse};
use gantry_api::node::v1::LogsWanted;
use gantry_api::node::v1::open_relay::Want;
use gantry_api::node::v1::relay_request::Message as FromAgent;
use gantry_model::{Replica, ReplicaId, ServiceId, Snapshot, wire};
use prost_types::Timestamp;
use tokio::sync::mpsc;
use tonic::Status;

use super::find_service;
use super::replicas::{Replicas, find_replica, node_of};
use crate::session::Relay;

type Answers = mpsc::Sender<Result<StreamLogsResponse, Status>>;

/// Whose logs, and which part.
pub struct Wanted {
    services: Vec<ServiceId>,
    replicas: Vec<ReplicaId>,
    follow: bool,
    since: Option<Timestamp>,
    tail: Option<u32>,
}

impl Wanted {
    /// Reads a request; what it names must exist.
    pub fn read(snapshot: &Snapshot, request: &StreamLogsRequest) -> Result<Self, Status> {
        let services = request
            .services
            .iter()
            .map(|name| find_service(snapshot, name).map(|service| service.id.clone()))
            .collect::<Result<_, _>>()?;
        let replicas = request
            .replicas
            .iter()
            .map(|id| find_replica(snapshot, id).map(|replica| replica.id.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let wanted =
            Self { services, replicas, follow: request.follow, since: request.since, tail: request.tail };
        if wanted.services.is_empty() && wanted.replicas.is_empty() {
            return Err(Status::invalid_argument("name services or replicas"));
        }
        Ok(wanted)
    }

    fn matching(&self, snapshot: &Snapshot) -> Vec<Arc<Replica>> {
        let is_wanted = |replica: &&Arc<Replica>| {
            replica.node.is_some()
                && (self.services.contains(&replica.service) || self.replicas.contains(&replica.id))
        };
        snapshot.replicas.values().filter(is_wanted).cloned().collect()
    }
}

/// Sends the logs until they end, or until the reader hangs up.
pub async fn stream(replicas: &Replicas, wanted: Wanted, answers: &Answers) {
    tokio::select! {
        () = answers.closed() => {}
        () = async {
            merge(replicas, &wanted, answers).await;
            if wanted.follow {
                follow(replicas, &wanted, answers).await;
            }
        } => {}
    }
}

/// The past, in order of time.
async fn merge(replicas: &Replicas, wanted: &Wanted, answers: &Answers) {
    let snapshot = replicas.state.snapshot();
    let mut heads: Vec<(Source, StreamLogsResponse)> = Vec::new();
    for replica in wanted.matching(&snapshot) {
        match Source::open(replicas, &snapshot, &replica, wanted, false, wanted.since).await {
            Ok(mut source) => {
                if let Some(first) = source.next(answers).await {
                    heads.push((source, first));
                }
            }
            Err(status) => warn(&replica, &status, answers).await,
        }
    }
    while let Some(oldest) = (0..heads.len()).min_by_key(|at| time_of(&heads[*at].1)) {
        let (source, _) = &mut heads[oldest];
        let piece = match source.next(answers).await {
            Some(next) => std::mem::replace(&mut heads[oldest].1, next),
            None => heads.swap_remove(oldest).1,
        };
        if answers.send(Ok(piece)).await.is_err() {
            return;
        }
    }
}

fn time_of(piece: &StreamLogsResponse) -> (i64, i32) {
    piece.time.map_or((0, 0), |time| (time.seconds, time.nanos))
}

/// What comes from now on, also from replicas that come later.
async fn follow(replicas: &Replicas, wanted: &Wanted, answers: &Answers) {
    let mut known: BTreeSet<ReplicaId> = BTreeSet::new();
    let mut changes = replicas.state.subscribe();
    let began = wire::write_time(gantry_boot::now());
    loop {
        let snapshot = changes.borrow_and_update().clone();
        for replica in wanted.matching(&snapshot) {
            let has_container =
                snapshot.status_of(&replica.id).is_some_and(|status| !status.container_id.is_empty());
            if !has_container || !known.insert(replica.id.clone()) {
                continue;
            }
            let (replicas, answers) = (replicas.clone(), answers.clone());
            let wanted =
                Wanted { services: Vec::new(), replicas: Vec::new(), follow: true, since: None, tail: None };
            tokio::spawn(async move {
                let snapshot = replicas.state.snapshot();
                match Source::open(&replicas, &snapshot, &replica, &wanted, true, Some(began)).await {
                    Ok(mut source) => {
                        while let Some(piece) = source.next(&answers).await {
                            if answers.send(Ok(piece)).await.is_err() {
                                return;
                            }
                        }
                    }
                    Err(status) => warn(&replica, &status, &answers).await,
                }
            });
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn warn(replica: &Replica, status: &Status, answers: &Answers) {
    let warning = StreamLogsResponse { warning: status.message().to_owned(), ..label(replica) };
    let _ = answers.send(Ok(warning)).await;
}

fn label(replica: &Replica) -> StreamLogsResponse {
    StreamLogsResponse {
        service: replica.service.to_string(),
        replica: replica.id.to_string(),
        slot: replica.slot,
        ..StreamLogsResponse::default()
    }
}

/// One replica's log.
struct Source {
    relay: Relay,
    label: StreamLogsResponse,
}

impl Source {
    async fn open(
        replicas: &Replicas,
        snapshot: &Snapshot,
        replica: &Replica,
        wanted: &Wanted,
        follow: bool,
        since: Option<Timestamp>,
    ) -> Result<Self, Status> {
        let node = node_of(snapshot, replica)?;
        let want = LogsWanted { replica_id: replica.id.to_string(), follow, since, tail: wanted.tail };
        let relay = replicas.relays.open(&node.id, &node.name, Want::Logs(want)).await?;
        Ok(Self { relay, label: label(replica) })
    }

    /// The next piece; `None` at the end. A failure in the middle is a warning, and the end.
    async fn next(&mut self, answers: &Answers) -> Option<StreamLogsResponse> {
        loop {
            match self.relay.next().await {
                Ok(Some(FromAgent::Log(piece))) => {
                    return Some(StreamLogsResponse {
                        stream: piece.stream,
                        data: piece.data,
                        time: piece.time,
                        ..self.label.clone()
                    });
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(status) => {
                    let warning =
                        StreamLogsResponse { warning: status.message().to_owned(), ..self.label.clone() };
                    let _ = answers.send(Ok(warning)).await;
                    return None;
                }
            }
        }
    }
}
