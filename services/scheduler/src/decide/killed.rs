//! What had to be killed at the end of its grace may have lost something: people are told, whether its replica left
//! or was restarted in place. Pure.

use std::time::Duration;

use gantry_model::{End, Goal, Replica, ReplicaId, ReplicaStatus, Severity, Snapshot};

use super::heal::repair_grace;
use super::plan::Plan;

/// The reason of its event.
pub const REASON: &str = "Killed";
/// An agent may correct the time of an end by less than this.
const CORRECTED: Duration = Duration::from_mins(1);

/// Tells of a replica that is gone, if its last end was one.
pub fn tell(plan: &mut Plan, replica: &Replica) {
    let status = plan.working.status_of(&replica.id);
    if status.and_then(|status| status.ends.last()).is_some_and(|end| end.killed_after_grace) {
        let message = words(&plan.working, replica);
        let (subject, id) = (replica.service.to_string(), Some(replica.id.clone()));
        plan.event(Severity::Warning, &subject, id, REASON, message);
    }
}

/// What is to be said of a replica that stays, by what its agent says of it now: one line for every such end that
/// was not known. Of what was never heard before nothing is said, as all of it may be old.
pub fn in_place(snapshot: &Snapshot, replica: &ReplicaId, now: &ReplicaStatus) -> Vec<String> {
    let known = snapshot.status_of(replica);
    match (snapshot.replicas.get(replica), known) {
        (Some(replica), Some(known)) if replica.goal == Goal::Run => {
            new_kills(&known.ends, &now.ends).map(|_| words(snapshot, replica)).collect()
        }
        _ => Vec::new(),
    }
}

fn new_kills<'a>(known: &'a [End], now: &'a [End]) -> impl Iterator<Item = &'a End> {
    let is_known = |end: &End| {
        known.iter().filter(|old| old.killed_after_grace).any(|old| {
            let is_corrected = end.at >= old.at
                && end.at.since(old.at) < CORRECTED
                && now.iter().all(|end| end.at != old.at);
            old.at == end.at || is_corrected
        })
    };
    now.iter().filter(move |end| end.killed_after_grace && !is_known(end))
}

fn words(snapshot: &Snapshot, replica: &Replica) -> String {
    let own = || snapshot.revision_of(replica).map(|revision| revision.template.container.stop_grace());
    let grace = repair_grace(snapshot, replica).or_else(own).unwrap_or_default();
    format!(
        "replica {} did not end within its stop grace of {} s, and was killed",
        replica.slot,
        grace.as_secs_f32()
    )
}

#[cfg(test)]
mod tests {
    use gantry_model::Timestamp;

    use super::*;

    fn end(seconds: i64, killed_after_grace: bool) -> End {
        let at = Timestamp::from_millis(seconds * 1_000);
        End { at, exit_code: 137, asked: true, killed_after_grace, ..End::default() }
    }

    #[test]
    fn every_kill_is_new_once() {
        let new = |known: &[End], now: &[End]| new_kills(known, now).count();
        assert_eq!(new(&[], &[end(1, true)]), 1);
        assert_eq!(new(&[end(1, false)], &[end(1, true)]), 1, "that it had to be killed is known later");
        assert_eq!(new(&[end(1, true)], &[end(1, true)]), 0);
        assert_eq!(new(&[end(1, true)], &[end(1, true), end(9, true)]), 1, "once more, and soon");
        assert_eq!(new(&[end(1, true)], &[end(2, true)]), 0, "its time was corrected");
        assert_eq!(new(&[end(1, true)], &[end(90, true)]), 1, "the old one is forgotten");
        assert_eq!(new(&[end(1, true)], &[end(1, true), end(9, false)]), 0);
    }
}
