//! What an agent tells of its replicas, images and volumes, whenever that changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::node::v1::session_request::Message as ToScheduler;
use gantry_api::node::v1::{
    ImageCopy, ImageReport, SessionRequest, StatusReport, VolumeCopied, VolumeRemoved,
};
use gantry_boot::now;
use gantry_model::{ReplicaId, ReplicaStatus, wire};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tonic::Status;

use super::{Sessions, send};
use crate::managed::Runtime;
use crate::transfer::Copy;

/// Changes that come together are reported together.
const GATHER: Duration = Duration::from_millis(5);
const VOLUME_AGAIN: Duration = Duration::from_secs(3);
/// People remove images, too.
const IMAGES_AGAIN: Duration = Duration::from_secs(10);
/// How far copies have come is told at most this often.
const PROGRESS: Duration = Duration::from_millis(300);

impl<R: Runtime> Sessions<R> {
    /// Everything first, then what changes.
    pub(super) async fn report(&self, outgoing: &mpsc::Sender<SessionRequest>) -> Result<(), Status> {
        self.fleet.settled().await;
        let mut statuses = self.fleet.board().subscribe();
        let mut told = statuses.borrow_and_update().clone();
        let all = told.iter().map(|(id, status)| wire::write_replica_status(id, status)).collect();
        send(outgoing, ToScheduler::Status(report(true, all))).await?;
        while statuses.changed().await.is_ok() {
            sleep(GATHER).await;
            let current = statuses.borrow_and_update().clone();
            let changed = changed(&told, &current);
            told = current;
            if !changed.is_empty() {
                send(outgoing, ToScheduler::Status(report(false, changed))).await?;
            }
        }
        Ok(())
    }

    /// Which images there are and which are on their way, whenever that changes.
    pub(super) async fn report_images(&self, outgoing: &mpsc::Sender<SessionRequest>) -> Result<(), Status> {
        let (mut changes, mut running) = (self.fleet.copies().changes(), self.fleet.copies().running());
        let (mut told, mut digests, mut look) = (None, Vec::new(), true);
        loop {
            changes.borrow_and_update();
            if look && let Ok(kept) = self.fleet.kept_images().await {
                digests = kept.into_iter().collect();
            }
            let copies = running.borrow_and_update().iter().map(image_copy).collect();
            let report = ImageReport { digests: digests.clone(), copies };
            if told.as_ref() != Some(&report) {
                told = Some(report.clone());
                send(outgoing, ToScheduler::Images(report)).await?;
            }
            look = tokio::select! {
                Ok(()) = changes.changed() => true,
                () = sleep(IMAGES_AGAIN) => true,
                Ok(()) = running.changed() => {
                    // A copy tells of every piece, which nobody wants to know.
                    sleep(PROGRESS).await;
                    changes.has_changed().unwrap_or_default()
                }
            };
        }
    }

    /// How far volumes have come that move here, whenever that changes.
    pub(super) async fn report_moves(&self, outgoing: &mpsc::Sender<SessionRequest>) -> Result<(), Status> {
        let mut progress = self.fleet.moves().progress();
        let mut told = BTreeMap::new();
        loop {
            let current = progress.borrow_and_update().clone();
            for (id, copy) in current.iter().filter(|(id, copy)| told.get(*id) != Some(*copy)) {
                let copied = VolumeCopied {
                    name: copy.name.clone(),
                    move_id: id.clone(),
                    done: copy.done,
                    verified: copy.verified,
                    error: copy.error.clone(),
                    failures: copy.failures,
                };
                send(outgoing, ToScheduler::VolumeCopied(copied)).await?;
            }
            told = current;
            if progress.changed().await.is_err() {
                return Ok(());
            }
            sleep(PROGRESS).await;
        }
    }

    pub(super) async fn remove_volumes(&self, outgoing: &mpsc::Sender<SessionRequest>) -> Result<(), Status> {
        let mut told: BTreeMap<String, String> = BTreeMap::new();
        loop {
            let wanted = self.fleet.volume_removals().await;
            told.retain(|name, _| wanted.contains(name));
            for name in wanted {
                let error = match self.fleet.remove_volume(&name).await {
                    Ok(()) => String::new(),
                    Err(error) => error.message,
                };
                if told.insert(name.clone(), error.clone()).as_ref() != Some(&error) {
                    send(outgoing, ToScheduler::VolumeRemoved(VolumeRemoved { name, error })).await?;
                }
            }
            self.fleet.volume_removals_changed(VOLUME_AGAIN).await;
        }
    }
}

/// With the time, so that the scheduler knows how long ago something was without comparing clocks.
fn report(full: bool, replicas: Vec<gantry_api::node::v1::ReplicaStatus>) -> StatusReport {
    StatusReport { full, replicas, now: Some(wire::write_time(now())) }
}

fn image_copy((digest, copy): (&String, &Copy)) -> ImageCopy {
    ImageCopy { digest: digest.clone(), from_node_id: copy.from.clone(), done: copy.done, total: copy.total }
}

fn changed(
    before: &Arc<BTreeMap<ReplicaId, ReplicaStatus>>,
    now: &Arc<BTreeMap<ReplicaId, ReplicaStatus>>,
) -> Vec<gantry_api::node::v1::ReplicaStatus> {
    now.iter()
        .filter(|(id, status)| before.get(*id) != Some(*status))
        .map(|(id, status)| wire::write_replica_status(id, status))
        .collect()
}
