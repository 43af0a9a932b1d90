//! What a replica is about, in a few words for people.

use std::time::Duration;

use super::view::state_word;
use crate::heal::{Checked, RepairKind};
use crate::replica::{Goal, Replica};
use crate::snapshot::Snapshot;
use crate::status::{End, Phase, ReplicaStatus};

/// So many ends of one kind are a loop.
const LOOP: usize = 3;
/// The exit code of what was killed.
const KILLED: i32 = 137;
/// Ends that are further apart than this have nothing to do with each other.
const APART: Duration = Duration::from_mins(10);

/// Goal, phase, checks and repair together: one word as a rule, two or three where something is done about it.
pub fn state(snapshot: &Snapshot, replica: &Replica, status: Option<&ReplicaStatus>) -> &'static str {
    if snapshot.is_lost(replica) {
        return "lost";
    }
    let plain = state_word(replica, status);
    if replica.goal != Goal::Run || replica.node.is_none() {
        return plain;
    }
    match replica.repair.as_ref().map(|repair| repair.kind) {
        Some(RepairKind::Restart) => return "restarting in place",
        Some(RepairKind::Replace) => return "being replaced",
        None => {}
    }
    if crash_loop(snapshot, replica, status).is_some() {
        return "crash loop";
    }
    match (plain, snapshot.checked(&replica.id)) {
        ("running" | "healthy", Checked::Failing) => "failing",
        ("running", Checked::Starting) => "checking",
        _ => plain,
    }
}

/// Why it is not as it should be, as far as its checks, its ends and its repair tell; empty otherwise.
pub fn trouble(snapshot: &Snapshot, replica: &Replica, status: Option<&ReplicaStatus>) -> String {
    let said = status.map(|status| status.probe_message.as_str()).unwrap_or_default();
    if let Some(repair) = replica.repair.as_ref().filter(|_| replica.goal == Goal::Run) {
        let cause = repair.cause();
        return if said.is_empty() { cause } else { format!("{cause}: {said}") };
    }
    if let Some(ends) = crash_loop(snapshot, replica, status) {
        return ends;
    }
    let unwell =
        matches!(snapshot.checked(&replica.id), Checked::Failing | Checked::Unhealthy | Checked::Starting);
    if unwell { said.to_owned() } else { String::new() }
}

/// How its process ends again and again, and how often it has.
fn crash_loop(snapshot: &Snapshot, replica: &Replica, status: Option<&ReplicaStatus>) -> Option<String> {
    let status =
        status.filter(|status| !snapshot.takes_traffic(replica) && status.phase != Phase::Preparing)?;
    let own: Vec<&End> = status.ends.iter().filter(|end| end.is_own()).collect();
    let (last, newest) = (*own.last()?, status.ends.last()?);
    if newest.time().since(last.time()) >= APART {
        return None;
    }
    let recent = own.iter().rev().take_while(|end| last.time().since(end.time()) < APART);
    // The engine does not notice every time that memory ran out.
    let starved = recent.clone().any(|end| end.oom_killed);
    let kind = |end: &End| (end.oom_killed || starved && end.exit_code == KILLED, end.exit_code);
    let named = recent.clone().find(|end| kind(last).0 && end.oom_killed).unwrap_or(&last);
    let alike = recent.take_while(|end| kind(end) == kind(last)).count();
    // Only the last ones are kept.
    let all = if alike == End::KEPT { alike.max(status.restarts as usize) } else { alike };
    (alike >= LOOP).then(|| format!("{} ×{all}", named.words()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::heal::Repair;
    use crate::{Change, Cluster, Health, Record, Timestamp};

    fn shown(replica: &Replica, status: ReplicaStatus) -> (&'static str, String) {
        let cluster: Cluster = serde_json::from_str(
            r#"{"id": "c1", "name": "test", "epoch": 1, "terms": [], "pool": "10.192.0.0/11", "prefix": 19,
                "mtu": 1450, "created_at": 0}"#,
        )
        .unwrap();
        let mut snapshot = Snapshot::new(cluster, Timestamp::default());
        snapshot.apply(&Change::Put(Record::Replica(Arc::new(replica.clone()))));
        let node = serde_json::from_str(
            r#"{"id": "n1", "name": "n1", "addresses": [], "agent_port": 1, "labels": {}, "host": {}, "joined_at": 0}"#,
        )
        .unwrap();
        snapshot.apply(&Change::Put(Record::Node(Arc::new(node))));
        let good = ReplicaStatus { phase: Phase::Running, ..ReplicaStatus::default() };
        let now = Timestamp::from_millis(1_000_000_000);
        snapshot.see(&replica.id, Some(good), now);
        snapshot.see(&replica.id, Some(status), now);
        let status = snapshot.status_of(&replica.id);
        (state(&snapshot, replica, status), trouble(&snapshot, replica, status))
    }

    fn replica() -> Replica {
        serde_json::from_str(
            r#"{"id": "r1", "service": "s/web", "slot": 1, "revision": 1, "goal": "Run", "node": "n1",
                "addresses": {}, "restart_sequence": 0, "pending": null, "drain": null, "outcome": null,
                "created_at": 0}"#,
        )
        .unwrap()
    }

    #[test]
    fn what_a_failed_check_said_is_shown() {
        let status = ReplicaStatus {
            phase: Phase::Running,
            probe_ready: Some(false),
            probe_message: "HTTP 503".into(),
            ..ReplicaStatus::default()
        };
        assert_eq!(shown(&replica(), status.clone()), ("failing", "HTTP 503".into()));
        let status = ReplicaStatus { health: Health::Unhealthy, ..status };
        assert_eq!(shown(&replica(), status.clone()), ("unhealthy", "HTTP 503".into()));
        let repair = |kind| {
            let since = Timestamp::default();
            Replica { repair: Some(Repair { kind, since, reason: "Unhealthy".into() }), ..replica() }
        };
        let restarted = shown(&repair(RepairKind::Restart), status.clone());
        assert_eq!(restarted, ("restarting in place", "unhealthy: HTTP 503".into()));
        assert_eq!(shown(&repair(RepairKind::Replace), status).0, "being replaced");
    }

    #[test]
    fn ends_of_one_kind_that_follow_each_other_are_a_crash_loop() {
        let end = |minutes: i64, exit_code, oom_killed| End {
            heard_at: Some(Timestamp::from_millis(minutes * 60_000)),
            exit_code,
            oom_killed,
            ..End::default()
        };
        let with = |ends| ReplicaStatus { phase: Phase::Restarting, ends, ..ReplicaStatus::default() };
        let memory: Vec<End> = (1..=4).map(|minute| end(minute, 137, true)).collect();
        assert_eq!(shown(&replica(), with(memory)), ("crash loop", "out of memory ×4".into()));
        let others = vec![end(1, 1, false), end(2, 139, false), end(3, 139, false), end(4, 139, false)];
        assert_eq!(shown(&replica(), with(others)).1, "killed by SIGSEGV ×3");
        for few in
            [vec![end(1, 1, false), end(2, 1, false)], (0..3).map(|at| end(at * 30, 1, false)).collect()]
        {
            assert_eq!(shown(&replica(), with(few)).0, "restarting");
        }
        // What was asked for is no crash, and the engine does not say every time that memory ran out.
        let asked = (1..=3).map(|minute| End { asked: true, ..end(minute, 137, false) }).collect();
        assert_eq!(shown(&replica(), with(asked)).0, "restarting");
        let unnoticed = vec![end(1, 137, true), end(2, 137, true), end(3, 137, false)];
        assert_eq!(shown(&replica(), with(unnoticed)).1, "out of memory ×3");
        let many = ReplicaStatus { restarts: 30, ..with((1..=8).map(|_| end(1, 1, false)).collect()) };
        assert_eq!(shown(&replica(), many).1, "exit code 1 ×30");
    }
}
