//! `gantry.cluster.v1.ServiceService`.

use std::sync::Arc;

use gantry_api::cluster::v1::service_service_server::ServiceService;
use gantry_api::cluster::v1::{
    ExplainServiceRequest, ExplainServiceResponse, GetServiceRequest, GetServiceResponse,
    ListServicesRequest, ListServicesResponse, RemoveServiceRequest, RemoveServiceResponse,
    ReplicaExplanation, RestartServiceRequest, RestartServiceResponse, ScaleServiceRequest,
    ScaleServiceResponse, StartServiceRequest, StartServiceResponse, StopServiceRequest, StopServiceResponse,
};
use gantry_autoscale::Bounds;
use gantry_boot::{caller, now};
use gantry_identity::Identity;
use gantry_model::wire::View;
use gantry_model::{AutoscaleMode, Change, Record, Service, Severity, Snapshot};
use tonic::{Request, Response, Status};

use super::{Refused, find_service};
use crate::decide::{explain, record_event};
use crate::state::State;

const MAX_REPLICAS: u32 = 10_000;
const EXPLAINED_EVENTS: usize = 50;

/// Serves services.
pub struct Services {
    state: State,
}

impl Services {
    /// Serves the services of `state`.
    pub fn new(state: State) -> Self {
        Self { state }
    }

    /// Changes one service on a person's word, and leaves an event of it. `change` answers with what
    /// happened, or with nothing if there was nothing to do.
    async fn change(
        &self,
        name: &str,
        by: &Identity,
        reason: &str,
        change: impl FnOnce(&mut Service) -> Option<String>,
    ) -> Result<(), Status> {
        self.state
            .commit(|snapshot| {
                let mut service = find_service(snapshot, name)?.clone();
                if service.removing {
                    return Err(Refused(Status::failed_precondition(format!("{name} is being removed"))));
                }
                let Some(what) = change(&mut service) else { return Ok((Vec::new(), ())) };
                service.updated_at = now();
                Ok((stored(snapshot, service, by, reason, &what), ()))
            })
            .await
            .map_err(|Refused(status)| status)
    }
}

fn stored(snapshot: &Snapshot, service: Service, by: &Identity, reason: &str, what: &str) -> Vec<Change> {
    let subject = service.id.to_string();
    let message = format!("{what}, asked for by {} {}", by.role, by.name);
    let mut changes = record_event(snapshot, now(), Severity::Normal, &subject, None, reason, message);
    changes.push(Change::Put(Record::Service(Arc::new(service))));
    changes
}

/// What becomes of a count that a person sets, where the load sets it as well: it is the count from which that
/// goes on, so it must be one that the load may set.
fn by_load(service: &Service, replicas: u32) -> Result<String, Status> {
    let rules = service.spec.autoscale.as_ref().filter(|rules| rules.mode == AutoscaleMode::Auto);
    let Some(rules) = rules else { return Ok(String::new()) };
    let (name, Bounds { min, max, .. }) = (&service.id, Bounds::of(rules, now()));
    if !(min..=max).contains(&replicas) {
        let other = if replicas > max { format!("--max {replicas}") } else { format!("--min {replicas}") };
        return Err(Status::failed_precondition(format!(
            "{name} is scaled by its load, between {min} and {max} replicas: `gantry autoscale set {name} {other}` \
             changes that, and `gantry autoscale off {name}` leaves the count to you"
        )));
    }
    Ok(format!(
        "{name} goes on being scaled by its load from there, between {min} and {max} replicas; \
         `gantry autoscale off {name}` leaves the count to you"
    ))
}

#[tonic::async_trait]
impl ServiceService for Services {
    async fn list_services(
        &self,
        request: Request<ListServicesRequest>,
    ) -> Result<Response<ListServicesResponse>, Status> {
        let stack = request.into_inner().stack;
        let snapshot = self.state.snapshot();
        let of_stack = snapshot
            .services
            .values()
            .filter(|service| stack.is_empty() || service.id.stack().as_str() == stack);
        let services = of_stack.map(|service| View(&snapshot).service(service)).collect();
        Ok(Response::new(ListServicesResponse { services }))
    }

    async fn get_service(
        &self,
        request: Request<GetServiceRequest>,
    ) -> Result<Response<GetServiceResponse>, Status> {
        let snapshot = self.state.snapshot();
        let service = find_service(&snapshot, &request.into_inner().name)?;
        let view = View(&snapshot);
        let (service, replicas) = (Some(view.service(service)), view.replicas_of(&service.id));
        Ok(Response::new(GetServiceResponse { service, replicas }))
    }

    async fn scale_service(
        &self,
        request: Request<ScaleServiceRequest>,
    ) -> Result<Response<ScaleServiceResponse>, Status> {
        let by = caller(&request)?.clone();
        let ScaleServiceRequest { name, replicas } = request.into_inner();
        if replicas > MAX_REPLICAS {
            return Err(Status::invalid_argument(format!(
                "{replicas} replicas are too many: at most {MAX_REPLICAS}"
            )));
        }
        let snapshot = self.state.snapshot();
        let service = find_service(&snapshot, &name)?;
        if service.is_global() {
            return Err(Status::failed_precondition(format!(
                "{name} has one replica on every node (mode: global): it cannot be scaled"
            )));
        }
        if service.spec.exclusive && replicas > 1 {
            return Err(Status::failed_precondition(format!(
                "{name} is exclusive: it has one replica at most"
            )));
        }
        let note = by_load(service, replicas)?;
        let mut previous = 0;
        self.change(&name, &by, "Scaled", |service| {
            previous = service.wanted();
            if service.replicas == replicas && !service.stopped {
                return None;
            }
            let what = format!("replicas {previous} → {replicas}");
            (service.replicas, service.stopped) = (replicas, false);
            Some(what)
        })
        .await?;
        Ok(Response::new(ScaleServiceResponse { previous, note }))
    }

    async fn restart_service(
        &self,
        request: Request<RestartServiceRequest>,
    ) -> Result<Response<RestartServiceResponse>, Status> {
        let by = caller(&request)?.clone();
        self.change(&request.into_inner().name, &by, "RestartAsked", |service| {
            service.restart_sequence += 1;
            service.stopped = false;
            Some("restart".to_owned())
        })
        .await?;
        Ok(Response::new(RestartServiceResponse {}))
    }

    async fn stop_service(
        &self,
        request: Request<StopServiceRequest>,
    ) -> Result<Response<StopServiceResponse>, Status> {
        let by = caller(&request)?.clone();
        self.change(&request.into_inner().name, &by, "Stopped", |service| {
            let was = std::mem::replace(&mut service.stopped, true);
            (!was).then(|| "stop".to_owned())
        })
        .await?;
        Ok(Response::new(StopServiceResponse {}))
    }

    async fn start_service(
        &self,
        request: Request<StartServiceRequest>,
    ) -> Result<Response<StartServiceResponse>, Status> {
        let by = caller(&request)?.clone();
        self.change(&request.into_inner().name, &by, "Started", |service| {
            let was = std::mem::replace(&mut service.stopped, false);
            was.then(|| "start".to_owned())
        })
        .await?;
        Ok(Response::new(StartServiceResponse {}))
    }

    async fn remove_service(
        &self,
        request: Request<RemoveServiceRequest>,
    ) -> Result<Response<RemoveServiceResponse>, Status> {
        let by = caller(&request)?.clone();
        let name = request.into_inner().name;
        self.state
            .commit(|snapshot| {
                let mut service = find_service(snapshot, &name)?.clone();
                let users: Vec<_> = snapshot
                    .services_of(service.id.stack())
                    .filter(|other| {
                        let needs = other.spec.depends_on.get(service.id.name());
                        !other.removing && needs.is_some_and(|dependency| dependency.required)
                    })
                    .map(|other| other.id.name().to_owned())
                    .collect();
                if !users.is_empty() {
                    let users = users.join(", ");
                    return Err(Refused(Status::failed_precondition(format!(
                        "{users} depends on {name}: remove it first"
                    ))));
                }
                if service.removing {
                    return Ok((Vec::new(), ()));
                }
                (service.removing, service.updated_at) = (true, now());
                Ok((stored(snapshot, service, &by, "Removing", "removal"), ()))
            })
            .await
            .map_err(|Refused(status)| status)?;
        Ok(Response::new(RemoveServiceResponse {}))
    }

    async fn explain_service(
        &self,
        request: Request<ExplainServiceRequest>,
    ) -> Result<Response<ExplainServiceResponse>, Status> {
        let snapshot = self.state.snapshot();
        let service = find_service(&snapshot, &request.into_inner().name)?;
        let view = View(&snapshot);
        let subject = service.id.to_string();
        let of_service = snapshot.events.values().rev().filter(|event| event.is_about(&subject));
        let mut events: Vec<_> = of_service.take(EXPLAINED_EVENTS).map(|event| view.event(event)).collect();
        events.reverse();
        let replicas = snapshot
            .replicas_of(&service.id)
            .map(|replica| ReplicaExplanation {
                replica: Some(view.replica(replica)),
                reasons: explain(&snapshot, replica),
            })
            .collect();
        Ok(Response::new(ExplainServiceResponse { service: Some(view.service(service)), replicas, events }))
    }
}
