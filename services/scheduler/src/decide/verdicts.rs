//! What follows from the word of a watchdog: each of its verdicts is checked against the state as it is
//! now, and refused with the reason when it does not hold any more.

use gantry_model::{
    Availability, Checked, Conclusion, End, Finding, Goal, Node, NodeId, RepairKind, ReplicaId, Service,
    Severity, Snapshot, Timestamp, Verdict,
};

use super::action::Action;
use super::plan::Plan;

/// What is done, and of each finding why it is not.
pub struct Taken {
    /// What is done.
    pub plan: Plan,
    /// One for each finding, in order.
    pub refusals: Vec<Option<String>>,
}

/// Acts on findings, one after the other. What is concluded of whether nodes are there is not stored, and
/// not acted on here.
pub fn act_on<'a>(
    snapshot: &Snapshot,
    findings: impl IntoIterator<Item = &'a Finding>,
    now: Timestamp,
) -> Taken {
    let mut plan = Plan::new(snapshot, now);
    let act = |finding| act(&mut plan, snapshot, finding).err();
    let refusals = findings.into_iter().map(act).collect();
    Taken { plan, refusals }
}

fn act(plan: &mut Plan, before: &Snapshot, finding: &Finding) -> Result<(), String> {
    let (reason, message) = (finding.reason.clone(), finding.message.clone());
    match &finding.conclusion {
        Conclusion::Node { .. } => {}
        Conclusion::Repair { replica, kind } => {
            check_repair(&plan.working, replica, *kind, plan.now)?;
            check_age(before, replica, finding.revision)?;
            plan.push(Action::Repair { replica: replica.clone(), kind: *kind, reason, message });
        }
        Conclusion::Quarantine { node, begins: true } => {
            check_quarantine(&plan.working, node)?;
            plan.push(Action::Quarantine { node: node.clone(), reason, message });
        }
        Conclusion::Quarantine { node, begins: false } => {
            let known = plan.working.nodes.get(node).ok_or("there is no such node")?;
            if known.quarantined_since.is_none() {
                return Err("it is in no quarantine".to_owned());
            }
            plan.push(Action::EndQuarantine { node: node.clone(), reason, message });
        }
        Conclusion::Note { subject, warning } => {
            check_subject(&plan.working, subject)?;
            let severity = if *warning { Severity::Warning } else { Severity::Normal };
            plan.event(severity, subject, None, &reason, message);
        }
    }
    Ok(())
}

fn check_repair(snapshot: &Snapshot, id: &ReplicaId, kind: RepairKind, now: Timestamp) -> Result<(), String> {
    let no = |why: &str| Err(why.to_owned());
    let Some(replica) = snapshot.replicas.get(id) else { return no("it is gone") };
    let Some(service) = snapshot.services.get(&replica.service) else { return no("its service is gone") };
    let Some(node) = &replica.node else { return no("it has no node yet") };
    let status = snapshot.node_statuses.get(node);
    let is_stuck = now.since(service.progressed_at()) >= Service::STUCK;
    if replica.goal != Goal::Run {
        no("it is being ended")
    } else if replica.repair.is_some() {
        no("it is being repaired already")
    } else if replica.pause.is_some() || replica.restart_sequence != service.restart_sequence && !is_stuck {
        no("it is about to be restarted, as a person asked")
    } else if service.stopped || service.removing {
        no("its service is not to run")
    } else if service.spec.heal.disabled {
        no("its service is not to be repaired")
    } else if replica.revision != service.revision && !is_stuck {
        no("its service is being updated")
    } else if replica.revision != service.revision && kind == RepairKind::Replace {
        no("it is of an older revision: an update replaces it, and until then it is restarted")
    } else if replica.outcome.is_some() || snapshot.checked(id) == Checked::AtRest {
        no("it has ended as it should, or is paused")
    } else if snapshot.takes_traffic(replica) {
        no("it is ready by now")
    } else if !is_unwell(snapshot, id) {
        no("it is not known to be unwell now")
    } else if snapshot.verdict_on(node) == Verdict::Lost {
        no("its node is lost: it is replaced anyhow")
    } else if !status.is_some_and(|status| status.connected && status.reported) {
        no("its node is not heard now")
    } else if kind == RepairKind::Restart && snapshot.status_of(id).is_none() {
        no("its agent has not reported it yet")
    } else {
        Ok(())
    }
}

/// Whether its own checks or the engine say that it needs something done. What starts may be in a loop.
fn is_unwell(snapshot: &Snapshot, id: &ReplicaId) -> bool {
    match snapshot.checked(id) {
        Checked::Unhealthy | Checked::Restarting | Checked::Failed => true,
        Checked::Starting => snapshot.status_of(id).is_some_and(|status| status.ends.iter().any(End::is_own)),
        Checked::Unknown | Checked::Healthy | Checked::Failing | Checked::AtRest => false,
    }
}

/// Whoever concluded that a service needs a repair knew of its repairs before: otherwise there may be too many
/// at once, or one too soon. `before` is what was stored when the batch came: all of it was concluded together.
fn check_age(before: &Snapshot, id: &ReplicaId, concluded_at: u64) -> Result<(), String> {
    let service = before.replicas.get(id).and_then(|replica| before.services.get(&replica.service));
    let newest = service.and_then(|service| service.repairs.iter().map(|repair| repair.revision).max());
    match newest.filter(|newest| *newest > concluded_at) {
        Some(newest) => Err(format!(
            "it was concluded from revision {concluded_at}, and its service was repaired with revision {newest}"
        )),
        None => Ok(()),
    }
}

/// At most one node is in quarantine at a time, and never the last one that may run something new.
fn check_quarantine(snapshot: &Snapshot, id: &NodeId) -> Result<(), String> {
    let node = snapshot.nodes.get(id).ok_or("there is no such node")?;
    if node.quarantined_since.is_some() {
        return Err("it is in quarantine already".to_owned());
    }
    if let Some(other) = snapshot.nodes.values().find(|node| node.quarantined_since.is_some()) {
        return Err(format!("{} is in quarantine, and one at a time is enough", other.name));
    }
    let takes = |node: &Node| {
        node.availability == Availability::Active
            && snapshot.verdict_on(&node.id) == Verdict::Ready
            && snapshot.node_statuses.get(&node.id).is_some_and(|status| status.problem().is_none())
    };
    if !snapshot.nodes.values().any(|other| other.id != *id && takes(other)) {
        return Err("it is the last node that may run something new".to_owned());
    }
    Ok(())
}

fn check_subject(snapshot: &Snapshot, subject: &str) -> Result<(), String> {
    let known = match subject.strip_prefix("node:") {
        Some(name) => snapshot.nodes.values().any(|node| node.name == name),
        None if subject == "cluster" => true,
        None => subject.parse().is_ok_and(|service| snapshot.services.contains_key(&service)),
    };
    if known { Ok(()) } else { Err(format!("there is no {subject:.80}")) }
}
