//! `gantry.cluster.v1.AutoscaleService`.

mod change;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::cluster::v1::autoscale_service_server::AutoscaleService;
use gantry_api::cluster::v1::{
    AutoscaleSignal, AutoscaleUnit, AutoscaledService, ListAutoscaledRequest, ListAutoscaledResponse,
    SetAutoscaleRequest, SetAutoscaleResponse,
};
use gantry_autoscale::{Bounds, Measure, Rules, Value};
use gantry_boot::{caller, now};
use gantry_model::wire::{autoscale_without_secrets, write_autoscale, write_time};
use gantry_model::{Change, Event, Record, Service, Severity, Snapshot, Timestamp};
use tonic::{Request, Response, Status};

use super::{Refused, find_service};
use crate::autoscale::{Autoscaler, Entry};
use crate::decide::{SCALED, record_event};
use crate::state::State;

/// Serves what is scaled by load.
pub struct Autoscaling {
    state: State,
    autoscaler: Autoscaler,
}

impl Autoscaling {
    /// Serves the services of `state`, and what `autoscaler` decides on them.
    pub fn new(state: State, autoscaler: Autoscaler) -> Self {
        Self { state, autoscaler }
    }
}

#[tonic::async_trait]
impl AutoscaleService for Autoscaling {
    async fn list_autoscaled(
        &self,
        request: Request<ListAutoscaledRequest>,
    ) -> Result<Response<ListAutoscaledResponse>, Status> {
        let stack = request.into_inner().stack;
        let services = self.autoscaler.look(|snapshot, book| {
            let meant = |service: &&Arc<Service>| stack.is_empty() || service.id.stack().as_str() == stack;
            let services = snapshot.services.values().filter(meant);
            let changes = last_changes(snapshot);
            services
                .filter_map(|service| shown(snapshot, service, book.entry(&service.id), &changes, now()))
                .collect()
        });
        Ok(Response::new(ListAutoscaledResponse { services }))
    }

    async fn set_autoscale(
        &self,
        request: Request<SetAutoscaleRequest>,
    ) -> Result<Response<SetAutoscaleResponse>, Status> {
        let by = caller(&request)?.clone();
        let asked = request.into_inner();
        let name = asked.name.clone();
        self.state
            .commit(|snapshot| {
                let mut service = find_service(snapshot, &name)?.clone();
                if service.removing {
                    return Err(Refused(Status::failed_precondition(format!("{name} is being removed"))));
                }
                let (before, slept) = (service.spec.autoscale.clone(), service.sleeps());
                change::change(&mut service.spec, &asked)?;
                if before == service.spec.autoscale {
                    return Ok((Vec::new(), ()));
                }
                let now = now();
                service.updated_at = now;
                let mut what = change::in_words(before.as_ref(), service.spec.autoscale.as_ref());
                if slept && !service.sleeps() {
                    // Nobody wakes it any more.
                    service.replicas = service.spec.replicas_awake();
                    what = format!("{what}; it slept, and has {} from now on", service.replicas);
                }
                let message = format!("{what}, asked for by {} {}", by.role, by.name);
                let mut changes =
                    record_event(snapshot, now, Severity::Normal, &name, None, "AutoscaleSet", message);
                changes.push(Change::Put(Record::Service(Arc::new(service))));
                Ok((changes, ()))
            })
            .await
            .map_err(|Refused(status)| status)?;
        let service = self.autoscaler.look(|snapshot, book| {
            let service = find_service(snapshot, &name).ok()?;
            shown(snapshot, service, book.entry(&service.id), &last_changes(snapshot), now())
        });
        Ok(Response::new(SetAutoscaleResponse { service }))
    }
}

/// The last change of each service by its load, by the service's name.
fn last_changes(snapshot: &Snapshot) -> HashMap<&str, &Event> {
    let scaled = snapshot.events.values().filter(|event| event.reason == SCALED);
    scaled.map(|event| (event.subject.as_str(), event.as_ref())).collect()
}

/// A service as people see it; `None` where it has no rules.
fn shown(
    snapshot: &Snapshot,
    service: &Service,
    entry: Option<&Entry>,
    changes: &HashMap<&str, &Event>,
    now: Timestamp,
) -> Option<AutoscaledService> {
    let rules = Rules::new(&service.spec, now)?;
    let Bounds { min, max, .. } = rules.bounds;
    let ready = snapshot.replicas_of(&service.id).filter(|replica| snapshot.takes_traffic(replica)).count();
    let subject = service.id.to_string();
    let last = changes.get(subject.as_str());
    let measures = match entry {
        Some(entry) => entry.measures.clone(),
        None => gantry_autoscale::measures(&rules, &gantry_autoscale::Signals::default(), now),
    };
    Some(AutoscaledService {
        name: subject,
        rules: Some(autoscale_without_secrets(write_autoscale(rules.autoscale))),
        replicas: service.wanted(),
        ready: u32::try_from(ready).unwrap_or(u32::MAX),
        min,
        max,
        signals: measures.iter().map(signal).collect(),
        recommended: entry.map(|entry| entry.decision.recommend),
        held: entry.and_then(|entry| Some(entry.decision.held.as_ref()?.to_string())).unwrap_or_default(),
        changed_at: last.map(|event| write_time(event.time)),
        change: last.map(|event| event.message.clone()).unwrap_or_default(),
    })
}

fn signal(measure: &Measure) -> AutoscaleSignal {
    let number = |value: Value| match value {
        Value::Share(number) | Value::Number(number) => number,
        Value::Time(time) => Duration::as_secs_f64(&time),
    };
    AutoscaleSignal {
        name: measure.name.clone(),
        value: measure.value.map(number),
        target: number(measure.target),
        unit: match measure.target {
            Value::Share(_) => AutoscaleUnit::Percent,
            Value::Number(_) => AutoscaleUnit::Number,
            Value::Time(_) => AutoscaleUnit::Seconds,
        }
        .into(),
    }
}
