//! From the last request to the end of the record: `drain → stop → gone`.

use std::time::Duration;

use gantry_model::{Goal, Phase, Replica, Snapshot, Timestamp};

use super::action::Action;
use super::plan::Plan;

/// How long a replica may wait for proxies that do not answer.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// For how long clients may remember an answer of the name server.
const NAME_TTL: Duration = Duration::from_secs(1);

/// Stops what has drained, and forgets what has stopped.
pub fn advance(plan: &mut Plan) {
    let leaving: Vec<_> =
        plan.working.replicas.values().filter(|replica| replica.goal != Goal::Run).cloned().collect();
    for replica in leaving {
        if is_gone(&plan.working, &replica) {
            plan.push(Action::Forget { replica: replica.id.clone() });
        } else if replica.goal == Goal::Drain
            && let Some(why) = drained(&plan.working, &replica, plan.now)
        {
            plan.push(Action::Stop { replica: replica.id.clone(), why });
        }
    }
}

/// Its container is gone, on the word of its agent; or it never had one.
fn is_gone(snapshot: &Snapshot, replica: &Replica) -> bool {
    let Some(node) = &replica.node else { return true };
    match snapshot.status_of(&replica.id) {
        Some(status) => status.phase == Phase::Removed,
        None => {
            // The agent has told of everything that it has, and this was not among it.
            let reported = snapshot.node_statuses.get(node).is_some_and(|status| status.reported);
            reported && replica.goal == Goal::Stop
        }
    }
}

/// Why it may be stopped now; `None` if it may not yet (invariant 6).
fn drained(snapshot: &Snapshot, replica: &Replica, now: Timestamp) -> Option<String> {
    let drain = replica.drain?;
    let waited = now.since(drain.since);
    let status = snapshot.status_of(&replica.id);
    if status.is_some_and(|status| status.phase != Phase::Running) {
        return Some("it does not run".to_owned());
    }
    // Only a proxy of the replica's own network can send it anything; all on record count.
    let unaware = snapshot
        .proxies
        .keys()
        .filter(|instance| snapshot.acks.get(*instance).is_none_or(|ack| ack.revision < drain.revision))
        .count();
    if unaware > 0 {
        return (waited >= DRAIN_TIMEOUT)
            .then(|| format!("{unaware} proxies did not answer within {} s", DRAIN_TIMEOUT.as_secs()));
    }
    // Where the whole service goes there is nobody else to ask; where it stays, clients may still
    // hold this replica's address for as long as names live.
    let service_stays = snapshot.services.get(&replica.service).is_some_and(|service| service.wanted() > 0);
    if service_stays && waited < NAME_TTL {
        return None;
    }
    Some("nothing is sent to it any more".to_owned())
}
