//! A copy of the state and the CA, for `gantry restore`.

use std::collections::BTreeMap;

use gantry_api::cluster::v1::BackupResponse;
use gantry_boot::{VERSION, now};
use gantry_identity::Identity;
use gantry_model::{Backup, Severity};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::store_failed;
use crate::decide::record_event;
use crate::membership::Office;
use crate::state::State;

const CHUNK: usize = 256 << 10;

/// Sends a backup, piece by piece. That somebody took one is an event: it can be anybody's certificate.
pub async fn stream(
    state: &State,
    office: &Office,
    by: &Identity,
) -> Result<ReceiverStream<Result<BackupResponse, Status>>, Status> {
    let authority = office.authority()?;
    let (ca, ca_key) = (authority.certificate().to_owned(), authority.key().to_owned());
    state
        .commit::<_, gantry_store::Error>(|snapshot| {
            let message = format!("{} {} took a backup, with the CA's key in it", by.role, by.name);
            Ok((record_event(snapshot, now(), Severity::Normal, "cluster", None, "BackedUp", message), ()))
        })
        .await
        .map_err(store_failed)?;
    let contents = state.export().await.map_err(store_failed)?;
    let cluster = state.snapshot().cluster.clone();
    let mut records = BTreeMap::new();
    for (path, value) in contents.entries {
        let value = String::from_utf8(value)
            .map_err(|_| Status::data_loss(format!("the stored {path} is not a text")))?;
        records.insert(path, value);
    }
    let settings = BTreeMap::from([
        ("pool".to_owned(), cluster.pool.to_string()),
        ("mtu".to_owned(), cluster.mtu.to_string()),
        ("redirect_port".to_owned(), office.redirect_port().to_string()),
    ]);
    let backup = Backup {
        cluster: cluster.id.clone(),
        name: cluster.name.clone(),
        made_at: now(),
        version: VERSION.to_owned(),
        revision: contents.revision,
        ca,
        ca_key,
        settings,
        records,
    };
    let file = backup.encode();
    let (pieces, stream) = mpsc::channel(4);
    tokio::spawn(async move {
        for chunk in file.chunks(CHUNK) {
            if pieces.send(Ok(BackupResponse { chunk: chunk.to_vec() })).await.is_err() {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(stream))
}
