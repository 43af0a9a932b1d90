//! Takes removed services away: users first, then what they use.

use std::sync::Arc;

use gantry_model::{Goal, Service, Snapshot};

use super::action::Action;
use super::plan::Plan;

/// Drains the replicas of services that are being removed.
///
/// A service goes only when no replica is left of those that depend on it and are being removed
/// too, so that a database outlives the last request of its clients.
pub fn retire(plan: &mut Plan) {
    for service in plan.services() {
        if !service.removing || is_needed(&plan.working, &service) {
            continue;
        }
        for replica in plan.live(&service.id) {
            let why = "the service is being removed".to_owned();
            plan.push(Action::Drain { replica: replica.id.clone(), why });
        }
    }
}

fn is_needed(snapshot: &Snapshot, service: &Arc<Service>) -> bool {
    snapshot
        .services_of(service.id.stack())
        .filter(|other| other.removing && other.spec.depends_on.contains_key(service.id.name()))
        .any(|other| snapshot.replicas_of(&other.id).any(|replica| replica.goal <= Goal::Stop))
}
