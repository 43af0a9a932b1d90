//! How many replicas there are to be.

use gantry_model::Goal;

use super::action::Action;
use super::plan::Plan;

/// Fills every empty slot that a service wants, and drains the slots above.
///
/// A slot is filled only when nothing of an earlier replica is left in it, so that two of them never
/// share a volume or a port. Start-first updates are the exception, and make theirs themselves.
pub fn count(plan: &mut Plan) {
    for service in plan.services() {
        let wanted = service.wanted();
        let replicas = plan.replicas(&service.id);
        for replica in replicas.iter().filter(|replica| replica.goal == Goal::Run && replica.slot > wanted) {
            let why = if service.removing {
                "the service is being removed".to_owned()
            } else if service.stopped {
                "the service was stopped".to_owned()
            } else {
                format!("the service is to have {wanted}")
            };
            // Who takes a removed service's replicas away, and in which order, is retire's business.
            if !service.removing {
                plan.push(Action::Drain { replica: replica.id.clone(), why });
            }
        }
        for slot in 1..=wanted {
            if !replicas.iter().any(|replica| replica.slot == slot) {
                let why = format!("the service is to have {wanted}");
                plan.push(Action::Create { service: service.id.clone(), slot, why });
            }
        }
    }
}
