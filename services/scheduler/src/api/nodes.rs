//! `gantry.cluster.v1`'s `NodeService`.

use std::sync::Arc;

use gantry_api::cluster::v1::node_service_server::NodeService;
use gantry_api::cluster::v1::{
    GetNodeRequest, GetNodeResponse, ListNodesRequest, ListNodesResponse, RemoveNodeRequest,
    RemoveNodeResponse, UpdateNodeRequest, UpdateNodeResponse, WatchNodeRequest, WatchNodeResponse,
};
use gantry_boot::{caller, now};
use gantry_model::wire::{self, View};
use gantry_model::{Availability, Change, Node, Record, Severity, Snapshot};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Refused;
use crate::decide::record_event;
use crate::membership::{NotRemoved, Office, check_labels, objection, removal};
use crate::state::State;

/// Shows nodes, and says what they may do.
pub struct Nodes {
    state: State,
    office: Office,
}

impl Nodes {
    /// Serves the nodes of `state`.
    pub fn new(state: State, office: Office) -> Self {
        Self { state, office }
    }
}

/// The node of a name or id, or which there are.
fn find<'a>(snapshot: &'a Snapshot, name: &str) -> Result<&'a Arc<Node>, Status> {
    let found = snapshot.nodes.values().find(|node| node.name == name || node.id.as_str() == name);
    found.ok_or_else(|| {
        let mut known: Vec<_> = snapshot.nodes.values().map(|node| node.name.as_str()).collect();
        known.sort_unstable();
        Status::not_found(match known.as_slice() {
            [] => format!("there is no node {name}: the cluster has none yet"),
            known => format!("there is no node {name}; there are {}", known.join(", ")),
        })
    })
}

#[tonic::async_trait]
impl NodeService for Nodes {
    async fn list_nodes(&self, _: Request<ListNodesRequest>) -> Result<Response<ListNodesResponse>, Status> {
        let snapshot = self.state.snapshot();
        let mut nodes: Vec<_> = snapshot.nodes.values().map(|node| View(&snapshot).node(node)).collect();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Response::new(ListNodesResponse { nodes }))
    }

    async fn get_node(&self, request: Request<GetNodeRequest>) -> Result<Response<GetNodeResponse>, Status> {
        let snapshot = self.state.snapshot();
        let node = find(&snapshot, &request.into_inner().name)?;
        Ok(Response::new(GetNodeResponse { node: Some(View(&snapshot).node(node)) }))
    }

    type WatchNodeStream = ReceiverStream<Result<WatchNodeResponse, Status>>;

    async fn watch_node(
        &self,
        request: Request<WatchNodeRequest>,
    ) -> Result<Response<Self::WatchNodeStream>, Status> {
        let mut changes = self.state.subscribe();
        let id = find(&self.state.snapshot(), &request.into_inner().name)?.id.clone();
        let (said, stream) = mpsc::channel(4);
        tokio::spawn(async move {
            let mut sent = None;
            loop {
                let now = {
                    let snapshot = changes.borrow_and_update();
                    snapshot.nodes.get(&id).map(|node| View(&snapshot).node(node))
                };
                let Some(node) = now else { return };
                if sent.as_ref() != Some(&node) {
                    sent = Some(node.clone());
                    if said.send(Ok(WatchNodeResponse { node: Some(node) })).await.is_err() {
                        return;
                    }
                }
                tokio::select! {
                    () = said.closed() => return,
                    changed = changes.changed() => if changed.is_err() { return },
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn update_node(
        &self,
        request: Request<UpdateNodeRequest>,
    ) -> Result<Response<UpdateNodeResponse>, Status> {
        let by = caller(&request)?.clone();
        let request = request.into_inner();
        let availability = wire::read_availability(request.availability());
        let id = self
            .state
            .commit(|snapshot| {
                let before = find(snapshot, &request.name)?;
                let mut node = before.as_ref().clone();
                node.availability = availability.unwrap_or(node.availability);
                // Who says that it is active trusts it.
                if availability == Some(Availability::Active) {
                    node.quarantined_since = None;
                }
                for name in &request.label_rm {
                    node.labels.remove(name);
                }
                node.labels.extend(request.label_add.clone());
                check_labels(&node.labels).map_err(Status::invalid_argument)?;
                let id = node.id.clone();
                if **before == node {
                    return Ok((Vec::new(), id));
                }
                let message = format!("{}, by {} {}", differences(before, &node), by.role, by.name);
                let subject = format!("node:{}", node.name);
                let mut changes =
                    record_event(snapshot, now(), Severity::Normal, &subject, None, "NodeChanged", message);
                changes.push(Change::Put(Record::Node(Arc::new(node))));
                Ok::<_, Refused>((changes, id))
            })
            .await
            .map_err(|Refused(status)| status)?;
        let snapshot = self.state.snapshot();
        let node = snapshot.nodes.get(&id).map(|node| View(&snapshot).node(node));
        Ok(Response::new(UpdateNodeResponse { node }))
    }

    async fn remove_node(
        &self,
        request: Request<RemoveNodeRequest>,
    ) -> Result<Response<RemoveNodeResponse>, Status> {
        let by = caller(&request)?.clone();
        let RemoveNodeRequest { name, force } = request.into_inner();
        let until = now().after(self.office.lifetime());
        self.state
            .commit(|snapshot| {
                let node = find(snapshot, &name)?;
                let connected = snapshot.node_statuses.get(&node.id).is_some_and(|status| status.connected);
                let objection = if connected {
                    Some(NotRemoved::Connected(node.name.clone()))
                } else {
                    objection(snapshot, node)
                };
                if let Some(objection) = objection.filter(|_| !force) {
                    return Err(Refused(Status::failed_precondition(objection.to_string())));
                }
                let why = format!("by {} {}", by.role, by.name);
                Ok((removal(snapshot, &node.id, until, now(), &why), ()))
            })
            .await
            .map_err(|Refused(status)| status)?;
        Ok(Response::new(RemoveNodeResponse {}))
    }
}

/// What changed, for people.
fn differences(before: &Node, after: &Node) -> String {
    let mut words = Vec::new();
    if before.availability != after.availability {
        words.push(match after.availability {
            Availability::Active => "it runs replicas again".to_owned(),
            Availability::Pause => "it gets no new replicas".to_owned(),
            Availability::Drain => "its replicas are to run elsewhere".to_owned(),
        });
    }
    if before.quarantined_since.is_some() && after.quarantined_since.is_none() {
        words.push("its quarantine is over".to_owned());
    }
    for (name, value) in &after.labels {
        if before.labels.get(name) != Some(value) {
            words.push(format!("label {name}={value}"));
        }
    }
    let removed = before.labels.keys().filter(|name| !after.labels.contains_key(*name));
    words.extend(removed.map(|name| format!("no label {name}")));
    words.join(", ")
}
