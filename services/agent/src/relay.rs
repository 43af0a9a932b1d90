//! Answers what a person asked the scheduler for, on a stream that is opened from here.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use gantry_api::agent::v1::{ExecResponse, exec_response};
use gantry_api::node::v1::open_relay::Want;
use gantry_api::node::v1::relay_request::Message as ToScheduler;
use gantry_api::node::v1::relay_response::Message as FromScheduler;
use gantry_api::node::v1::relay_service_client::RelayServiceClient;
use gantry_api::node::v1::{
    CopyInWanted, CopyOutWanted, ExecWanted, ImageWanted, LogsWanted as WireLogs, OpenRelay, RelayError,
    RelayRequest, RelayResponse, StatsWanted, TopWanted,
};
use gantry_model::{ReplicaId, ReplicaStatus};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::engine::{Engine, LogsWanted};
use crate::images;
use crate::public::{Input, carry_process, exec_message, log_piece};
use crate::transfer::Copies;

const QUEUE: usize = 32;
/// The largest piece of an archive that is sent.
const LARGEST: usize = 256 << 10;
const OPEN_WITHIN: Duration = Duration::from_secs(5);

/// How often an agent that has nothing to say says so.
const ALIVE: Duration = Duration::from_secs(1);

type Statuses = Arc<BTreeMap<ReplicaId, ReplicaStatus>>;
type Out = mpsc::Sender<RelayRequest>;

/// Opens the stream and answers, in a task of its own.
pub fn open(channel: Channel, engine: Engine, copies: Copies, statuses: Statuses, ask: OpenRelay) {
    tokio::spawn(async move {
        let (outgoing, stream) = mpsc::channel(QUEUE);
        if send(&outgoing, ToScheduler::RelayId(ask.relay_id)).await.is_err() {
            return;
        }
        let mut client = RelayServiceClient::new(channel);
        let opened = timeout(OPEN_WITHIN, client.relay(ReceiverStream::new(stream))).await;
        let mut incoming = match opened {
            Ok(Ok(response)) => response.into_inner(),
            Ok(Err(status)) => {
                tracing::debug!(reason = status.message(), "nobody waits for a relay any more");
                return;
            }
            Err(_) => return,
        };
        let answer = Answer { engine, copies, statuses, outgoing: outgoing.clone() };
        let done = tokio::select! {
            done = answer.give(ask.want, &mut incoming) => done,
            () = outgoing.closed() => return,
            () = say_alive(&outgoing) => return,
        };
        if let Err(status) = done {
            let error = RelayError { code: status.code().into(), message: status.message().to_owned() };
            let _ = send(&outgoing, ToScheduler::Error(error)).await;
        }
        // Letting go of the answers at once would cancel the call, with what is still under way to
        // the scheduler: end our side, and wait for its.
        drop((answer, outgoing));
        let _ = timeout(OPEN_WITHIN, async { while let Ok(Some(_)) = incoming.message().await {} }).await;
    });
}

/// Lets the scheduler tell a quiet answer from an agent that is out of reach. Does not end.
async fn say_alive(outgoing: &Out) {
    loop {
        sleep(ALIVE).await;
        // Where messages wait already, one more says nothing new.
        let _ = outgoing.try_send(RelayRequest { message: Some(ToScheduler::Alive(true)) });
    }
}

async fn send(outgoing: &Out, message: ToScheduler) -> Result<(), Status> {
    let request = RelayRequest { message: Some(message) };
    outgoing.send(request).await.map_err(|_| Status::cancelled("the reader hung up"))
}

struct Answer {
    engine: Engine,
    copies: Copies,
    statuses: Statuses,
    outgoing: Out,
}

impl Answer {
    async fn give(&self, want: Option<Want>, incoming: &mut Streaming<RelayResponse>) -> Result<(), Status> {
        match want {
            Some(Want::Logs(wanted)) => self.logs(wanted).await,
            Some(Want::Exec(wanted)) => self.exec(wanted, incoming).await,
            Some(Want::Stats(wanted)) => self.stats(wanted).await,
            Some(Want::Image(wanted)) => self.image(wanted).await,
            Some(Want::Top(wanted)) => self.top(wanted).await,
            Some(Want::CopyOut(wanted)) => self.copy_out(wanted).await,
            Some(Want::CopyIn(wanted)) => self.copy_in(wanted, incoming).await,
            None => Err(Status::unimplemented(
                "this agent does not know what was asked: is it older than the scheduler?",
            )),
        }
    }

    /// The container of a replica.
    fn container(&self, replica: &str) -> Result<String, Status> {
        let status = ReplicaId::new(replica).ok().and_then(|id| self.statuses.get(&id).cloned());
        match status {
            Some(status) if !status.container_id.is_empty() => Ok(status.container_id),
            Some(status) if !status.message.is_empty() => {
                Err(Status::failed_precondition(format!("it has no container yet: {}", status.message)))
            }
            _ => Err(Status::failed_precondition("it has no container yet")),
        }
    }

    async fn logs(&self, wanted: WireLogs) -> Result<(), Status> {
        let container = self.container(&wanted.replica_id)?;
        let part = LogsWanted {
            follow: wanted.follow,
            since: wanted.since,
            until: None,
            tail: wanted.tail,
            timestamps: true,
        };
        let mut log = self.engine.logs(&container, &part);
        while let Some(piece) = log.next().await {
            send(&self.outgoing, ToScheduler::Log(log_piece(&piece?))).await?;
        }
        Ok(())
    }

    async fn stats(&self, wanted: StatsWanted) -> Result<(), Status> {
        let container = self.container(&wanted.replica_id)?;
        let mut samples = self.engine.stats(&container, wanted.once);
        while let Some(sample) = samples.next().await {
            send(&self.outgoing, ToScheduler::Stats(sample?)).await?;
        }
        Ok(())
    }

    async fn exec(&self, wanted: ExecWanted, incoming: &mut Streaming<RelayResponse>) -> Result<(), Status> {
        let container = self.container(&wanted.replica_id)?;
        let start = wanted.start.ok_or_else(|| Status::invalid_argument("start is missing"))?;
        let io = self.engine.exec(&container, &start).await?;
        let exec = io.id.clone();
        let input = incoming.map(|message| match message {
            Ok(RelayResponse { message: Some(FromScheduler::Stdin(data)) }) => Input::Bytes(data),
            Ok(RelayResponse { message: Some(FromScheduler::Resize(size)) }) => Input::Resize(size),
            _ => Input::End,
        });
        let resize = |size| {
            let (engine, exec) = (self.engine.clone(), exec.clone());
            async move { drop(engine.resize_exec(&exec, size).await) }
        };
        let ended = carry_process(io, input, resize, |piece| {
            let message = ToScheduler::Exec(ExecResponse { message: Some(exec_message(&piece)) });
            async move { send(&self.outgoing, message).await.is_ok() }
        })
        .await?;
        if ended {
            let code = self.engine.exec_exit_code(&exec).await?;
            let message = Some(exec_response::Message::ExitCode(code));
            send(&self.outgoing, ToScheduler::Exec(ExecResponse { message })).await?;
        }
        Ok(())
    }

    async fn top(&self, wanted: TopWanted) -> Result<(), Status> {
        let container = self.container(&wanted.replica_id)?;
        let processes = self.engine.top(&container, &wanted.ps_args).await?;
        send(&self.outgoing, ToScheduler::Top(processes)).await
    }

    async fn copy_out(&self, wanted: CopyOutWanted) -> Result<(), Status> {
        let container = self.container(&wanted.replica_id)?;
        let mut archive = self.engine.copy_out(&container, &wanted.path);
        while let Some(chunk) = archive.next().await {
            for part in chunk?.chunks(LARGEST) {
                send(&self.outgoing, ToScheduler::Archive(part.to_vec())).await?;
            }
        }
        Ok(())
    }

    async fn copy_in(
        &self,
        wanted: CopyInWanted,
        incoming: &mut Streaming<RelayResponse>,
    ) -> Result<(), Status> {
        let container = self.container(&wanted.replica_id)?;
        let (bytes, archive) = mpsc::channel::<io::Result<Bytes>>(QUEUE);
        let unpacking = self.engine.copy_in(&container, &wanted.path, ReceiverStream::new(archive));
        let receiving = async {
            loop {
                let chunk = match incoming.message().await {
                    Ok(Some(RelayResponse { message: Some(FromScheduler::Archive(chunk)) })) => {
                        Ok(chunk.into())
                    }
                    Ok(Some(RelayResponse { message: Some(FromScheduler::ArchiveEnd(_)) })) => break,
                    // Half an archive is not to be taken for a whole one.
                    _ => Err(io::Error::other("the archive was cut off")),
                };
                let failed = chunk.is_err();
                if bytes.send(chunk).await.is_err() || failed {
                    break;
                }
            }
            drop(bytes);
        };
        let (unpacked, ()) = tokio::join!(unpacking, receiving);
        unpacked?;
        send(&self.outgoing, ToScheduler::Unpacked(true)).await
    }

    async fn image(&self, wanted: ImageWanted) -> Result<(), Status> {
        let (steps, mut told) = mpsc::channel(QUEUE);
        let resolving = images::resolve(&self.engine, &wanted, &steps);
        tokio::pin!(resolving);
        let found = loop {
            tokio::select! {
                Some(step) = told.recv() => send(&self.outgoing, ToScheduler::Pull(step)).await?,
                found = &mut resolving => break found?,
            }
        };
        self.copies.image_came();
        send(&self.outgoing, ToScheduler::Image(found)).await
    }
}
