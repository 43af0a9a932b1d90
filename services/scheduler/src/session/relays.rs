//! Streams between a person and an agent. The scheduler dials nobody: it asks over the agent's
//! session, and the agent opens the stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_api::node::v1::relay_request::Message as FromAgent;
use gantry_api::node::v1::relay_service_server::RelayService;
use gantry_api::node::v1::session_response::Message as ToAgent;
use gantry_api::node::v1::{OpenRelay, RelayRequest, RelayResponse, open_relay};
use gantry_boot::{caller, random_id};
use gantry_model::NodeId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// How long an agent may take to open a stream.
const OPEN_WITHIN: Duration = Duration::from_millis(2500);
/// An agent says at least that it is alive, every second. One that says nothing for this long is out of
/// reach, whatever its session looks like.
const SILENCE: Duration = Duration::from_millis(2500);
/// Messages to an agent that may wait.
const QUEUE: usize = 16;

type Outbox = mpsc::Sender<ToAgent>;

/// The sessions that can be asked, and the streams that were asked for. Clones share them.
#[derive(Clone, Default)]
pub struct Relays {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    sessions: HashMap<NodeId, Outbox>,
    waiting: HashMap<String, Waiting>,
}

struct Waiting {
    node: NodeId,
    name: String,
    answer: oneshot::Sender<Relay>,
}

/// An open stream to an agent.
pub struct Relay {
    node: String,
    incoming: Streaming<RelayRequest>,
    /// Where input for the agent goes.
    pub outgoing: mpsc::Sender<Result<RelayResponse, Status>>,
}

impl Relay {
    /// The agent's next message; `None` at the end. What the agent could not do is an error.
    pub async fn next(&mut self) -> Result<Option<FromAgent>, Status> {
        loop {
            let message = timeout(SILENCE, self.incoming.message())
                .await
                .map_err(|_| Status::unavailable(format!("node {} does not answer any more", self.node)))?;
            match message?.and_then(|message| message.message) {
                Some(FromAgent::Alive(_)) => {}
                Some(FromAgent::Error(error)) => {
                    return Err(Status::new(tonic::Code::from_i32(error.code), error.message));
                }
                message => return Ok(message),
            }
        }
    }
}

impl Relays {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session is open: its agent can be asked.
    pub fn join(&self, node: NodeId, outbox: Outbox) {
        self.lock().sessions.insert(node, outbox);
    }

    /// A session has ended; a newer one of the node stays.
    pub fn leave(&self, node: &NodeId, outbox: &Outbox) {
        let mut inner = self.lock();
        if inner.sessions.get(node).is_some_and(|current| current.same_channel(outbox)) {
            inner.sessions.remove(node);
        }
    }

    /// Asks the agent of `node` for a stream.
    pub async fn open(&self, node: &NodeId, name: &str, want: open_relay::Want) -> Result<Relay, Status> {
        let unreachable =
            || Status::unavailable(format!("node {name} cannot be reached: its agent is not connected"));
        let relay_id = random_id(26);
        let (answer, opened) = oneshot::channel();
        let outbox = {
            let mut inner = self.lock();
            let outbox = inner.sessions.get(node).cloned().ok_or_else(unreachable)?;
            inner
                .waiting
                .insert(relay_id.clone(), Waiting { node: node.clone(), name: name.to_owned(), answer });
            outbox
        };
        let ask = OpenRelay { relay_id: relay_id.clone(), want: Some(want) };
        let opening = async {
            outbox.send(ToAgent::OpenRelay(ask)).await.map_err(|_| unreachable())?;
            opened.await.map_err(|_| unreachable())
        };
        let opened = timeout(OPEN_WITHIN, opening).await;
        self.lock().waiting.remove(&relay_id);
        opened.map_err(|_| {
            Status::unavailable(format!("node {name} did not answer within {} s", OPEN_WITHIN.as_secs_f32()))
        })?
    }
}

#[tonic::async_trait]
impl RelayService for Relays {
    type RelayStream = ReceiverStream<Result<RelayResponse, Status>>;

    async fn relay(
        &self,
        request: Request<Streaming<RelayRequest>>,
    ) -> Result<Response<Self::RelayStream>, Status> {
        let node = caller(&request)?.name.clone();
        let mut incoming = request.into_inner();
        let first = timeout(OPEN_WITHIN, incoming.message())
            .await
            .map_err(|_| Status::deadline_exceeded("the first message did not come"))??;
        let Some(FromAgent::RelayId(relay_id)) = first.and_then(|first| first.message) else {
            return Err(Status::invalid_argument("the first message must name the relay"));
        };
        let waiting = self.lock().waiting.remove(&relay_id);
        let unknown = || Status::not_found("nobody waits for this relay");
        let waiting = waiting.filter(|waiting| waiting.node.as_str() == node).ok_or_else(unknown)?;
        let (outgoing, stream) = mpsc::channel(QUEUE);
        waiting.answer.send(Relay { node: waiting.name, incoming, outgoing }).map_err(|_| unknown())?;
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
