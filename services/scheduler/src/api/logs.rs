//! Logs of replicas, merged by time.
//!
//! Every replica's log comes on a stream of its own, opened at once with all the others, and [`Merge`] puts
//! them in order. A replica that cannot be reached, or not any more, is a warning, and not an end: the rest
//! is shown. With `follow` a log that ended is taken up again when its replica runs again.

mod merge;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gantry_api::cluster::v1::{StreamLogsRequest, StreamLogsResponse};
use gantry_api::node::v1::LogsWanted;
use gantry_api::node::v1::open_relay::Want;
use gantry_api::node::v1::relay_request::Message as FromAgent;
use gantry_model::{Phase, Replica, ReplicaId, ServiceId, Snapshot};
use merge::Merge;
use prost_types::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, sleep_until};
use tonic::Status;

use super::find_service;
use super::replicas::{Replicas, find_replica, node_of};

type Answers = mpsc::Sender<Result<StreamLogsResponse, Status>>;

/// Pieces of several replicas that come this close together are in order.
const WINDOW: Duration = Duration::from_millis(250);
/// Pieces of one replica that wait for those of others.
const WAITING: usize = 64;
/// How long to wait before a log that ended is asked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// Whose logs, and which part.
#[derive(Clone)]
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

/// What a replica's stream brings, under its number.
enum Brought {
    Piece(StreamLogsResponse, OwnedSemaphorePermit),
    Warning(StreamLogsResponse),
    End,
}

type Pieces = mpsc::Sender<(usize, Brought)>;

/// Sends the logs until they end, or until the reader hangs up.
pub async fn stream(replicas: &Replicas, wanted: Wanted, answers: &Answers) {
    tokio::select! {
        () = answers.closed() => {}
        () = merge(replicas, &wanted, answers) => {}
    }
}

async fn merge(replicas: &Replicas, wanted: &Wanted, answers: &Answers) {
    let (pieces, mut brought) = mpsc::channel(WAITING);
    let mut merge = Merge::new(wanted.follow.then_some(WINDOW));
    let mut known = BTreeSet::new();
    let mut tasks = tokio::task::JoinSet::new();
    let mut changes = replicas.state.subscribe();
    changes.mark_changed();
    // The first look takes every replica, so that each that cannot be read has its warning.
    let mut first = true;
    loop {
        if first || wanted.follow && changes.has_changed().unwrap_or_default() {
            let snapshot = changes.borrow_and_update().clone();
            for replica in wanted.matching(&snapshot) {
                if (first || has_container(&snapshot, &replica)) && known.insert(replica.id.clone()) {
                    let number = known.len();
                    merge.begin(number, Instant::now());
                    let source = Source { number, replica, wanted: wanted.clone(), pieces: pieces.clone() };
                    tasks.spawn(source.run(replicas.clone()));
                }
            }
            first = false;
        }
        while let Some((_, (piece, permit))) = merge.pop(Instant::now()) {
            drop(permit);
            if answers.send(Ok(piece)).await.is_err() {
                return;
            }
        }
        if merge.is_done() && !wanted.follow {
            return;
        }
        let deadline = merge.deadline();
        tokio::select! {
            Some((number, brought)) = brought.recv() => match brought {
                Brought::Piece(piece, permit) => {
                    let time = piece.time.map_or((0, 0), |time| (time.seconds, time.nanos));
                    merge.push(number, time, Instant::now(), (piece, permit));
                }
                Brought::Warning(warning) => {
                    if answers.send(Ok(warning)).await.is_err() {
                        return;
                    }
                }
                Brought::End => merge.end(number),
            },
            changed = changes.changed(), if wanted.follow => match changed {
                Ok(()) => changes.mark_changed(),
                Err(_) => return,
            },
            () = sleep_until(deadline.unwrap_or_else(Instant::now).into()), if deadline.is_some() => {}
        }
    }
}

fn has_container(snapshot: &Snapshot, replica: &Replica) -> bool {
    snapshot.status_of(&replica.id).is_some_and(|status| !status.container_id.is_empty())
}

/// One replica's log.
struct Source {
    number: usize,
    replica: Arc<Replica>,
    wanted: Wanted,
    pieces: Pieces,
}

impl Source {
    /// Brings the log to its end; a followed one until the replica is gone.
    async fn run(self, replicas: Replicas) {
        let waiting = Arc::new(Semaphore::new(WAITING));
        let (mut since, mut tail) = (self.wanted.since, self.wanted.tail);
        let mut warned = String::new();
        loop {
            let mut last = None;
            match self.read(&replicas, since, tail, &waiting, &mut last).await {
                Ok(()) => warned.clear(),
                // The same trouble over and over is said once.
                Err(status) if status.message() == warned => {}
                Err(status) => {
                    status.message().clone_into(&mut warned);
                    let warning = StreamLogsResponse { warning: warned.clone(), ..self.label() };
                    self.bring(Brought::Warning(warning)).await;
                }
            }
            if let Some(last) = last {
                (since, tail) = (Some(after(last)), None);
            }
            if !self.wanted.follow || !self.runs_again(&replicas).await {
                break;
            }
        }
        self.bring(Brought::End).await;
    }

    async fn bring(&self, brought: Brought) {
        // A merge that has ended needs nothing any more.
        let _ = self.pieces.send((self.number, brought)).await;
    }

    fn label(&self) -> StreamLogsResponse {
        StreamLogsResponse {
            service: self.replica.service.to_string(),
            replica: self.replica.id.to_string(),
            slot: self.replica.slot,
            ..StreamLogsResponse::default()
        }
    }

    async fn read(
        &self,
        replicas: &Replicas,
        since: Option<Timestamp>,
        tail: Option<u32>,
        waiting: &Arc<Semaphore>,
        last: &mut Option<Timestamp>,
    ) -> Result<(), Status> {
        let snapshot = replicas.state.snapshot();
        let node = node_of(&snapshot, &self.replica)?;
        let want =
            LogsWanted { replica_id: self.replica.id.to_string(), follow: self.wanted.follow, since, tail };
        let mut relay = replicas.relays.open(&node.id, &node.name, Want::Logs(want)).await?;
        while let Some(message) = relay.next().await? {
            let FromAgent::Log(piece) = message else { continue };
            *last = piece.time.or(*last);
            let piece = StreamLogsResponse {
                stream: piece.stream,
                data: piece.data,
                time: piece.time,
                ..self.label()
            };
            let Ok(permit) = waiting.clone().acquire_owned().await else { break };
            self.bring(Brought::Piece(piece, permit)).await;
        }
        Ok(())
    }

    /// Waits until the replica's log may have more; false when it never will.
    async fn runs_again(&self, replicas: &Replicas) -> bool {
        let mut changes = replicas.state.subscribe();
        sleep(AGAIN).await;
        let settled = changes.wait_for(|snapshot| {
            let Some(replica) = snapshot.replicas.get(&self.replica.id) else { return true };
            let node = replica.node.as_ref().and_then(|node| snapshot.node_statuses.get(node));
            let phase = snapshot.status_of(&replica.id).map(|status| status.phase);
            node.is_some_and(|node| node.connected) && phase == Some(Phase::Running)
        });
        settled.await.is_ok_and(|snapshot| snapshot.replicas.contains_key(&self.replica.id))
    }
}

/// The moment after a piece, so that it is not read twice.
fn after(time: Timestamp) -> Timestamp {
    match time.nanos {
        999_999_999 => Timestamp { seconds: time.seconds + 1, nanos: 0 },
        nanos => Timestamp { seconds: time.seconds, nanos: nanos + 1 },
    }
}
