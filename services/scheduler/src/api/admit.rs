//! What applying a spec would change: a pure function, used by `plan` and by `apply` alike.

mod check;
mod claims;
mod differences;
mod resources;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::cluster::v1::{ChangeAction, PlannedChange};
use gantry_identity::Identity;
use gantry_model::{
    AutoscaleMode, Change, Mode, Record, Revision, Service, ServiceId, ServiceSpec, Severity, Snapshot,
    Stack, StackSpec, Timestamp,
};
use tonic::Status;

use crate::decide::record_event;

/// What an image's name was found to stand for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The digest; `None` if no node has the image yet.
    pub digest: Option<String>,
    /// Whether the image has a health check of its own.
    pub has_healthcheck: bool,
    /// What it runs on, such as `linux/amd64`, where that is known.
    pub platform: Option<String>,
}

/// What is asked, by whom, and what was found out before.
pub struct Asked<'a> {
    /// The whole stack.
    pub spec: &'a StackSpec,
    /// New replicas even where nothing changed.
    pub force: bool,
    /// Who asks.
    pub by: &'a Identity,
    /// Images by name.
    pub images: &'a BTreeMap<String, Resolved>,
    /// Random, for services that are new.
    pub incarnation: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// The outcome: what people are shown, and what is stored.
#[derive(Debug)]
pub struct Admission {
    /// In the order in which it is made.
    pub planned: Vec<PlannedChange>,
    /// For the store.
    pub changes: Vec<Change>,
}

/// Checks `asked` against the state, and says what it changes.
pub fn admit(snapshot: &Snapshot, asked: &Asked<'_>) -> Result<Admission, Status> {
    let spec = asked.spec;
    check::check(snapshot, asked)?;
    let mut admission = Admission { planned: Vec::new(), changes: Vec::new() };
    resources::networks(snapshot, spec, &mut admission)?;
    resources::volumes(snapshot, spec, &mut admission)?;
    for (name, service) in &spec.services {
        let id = ServiceId::new(spec.name.clone(), name)
            .map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        admit_service(snapshot, asked, &id, service, &mut admission);
    }
    for service in snapshot.services_of(&spec.name) {
        if !service.removing && !spec.services.contains_key(service.id.name()) {
            admission.plan(
                ChangeAction::Remove,
                "service",
                &service.id,
                vec!["it is not in the file any more".to_owned()],
            );
            let removing = Service { removing: true, updated_at: asked.now, ..service.as_ref().clone() };
            admission.changes.push(Change::Put(Record::Service(Arc::new(removing))));
        }
    }
    let known = snapshot.stacks.get(&spec.name);
    if known.is_none() || !admission.changes.is_empty() {
        let stack = Stack {
            name: spec.name.clone(),
            created_at: known.map_or(asked.now, |stack| stack.created_at),
            updated_at: asked.now,
            removing: false,
            remove_volumes: false,
        };
        admission.changes.push(Change::Put(Record::Stack(Arc::new(stack))));
    }
    if !admission.planned.is_empty() {
        let who = format!("{} {}", asked.by.role, asked.by.name);
        let message = format!("deployed by {who}: {} changes", admission.planned.len());
        let subject = spec.name.to_string();
        admission.changes.extend(record_event(
            snapshot,
            asked.now,
            Severity::Normal,
            &subject,
            None,
            "Deployed",
            message,
        ));
    }
    Ok(admission)
}

impl Admission {
    fn plan(&mut self, action: ChangeAction, kind: &str, subject: &impl ToString, details: Vec<String>) {
        let subject = format!("{kind} {}", subject.to_string());
        self.planned.push(PlannedChange { action: action.into(), subject, details });
    }
}

/// How many replicas a service has from here on. The load says so where it may: then the file's count is for
/// the first time only.
fn first_count(spec: &ServiceSpec, known: Option<&Service>, changed: bool) -> u32 {
    if spec.exclusive {
        return 1;
    }
    let (known, slept) = (known.map(|known| known.replicas), known.is_some_and(Service::sleeps));
    let Some(rules) = spec.autoscale.as_ref().filter(|rules| rules.mode == AutoscaleMode::Auto) else {
        // One that sleeps is not woken any more.
        return if slept { spec.replicas_awake() } else { spec.replicas.or(known).unwrap_or(1) };
    };
    match known {
        // What is new is started once, so that it shows whether it runs.
        Some(known) => known.max(u32::from(changed)),
        None => spec.replicas.unwrap_or(rules.min.max(1)).min(rules.max),
    }
}

fn admit_service(
    snapshot: &Snapshot,
    asked: &Asked<'_>,
    id: &ServiceId,
    spec: &ServiceSpec,
    admission: &mut Admission,
) {
    let known = snapshot.services.get(id);
    let current = known.and_then(|known| snapshot.revisions.get(&(id.clone(), known.revision)));
    let resolved = asked.images.get(&spec.container.image).cloned().unwrap_or_default();
    // An image that nobody has yet is taken for what it was, as long as it is named as it was.
    let same_name = current.filter(|current| current.template.container.image == spec.container.image);
    let digest =
        resolved.digest.or_else(|| same_name.and_then(|current| current.template.image_digest.clone()));
    let platform = resolved.platform.or_else(|| same_name.and_then(|current| current.platform.clone()));
    let template = spec.template(digest);
    let checks = spec.checks();
    let changed = current.is_none_or(|current| current.hash != template.hash());
    let number = known.map_or(0, |known| known.revision) + u64::from(changed || asked.force);
    let replicas = first_count(spec, known.map(AsRef::as_ref), changed);
    let service = match known {
        Some(known) => Service {
            spec: spec.clone(),
            revision: number,
            replicas,
            stopped: false,
            updated_at: asked.now,
            ..known.as_ref().clone()
        },
        None => Service {
            id: id.clone(),
            incarnation: asked.incarnation.to_owned(),
            spec: spec.clone(),
            revision: number,
            replicas,
            stopped: false,
            removing: false,
            restart_sequence: 0,
            replicas_made: 0,
            last_batch_at: None,
            created_at: asked.now,
            updated_at: asked.now,
            assigned_ports: BTreeMap::new(),
            node_slots: BTreeMap::new(),
            repairs: Vec::new(),
        },
    };
    match known {
        None => {
            let count = match spec.mode {
                Mode::Replicated => differences::plural(replicas),
                Mode::Global => "one replica on every node".to_owned(),
            };
            let details = vec![format!("image {}", spec.container.image), count];
            admission.plan(ChangeAction::Create, "service", id, details);
        }
        Some(known) => {
            let mut details = current
                .map(|current| differences::of_template(&current.template, &template))
                .unwrap_or_default();
            details.extend(differences::of_service(known, &service));
            details.extend(current.and_then(|current| differences::of_checks(&current.checks, &checks)));
            if changed || asked.force {
                if details.is_empty() {
                    details.push("asked for, without a change".to_owned());
                }
                admission.plan(ChangeAction::Replace, "service", id, details);
            } else if !details.is_empty() {
                admission.plan(ChangeAction::Update, "service", id, details);
            } else {
                return;
            }
        }
    }
    if changed || asked.force {
        let hash = template.hash();
        let revision =
            Revision { service: id.clone(), number, template, hash, platform, checks, created_at: asked.now };
        admission.changes.push(Change::Put(Record::Revision(Arc::new(revision))));
    } else if let Some(current) = current.filter(|current| current.checks != checks) {
        let revision = Revision { checks, ..current.as_ref().clone() };
        admission.changes.push(Change::Put(Record::Revision(Arc::new(revision))));
    }
    admission.changes.push(Change::Put(Record::Service(Arc::new(service))));
}
