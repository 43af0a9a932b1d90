//! Replaces the replicas of a changed service, a batch at a time.

use std::sync::Arc;

use gantry_model::{Goal, Replica, Service, UpdateOrder};

use super::action::Action;
use super::plan::Plan;
use super::relocate::leaves;

/// Replaces replicas of old revisions as the service's `update_config` says.
///
/// A slot is on its way while its new replica is not ready yet, or its old one not gone. As many
/// slots as `parallelism` are on their way at a time. What does not work anyway goes first.
pub fn update(plan: &mut Plan) {
    for service in plan.services() {
        if service.removing || service.stopped {
            continue;
        }
        finish_slots(plan, &service);
        begin_slots(plan, &service);
    }
}

/// Drains old replicas whose successor is ready.
fn finish_slots(plan: &mut Plan, service: &Service) {
    let live = plan.live(&service.id);
    let is_new = |replica: &Replica| replica.revision == service.revision;
    for old in live.iter().filter(|replica| !is_new(replica)) {
        let successor = live.iter().find(|other| other.slot == old.slot && is_new(other));
        let superseded = live
            .iter()
            .any(|other| other.slot == old.slot && other.revision < old.revision && !plan.is_settled(old));
        if successor.is_some_and(|successor| takes_over(plan, successor)) {
            let why = format!("its successor of revision {} is ready", service.revision);
            plan.push(Action::Drain { replica: old.id.clone(), why });
        } else if superseded {
            let why = format!("revision {} came before it was ready", service.revision);
            plan.push(Action::Drain { replica: old.id.clone(), why });
        }
    }
}

fn begin_slots(plan: &mut Plan, service: &Arc<Service>) {
    let replicas = plan.replicas(&service.id);
    let is_new = |replica: &Replica| replica.revision == service.revision;
    let mut outdated: Vec<_> = replicas
        .iter()
        .filter(|replica| replica.goal == Goal::Run && !is_new(replica))
        // A slot that is on its way to another node is updated when its replica there serves.
        .filter(|old| {
            let mut of_slot = replicas.iter().filter(|other| other.slot == old.slot);
            !of_slot.any(|other| other.goal == Goal::Run && leaves(&plan.working, other))
        })
        .filter(|old| !replicas.iter().any(|other| other.slot == old.slot && is_new(other)))
        .collect();
    if outdated.is_empty() {
        return;
    }
    let on_their_way = service
        .slots()
        .into_iter()
        .filter(|slot| {
            let mut of_slot = replicas.iter().filter(|replica| replica.slot == *slot);
            of_slot.clone().next().is_none()
                || of_slot.clone().any(|replica| replica.goal != Goal::Run)
                || of_slot.any(|replica| is_new(replica) && !plan.is_settled(replica))
        })
        .count();
    let batch = match service.spec.update.parallelism {
        0 => usize::MAX,
        parallelism => parallelism as usize,
    };
    let pausing = on_their_way == 0
        && service.last_batch_at.is_some_and(|last| {
            service.updated_at < last && plan.now.since(last) < service.spec.update.delay
        });
    if pausing || on_their_way >= batch {
        return;
    }
    outdated.sort_by_key(|replica| (plan.is_settled(replica), replica.slot));
    let start_first = plan
        .working
        .revisions
        .get(&(service.id.clone(), service.revision))
        .is_some_and(|revision| service.update_order(&revision.template) == UpdateOrder::StartFirst);
    let mut begun = std::collections::BTreeSet::new();
    for old in outdated {
        if on_their_way + begun.len() >= batch && !begun.contains(&old.slot) {
            break;
        }
        begun.insert(old.slot);
        let why = format!("revision {} replaces {}", service.revision, old.revision);
        // A replica that does not run holds nothing that its successor could not take over.
        if start_first && plan.is_settled(old) {
            let (service, slot) = (service.id.clone(), old.slot);
            plan.push(Action::Create { service, slot, revision: None, why });
        } else {
            plan.push(Action::Drain { replica: old.id.clone(), why });
        }
    }
    plan.push(Action::BeginBatch { service: service.id.clone() });
}

/// Whether a replica does what its predecessor did. One that is ready but about to be restarted does not.
pub fn takes_over(plan: &Plan, successor: &Replica) -> bool {
    plan.is_settled(successor) && (successor.outcome.is_some() || plan.working.takes_traffic(successor))
}
