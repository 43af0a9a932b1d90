//! From the last request to the end of the record: `drain → stop → gone`.

use std::time::Duration;

use gantry_model::{Drain, Goal, Health, Phase, Replica, Snapshot, Timestamp, Verdict};

use super::action::Action;
use super::killed;
use super::lost::LOST;
use super::plan::Plan;

/// How long a replica may wait for proxies that do not answer and for requests that do not end, unless
/// its service says otherwise.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the requests of a replica that is repaired because it is unhealthy may take: what hangs ends
/// none of them.
const HUNG: Duration = Duration::from_secs(2);
/// For how long clients may remember an answer of the name server.
const NAME_TTL: Duration = Duration::from_secs(1);

/// Stops what has drained, and forgets what has stopped.
pub fn advance(plan: &mut Plan) {
    let leaving: Vec<_> =
        plan.working.replicas.values().filter(|replica| replica.goal != Goal::Run).cloned().collect();
    for replica in leaving {
        if is_gone(&plan.working, &replica) {
            killed::tell(plan, &replica);
            plan.push(Action::Forget { replica: replica.id.clone() });
        } else if replica.goal == Goal::Drain
            && let Some(drain) = replica.drain
            && let Some(why) = drained(&plan.working, &replica, drain, plan.now)
        {
            plan.push(Action::Stop { replica: replica.id.clone(), why });
        }
    }
}

/// Forgets the proxies of lost nodes, after they have had the time that a drain waits for them at most:
/// from then on drains do not wait for them at all. One that is alive puts itself on record again.
pub fn forget_proxies(plan: &mut Plan) {
    let gone: Vec<String> = plan
        .working
        .proxies
        .values()
        .filter(|proxy| plan.working.verdict_on(&proxy.node) == Verdict::Lost)
        .filter(|proxy| !plan.working.acks.contains_key(&proxy.instance))
        .filter(|proxy| {
            let status = plan.working.node_statuses.get(&proxy.node);
            let since = status.and_then(|status| status.silent_since);
            since.is_none_or(|since| plan.now.since(since) >= LOST + DRAIN_TIMEOUT)
        })
        .map(|proxy| proxy.instance.clone())
        .collect();
    for instance in gone {
        plan.push(Action::ForgetProxy { instance });
    }
}

/// Its container is gone, on the word of its agent; or it never had one.
fn is_gone(snapshot: &Snapshot, replica: &Replica) -> bool {
    let Some(node) = &replica.node else { return true };
    // A node that comes back finds nothing of it among what it is to run, and removes it.
    if replica.goal == Goal::Stop && snapshot.is_lost(replica) {
        return true;
    }
    match snapshot.status_of(&replica.id) {
        Some(status) => status.phase == Phase::Removed,
        None => {
            // The agent has told of everything that it has, and this was not among it.
            let reported = snapshot.node_statuses.get(node).is_some_and(|status| status.reported);
            reported && replica.goal == Goal::Stop
        }
    }
}

/// Why nothing is sent to a replica any more, since `drain` began; `None` while something may be
/// (invariant 6). The same rule holds before a stop and before a restart.
pub fn drained(snapshot: &Snapshot, replica: &Replica, drain: Drain, now: Timestamp) -> Option<String> {
    let waited = now.since(drain.since);
    let status = snapshot.status_of(&replica.id);
    if status.is_some_and(|status| status.phase != Phase::Running) {
        return Some("it does not run".to_owned());
    }
    let service = snapshot.services.get(&replica.service);
    let limit = service.and_then(|service| service.spec.policy.drain_timeout).unwrap_or(DRAIN_TIMEOUT);
    let hangs = replica.repair.is_some() && status.is_some_and(|status| status.health == Health::Unhealthy);
    let limit = if hangs { limit.min(HUNG) } else { limit };
    let over = |what: String| (waited >= limit).then(|| format!("{what} after {} s", limit.as_secs_f32()));
    // Every node's proxy may lead to it; all on record count, also those that are not connected.
    let unaware = snapshot
        .proxies
        .keys()
        .filter(|instance| snapshot.acks.get(*instance).is_none_or(|ack| ack.revision < drain.revision))
        .count();
    if unaware > 0 {
        return over(format!("{unaware} proxies had not answered"));
    }
    // A proxy says who still has requests before it acknowledges, so that this is not too early.
    let serving = snapshot
        .proxies
        .keys()
        .filter_map(|instance| snapshot.serving.get(instance))
        .filter(|replicas| replicas.contains(&replica.id))
        .count();
    if serving > 0 {
        return over(format!("{serving} proxies still had requests of it"));
    }
    // Where the whole service goes there is nobody else to ask; where it stays, clients may still
    // hold this replica's address for as long as names live.
    let service_stays = service.is_some_and(|service| service.wanted() > 0);
    // Whom an unhealthy one does not answer loses nothing.
    if service_stays && !hangs && waited < NAME_TTL {
        return None;
    }
    Some("nothing is sent to it any more".to_owned())
}
