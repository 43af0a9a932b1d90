//! The control connection of each agent.
//!
//! What an agent reports there is taken in by `reports`.

mod reports;

use std::sync::Arc;
use std::time::Duration;

use gantry_api::node::v1::session_request::Message as FromAgent;
use gantry_api::node::v1::session_response::Message as ToAgent;
use gantry_api::node::v1::session_service_server::SessionService;
use gantry_api::node::v1::{Hello, Ping, SessionRequest, SessionResponse};
use gantry_boot::{caller, now};
use gantry_model::{Change, Node, NodeId, NodeRole, NodeStatus, Record, Severity, Snapshot, Timestamp, wire};
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::assignments::Told;
use super::hearing::{Hearing, change};
use super::news_of_members;
use super::relays::Relays;
use crate::api::Refused;
use crate::credentials::Credentials;
use crate::decide::{lost, record_event};
use crate::membership::Office;
use crate::state::State;
use crate::usage::Usage;

const HELLO_WITHIN: Duration = Duration::from_secs(5);
/// An agent that says nothing for this long is not there.
const SILENCE: Duration = Duration::from_secs(6);
const PING_EVERY: Duration = Duration::from_secs(2);
/// Changes that come together are sent together.
const GATHER: Duration = Duration::from_millis(5);
const QUEUE: usize = 64;

type Outgoing = mpsc::Sender<Result<SessionResponse, Status>>;

/// Serves agents.
pub struct Agents {
    state: State,
    relays: Relays,
    office: Office,
    hearing: Hearing,
    credentials: Credentials,
    usage: Usage,
}

impl Agents {
    /// Serves agents from `state`, and lets people reach them through `relays`. `hearing` is told of every
    /// sign of life. Nodes that pull log in with `credentials`. What their replicas use is kept in `usage`.
    pub fn new(
        state: State,
        relays: Relays,
        office: Office,
        hearing: Hearing,
        credentials: Credentials,
        usage: Usage,
    ) -> Self {
        Self { state, relays, office, hearing, credentials, usage }
    }
}

#[tonic::async_trait]
impl SessionService for Agents {
    type SessionStream = ReceiverStream<Result<SessionResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let identity = caller(&request)?.name.clone();
        // Who calls from the address at which it is answered is on the scheduler's own host.
        let (here, there) = (request.local_addr(), request.remote_addr());
        let is_local = here.zip(there).is_some_and(|(here, there)| here.ip() == there.ip());
        let role = if is_local { NodeRole::Manager } else { NodeRole::Worker };
        let mut incoming = request.into_inner();
        let first = timeout(HELLO_WITHIN, incoming.message())
            .await
            .map_err(|_| Status::deadline_exceeded("the hello did not come"))??;
        let Some(FromAgent::Hello(hello)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("the first message must be a hello"));
        };
        if hello.node_id != identity {
            return Err(Status::permission_denied(format!(
                "the certificate is of node {identity}, the hello of node {}",
                hello.node_id
            )));
        }
        let node = NodeId::new(&hello.node_id).map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        register(&self.state, &node, role, hello).await?;

        let (outgoing, stream) = mpsc::channel(QUEUE);
        let session = Session {
            state: self.state.clone(),
            relays: self.relays.clone(),
            node,
            office: self.office.clone(),
            hearing: self.hearing.clone(),
            credentials: self.credentials.clone(),
            usage: self.usage.clone(),
            since: now(),
        };
        session.hearing.agent(&session.node);
        tokio::spawn(session.run(incoming, outgoing));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Stores the node's record if it is new or changed.
async fn register(state: &State, id: &NodeId, role: NodeRole, hello: Hello) -> Result<(), Status> {
    let agent_port =
        u16::try_from(hello.agent_port).map_err(|_| Status::invalid_argument("agent_port is above 65535"))?;
    // An agent whose engine does not answer cannot describe its host.
    let host = hello.host.map(wire::read_host);
    state
        .commit(|snapshot| {
            if snapshot.denied.contains_key(&format!("node/{id}")) {
                return Err(Refused(Status::unauthenticated("this node was removed from the cluster")));
            }
            let known = snapshot.nodes.get(id);
            if snapshot.nodes.values().any(|node| node.name == hello.name && node.id != *id) {
                return Err(Refused(Status::already_exists(format!(
                    "there is another node {}: give this one another name with --node-name",
                    hello.name
                ))));
            }
            let node = Node {
                id: id.clone(),
                name: hello.name.clone(),
                addresses: hello.addresses.clone(),
                agent_port,
                labels: known.map(|node| node.labels.clone()).unwrap_or_default(),
                availability: known.map(|node| node.availability).unwrap_or_default(),
                quarantined_since: known.and_then(|node| node.quarantined_since),
                role,
                host: host.or(known.map(|node| node.host.clone())).unwrap_or_default(),
                joined_at: known.map_or_else(now, |node| node.joined_at),
            };
            if known.is_some_and(|known| **known == node) {
                return Ok((Vec::new(), ()));
            }
            let mut changes = vec![Change::Put(Record::Node(Arc::new(node)))];
            if known.is_none() {
                let subject = format!("node:{}", hello.name);
                let message = format!("node {} joined", hello.name);
                changes.extend(record_event(
                    snapshot,
                    now(),
                    Severity::Normal,
                    &subject,
                    None,
                    "Joined",
                    message,
                ));
            }
            Ok((changes, ()))
        })
        .await
        .map_err(|Refused(status)| status)
}

struct Session {
    state: State,
    relays: Relays,
    node: NodeId,
    office: Office,
    hearing: Hearing,
    credentials: Credentials,
    usage: Usage,
    /// When it was opened.
    since: Timestamp,
}

impl Session {
    async fn run(self, mut incoming: Streaming<SessionRequest>, outgoing: Outgoing) {
        self.note(|status| lost::connected(status, self.since));
        let (asks, mut asked) = mpsc::channel(QUEUE);
        self.relays.join(self.node.clone(), asks.clone());
        tracing::info!(node = %self.node, "agent connected");

        let mut changes = self.state.subscribe();
        changes.mark_changed();
        let why = tokio::select! {
            why = self.listen(&mut incoming) => why,
            why = self.talk(&outgoing, &mut changes, &mut asked) => why,
        };
        self.relays.leave(&self.node, &asks);
        self.note_if_newest(|status| lost::disconnected(status, now()));
        tracing::info!(node = %self.node, why, "agent disconnected");
    }

    /// Takes in what the agent says, until it says nothing any more.
    async fn listen(&self, incoming: &mut Streaming<SessionRequest>) -> String {
        loop {
            let message = match timeout(SILENCE, incoming.message()).await {
                Err(_) => return format!("it said nothing for {} s", SILENCE.as_secs()),
                Ok(Err(status)) => return status.message().to_owned(),
                Ok(Ok(None)) => return "it hung up".to_owned(),
                Ok(Ok(Some(message))) => message.message,
            };
            self.hearing.agent(&self.node);
            match message {
                Some(FromAgent::Heartbeat(heartbeat)) => self.take_heartbeat(heartbeat).await,
                Some(FromAgent::Status(report)) => self.take_report(report).await,
                Some(FromAgent::VolumeRemoved(removed)) => self.take_volume(removed).await,
                Some(FromAgent::Images(report)) => self.take_images(report),
                Some(FromAgent::VolumeCopied(copied)) => self.take_copy(copied),
                Some(FromAgent::Usage(report)) => {
                    self.usage.take(&self.state.snapshot(), &self.node, &report);
                }
                Some(FromAgent::Restarting(_)) => {
                    self.note_if_newest(|status| lost::announced(status, now()));
                    return "it is restarted".to_owned();
                }
                Some(FromAgent::Hello(_)) => return "it said hello twice".to_owned(),
                None => {}
            }
        }
    }

    /// Tells the agent what it is to run, whenever that changes.
    async fn talk(
        &self,
        outgoing: &Outgoing,
        changes: &mut watch::Receiver<Arc<Snapshot>>,
        asked: &mut mpsc::Receiver<ToAgent>,
    ) -> String {
        let mut told = Told::new(self.office.redirect_port(), self.credentials.clone());
        let mut members = None;
        let mut ping = interval(PING_EVERY);
        loop {
            let snapshot = self.state.snapshot();
            let message = if let Some(news) = news_of_members(&self.office, &snapshot, &mut members) {
                Some(ToAgent::Membership(news))
            } else {
                tokio::select! {
                    Some(ask) = asked.recv() => Some(ask),
                    _ = ping.tick() => Some(ToAgent::Ping(Ping {})),
                    changed = changes.changed() => {
                        if changed.is_err() {
                            return "the scheduler ends".to_owned();
                        }
                        sleep(GATHER).await;
                        let snapshot = changes.borrow_and_update().clone();
                        told.next(&snapshot, &self.node).map(ToAgent::Assignments)
                    }
                }
            };
            let Some(message) = message else { continue };
            let lineage = Some(wire::write_lineage(&self.state.snapshot().lineage()));
            let response = SessionResponse { lineage, message: Some(message) };
            if outgoing.send(Ok(response)).await.is_err() {
                return "it hung up".to_owned();
            }
        }
    }

    /// A newer session of the same node may have taken over: then what this one says of its end is old.
    fn note_if_newest(&self, noted: impl FnOnce(&mut NodeStatus)) {
        self.note(|status| {
            if status.since == self.since {
                noted(status);
            }
        });
    }

    fn note(&self, noted: impl FnOnce(&mut NodeStatus)) {
        self.state.observe(|snapshot| {
            // Nothing is kept of a node that was removed meanwhile.
            snapshot.nodes.contains_key(&self.node) && change(snapshot, &self.node, now(), noted)
        });
    }
}
