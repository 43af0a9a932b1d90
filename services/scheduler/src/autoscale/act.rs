//! From what was decided to what is stored: pure.

use gantry_model::{AutoscaleMode, Service, Snapshot, Timestamp};

use super::book::{Step, is_scaled};
use crate::decide::{Action, Plan};

/// The changes that `steps` make in `snapshot`, which may be newer than what they were decided on: whoever has
/// changed the count of a service in the meantime was right, and the next second decides anew.
pub fn act(snapshot: &Snapshot, steps: &[Step], now: Timestamp) -> Plan {
    let mut plan = Plan::new(snapshot, now);
    for step in steps {
        let Some(service) = plan.working.services.get(&step.service).cloned() else { continue };
        if !is_scaled(&service) {
            continue;
        }
        if let Some((replicas, why)) = step.to.as_ref().filter(|_| may_set(&service, step)) {
            let service = step.service.clone();
            plan.push(Action::Scale { service, replicas: *replicas, why: why.clone() });
        }
        for note in &step.notes {
            plan.event(note.severity, &step.service.to_string(), None, note.reason, note.message.clone());
        }
    }
    plan
}

fn may_set(service: &Service, step: &Step) -> bool {
    let rules = service.spec.autoscale.as_ref();
    service.replicas == step.from && rules.is_some_and(|rules| rules.mode == AutoscaleMode::Auto)
}
