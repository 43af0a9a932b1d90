//! What an agent reports of its node, and what becomes of it in the state.

use std::sync::Arc;

use gantry_api::node::v1::{Heartbeat, ImageReport, StatusReport, VolumeCopied, VolumeRemoved};
use gantry_boot::now;
use gantry_model::{
    Change, End, ImageCopy, Key, MoveStage, NodeId, Record, ReplicaId, Severity, Snapshot, Timestamp, Volume,
    VolumeCopy, wire,
};

use super::Session;
use crate::decide::killed;
use crate::decide::lost::settle_restart;
use crate::decide::{MoveStep, record_event};
use crate::session::paths;

/// Disks of a node that are heard of.
const MOST_DISKS: usize = 8;

impl Session {
    pub(super) async fn take_heartbeat(&self, heartbeat: Heartbeat) {
        let some = |text: String| (!text.is_empty()).then_some(text);
        let (engine_error, refused) = (some(heartbeat.engine_error), some(heartbeat.refused));
        let network_error = some(heartbeat.network_error);
        let overlay_error = some(heartbeat.overlay_error);
        let broken_paths = paths::read(&heartbeat.broken_paths);
        let full_disks = heartbeat.full_disks.into_iter().take(MOST_DISKS);
        let full_disks = full_disks.map(|disk| (disk.owner, disk.used_percent)).collect();
        let disk_used_percent = heartbeat.disk_used_percent.map(|used| used.min(100));
        let certificate_expires_at = heartbeat.certificate_expires_at.map(wire::read_time);
        let before = self.state.snapshot().node_statuses.get(&self.node).cloned().unwrap_or_default();
        self.note(|status| {
            (status.engine_error, status.refused) = (engine_error, refused);
            (status.network_error, status.overlay_error) = (network_error, overlay_error);
            status.broken_paths.clone_from(&broken_paths);
            (status.full_disks, status.certificate_expires_at) = (full_disks, certificate_expires_at);
            status.disk_used_percent = disk_used_percent;
            settle_restart(status, now());
        });
        if before.broken_paths != broken_paths {
            paths::tell(&self.state, &self.node, &before.broken_paths, &broken_paths).await;
        }
    }

    pub(super) async fn take_report(&self, report: StatusReport) {
        let (now, theirs) = (now(), report.now.map(wire::read_time));
        let mut seen = Vec::new();
        for status in report.replicas {
            match wire::read_replica_status(status) {
                Ok((id, mut status)) => {
                    note_ages(&mut status.ends, theirs, now);
                    seen.push((id, status));
                }
                Err(problem) => tracing::warn!(node = %self.node, %problem, "cannot read a status"),
            }
        }
        let mut killed = Vec::new();
        self.state.observe(|snapshot| {
            let mut changed = false;
            if report.full {
                let gone: Vec<ReplicaId> = snapshot
                    .replicas_on(&self.node)
                    .map(|replica| replica.id.clone())
                    .filter(|id| !seen.iter().any(|(known, _)| known == id))
                    .collect();
                for id in gone {
                    changed |= snapshot.see(&id, None, now);
                }
            }
            for (id, status) in seen {
                let placed_here = snapshot
                    .replicas
                    .get(&id)
                    .is_some_and(|replica| replica.node.as_ref() == Some(&self.node));
                if placed_here {
                    let lines = killed::in_place(snapshot, &id, &status);
                    killed.extend(lines.into_iter().map(|line| (id.clone(), line)));
                    changed |= snapshot.see(&id, Some(status), now);
                }
            }
            changed
        });
        if !killed.is_empty() {
            self.tell_of_kills(killed).await;
        }
        if report.full {
            self.note(|status| {
                status.reported = true;
                settle_restart(status, now);
            });
        }
    }

    /// Tells people of replicas that were killed when they were to be restarted.
    async fn tell_of_kills(&self, killed: Vec<(ReplicaId, String)>) {
        let stored = self.state.commit::<_, gantry_store::Error>(|snapshot| {
            let (mut working, mut changes) = (snapshot.clone(), Vec::new());
            for (id, message) in killed {
                let Some(replica) = snapshot.replicas.get(&id) else { continue };
                let subject = replica.service.to_string();
                let reason = killed::REASON;
                let event =
                    record_event(&working, now(), Severity::Warning, &subject, Some(id), reason, message);
                for change in &event {
                    working.apply(change);
                }
                changes.extend(event);
            }
            Ok((changes, ()))
        });
        if let Err(error) = stored.await {
            tracing::error!(error = gantry_boot::chain(&error), "cannot store that replicas were killed");
        }
    }

    pub(super) fn take_images(&self, report: ImageReport) {
        let images = report.digests.into_iter().collect();
        let copies = report
            .copies
            .into_iter()
            .filter_map(|copy| {
                let from = NodeId::new(&copy.from_node_id).ok()?;
                Some((copy.digest, ImageCopy { from, done: copy.done, total: copy.total }))
            })
            .collect();
        self.note(|status| (status.images, status.copies) = (images, copies));
    }

    pub(super) fn take_copy(&self, copied: VolumeCopied) {
        let copy = VolumeCopy {
            done: copied.done,
            verified: copied.verified,
            error: (!copied.error.is_empty()).then_some(copied.error),
            failures: copied.failures,
        };
        let snapshot = self.state.snapshot();
        let is_current = |id: &String| {
            let mut moves = snapshot.volumes.values().filter_map(|volume| volume.moving.as_ref());
            moves.any(|moving| moving.id == *id)
        };
        self.note(|status| {
            status.volume_copies.retain(|id, _| is_current(id));
            if is_current(&copied.move_id) {
                status.volume_copies.insert(copied.move_id, copy);
            }
        });
    }

    pub(super) async fn take_volume(&self, removed: VolumeRemoved) {
        let done = self
            .state
            .commit::<_, gantry_store::Error>(|snapshot| {
                let volume = snapshot.volumes.values().find(|volume| {
                    let old_copy = volume.moving.as_ref().is_some_and(|moving| {
                        moving.stage == MoveStage::Removing && moving.from == self.node
                    });
                    let whole = volume.removing && volume.node.as_ref() == Some(&self.node);
                    volume.name == removed.name && (old_copy || whole)
                });
                let Some(volume) = volume else { return Ok((Vec::new(), ())) };
                let subject = volume.stack.to_string();
                if volume.moving.is_some() && removed.error.is_empty() {
                    return Ok((finish_move(snapshot, volume), ()));
                }
                let changes = if removed.error.is_empty() {
                    let message = format!("the volume {} and what was in it are gone", volume.name);
                    let mut changes = record_event(
                        snapshot,
                        now(),
                        Severity::Normal,
                        &subject,
                        None,
                        "VolumeRemoved",
                        message,
                    );
                    changes.push(Change::Delete(Key::Volume(volume.stack.clone(), volume.key.clone())));
                    changes
                } else {
                    let message = format!("the volume {} cannot be removed: {}", volume.name, removed.error);
                    record_event(snapshot, now(), Severity::Warning, &subject, None, "VolumeInUse", message)
                };
                Ok((changes, ()))
            })
            .await;
        if let Err(error) = done {
            tracing::error!(
                error = gantry_boot::chain(&error),
                "cannot store that a volume is gone; the agent will say it again"
            );
        }
    }
}

/// How long ago ends were, by the clock of the agent that says so, counted back from `now`.
fn note_ages(ends: &mut [End], theirs: Option<Timestamp>, now: Timestamp) {
    let Some(theirs) = theirs else { return };
    for end in ends {
        let ago = i64::try_from(theirs.since(end.at).as_millis()).unwrap_or(i64::MAX);
        end.heard_at = Some(Timestamp::from_millis(now.as_millis().saturating_sub(ago)));
    }
}

/// The old copy of a volume is gone: its move is over.
fn finish_move(snapshot: &Snapshot, volume: &Volume) -> Vec<Change> {
    let (step, mut moved) = (MoveStep::Finish, volume.clone());
    step.apply(&mut moved);
    let message = format!("the volume {}/{} {step}", volume.stack, volume.key);
    let subject = volume.stack.to_string();
    let mut changes = record_event(snapshot, now(), Severity::Normal, &subject, None, step.reason(), message);
    changes.push(Change::Put(Record::Volume(Arc::new(moved))));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_as_long_ago_as_its_agent_says_whatever_its_clock_shows() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1_000);
        let ended = |seconds| End { at: at(seconds), ..End::default() };
        let mut ends = [ended(100), ended(160), ended(190)];
        note_ages(&mut ends, Some(at(180)), at(9_000));
        assert_eq!(ends.map(|end| end.time()), [at(8_920), at(8_980), at(9_000)]);
        let mut ends = [ended(100)];
        note_ages(&mut ends, None, at(9_000));
        assert_eq!(ends[0].heard_at, None, "it does not say");
    }
}
