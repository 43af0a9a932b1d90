//! `gantry.cluster.v1.StackService`.

use std::sync::Arc;
use std::time::Duration;

use gantry_api::cluster::v1::stack_service_server::StackService;
use gantry_api::cluster::v1::{
    ApplyProgress, ApplyStackRequest, ApplyStackResponse, GetStackRequest, GetStackResponse,
    ListStacksRequest, ListStacksResponse, PlanStackRequest, PlanStackResponse, RemoveStackRequest,
    RemoveStackResponse, WatchStackRequest, WatchStackResponse, apply_stack_response,
};
use gantry_boot::{caller, now, random_id};
use gantry_identity::Identity;
use gantry_model::wire::{self, View};
use gantry_model::{Change, Record, Service, Severity, Snapshot, Stack, StackName, StackSpec};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Refused;
use super::admit::{Admission, Asked, admit};
use super::converged::{converged, proxies_serve};
use super::images::{self, Reach};
use crate::credentials::Credentials;
use crate::decide::record_event;
use crate::session::Relays;
use crate::state::State;

/// At most one message in this time.
const WATCH_PAUSE: Duration = Duration::from_millis(50);
/// A stack is said to have converged when proxies serve its ports, or this long after it has.
const PROXIES_WITHIN: Duration = Duration::from_secs(2);
const QUEUE: usize = 16;

/// Serves stacks.
#[derive(Clone)]
pub struct Stacks {
    state: State,
    relays: Relays,
    credentials: Credentials,
}

impl Stacks {
    /// Serves the stacks of `state`; nodes are asked for images through `relays`, and
    /// log in to registries with `credentials`.
    pub fn new(state: State, relays: Relays, credentials: Credentials) -> Self {
        Self { state, relays, credentials }
    }

    async fn apply(
        &self,
        spec: &StackSpec,
        force: bool,
        by: &Identity,
        progress: &mpsc::Sender<ApplyProgress>,
    ) -> Result<PlanStackResponse, Status> {
        // What cannot be admitted whatever the images are is refused before anything is pulled.
        let incarnation = random_id(12);
        let unknown = std::collections::BTreeMap::new();
        let asked = Asked { spec, force, by, images: &unknown, incarnation: &incarnation, now: now() };
        admit(&self.state.snapshot(), &asked)?;
        let images =
            images::resolve(&self.state, &self.relays, &self.credentials, spec, Reach::Pull, Some(progress))
                .await?;
        let committed = self
            .state
            .commit(|snapshot| {
                let asked = Asked { spec, force, by, images: &images, incarnation: &incarnation, now: now() };
                let Admission { planned, changes } = admit(snapshot, &asked)?;
                Ok::<_, Refused>((changes, planned))
            })
            .await;
        let changes = committed.map_err(|Refused(status)| status)?;
        tracing::info!(stack = %spec.name, changes = changes.len(), by = by.name, "deployed");
        Ok(PlanStackResponse { changes })
    }
}

fn read_spec(spec: Option<gantry_api::cluster::v1::StackSpec>) -> Result<StackSpec, Status> {
    let spec = spec.ok_or_else(|| Status::invalid_argument("spec is missing"))?;
    Ok(wire::read_stack(spec)?)
}

fn read_name(name: &str) -> Result<StackName, Status> {
    StackName::new(name).map_err(|bad| Status::invalid_argument(bad.to_string()))
}

fn find<'a>(snapshot: &'a Snapshot, name: &StackName) -> Result<&'a Arc<Stack>, Status> {
    snapshot.stacks.get(name).ok_or_else(|| {
        Status::not_found(format!("there is no stack {name}: `gantry ls` shows those that are"))
    })
}

#[tonic::async_trait]
impl StackService for Stacks {
    async fn plan_stack(
        &self,
        request: Request<PlanStackRequest>,
    ) -> Result<Response<PlanStackResponse>, Status> {
        let by = caller(&request)?.clone();
        let spec = read_spec(request.into_inner().spec)?;
        let snapshot = self.state.snapshot();
        let images =
            images::resolve(&self.state, &self.relays, &self.credentials, &spec, Reach::Look, None).await?;
        let asked =
            Asked { spec: &spec, force: false, by: &by, images: &images, incarnation: "plan", now: now() };
        let Admission { planned: mut changes, .. } = admit(&snapshot, &asked)?;
        for (image, _) in images.iter().filter(|(_, found)| found.digest.is_none()) {
            let users = spec.services.iter().filter(|(_, service)| service.container.image == *image);
            let subjects: Vec<_> = users.map(|(name, _)| format!("service {}/{name}", spec.name)).collect();
            for change in changes.iter_mut().filter(|change| subjects.contains(&change.subject)) {
                change.details.push(format!("image {image} is not on any node yet"));
            }
        }
        Ok(Response::new(PlanStackResponse { changes }))
    }

    type ApplyStackStream = ReceiverStream<Result<ApplyStackResponse, Status>>;

    async fn apply_stack(
        &self,
        request: Request<ApplyStackRequest>,
    ) -> Result<Response<Self::ApplyStackStream>, Status> {
        use apply_stack_response::Message;
        let by = caller(&request)?.clone();
        let request = request.into_inner();
        let spec = read_spec(request.spec)?;
        self.credentials.learn(request.credentials);
        let (answers, stream) = mpsc::channel(QUEUE);
        let (progress, mut steps) = mpsc::channel(QUEUE);
        let stacks = self.clone();
        tokio::spawn(async move {
            let applying = stacks.apply(&spec, request.force_recreate, &by, &progress);
            tokio::pin!(applying);
            let last = loop {
                tokio::select! {
                    Some(step) = steps.recv() => {
                        let message = Some(Message::Progress(step));
                        // Whoever asked may have gone; what was begun is finished all the same.
                        let _ = answers.send(Ok(ApplyStackResponse { message })).await;
                    }
                    result = &mut applying => break result,
                }
            };
            let answer = last.map(|result| ApplyStackResponse { message: Some(Message::Result(result)) });
            let _ = answers.send(answer).await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_stack(
        &self,
        request: Request<GetStackRequest>,
    ) -> Result<Response<GetStackResponse>, Status> {
        let snapshot = self.state.snapshot();
        let stack = find(&snapshot, &read_name(&request.into_inner().name)?)?;
        Ok(Response::new(GetStackResponse { stack: Some(View(&snapshot).stack(stack)) }))
    }

    async fn list_stacks(
        &self,
        _: Request<ListStacksRequest>,
    ) -> Result<Response<ListStacksResponse>, Status> {
        let snapshot = self.state.snapshot();
        let stacks = snapshot.stacks.values().map(|stack| View(&snapshot).stack(stack)).collect();
        Ok(Response::new(ListStacksResponse { stacks }))
    }

    async fn remove_stack(
        &self,
        request: Request<RemoveStackRequest>,
    ) -> Result<Response<RemoveStackResponse>, Status> {
        let by = caller(&request)?.clone();
        let request = request.into_inner();
        let name = read_name(&request.name)?;
        self.state
            .commit(|snapshot| {
                let stack = find(snapshot, &name)?;
                Ok::<_, Refused>((remove(snapshot, stack, request.volumes, &by), ()))
            })
            .await
            .map_err(|Refused(status)| status)?;
        Ok(Response::new(RemoveStackResponse {}))
    }

    type WatchStackStream = ReceiverStream<Result<WatchStackResponse, Status>>;

    async fn watch_stack(
        &self,
        request: Request<WatchStackRequest>,
    ) -> Result<Response<Self::WatchStackStream>, Status> {
        let name = read_name(&request.into_inner().name)?;
        find(&self.state.snapshot(), &name)?;
        let (answers, stream) = mpsc::channel(QUEUE);
        let mut changes = self.state.subscribe();
        tokio::spawn(async move {
            let mut last = None;
            // Since which stored change, and since when, all is as it is to be.
            let mut since: Option<(u64, Instant)> = None;
            loop {
                let snapshot = changes.borrow_and_update().clone();
                let mut next = watch_answer(&snapshot, &name);
                let mut holding = false;
                if next.converged {
                    let (revision, at) = *since.get_or_insert_with(|| (snapshot.revision, Instant::now()));
                    next.converged = at.elapsed() >= PROXIES_WITHIN || proxies_serve(&snapshot, revision);
                    holding = !next.converged;
                } else {
                    since = None;
                }
                let gone = next.stack.is_none();
                if last.as_ref() != Some(&next) {
                    last = Some(next.clone());
                    if answers.send(Ok(next)).await.is_err() {
                        return;
                    }
                    sleep(WATCH_PAUSE).await;
                }
                if gone {
                    return;
                }
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = answers.closed() => return,
                    () = sleep(PROXIES_WITHIN), if holding => {}
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn watch_answer(snapshot: &Snapshot, name: &StackName) -> WatchStackResponse {
    match snapshot.stacks.get(name) {
        Some(stack) => WatchStackResponse {
            stack: Some(View(snapshot).stack(stack)),
            replicas: View(snapshot).replicas_of_stack(name),
            converged: !stack.removing && converged(snapshot, name),
        },
        None => WatchStackResponse::default(),
    }
}

fn remove(snapshot: &Snapshot, stack: &Stack, volumes: bool, by: &Identity) -> Vec<Change> {
    let removing = Stack {
        removing: true,
        // Asked twice, the volumes go if they were to go once.
        remove_volumes: volumes || stack.remove_volumes,
        updated_at: now(),
        ..stack.clone()
    };
    let mut changes = vec![Change::Put(Record::Stack(Arc::new(removing)))];
    for service in snapshot.services_of(&stack.name).filter(|service| !service.removing) {
        let removing = Service { removing: true, updated_at: now(), ..service.as_ref().clone() };
        changes.push(Change::Put(Record::Service(Arc::new(removing))));
    }
    let what = if volumes { " with its volumes" } else { "" };
    let message = format!("removal{what} asked for by {} {}", by.role, by.name);
    let subject = stack.name.to_string();
    changes.extend(record_event(snapshot, now(), Severity::Normal, &subject, None, "Removing", message));
    changes
}
