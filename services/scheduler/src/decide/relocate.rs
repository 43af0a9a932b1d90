//! Replicas that are to run on another node.
//!
//! A node is lost or drained, its labels do not match any more, or a person has asked to even things
//! out: in each case the slot gets a successor elsewhere, and the old replica goes when that one serves.
//! A lost node that comes back before then keeps what it has. What cannot go stays where it is, and says
//! why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use gantry_model::{
    Availability, Constraint, Goal, Node, RepairKind, Replica, Service, Severity, Snapshot, Timestamp,
    UpdateOrder, Verdict,
};

use super::action::Action;
use super::load::Load;
use super::lost::{LEASE, LOST};
use super::place::{could_double, could_move};
use super::plan::Plan;
use super::update::takes_over;

/// How many replicas move at a time because a person has asked to even things out.
const MOVES_AT_ONCE: usize = 4;

/// Why a replica is to run elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    Lost,
    Drained,
    Differs(Constraint),
    Asked,
    Failing(String),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("is lost"),
            Self::Drained => f.write_str("is being drained"),
            Self::Differs(constraint) => write!(f, "does not match {constraint}"),
            Self::Asked => f.write_str("has more to do than others"),
            Self::Failing(cause) => write!(f, "is where it failed: {cause}"),
        }
    }
}

/// Gives replicas that are to leave their node a successor, and ends them when it serves.
pub fn relocate(plan: &mut Plan) {
    let mut moving = 0;
    for service in plan.services() {
        if service.removing || service.stopped || service.is_global() {
            continue;
        }
        let mut slots: BTreeMap<u32, Vec<Arc<Replica>>> = BTreeMap::new();
        for replica in plan.live(&service.id) {
            slots.entry(replica.slot).or_default().push(replica);
        }
        for replicas in slots.values() {
            let (leaving, staying): (Vec<_>, Vec<_>) =
                replicas.iter().partition(|replica| cause(&plan.working, &service, replica).is_some());
            keep_one(plan, &staying);
            for replica in &staying {
                if replica.node.is_some() && replica.pending.is_some() {
                    plan.push(Action::Resume { replica: replica.id.clone() });
                }
            }
            if leaving.is_empty() {
                continue;
            }
            let (outdated, staying): (Vec<_>, Vec<_>) =
                staying.into_iter().partition(|replica| is_outdated(plan, &service, replica));
            drop_outdated(plan, &service, &outdated);
            let revision = (!outdated.is_empty()).then_some(service.revision);
            match staying.iter().find(|successor| takes_over(plan, successor)) {
                Some(successor) => end(plan, &service, &leaving, successor),
                None if staying.is_empty() => {
                    end_superfluous(plan, &leaving);
                    begin(plan, &service, &leaving, revision, &mut moving);
                }
                // Its successor is on its way.
                None => {
                    end_superfluous(plan, &leaving);
                    moving += leaving.iter().filter(|replica| replica.leave).count();
                }
            }
        }
    }
}

fn cause(snapshot: &Snapshot, service: &Service, replica: &Replica) -> Option<Cause> {
    let id = replica.node.as_ref().filter(|_| replica.outcome.is_none())?;
    if snapshot.verdict_on(id) == Verdict::Lost {
        return Some(Cause::Lost);
    }
    let node = snapshot.nodes.get(id)?;
    if node.availability == Availability::Drain {
        return Some(Cause::Drained);
    }
    let differs = service.spec.placement.constraints.iter().find(|constraint| !constraint.matches(node));
    let asked = || replica.leave.then_some(Cause::Asked);
    differs.cloned().map(Cause::Differs).or_else(|| failing(service, replica)).or_else(asked)
}

/// What is replaced because it fails. An update replaces it anyhow.
fn failing(service: &Service, replica: &Replica) -> Option<Cause> {
    let repair = replica.repair.as_ref().filter(|repair| repair.kind == RepairKind::Replace)?;
    (replica.revision == service.revision).then(|| Cause::Failing(repair.cause()))
}

/// Of several that nothing drives away, one was the successor of another whose node has come back. The
/// first that serves is kept, and of several that do the oldest.
fn keep_one(plan: &mut Plan, staying: &[&Arc<Replica>]) {
    let alike = |a: &Replica, b: &Replica| a.revision == b.revision && a.id != b.id;
    let serving = staying.iter().filter(|replica| takes_over(plan, replica));
    let kept = serving.min_by_key(|replica| (replica.created_at, &replica.id)).copied().cloned();
    let Some(kept) = kept else { return };
    for other in staying.iter().filter(|other| alike(other, &kept)) {
        let why = "the replica that it was to replace is back".to_owned();
        plan.push(Action::Drain { replica: other.id.clone(), why });
    }
}

/// Of several of a slot that are all to leave, and serve, the newest is enough: the others would be in the way of
/// who comes, as it goes to none of the nodes that they leave.
fn end_superfluous(plan: &mut Plan, leaving: &[&Arc<Replica>]) {
    let serving = || leaving.iter().filter(|replica| takes_over(plan, replica));
    let Some(kept) = serving().max_by_key(|replica| (replica.revision, replica.created_at, &replica.id))
    else {
        return;
    };
    let others: Vec<_> =
        serving().filter(|other| other.id != kept.id).map(|other| other.id.clone()).collect();
    let why =
        format!("its successor on {} is ready, though it is to leave as well", name(&plan.working, kept));
    for replica in others {
        plan.push(Action::Drain { replica, why: why.clone() });
    }
}

/// A successor that did not come up before its service was changed: that of the new revision may.
fn is_outdated(plan: &Plan, service: &Service, replica: &Replica) -> bool {
    replica.revision < service.revision
        && replica.created_at < service.updated_at
        && !plan.is_settled(replica)
}

fn drop_outdated(plan: &mut Plan, service: &Service, outdated: &[&Arc<Replica>]) {
    for replica in outdated {
        let why = format!("revision {} came before it was ready", service.revision);
        plan.push(Action::Drain { replica: replica.id.clone(), why });
    }
}

fn end(plan: &mut Plan, service: &Service, leaving: &[&Arc<Replica>], successor: &Replica) {
    for replica in leaving {
        let Some(cause) = cause(&plan.working, service, replica) else { continue };
        let (from, to) = (name(&plan.working, replica), name(&plan.working, successor));
        let why = format!("its successor on {to} is ready, and {from} {cause}");
        plan.push(Action::Drain { replica: replica.id.clone(), why });
        if let Cause::Failing(cause) = cause {
            tell_replaced(plan, replica, &format!("by {} on {to}: {cause}", successor.id));
        }
    }
}

/// Ends the chain of events about a replica that failed.
pub fn tell_replaced(plan: &mut Plan, replica: &Replica, how: &str) {
    let message = format!("replica {} is replaced {how}", replica.slot);
    let (subject, id) = (replica.service.to_string(), Some(replica.id.clone()));
    plan.event(Severity::Normal, &subject, id, "Replaced", message);
}

/// Makes one successor for a slot of which everything is to leave, or makes room for one.
fn begin(
    plan: &mut Plan,
    service: &Service,
    leaving: &[&Arc<Replica>],
    revision: Option<u64>,
    moving: &mut usize,
) {
    let newest = leaving.iter().max_by_key(|replica| (replica.revision, replica.created_at, &replica.id));
    let Some(replica) = newest.copied().cloned() else { return };
    let Some(cause) = cause(&plan.working, service, &replica) else { return };
    let from = name(&plan.working, &replica);
    if cause == Cause::Asked {
        if *moving >= MOVES_AT_ONCE {
            return;
        }
        *moving += 1;
    }
    if let Cause::Failing(_) = cause {
        succeed(plan, service, leaving, &replica, &cause);
        return;
    }
    if let Some(why) = obstacle(plan, service, &replica, &cause) {
        if cause == Cause::Asked {
            plan.push(Action::Stay { replica: replica.id.clone(), why });
        } else {
            let reason = format!("{from} {cause}, and it stays there: {why}");
            if replica.pending.as_ref() != Some(&reason) {
                plan.push(Action::Wait { replica: replica.id.clone(), reason });
            }
        }
        return;
    }
    // What is exclusive is over before its successor begins, also if its node comes back just then.
    let is_lost = cause == Cause::Lost;
    if starts_first(service) || is_lost && !service.spec.exclusive {
        let revision = Some(revision.unwrap_or(replica.revision));
        let (service, slot) = (service.id.clone(), replica.slot);
        plan.push(Action::Create { service, slot, revision, why: format!("{from} {cause}") });
    } else if is_lost || may_begin(plan, service) {
        let why = format!("{from} {cause}, and its successor starts when it has ended");
        plan.push(Action::Drain { replica: replica.id.clone(), why });
    }
}

/// Gives a replica that fails a successor, wherever there is a place: its node is only the last choice. What
/// cannot be twice ends first. Of several that fail in one slot one is enough to wait with.
fn succeed(plan: &mut Plan, service: &Service, leaving: &[&Arc<Replica>], newest: &Replica, cause: &Cause) {
    let from = name(&plan.working, newest);
    for older in leaving.iter().filter(|older| older.id != newest.id) {
        if plan.is_settled(older) {
            continue;
        }
        let why = format!("its successor on {from} came, and fails as well");
        plan.push(Action::Drain { replica: older.id.clone(), why });
    }
    let is_pinned = plan.working.pinned_by(newest).is_some();
    let load = plan.take_load();
    let twice = starts_first(service) && !is_pinned && could_double(&plan.working, &load, newest);
    plan.keep_load(load);
    if twice {
        let (service, slot, revision) = (service.id.clone(), newest.slot, Some(newest.revision));
        plan.push(Action::Create { service, slot, revision, why: format!("{from} {cause}") });
    } else {
        let why = format!("{from} {cause}, and its successor starts when it has ended");
        plan.push(Action::Drain { replica: newest.id.clone(), why });
        tell_replaced(plan, newest, "after its end");
    }
}

/// Why a replica cannot go where it should.
fn obstacle(plan: &mut Plan, service: &Service, replica: &Replica, cause: &Cause) -> Option<String> {
    if let Some(why) = hindrance(&plan.working, service, replica, cause, plan.now) {
        return Some(why);
    }
    if *cause == Cause::Lost {
        return None;
    }
    let load = plan.take_load();
    let refused = could_move(&plan.working, &load, replica).err();
    plan.keep_load(load);
    refused
}

fn hindrance(
    snapshot: &Snapshot,
    service: &Service,
    replica: &Replica,
    cause: &Cause,
    now: Timestamp,
) -> Option<String> {
    if let Some(volume) = snapshot.pinned_by(replica) {
        return Some(format!("its volume {} is there", volume.key));
    }
    if service.spec.exclusive && *cause == Cause::Lost && !is_certainly_over(snapshot, replica, now) {
        return Some("it never runs twice, and may not have ended there yet".to_owned());
    }
    None
}

/// Whether the agent of a lost node must have stopped an exclusive replica: it could not renew its lease.
fn is_certainly_over(snapshot: &Snapshot, replica: &Replica, now: Timestamp) -> bool {
    let status = replica.node.as_ref().and_then(|node| snapshot.node_statuses.get(node));
    // A node that is not on record was taken off it by a person, who knows.
    let Some(since) = status.and_then(|status| status.silent_since) else { return true };
    let grace = snapshot.revision_of(replica).map(|revision| revision.template.container.stop_grace());
    now.since(since) >= LOST + LEASE + grace.unwrap_or_default()
}

/// Whether old and new may run at the same time. On another node no port is in the way.
pub fn starts_first(service: &Service) -> bool {
    !service.spec.exclusive
        && !service.spec.restart().runs_once()
        && service.spec.update.order != Some(UpdateOrder::StopFirst)
}

/// Whether one more slot of a service that ends first may be without a replica for a while.
fn may_begin(plan: &Plan, service: &Service) -> bool {
    let replicas = plan.replicas(&service.id);
    let without = service.slots().into_iter().filter(|slot| {
        let mut of_slot = replicas.iter().filter(|replica| replica.slot == *slot);
        !of_slot.any(|replica| replica.goal == Goal::Run && plan.is_settled(replica))
    });
    let most = match service.spec.update.parallelism {
        0 => usize::MAX,
        parallelism => parallelism as usize,
    };
    without.count() < most
}

fn name(snapshot: &Snapshot, replica: &Replica) -> String {
    let node = replica.node.as_ref();
    let known = node.and_then(|node| snapshot.nodes.get(node)).map(|node| node.name.clone());
    known.or_else(|| node.map(ToString::to_string)).unwrap_or_else(|| "no node".to_owned())
}

/// Whether a replica is to leave its node.
pub fn leaves(snapshot: &Snapshot, replica: &Replica) -> bool {
    let service = snapshot.services.get(&replica.service);
    service.is_some_and(|service| !service.is_global() && cause(snapshot, service, replica).is_some())
}

/// Why a replica that is placed does not stay where it is, and what holds it there.
pub fn explain(snapshot: &Snapshot, replica: &Replica) -> Vec<String> {
    let Some(service) = snapshot.services.get(&replica.service).filter(|_| replica.goal == Goal::Run) else {
        return Vec::new();
    };
    let Some(cause) = cause(snapshot, service, replica).filter(|_| !service.is_global()) else {
        return Vec::new();
    };
    let mut lines = vec![format!("{} {cause}", name(snapshot, replica))];
    let successor = snapshot
        .replicas_in(&service.id, replica.slot)
        .find(|other| other.id != replica.id && other.goal == Goal::Run && !leaves(snapshot, other));
    if let Some(successor) = successor {
        lines.push(format!("its successor {} is not ready yet", successor.id));
    } else if let Some(volume) = snapshot.pinned_by(replica) {
        lines.push(format!("it stays: its volume {} is there", volume.key));
    } else if let Err(reason) = could_move(snapshot, &Load::new(snapshot), replica) {
        lines.push(format!("it stays: {reason}"));
    }
    lines
}

/// Whether nothing that could run elsewhere is left on a node: what stays is held there by its volume,
/// or runs on every node.
pub fn is_drained(snapshot: &Snapshot, node: &Node) -> bool {
    let held: BTreeSet<_> = snapshot
        .replicas_on(&node.id)
        .filter(|replica| replica.goal == Goal::Run && replica.outcome.is_none())
        .filter(|replica| snapshot.pinned_by(replica).is_some())
        .map(|replica| &replica.id)
        .collect();
    snapshot.replicas_on(&node.id).all(|replica| held.contains(&replica.id) || replica.outcome.is_some())
}
