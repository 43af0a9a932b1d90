//! The agent's connection to the scheduler: says hello, reports, and takes what is wanted. It is made
//! again whenever it is lost; replicas run on meanwhile.

mod reports;
#[cfg(test)]
mod tests;
mod usage;

pub use usage::usage_report;

use std::collections::BTreeSet;
use std::time::Duration;

use gantry_api::node::v1::session_request::Message as ToScheduler;
use gantry_api::node::v1::session_response::Message as FromScheduler;
use gantry_api::node::v1::session_service_client::SessionServiceClient;
use gantry_api::node::v1::{
    self as node, Assignments, Heartbeat, Hello, Lost, Restarting, SessionRequest, SessionResponse,
};
use gantry_boot::{Backoff, Credentials, Members, chain, now};
use gantry_model::{BrokenPath, Lineage, NodeId, wire};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::disks::Disks;
use crate::engine::Engine;
use crate::managed::{Assigned, Fleet, LEASE, Runtime};
use crate::relay;
use crate::sampling::Samples;
use crate::scrape::Scraping;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// The scheduler has this long to take in that the agent ends.
const GOODBYE: Duration = Duration::from_secs(1);
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
    /// How full the disks are.
    pub disks: watch::Receiver<Disks>,
    /// The agent's own certificate, as it is renewed.
    pub credentials: Credentials,
    /// What replicas use.
    pub usage: watch::Receiver<Samples>,
    /// The numbers that replicas tell themselves.
    pub scraping: Scraping,
    /// Whether a session is open, for readiness: `None`, or why not.
    pub connected: watch::Sender<Option<String>>,
}

impl<R: Runtime> Sessions<R> {
    /// Holds a session until `stop`, and says then that the agent is restarted: that it is not, in the end, nobody
    /// here can know.
    pub async fn run(self, stop: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(3));
        let mut last = String::new();
        loop {
            let ended = self.session(&mut backoff, &stop).await;
            if stop.is_cancelled() {
                return;
            }
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

    /// One session, until it ends or `stop`.
    async fn session(&self, backoff: &mut Backoff, stop: &CancellationToken) -> Result<(), Status> {
        let (outgoing, stream) = mpsc::channel(QUEUE);
        let opening = self.open(&outgoing, stream);
        let (knows_host, mut incoming) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            opened = opening => opened?,
        };
        tokio::select! {
            () = stop.cancelled() => {}
            ended = self.talk(&outgoing, &mut incoming, knows_host, backoff) => return ended,
        }
        say_goodbye(outgoing, incoming).await;
        Ok(())
    }

    /// Says hello. Answers whether the host could be described, and what the scheduler says.
    async fn open(
        &self,
        outgoing: &mpsc::Sender<SessionRequest>,
        stream: mpsc::Receiver<SessionRequest>,
    ) -> Result<(bool, Streaming<SessionResponse>), Status> {
        let host = self.engine.host().await.ok().map(|(host, _)| wire::write_host(&host));
        let knows_host = host.is_some();
        let hello = Hello {
            node_id: self.own.node.to_string(),
            name: self.own.name.clone(),
            addresses: self.own.addresses.clone(),
            host,
            agent_port: self.own.agent_port.into(),
            instance: self.own.instance.clone(),
        };
        send(outgoing, ToScheduler::Hello(hello)).await?;
        let mut client =
            SessionServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        let incoming = client.session(ReceiverStream::new(stream)).await?.into_inner();
        Ok((knows_host, incoming))
    }

    /// Talks and listens until one of both ends.
    async fn talk(
        &self,
        outgoing: &mpsc::Sender<SessionRequest>,
        incoming: &mut Streaming<SessionResponse>,
        knows_host: bool,
        backoff: &mut Backoff,
    ) -> Result<(), Status> {
        let (refused, _) = watch::channel(String::new());
        let mut problem = self.problem.clone();
        let talking = async {
            tokio::try_join!(
                self.beat(outgoing, &refused),
                self.report(outgoing),
                self.remove_volumes(outgoing),
                self.report_images(outgoing),
                self.report_moves(outgoing),
                self.report_usage(outgoing)
            )
        };
        // Apart from what is said, so that an engine that hangs keeps no heartbeat back.
        let listening = async {
            let mut told = false;
            loop {
                let message = tokio::select! {
                    message = timeout(LEASE, incoming.message()) => message.map_err(|_| unheard())??,
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
                self.take(message, &refused, &mut told).await?;
            }
        };
        tokio::select! {
            ended = listening => ended,
            ended = talking => ended.map(drop),
        }
    }

    /// Takes in what the scheduler says. `told`: it has said everything that it wants on this session.
    async fn take(
        &self,
        response: SessionResponse,
        refused: &watch::Sender<String>,
        told: &mut bool,
    ) -> Result<(), Status> {
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
        if believed {
            let full = matches!(&response.message, Some(FromScheduler::Assignments(all)) if all.full);
            if !self.fleet.renew().await && *told && !full {
                return Err(unheard());
            }
            *told |= full;
        }
        match response.message {
            Some(FromScheduler::Assignments(assignments)) => self.assign(lineage, assignments).await,
            Some(FromScheduler::OpenRelay(ask)) => {
                let (engine, copies) = (self.engine.clone(), self.fleet.copies().clone());
                relay::open(self.channel.clone(), engine, copies, self.fleet.board().get(), ask);
                Ok(())
            }
            Some(FromScheduler::Membership(membership)) => {
                if believed && let Err(error) = self.members.learn(membership).await {
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
        let (mut broken, mut disks) = (self.broken_paths.clone(), self.disks.clone());
        loop {
            let engine_error = problem.borrow_and_update().clone().unwrap_or_default();
            let refused = refusal.borrow_and_update().clone();
            let network_error = network.borrow_and_update().clone().unwrap_or_default();
            let overlay_error = overlay.borrow_and_update().clone().unwrap_or_default();
            let broken_paths = broken.borrow_and_update().iter().map(write_path).collect();
            let Disks { full: full_disks, used_percent } = disks.borrow_and_update().clone();
            let certificate_expires_at = Some(wire::write_time(self.credentials.expires_at()));
            let heartbeat = Heartbeat {
                engine_error,
                refused,
                network_error,
                overlay_error,
                broken_paths,
                full_disks,
                certificate_expires_at,
                disk_used_percent: used_percent,
            };
            send(outgoing, ToScheduler::Heartbeat(heartbeat)).await?;
            tokio::select! {
                _ = ticks.tick() => {}
                _ = problem.changed() => {}
                _ = network.changed() => {}
                _ = overlay.changed() => {}
                _ = broken.changed() => {}
                _ = disks.changed() => {}
                _ = refusal.changed() => {}
            }
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

/// Says that the agent ends, and waits until the scheduler has taken that in. Without it the node would be held for
/// lost soon.
async fn say_goodbye(outgoing: mpsc::Sender<SessionRequest>, mut incoming: Streaming<SessionResponse>) {
    let goodbye = async {
        send(&outgoing, ToScheduler::Restarting(Restarting {})).await?;
        while incoming.message().await?.is_some() {}
        Ok::<_, Status>(())
    };
    if !matches!(timeout(GOODBYE, goodbye).await, Ok(Ok(()))) {
        tracing::info!("the scheduler could not be told that this agent ends");
    }
}

async fn send(outgoing: &mpsc::Sender<SessionRequest>, message: ToScheduler) -> Result<(), Status> {
    let request = SessionRequest { message: Some(message) };
    outgoing.send(request).await.map_err(|_| Status::unavailable("the scheduler hung up"))
}

/// What comes after such a time may not be true any more: a new session begins with everything.
fn unheard() -> Status {
    Status::deadline_exceeded(format!("the scheduler was not heard for {} s", LEASE.as_secs()))
}

fn describe(status: &Status) -> String {
    use std::error::Error as _;
    match status.source() {
        Some(source) => format!("{}: {}", status.message(), chain(source)),
        None => status.message().to_owned(),
    }
}
