//! What an agent reports of its node, and what becomes of it in the state.

use std::sync::Arc;

use gantry_api::node::v1::{Heartbeat, ImageReport, StatusReport, VolumeCopied, VolumeRemoved};
use gantry_boot::now;
use gantry_model::{
    Change, ImageCopy, Key, MoveStage, NodeId, Record, ReplicaId, Severity, Snapshot, Volume, VolumeCopy,
    wire,
};

use super::Session;
use crate::decide::{MoveStep, record_event};
use crate::session::paths;

impl Session {
    pub(super) async fn take_heartbeat(&self, heartbeat: Heartbeat) {
        let some = |text: String| (!text.is_empty()).then_some(text);
        let (engine_error, refused) = (some(heartbeat.engine_error), some(heartbeat.refused));
        let network_error = some(heartbeat.network_error);
        let overlay_error = some(heartbeat.overlay_error);
        let broken_paths = paths::read(&heartbeat.broken_paths);
        let before = self.state.snapshot().node_statuses.get(&self.node).cloned().unwrap_or_default();
        self.note(|status| {
            (status.engine_error, status.refused) = (engine_error, refused);
            (status.network_error, status.overlay_error) = (network_error, overlay_error);
            status.broken_paths.clone_from(&broken_paths);
        });
        if before.broken_paths != broken_paths {
            paths::tell(&self.state, &self.node, &before.broken_paths, &broken_paths).await;
        }
    }

    pub(super) fn take_report(&self, report: StatusReport) {
        let mut seen = Vec::new();
        for status in report.replicas {
            match wire::read_replica_status(status) {
                Ok(status) => seen.push(status),
                Err(problem) => tracing::warn!(node = %self.node, %problem, "cannot read a status"),
            }
        }
        self.state.observe(|snapshot| {
            let mut changed = false;
            if report.full {
                let gone: Vec<ReplicaId> = snapshot
                    .replicas_on(&self.node)
                    .map(|replica| replica.id.clone())
                    .filter(|id| !seen.iter().any(|(known, _)| known == id))
                    .collect();
                for id in gone {
                    changed |= snapshot.statuses.remove_mut(&id);
                }
            }
            for (id, status) in seen {
                let placed_here = snapshot
                    .replicas
                    .get(&id)
                    .is_some_and(|replica| replica.node.as_ref() == Some(&self.node));
                if placed_here && snapshot.status_of(&id) != Some(&status) {
                    snapshot.statuses.insert_mut(id, Arc::new(status));
                    changed = true;
                }
            }
            changed
        });
        if report.full {
            self.note(|status| status.reported = true);
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
