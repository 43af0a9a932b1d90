//! What has ended, and what nobody needs any more.

use std::collections::BTreeSet;

use gantry_model::{Outcome, Phase, Revision, StackName};

use super::action::Action;
use super::plan::Plan;

/// Records how replicas that run once have ended, so that they are never run again by accident.
pub fn record_outcomes(plan: &mut Plan) {
    for service in plan.services() {
        if !service.spec.restart().runs_once() {
            continue;
        }
        for replica in plan.live(&service.id) {
            let Some(status) = plan.working.status_of(&replica.id) else { continue };
            let restarted = status.restart_sequence >= replica.asked_restarts();
            if replica.outcome.is_none()
                && restarted
                && status.phase == Phase::Exited
                && let Some(exit_code) = status.exit_code
            {
                let outcome = Outcome { exit_code, at: plan.now };
                plan.push(Action::Complete { replica: replica.id.clone(), outcome });
            }
        }
    }
}

/// Forgets services, networks, volumes, stacks and old revisions that nothing refers to.
pub fn clean_up(plan: &mut Plan) {
    for service in plan.services() {
        let replicas = plan.replicas(&service.id);
        if service.removing && replicas.is_empty() {
            plan.push(Action::ForgetService { service: service.id.clone() });
            continue;
        }
        let in_use: BTreeSet<u64> = replicas.iter().map(|replica| replica.revision).collect();
        let old: Vec<u64> = plan
            .working
            .revisions
            .keys()
            .filter(|(of, number)| *of == service.id && number + Revision::KEPT <= service.revision)
            .map(|(_, number)| *number)
            .filter(|number| !in_use.contains(number))
            .collect();
        for number in old {
            plan.push(Action::ForgetRevision { service: service.id.clone(), number });
        }
    }
    forget_networks(plan);
    let removed: Vec<StackName> = plan
        .working
        .stacks
        .values()
        .filter(|stack| stack.removing && plan.working.services_of(&stack.name).next().is_none())
        .map(|stack| stack.name.clone())
        .collect();
    for stack in removed {
        remove_stack(plan, &stack);
    }
}

fn forget_networks(plan: &mut Plan) {
    let unused: Vec<_> = plan
        .working
        .networks
        .keys()
        .filter(|(stack, key)| {
            !plan.working.services_of(stack).any(|service| {
                let asked = !service.removing && service.spec.network_keys().iter().any(|used| used == key);
                asked
                    || plan
                        .working
                        .replicas_of(&service.id)
                        .any(|replica| replica.addresses.contains_key(key))
            })
        })
        .cloned()
        .collect();
    for (stack, key) in unused {
        plan.push(Action::ForgetNetwork { stack, key });
    }
}

/// Its services are gone; now its volumes, if they are to go, and then itself.
fn remove_stack(plan: &mut Plan, stack: &StackName) {
    let with_volumes = plan.working.stacks.get(stack).is_some_and(|stack| stack.remove_volumes);
    let volumes: Vec<_> =
        plan.working.volumes.values().filter(|volume| volume.stack == *stack).cloned().collect();
    let mut waiting = false;
    for volume in volumes {
        let (stack, key) = (volume.stack.clone(), volume.key.clone());
        if volume.moving.is_some() {
            // What is on its way has two places: first it is to have one.
            waiting |= with_volumes;
        } else if volume.node.is_none() || volume.external {
            plan.push(Action::ForgetVolume { stack, key });
        } else if with_volumes {
            waiting = true;
            if !volume.removing {
                plan.push(Action::RemoveVolume { stack, key });
            }
        }
    }
    if !waiting {
        plan.push(Action::ForgetStack { stack: stack.clone() });
    }
}
