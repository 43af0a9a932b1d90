//! `gantry.cluster.v1.ReplicaService`: reads replicas, and reaches into them through their agents.

use std::sync::Arc;

use gantry_api::cluster::v1::replica_service_server::ReplicaService;
use gantry_api::cluster::v1::{
    CopyInRequest, CopyInResponse, CopyOutRequest, CopyOutResponse, ExecRequest, ExecResponse,
    ListReplicasRequest, ListReplicasResponse, StreamLogsRequest, StreamLogsResponse, StreamStatsRequest,
    StreamStatsResponse, TopReplicaRequest, TopReplicaResponse,
};
use gantry_model::wire::View;
use gantry_model::{Goal, Node, Replica, Snapshot};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{exec, files, find_service, logs, stats};
use crate::session::Relays;
use crate::state::State;
use crate::usage::Usage;

const QUEUE: usize = 64;

/// Serves replicas.
#[derive(Clone)]
pub struct Replicas {
    pub(super) state: State,
    pub(super) relays: Relays,
    pub(super) usage: Usage,
}

impl Replicas {
    /// Serves the replicas of `state` with their `usage`, and reaches into them through `relays`.
    pub fn new(state: State, relays: Relays, usage: Usage) -> Self {
        Self { state, relays, usage }
    }
}

/// The node of a replica, or why there is none to ask.
pub(super) fn node_of<'a>(snapshot: &'a Snapshot, replica: &Replica) -> Result<&'a Arc<Node>, Status> {
    let node = replica.node.as_ref().ok_or_else(|| {
        let reason = replica.pending.as_deref().unwrap_or("it is not placed yet");
        Status::failed_precondition(format!(
            "replica {} of {} has no container: {reason}",
            replica.slot, replica.service
        ))
    })?;
    snapshot.nodes.get(node).ok_or_else(|| Status::internal(format!("node {node} is not on record")))
}

/// The replica of an id or of the unique start of one.
pub(super) fn find_replica<'a>(snapshot: &'a Snapshot, id: &str) -> Result<&'a Arc<Replica>, Status> {
    let mut matching =
        snapshot.replicas.values().filter(|replica| !id.is_empty() && replica.id.as_str().starts_with(id));
    match (matching.next(), matching.next()) {
        (Some(replica), None) => Ok(replica),
        (Some(_), Some(_)) => {
            Err(Status::invalid_argument(format!("several replica ids begin with {id}: give more of it")))
        }
        (None, _) => {
            Err(Status::not_found(format!("there is no replica {id}: `gantry ps` shows those that are")))
        }
    }
}

#[tonic::async_trait]
impl ReplicaService for Replicas {
    async fn list_replicas(
        &self,
        request: Request<ListReplicasRequest>,
    ) -> Result<Response<ListReplicasResponse>, Status> {
        let ListReplicasRequest { stack, service } = request.into_inner();
        let snapshot = self.state.snapshot();
        let view = View(&snapshot);
        if !service.is_empty() {
            let service = find_service(&snapshot, &service)?;
            return Ok(Response::new(ListReplicasResponse { replicas: view.replicas_of(&service.id) }));
        }
        let services = snapshot
            .services
            .values()
            .filter(|service| stack.is_empty() || service.id.stack().as_str() == stack);
        let replicas = services.flat_map(|service| view.replicas_of(&service.id)).collect();
        Ok(Response::new(ListReplicasResponse { replicas }))
    }

    type StreamLogsStream = ReceiverStream<Result<StreamLogsResponse, Status>>;

    async fn stream_logs(
        &self,
        request: Request<StreamLogsRequest>,
    ) -> Result<Response<Self::StreamLogsStream>, Status> {
        let request = request.into_inner();
        let wanted = logs::Wanted::read(&self.state.snapshot(), &request)?;
        let (answers, stream) = mpsc::channel(QUEUE);
        let replicas = self.clone();
        tokio::spawn(async move { logs::stream(&replicas, wanted, &answers).await });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    type ExecStream = ReceiverStream<Result<ExecResponse, Status>>;

    async fn exec(
        &self,
        request: Request<Streaming<ExecRequest>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        let mut incoming = request.into_inner();
        let target = exec::read_target(&mut incoming).await?;
        let snapshot = self.state.snapshot();
        let replica = exec::choose(&snapshot, &target.target, target.slot)?;
        let relay = exec::open(&self.relays, &snapshot, &replica, target).await?;
        let (answers, stream) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            if let Err(status) = exec::carry(incoming, relay, &answers).await {
                let _ = answers.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn top_replica(
        &self,
        request: Request<TopReplicaRequest>,
    ) -> Result<Response<TopReplicaResponse>, Status> {
        let TopReplicaRequest { replica, ps_args } = request.into_inner();
        let replica = files::target(&self.state.snapshot(), replica)?;
        Ok(Response::new(files::top(self, &replica, ps_args).await?))
    }

    type CopyOutStream = ReceiverStream<Result<CopyOutResponse, Status>>;

    async fn copy_out(
        &self,
        request: Request<CopyOutRequest>,
    ) -> Result<Response<Self::CopyOutStream>, Status> {
        let CopyOutRequest { replica, path } = request.into_inner();
        let replica = files::target(&self.state.snapshot(), replica)?;
        let relay = files::open_out(self, &replica, path).await?;
        let (answers, stream) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            tokio::select! {
                () = files::carry_out(relay, &answers) => {}
                () = answers.closed() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn copy_in(
        &self,
        request: Request<Streaming<CopyInRequest>>,
    ) -> Result<Response<CopyInResponse>, Status> {
        let mut incoming = request.into_inner();
        let start = files::read_start(&mut incoming).await?;
        let replica = files::target(&self.state.snapshot(), start.replica)?;
        files::carry_in(self, &replica, start.path, incoming).await?;
        Ok(Response::new(CopyInResponse {}))
    }

    type StreamStatsStream = ReceiverStream<Result<StreamStatsResponse, Status>>;

    async fn stream_stats(
        &self,
        request: Request<StreamStatsRequest>,
    ) -> Result<Response<Self::StreamStatsStream>, Status> {
        let StreamStatsRequest { services, stack, once } = request.into_inner();
        let snapshot = self.state.snapshot();
        let mut wanted = Vec::new();
        for name in &services {
            wanted.push(find_service(&snapshot, name)?.id.clone());
        }
        let of_stack =
            |service: &gantry_model::ServiceId| stack.is_empty() || service.stack().as_str() == stack;
        let replicas: Vec<_> = snapshot
            .replicas
            .values()
            .filter(|replica| replica.goal == Goal::Run && replica.node.is_some())
            .filter(|replica| {
                if wanted.is_empty() { of_stack(&replica.service) } else { wanted.contains(&replica.service) }
            })
            .cloned()
            .collect();
        let (answers, stream) = mpsc::channel(QUEUE);
        for replica in replicas {
            let (replicas, answers) = (self.clone(), answers.clone());
            tokio::spawn(async move { stats::stream(&replicas, &replica, once, &answers).await });
        }
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
