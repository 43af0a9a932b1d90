//! What watchdogs read in the feed, and what they conclude from it.

use gantry_api::Invalid;
use gantry_api::feed::v1 as wire;
use gantry_api::feed::v1::verdict::Conclusion as Wire;

use super::View;
use super::parts::{read_time, write_duration, write_time};
use crate::finding::{Conclusion, Finding};
use crate::heal::{Checked, PastRepair, RepairKind, Stamp};
use crate::ids::{BadName, NodeId, ReplicaId};
use crate::node::{Availability, Node};
use crate::replica::{Goal, Replica};
use crate::service::Service;
use crate::snapshot::Snapshot;
use crate::status::{End, ReplicaStatus, Verdict};

/// The longest reason, and the longest message, that a watchdog may give.
const LONGEST_REASON: usize = 64;
const LONGEST_MESSAGE: usize = 4 << 10;

/// The health of a replica. `failed` of the last `requests` to it failed, as proxies said.
pub fn write_case(snapshot: &Snapshot, replica: &Replica, (failed, requests): (u64, u64)) -> wire::Case {
    let unknown = ReplicaStatus::default();
    let seen = snapshot.status_of(&replica.id);
    let status = seen.unwrap_or(&unknown);
    let reported = replica.node.as_ref().and_then(|node| snapshot.node_statuses.get(node));
    let never =
        Stamp { ready_since: snapshot.started_at, checked_since: snapshot.started_at, ..Stamp::default() };
    let stamp = snapshot.stamps.get(&replica.id).map_or(never, |stamp| **stamp);
    let kept = snapshot.services.get(&replica.service).is_some_and(|service| service.wanted() > 0);
    let message = [&status.probe_message, &status.message].into_iter().find(|text| !text.is_empty());
    wire::Case {
        replica_id: replica.id.to_string(),
        service: replica.service.to_string(),
        slot: replica.slot,
        revision: replica.revision,
        node_id: replica.node.as_ref().map(ToString::to_string).unwrap_or_default(),
        reported: seen.is_some() && reported.is_some_and(|status| status.reported),
        wanted: kept && replica.goal == Goal::Run && replica.node.is_some() && replica.outcome.is_none(),
        in_repair: replica.repair.is_some() || replica.pause.is_some(),
        ready: stamp.ready,
        ready_since: Some(write_time(stamp.ready_since)),
        condition: write_checked(stamp.checked).into(),
        condition_since: Some(write_time(stamp.checked_since)),
        message: message.cloned().unwrap_or_default(),
        ends: status.ends.iter().map(write_end).collect(),
        created_at: Some(write_time(replica.created_at)),
        failed_requests: failed,
        requests,
    }
}

fn write_checked(checked: Checked) -> wire::Condition {
    match checked {
        Checked::Unknown => wire::Condition::Unspecified,
        Checked::Starting => wire::Condition::Starting,
        Checked::Healthy => wire::Condition::Healthy,
        Checked::Failing => wire::Condition::Failing,
        Checked::Unhealthy => wire::Condition::Unhealthy,
        Checked::Restarting => wire::Condition::Restarting,
        Checked::Failed => wire::Condition::Failed,
        Checked::AtRest => wire::Condition::AtRest,
    }
}

fn write_end(end: &End) -> wire::End {
    wire::End {
        at: Some(write_time(end.time())),
        exit_code: end.exit_code,
        oom_killed: end.oom_killed,
        last_lines: end.last_lines.clone(),
        asked: end.asked,
        killed_after_grace: end.killed_after_grace,
    }
}

/// Reads an end out of the feed.
pub fn read_end(end: &wire::End) -> End {
    End {
        at: end.at.map(read_time).unwrap_or_default(),
        exit_code: end.exit_code,
        oom_killed: end.oom_killed,
        last_lines: end.last_lines.clone(),
        asked: end.asked,
        killed_after_grace: end.killed_after_grace,
        heard_at: None,
    }
}

/// Whether an end in the feed counts as a crash: [`End::is_own`].
pub fn is_crash(end: &wire::End) -> bool {
    End { asked: end.asked, oom_killed: end.oom_killed, ..End::default() }.is_own()
}

/// When a node was heard, and what is concluded of it.
pub fn write_hearing(snapshot: &Snapshot, node: &Node) -> wire::Hearing {
    let known = snapshot.node_statuses.get(&node.id).map(AsRef::as_ref).cloned().unwrap_or_default();
    let engine = known.engine_error.iter().map(|error| format!("its engine cannot be used: {error}"));
    wire::Hearing {
        node_id: node.id.to_string(),
        name: node.name.clone(),
        connected: known.connected,
        silent_since: known.silent_since.map(write_time),
        proxy_heard: known.proxy_heard,
        restarting_since: known.restarting_since.map(write_time),
        flaps: known.flaps,
        returned_at: known.returned_at.map(write_time),
        presence: write_presence(snapshot.verdict_on(&node.id)).into(),
        schedulable: node.availability == Availability::Active,
        quarantined_since: node.quarantined_since.map(write_time),
        conditions: View(snapshot).conditions(node).into_iter().chain(engine).collect(),
        full_disks: View(snapshot).full_disks(node),
        certificate_expires_at: known.certificate_expires_at.map(write_time),
        held: known.held,
        disk_used_percent: known.disk_used_percent,
    }
}

fn write_presence(verdict: Verdict) -> wire::Presence {
    match verdict {
        Verdict::Ready => wire::Presence::Ready,
        Verdict::Suspect => wire::Presence::Suspect,
        Verdict::Lost => wire::Presence::Lost,
    }
}

/// How a service is healed, and how that went. When its certificates end, only who can read them knows.
pub fn write_course(snapshot: &Snapshot, service: &Service) -> wire::Course {
    let heal = &service.spec.heal;
    let stack = service.id.stack();
    let mut live = snapshot.replicas_of(&service.id).filter(|one| one.goal == Goal::Run).peekable();
    let runs_once = service.spec.restart().runs_once() && live.peek().is_some();
    wire::Course {
        service: service.id.to_string(),
        wanted: service.wanted(),
        changing: is_changing(snapshot, service),
        restart_limit: heal.restart_limit,
        window: Some(write_duration(heal.window)),
        disabled: heal.disabled,
        depends_on: service.spec.depends_on.keys().map(|name| format!("{stack}/{name}")).collect(),
        repairs: service.repairs.iter().map(write_repair).collect(),
        certificates: Vec::new(),
        never_ready: snapshot.was_never_ready(service),
        revision: service.revision,
        progressed_at: Some(write_time(service.progressed_at())),
        finished: runs_once && live.all(|replica| replica.outcome.is_some()),
    }
}

/// Whether an update, a scaling or a restart that a person asked for is under way. A repair is not.
fn is_changing(snapshot: &Snapshot, service: &Service) -> bool {
    let slots = service.slots();
    let all: Vec<_> = snapshot.replicas_of(&service.id).collect();
    let done = |replica: &Replica| {
        let status = snapshot.status_of(&replica.id);
        status.is_none_or(|status| status.restart_sequence >= replica.asked_restarts())
    };
    let restarted = |replica: &Replica| {
        replica.restart_sequence == service.restart_sequence && (replica.repair.is_some() || done(replica))
    };
    let live = || all.iter().filter(|replica| replica.goal == Goal::Run);
    slots.iter().any(|slot| !all.iter().any(|replica| replica.slot == *slot))
        || live().any(|replica| {
            replica.revision != service.revision
                || slots.binary_search(&replica.slot).is_err()
                || !restarted(replica)
        })
}

fn write_repair(repair: &PastRepair) -> wire::PastRepair {
    let kind = match repair.kind {
        RepairKind::Restart => wire::RepairKind::Restart,
        RepairKind::Replace => wire::RepairKind::Replace,
    };
    wire::PastRepair {
        at: Some(write_time(repair.at)),
        replica_id: repair.replica.to_string(),
        slot: repair.slot,
        node_id: repair.node.as_ref().map(ToString::to_string).unwrap_or_default(),
        kind: kind.into(),
        reason: repair.reason.clone(),
    }
}

/// Reads what a watchdog concludes.
pub fn read_verdict(verdict: wire::Verdict) -> Result<Finding, Invalid> {
    let wire::Verdict { revision, reason, message, conclusion } = verdict;
    let one_word = !reason.is_empty() && reason.chars().all(|letter| letter.is_ascii_alphanumeric());
    if !one_word || reason.len() > LONGEST_REASON {
        return Err(Invalid::new("reason", "is not one word: a verdict says why"));
    }
    if message.trim().is_empty() || message.len() > LONGEST_MESSAGE {
        return Err(Invalid::new("message", "is empty or too long: people are told what was seen"));
    }
    let bad = |field: &'static str| move |bad: BadName| Invalid::new(field, bad.to_string());
    let conclusion = match conclusion.ok_or_else(|| Invalid::missing("conclusion"))? {
        Wire::Node(node) => Conclusion::Node {
            presence: match node.presence() {
                wire::Presence::Unspecified => return Err(Invalid::missing("node.presence")),
                wire::Presence::Ready => Verdict::Ready,
                wire::Presence::Suspect => Verdict::Suspect,
                wire::Presence::Lost => Verdict::Lost,
            },
            node: NodeId::new(&node.node_id).map_err(bad("node.node_id"))?,
            silent_since: node.silent_since.map(read_time),
            held: node.held,
        },
        Wire::Repair(repair) => Conclusion::Repair {
            kind: match repair.kind() {
                wire::RepairKind::Unspecified => return Err(Invalid::missing("repair.kind")),
                wire::RepairKind::Restart => RepairKind::Restart,
                wire::RepairKind::Replace => RepairKind::Replace,
            },
            replica: ReplicaId::new(&repair.replica_id).map_err(bad("repair.replica_id"))?,
        },
        Wire::Quarantine(quarantine) => Conclusion::Quarantine {
            node: NodeId::new(&quarantine.node_id).map_err(bad("quarantine.node_id"))?,
            begins: quarantine.begins,
        },
        Wire::Note(note) if note.subject.is_empty() => return Err(Invalid::missing("note.subject")),
        Wire::Note(note) => Conclusion::Note { subject: note.subject, warning: note.warning },
    };
    Ok(Finding { revision, reason, message, conclusion })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(reason: &str, conclusion: Option<Wire>) -> wire::Verdict {
        wire::Verdict { revision: 1, reason: reason.into(), message: "it was seen".into(), conclusion }
    }

    #[test]
    fn a_verdict_without_a_reason_or_a_conclusion_is_none() {
        let repair = |kind: wire::RepairKind| {
            Some(Wire::Repair(wire::Repair { replica_id: "r1".into(), kind: kind.into() }))
        };
        let read = |verdict| read_verdict(verdict).map(|finding| (finding.revision, finding.reason));
        let good = read(verdict("Unhealthy", repair(wire::RepairKind::Restart))).unwrap();
        assert_eq!(good, (1, "Unhealthy".to_owned()));
        for wrong in [
            verdict("", repair(wire::RepairKind::Restart)),
            verdict("two words", repair(wire::RepairKind::Restart)),
            verdict("Unhealthy", None),
            verdict("Unhealthy", repair(wire::RepairKind::Unspecified)),
            verdict("Unhealthy", Some(Wire::Node(wire::NodeVerdict::default()))),
            verdict("Told", Some(Wire::Note(wire::Note::default()))),
            wire::Verdict { message: " ".into(), ..verdict("Unhealthy", repair(wire::RepairKind::Replace)) },
        ] {
            assert!(read_verdict(wrong.clone()).is_err(), "{wrong:?}");
        }
    }
}
