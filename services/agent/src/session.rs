//! The agent's connection to the scheduler: says hello, reports, and takes what is wanted. It is made
//! again whenever it is lost; replicas run on meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gantry_api::node::v1::session_request::Message as ToScheduler;
use gantry_api::node::v1::session_response::Message as FromScheduler;
use gantry_api::node::v1::session_service_client::SessionServiceClient;
use gantry_api::node::v1::{
    self as node, Assignments, Heartbeat, Hello, ImageCopy, ImageReport, Lost, SessionRequest,
    SessionResponse, StatusReport, VolumeCopied, VolumeRemoved,
};
use gantry_boot::{Backoff, Members, chain, now};
use gantry_model::{BrokenPath, Lineage, NodeId, ReplicaId, ReplicaStatus, wire};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use crate::engine::Engine;
use crate::managed::{Assigned, Fleet, Runtime};
use crate::relay;
use crate::transfer::Copy;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// Changes that come together are reported together.
const GATHER: Duration = Duration::from_millis(5);
const VOLUME_AGAIN: Duration = Duration::from_secs(3);
/// People remove images, too.
const IMAGES_AGAIN: Duration = Duration::from_secs(10);
/// How far copies have come is told at most this often.
const PROGRESS: Duration = Duration::from_millis(300);
const QUEUE: usize = 64;
/// A node's whole assignment comes as one message.
const MAX_MESSAGE: usize = 64 << 20;

/// Who this agent is.
#[derive(Debug, Clone)]
pub struct Own {
    /// The node's id, as in its certificate.
    pub node: NodeId,
    /// The node's name.
    pub name: String,
    /// Where other members reach it.
    pub addresses: Vec<String>,
    /// The port of the agent's own API.
    pub agent_port: u16,
    /// Random, one a run.
    pub instance: String,
}

/// One agent's side of sessions.
pub struct Sessions<R> {
    /// Who this agent is.
    pub own: Own,
    /// The way to the scheduler.
    pub channel: Channel,
    /// What is known of the other members.
    pub members: Members,
    /// The engine.
    pub engine: Engine,
    /// The node's replicas.
    pub fleet: Fleet<R>,
    /// Why the engine cannot be used.
    pub problem: watch::Receiver<Option<String>>,
    /// Why service addresses do not work.
    pub network: watch::Receiver<Option<String>>,
    /// Why networks cannot be joined to those of other nodes.
    pub overlay: watch::Receiver<Option<String>>,
    /// The nodes that are not reached.
    pub broken_paths: watch::Receiver<BTreeSet<BrokenPath>>,
    /// Whether a session is open, for readiness: `None`, or why not.
    pub connected: watch::Sender<Option<String>>,
}

impl<R: Runtime> Sessions<R> {
    /// Holds a session until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
        let mut last = String::new();
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                ended = self.session(&mut backoff) => ended,
            };
            let why = match ended {
                Ok(()) => "the scheduler hung up".to_owned(),
                Err(status) => describe(&status),
            };
            // The same trouble over and over is said once.
            if why != last {
                tracing::info!(why, "no session with the scheduler; connecting again");
            }
            self.connected.send_replace(Some(why.clone()));
            last = why;
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(backoff.pause()) => {}
            }
        }
    }

    async fn session(&self, backoff: &mut Backoff) -> Result<(), Status> {
        let host = self.engine.host().await.ok().map(|(host, _)| wire::write_host(&host));
        let knows_host = host.is_some();
        let (outgoing, stream) = mpsc::channel(QUEUE);
        let hello = Hello {
            node_id: self.own.node.to_string(),
            name: self.own.name.clone(),
            addresses: self.own.addresses.clone(),
            host,
            agent_port: self.own.agent_port.into(),
            instance: self.own.instance.clone(),
        };
        send(&outgoing, ToScheduler::Hello(hello)).await?;
        let mut client =
            SessionServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        let mut incoming = client.session(ReceiverStream::new(stream)).await?.into_inner();

        let (refused, _) = watch::channel(String::new());
        let mut problem = self.problem.clone();
        let talking = async {
            tokio::try_join!(
                self.beat(&outgoing, &refused),
                self.report(&outgoing),
                self.remove_volumes(&outgoing),
                self.report_images(&outgoing),
                self.report_moves(&outgoing)
            )
        };
        // Apart from what is said, so that an engine that hangs keeps no heartbeat back.
        let listening = async {
            loop {
                let message = tokio::select! {
                    message = incoming.message() => message?,
                    // The engine is back, so the host can be described.
                    Ok(()) = problem.changed() => {
                        if !knows_host && problem.borrow().is_none() {
                            return Ok(());
                        }
                        continue;
                    }
                };
                let Some(message) = message else { return Ok(()) };
                self.connected.send_if_modified(|why| {
                    if why.is_some() {
                        tracing::info!("session with the scheduler is open");
                    }
                    why.take().is_some()
                });
                backoff.reset();
                self.take(message, &refused).await?;
            }
        };
        tokio::select! {
            ended = listening => ended,
            ended = talking => ended.map(drop),
        }
    }

    async fn take(&self, response: SessionResponse, refused: &watch::Sender<String>) -> Result<(), Status> {
        let lineage =
            response.lineage.ok_or_else(|| Status::invalid_argument("a message without lineage"))?;
        let lineage = wire::read_lineage(lineage)?;
        let judged = self.fleet.judge(&lineage).await;
        let believed = judged.is_ok();
        match judged {
            Ok(()) => refused.send_if_modified(|reason| !std::mem::take(reason).is_empty()),
            Err(stale) => refused.send_if_modified(|reason| {
                let words = format!("{stale}; nothing is changed on its word");
                if *reason == words {
                    return false;
                }
                tracing::error!(reason = words, "this scheduler is not believed");
                *reason = words;
                true
            }),
        };
        match response.message {
            Some(FromScheduler::Assignments(assignments)) => self.assign(lineage, assignments).await,
            Some(FromScheduler::OpenRelay(ask)) => {
                let (engine, copies) = (self.engine.clone(), self.fleet.copies().clone());
                relay::open(self.channel.clone(), engine, copies, self.fleet.board().get(), ask);
                Ok(())
            }
            Some(FromScheduler::Membership(membership)) => {
                if believed && let Err(error) = self.members.learn(membership) {
                    tracing::warn!(%error, "cannot keep what was said of the other members");
                }
                Ok(())
            }
            Some(FromScheduler::Ping(_)) | None => Ok(()),
        }
    }

    async fn assign(&self, lineage: Lineage, assignments: Assignments) -> Result<(), Status> {
        match self.fleet.assign(lineage, assignments, now()).await {
            Ok(Assigned::Taken | Assigned::Refused(_)) => Ok(()),
            // Ending the session makes the scheduler say it all again.
            Err(error) => {
                Err(Status::resource_exhausted(format!("cannot keep assignments on disk: {error}")))
            }
        }
    }

    async fn beat(
        &self,
        outgoing: &mpsc::Sender<SessionRequest>,
        refused: &watch::Sender<String>,
    ) -> Result<(), Status> {
        let mut ticks = interval(HEARTBEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut problem, mut refusal) = (self.problem.clone(), refused.subscribe());
        let (mut network, mut overlay) = (self.network.clone(), self.overlay.clone());
        let mut broken = self.broken_paths.clone();
        loop {
            let engine_error = problem.borrow_and_update().clone().unwrap_or_default();
            let refused = refusal.borrow_and_update().clone();
            let network_error = network.borrow_and_update().clone().unwrap_or_default();
            let overlay_error = overlay.borrow_and_update().clone().unwrap_or_default();
            let broken_paths = broken.borrow_and_update().iter().map(write_path).collect();
            let heartbeat = Heartbeat { engine_error, refused, network_error, overlay_error, broken_paths };
            send(outgoing, ToScheduler::Heartbeat(heartbeat)).await?;
            tokio::select! {
                _ = ticks.tick() => {}
                _ = problem.changed() => {}
                _ = network.changed() => {}
                _ = overlay.changed() => {}
                _ = broken.changed() => {}
                _ = refusal.changed() => {}
            }
        }
    }

    /// Everything first, then what changes.
    async fn report(&self, outgoing: &mpsc::Sender<SessionRequest>) -> Result<(), Status> {
        self.fleet.settled().await;
        let mut statuses = self.fleet.board().subscribe();
        let mut told = statuses.borrow_and_update().clone();
        let all = told.iter().map(|(id, status)| wire::write_replica_status(id, status)).collect();
        send(outgoing, ToScheduler::Status(StatusReport { full: true, replicas: all })).await?;
        while statuses.changed().await.is_ok() {
            sleep(GATHER).await;
            let current = statuses.borrow_and_update().clone();
            let changed = changed(&told, &current);
            told = current;
            if !changed.is_empty() {
                send(outgoing, ToScheduler::Status(StatusReport { full: false, replicas: changed })).await?;
            }
        }
        Ok(())
    }

    /// Which images there are and which are on their way, whenever that changes.
    async fn report_images(&self, outgoing: &mpsc::Sender<SessionRequest>) -> Result<(), Status> {
        let (mut changes, mut running) = (self.fleet.copies().changes(), self.fleet.copies().running());
        let (mut told, mut digests, mut look) = (None, Vec::new(), true);
        loop {
            changes.borrow_and_update();
            if look && let Ok(kept) = self.fleet.kept_images().await {
                digests = kept.into_iter().collect();
            }
            let copies = running.borrow_and_update().iter().map(image_copy).collect();
            let report = ImageReport { digests: digests.clone(), copies };
            if told.as_ref() != Some(&report) {
                told = Some(report.clone());
                send(outgoing, ToScheduler::Images(report)).await?;
            }
            look = tokio::select! {
                Ok(()) = changes.changed() => true,
                () = sleep(IMAGES_AGAIN) => true,
                Ok(()) = running.changed() => {
                    // A copy tells of every piece, which nobody wants to know.
                    sleep(PROGRESS).await;
                    changes.has_changed().unwrap_or_default()
                }
            };
        }
    }

    /// How far volumes have come that move here, whenever that changes.
    async fn report_moves(&self, outgoing: &mpsc::Sender<SessionRequest>) -> Result<(), Status> {
        let mut progress = self.fleet.moves().progress();
        let mut told = BTreeMap::new();
        loop {
            let current = progress.borrow_and_update().clone();
            for (id, copy) in current.iter().filter(|(id, copy)| told.get(*id) != Some(*copy)) {
                let copied = VolumeCopied {
                    name: copy.name.clone(),
                    move_id: id.clone(),
                    done: copy.done,
                    verified: copy.verified,
                    error: copy.error.clone(),
                    failures: copy.failures,
                };
                send(outgoing, ToScheduler::VolumeCopied(copied)).await?;
            }
            told = current;
            if progress.changed().await.is_err() {
                return Ok(());
            }
            sleep(PROGRESS).await;
        }
    }

    async fn remove_volumes(&self, outgoing: &mpsc::Sender<SessionRequest>) -> Result<(), Status> {
        let mut told: BTreeMap<String, String> = BTreeMap::new();
        loop {
            let wanted = self.fleet.volume_removals().await;
            told.retain(|name, _| wanted.contains(name));
            for name in wanted {
                let error = match self.fleet.remove_volume(&name).await {
                    Ok(()) => String::new(),
                    Err(error) => error.message,
                };
                if told.insert(name.clone(), error.clone()).as_ref() != Some(&error) {
                    send(outgoing, ToScheduler::VolumeRemoved(VolumeRemoved { name, error })).await?;
                }
            }
            self.fleet.volume_removals_changed(VOLUME_AGAIN).await;
        }
    }
}

fn write_path(path: &BrokenPath) -> node::BrokenPath {
    node::BrokenPath {
        network: path.network.clone(),
        node_id: path.node.to_string(),
        lost: if path.only_large { Lost::Large } else { Lost::Everything }.into(),
    }
}

fn image_copy((digest, copy): (&String, &Copy)) -> ImageCopy {
    ImageCopy { digest: digest.clone(), from_node_id: copy.from.clone(), done: copy.done, total: copy.total }
}

fn changed(
    before: &Arc<BTreeMap<ReplicaId, ReplicaStatus>>,
    now: &Arc<BTreeMap<ReplicaId, ReplicaStatus>>,
) -> Vec<gantry_api::node::v1::ReplicaStatus> {
    now.iter()
        .filter(|(id, status)| before.get(*id) != Some(*status))
        .map(|(id, status)| wire::write_replica_status(id, status))
        .collect()
}

async fn send(outgoing: &mpsc::Sender<SessionRequest>, message: ToScheduler) -> Result<(), Status> {
    let request = SessionRequest { message: Some(message) };
    outgoing.send(request).await.map_err(|_| Status::unavailable("the scheduler hung up"))
}

fn describe(status: &Status) -> String {
    use std::error::Error as _;
    match status.source() {
        Some(source) => format!("{}: {}", status.message(), chain(source)),
        None => status.message().to_owned(),
    }
}
