//! Restarts containers in place when a person has asked for it, without a request that notices.

use std::sync::Arc;

use gantry_model::{Phase, Replica, Service};

use super::action::Action;
use super::drain::drained;
use super::plan::Plan;

/// Restarts as many replicas at a time as the service's `update_config` allows. Each is taken out of
/// the tables first, restarted when nothing is sent to it any more, and comes back when it is ready.
pub fn restart(plan: &mut Plan) {
    for service in plan.services() {
        let live: Vec<_> =
            plan.live(&service.id).into_iter().filter(|replica| replica.node.is_some()).collect();
        let is_asked = |replica: &Replica| replica.restart_sequence == service.restart_sequence;
        if live.iter().all(|replica| is_asked(replica)) {
            continue;
        }
        for replica in live.iter().filter(|replica| !is_asked(replica)) {
            if let Some(pause) = replica.pause
                && drained(&plan.working, replica, pause, plan.now).is_some()
            {
                let sequence = service.restart_sequence;
                plan.push(Action::Restart { replica: replica.id.clone(), sequence });
            }
        }
        begin(plan, &service);
    }
}

/// Takes the next replicas out of the tables.
fn begin(plan: &mut Plan, service: &Service) {
    let live: Vec<Arc<Replica>> =
        plan.live(&service.id).into_iter().filter(|replica| replica.node.is_some()).collect();
    let waits =
        |replica: &Replica| replica.restart_sequence != service.restart_sequence && replica.pause.is_none();
    let mut waiting: Vec<_> = live.iter().filter(|replica| waits(replica)).collect();
    let on_their_way = live.iter().filter(|replica| !waits(replica) && !is_done(plan, replica)).count();
    let batch = match service.spec.update.parallelism {
        0 => usize::MAX,
        parallelism => parallelism as usize,
    };
    let mut serving = live.iter().filter(|replica| plan.working.takes_traffic(replica)).count();
    // What does not work anyway goes first.
    waiting.sort_by_key(|replica| (plan.is_settled(replica), replica.slot));
    for replica in waiting.into_iter().take(batch.saturating_sub(on_their_way)) {
        if plan.working.takes_traffic(replica) {
            // Of several, one goes on serving; one alone is drained too, and its requests wait.
            if serving == 1 && live.len() > 1 {
                break;
            }
            serving -= 1;
        }
        let runs = plan.working.status_of(&replica.id).is_some_and(|status| status.phase == Phase::Running);
        plan.push(if runs {
            Action::Pause { replica: replica.id.clone() }
        } else {
            Action::Restart { replica: replica.id.clone(), sequence: service.restart_sequence }
        });
    }
}

fn is_done(plan: &Plan, replica: &Replica) -> bool {
    let restarted = plan
        .working
        .status_of(&replica.id)
        .is_some_and(|status| status.restart_sequence >= replica.asked_restarts());
    replica.pause.is_none() && restarted && plan.is_settled(replica)
}
