//! `gantry.node.v1`'s `MemberService`: what nodes ask of their own membership.

use std::sync::Arc;
use std::time::Duration;

use gantry_api::node::v1::member_service_server::MemberService;
use gantry_api::node::v1::{
    GetSelfRequest, GetSelfResponse, LeaveRequest, LeaveResponse, RenewRequest, RenewResponse,
};
use gantry_boot::{caller, now};
use gantry_identity::Role;
use gantry_model::wire::View;
use gantry_model::{Availability, Change, Node, NodeId, Record, Severity, Snapshot};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::office::Office;
use super::remove::{objection, removal};
use crate::api::{Refused, store_failed};
use crate::decide::record_event;
use crate::state::State;

const PATIENCE: Duration = Duration::from_mins(10);

/// Serves nodes.
pub struct Members {
    state: State,
    office: Office,
}

impl Members {
    /// Serves the nodes of `state`.
    pub fn new(state: State, office: Office) -> Self {
        Self { state, office }
    }
}

/// The record of the node that calls.
fn own_record<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Arc<Node>, Status> {
    let id = NodeId::new(name).ok();
    id.and_then(|id| snapshot.nodes.get(&id))
        .ok_or_else(|| Status::not_found(format!("node {name} is no member of this cluster")))
}

#[tonic::async_trait]
impl MemberService for Members {
    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let identity = caller(&request)?.clone();
        let snapshot = self.state.snapshot();
        let mut hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        match own_record(&snapshot, &identity.name) {
            Ok(node) => hosts.extend(node.addresses.iter().cloned()),
            // A watchdog may run where there is no node.
            Err(_) if identity.role == Role::Watchdog => {}
            Err(gone) => return Err(gone),
        }
        let request = request.into_inner().request;
        let certificate = self.office.sign(&request, identity.role, &identity.name, hosts)?;
        tracing::info!(name = identity.name, role = %identity.role, "a certificate was renewed");
        let ca = self.office.authority()?.certificate().to_owned();
        Ok(Response::new(RenewResponse { certificate, ca }))
    }

    async fn get_self(&self, request: Request<GetSelfRequest>) -> Result<Response<GetSelfResponse>, Status> {
        let name = &caller(&request)?.name;
        let snapshot = self.state.snapshot();
        let node = View(&snapshot).node(own_record(&snapshot, name)?);
        Ok(Response::new(GetSelfResponse {
            name: node.name,
            cluster_name: snapshot.cluster.name.clone(),
            ready: node.ready,
            message: node.message,
            replicas: node.replicas,
        }))
    }

    type LeaveStream = ReceiverStream<Result<LeaveResponse, Status>>;

    async fn leave(&self, request: Request<LeaveRequest>) -> Result<Response<Self::LeaveStream>, Status> {
        let identity = caller(&request)?.clone();
        debug_assert_eq!(identity.role, Role::Node);
        let LeaveRequest { force, timeout } = request.into_inner();
        let patience = timeout.and_then(|time| Duration::try_from(time).ok()).unwrap_or(PATIENCE);
        let snapshot = self.state.snapshot();
        let id = own_record(&snapshot, &identity.name)?.id.clone();
        if !force {
            drain(&self.state, &id).await?;
        }
        let (said, stream) = mpsc::channel(4);
        let (state, lifetime) = (self.state.clone(), self.office.lifetime());
        tokio::spawn(async move {
            let left = async {
                if !force {
                    emptied(&state, &id, Instant::now() + patience, &said).await?;
                }
                state
                    .commit(|snapshot| {
                        let node = snapshot.nodes.get(&id).filter(|_| !force);
                        if let Some(objection) = node.and_then(|node| objection(snapshot, node)) {
                            return Err(Refused(Status::failed_precondition(objection.to_string())));
                        }
                        Ok((removal(snapshot, &id, now().after(lifetime), now(), "it left"), ()))
                    })
                    .await
                    .map_err(|Refused(status)| status)
            };
            // Whoever asked may be gone; the node leaves all the same once it is empty.
            let _ = said.send(left.await.map(|()| LeaveResponse { replicas: 0, done: true })).await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn drain(state: &State, id: &NodeId) -> Result<(), Status> {
    state
        .commit::<_, gantry_store::Error>(|snapshot| {
            let Some(node) = snapshot.nodes.get(id) else { return Ok((Vec::new(), ())) };
            if node.availability == Availability::Drain {
                return Ok((Vec::new(), ()));
            }
            let node = Node { availability: Availability::Drain, ..node.as_ref().clone() };
            let subject = format!("node:{}", node.name);
            let message = format!("node {} is drained: it is about to leave", node.name);
            let mut changes =
                record_event(snapshot, now(), Severity::Normal, &subject, None, "NodeDraining", message);
            changes.push(Change::Put(Record::Node(Arc::new(node))));
            Ok((changes, ()))
        })
        .await
        .map_err(store_failed)
}

/// Waits until the node has no replicas, and says how many are left whenever that changes.
async fn emptied(
    state: &State,
    id: &NodeId,
    until: Instant,
    said: &mpsc::Sender<Result<LeaveResponse, Status>>,
) -> Result<(), Status> {
    let mut changes = state.subscribe();
    let mut told = None;
    loop {
        let left = changes.borrow_and_update().replicas_on(id).count();
        let replicas = u32::try_from(left).unwrap_or(u32::MAX);
        if left == 0 {
            return Ok(());
        }
        if told != Some(replicas) {
            told = Some(replicas);
            if said.send(Ok(LeaveResponse { replicas, done: false })).await.is_err() {
                return Err(Status::cancelled("nobody waits any more"));
            }
        }
        tokio::select! {
            () = said.closed() => return Err(Status::cancelled("nobody waits any more")),
            changed = timeout_at(until, changes.changed()) => match changed {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(Status::unavailable("the scheduler ends")),
                Err(_) => return Err(Status::deadline_exceeded(format!(
                    "{replicas} replicas are still on this node; it is drained and still a member: try again later, or leave with --force"
                ))),
            }
        }
    }
}
