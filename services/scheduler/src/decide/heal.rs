//! Repairs that are under way: what a watchdog has found to be necessary is done here, step by step.
//!
//! A restart in place takes the replica out of the tables, waits until nothing is sent to it, and ends when
//! it is ready again, or when that has taken too long: then the watchdog judges anew. A replacement is the
//! business of `relocate`, as for anything else that is to run elsewhere.

use std::sync::Arc;
use std::time::Duration;

use gantry_model::{Checked, Goal, RepairKind, Replica, Snapshot, Timestamp};

use super::action::Action;
use super::drain::drained;
use super::plan::Plan;
use super::relocate::tell_replaced;
use super::update::takes_over;

/// A process that is restarted, or replaced, because it hangs has this long to end, unless its file says otherwise.
/// What hangs does not hear that it is to end, and somebody waits for it.
const GRACE: Duration = Duration::from_secs(3);
/// The reason of a repair of what is there, and does not answer its checks.
const UNHEALTHY: &str = "Unhealthy";
/// A replica that is as unwell after its restart for this long was not helped by it.
const SETTLING: Duration = Duration::from_secs(2);
/// A restart takes no longer than this, besides the times that its service asks for.
const BOUND: Duration = Duration::from_mins(1);
/// A replica that is ready for this long needs no successor, if that is not there yet.
const WELL: Duration = Duration::from_secs(30);

/// Takes every repair that is under way one step further.
pub fn heal(plan: &mut Plan) {
    let repaired = plan.working.replicas.values();
    let repaired: Vec<Arc<Replica>> =
        repaired.filter(|replica| replica.repair.is_some() && replica.goal == Goal::Run).cloned().collect();
    for replica in repaired {
        let Some(repair) = &replica.repair else { continue };
        let service = plan.working.services.get(&replica.service);
        // A restart that a person has asked for takes this one's place: `restart` makes it.
        let is_asked = service.is_some_and(|service| service.restart_sequence != replica.restart_sequence);
        if is_asked && replica.pause.is_some() {
            continue;
        }
        match repair.kind {
            RepairKind::Restart => restart(plan, &replica, repair.since),
            RepairKind::Replace => replace(plan, &replica, &repair.cause()),
        }
    }
}

fn restart(plan: &mut Plan, replica: &Replica, since: Timestamp) {
    let id = replica.id.clone();
    if let Some(pause) = replica.pause {
        if let Some(why) = drained(&plan.working, replica, pause, plan.now) {
            plan.push(Action::RestartInPlace { replica: id, why });
        }
        return;
    }
    let status = plan.working.status_of(&replica.id);
    let is_restarted = status.is_some_and(|status| status.restart_sequence >= replica.asked_restarts());
    if is_restarted && plan.working.is_ready(replica) {
        plan.push(Action::Healed { replica: id, why: "it is ready again".to_owned() });
    } else if is_restarted && is_unwell_again(plan, replica, since) {
        plan.push(Action::NotHealed { replica: id, why: "it is no better after its restart".to_owned() });
    } else if plan.now.since(since) >= bound(&plan.working, replica) {
        let waited = plan.now.since(since).as_secs();
        plan.push(Action::NotHealed { replica: id, why: format!("it is not ready after {waited} s") });
    }
}

fn is_unwell_again(plan: &Plan, replica: &Replica, since: Timestamp) -> bool {
    plan.working.stamps.get(&replica.id).is_some_and(|stamp| {
        matches!(stamp.checked, Checked::Unhealthy | Checked::Restarting | Checked::Failed)
            && stamp.checked_since > since
            && plan.now.since(stamp.checked_since) >= SETTLING
    })
}

/// How long a restart in place may take until the replica is ready.
fn bound(snapshot: &Snapshot, replica: &Replica) -> Duration {
    let spec = snapshot.services.get(&replica.service).map(|service| &service.spec);
    let probes = spec.into_iter().flat_map(|spec| spec.liveness.iter().chain(&spec.readiness));
    let own = spec.and_then(|spec| spec.container.healthcheck.as_ref()?.start_period);
    let start = probes.map(|probe| probe.start_period).chain(own).max().unwrap_or_default();
    let grace = spec.map(|spec| spec.container.stop_grace()).unwrap_or_default();
    BOUND + start + grace
}

/// Ends what cannot get a successor beside it, and lets go of what is well again before its successor is.
fn replace(plan: &mut Plan, replica: &Replica, cause: &str) {
    let Some(service) = plan.working.services.get(&replica.service).cloned() else { return };
    if replica.revision != service.revision {
        let why = "its service was changed, and the update replaces it".to_owned();
        plan.push(Action::NotHealed { replica: replica.id.clone(), why });
        return;
    }
    if service.is_global() && !service.stopped && !service.removing {
        let why = format!("it is replaced in place: {cause}");
        plan.push(Action::Drain { replica: replica.id.clone(), why });
        tell_replaced(plan, replica, "after its end");
        return;
    }
    let stamp = plan.working.stamps.get(&replica.id);
    let is_well = stamp.is_some_and(|stamp| stamp.ready && plan.now.since(stamp.ready_since) >= WELL);
    let succeeded = plan
        .live(&service.id)
        .iter()
        .any(|other| other.slot == replica.slot && other.id != replica.id && takes_over(plan, other));
    if is_well && !succeeded {
        let why = "it is well by itself, and its successor is not there yet".to_owned();
        plan.push(Action::Healed { replica: replica.id.clone(), why });
    }
}

/// How long a replica's process has to end when it is repaired; `None`: as long as ever. One that is replaced may be
/// well enough to end as it should, but for one that hangs.
pub fn repair_grace(snapshot: &Snapshot, replica: &Replica) -> Option<Duration> {
    let repair = replica.repair.as_ref()?;
    let hangs = repair.kind == RepairKind::Restart || repair.reason == UNHEALTHY;
    let own = snapshot.revision_of(replica)?.template.container.stop_grace;
    (hangs && own.is_none()).then_some(GRACE)
}
