//! Restarts containers in place when a person has asked for it.

use gantry_model::Replica;

use super::action::Action;
use super::plan::Plan;

/// Restarts as many replicas at a time as the service's `update_config` allows.
pub fn restart(plan: &mut Plan) {
    for service in plan.services() {
        let live: Vec<_> =
            plan.live(&service.id).into_iter().filter(|replica| replica.node.is_some()).collect();
        let asked = |replica: &Replica| replica.restart_sequence == service.restart_sequence;
        let mut waiting: Vec<_> = live.iter().filter(|replica| !asked(replica)).collect();
        if waiting.is_empty() {
            continue;
        }
        let on_their_way = live.iter().filter(|replica| asked(replica) && !is_done(plan, replica)).count();
        let batch = match service.spec.update.parallelism {
            0 => usize::MAX,
            parallelism => parallelism as usize,
        };
        waiting.sort_by_key(|replica| (plan.is_settled(replica), replica.slot));
        for replica in waiting.into_iter().take(batch.saturating_sub(on_their_way)) {
            plan.push(Action::Restart { replica: replica.id.clone(), sequence: service.restart_sequence });
        }
    }
}

fn is_done(plan: &Plan, replica: &Replica) -> bool {
    let restarted = plan
        .working
        .status_of(&replica.id)
        .is_some_and(|status| status.restart_sequence >= replica.restart_sequence);
    restarted && plan.is_settled(replica)
}
