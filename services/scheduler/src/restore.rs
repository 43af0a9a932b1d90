//! A state from a backup, put in place when the scheduler starts and finds one.
//!
//! The epoch is raised: it is a person's word that this state counts although it may lack changes that
//! agents have seen (see `gantry_model::Lineage`).

use std::path::Path;
use std::sync::Arc;

use gantry_model::{Backup, BadBackup, Cluster, ClusterId, Event, JoinToken, Record, Severity, Timestamp};
use gantry_store::{Contents, Redb};

/// The file that `gantry restore` leaves in the scheduler's folder.
const FILE: &str = "restore";
const STATE: &str = "state.redb";

/// A backup that was not put in place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read the backup")]
    Read(#[source] std::io::Error),
    /// It is none.
    #[error(transparent)]
    Bad(#[from] BadBackup),
    /// It has no cluster in it.
    #[error("this backup has no cluster in it")]
    Empty,
    /// It is another cluster's.
    #[error("this backup is of cluster {backup}, the scheduler's certificate of cluster {certificate}")]
    OtherCluster {
        /// The backup's cluster.
        backup: ClusterId,
        /// The certificate's.
        certificate: ClusterId,
    },
    /// The store failed.
    #[error("cannot write the restored state")]
    Store(#[from] gantry_store::Error),
    /// The folder cannot be written.
    #[error("cannot put the restored state in place")]
    Place(#[source] std::io::Error),
}

/// Puts the backup in `folder` in place, if there is one. A state that is there is never replaced.
pub fn put_in_place(folder: &Path, cluster: &ClusterId, now: Timestamp) -> Result<(), Error> {
    let (file, state) = (folder.join(FILE), folder.join(STATE));
    let bytes = match std::fs::read(&file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::Read(error)),
    };
    if !state.exists() {
        let contents = contents(&Backup::decode(&bytes)?, cluster, now)?;
        let revision = contents.revision;
        let new = folder.join("state.restoring");
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Error::Place(error)),
            _ => {}
        }
        Redb::import(&new, &contents)?;
        std::fs::rename(&new, &state).map_err(Error::Place)?;
        sync(folder)?;
        tracing::info!(revision, "the state was restored from a backup");
    }
    // The CA's key is in it, and it has done its work.
    std::fs::remove_file(&file).map_err(Error::Place)?;
    sync(folder)
}

fn sync(folder: &Path) -> Result<(), Error> {
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::Place)
}

/// What the store is to hold: the backup, one epoch later, with its join tokens void (how often they were
/// used since is not known).
fn contents(backup: &Backup, certificate: &ClusterId, now: Timestamp) -> Result<Contents, Error> {
    if backup.cluster != *certificate {
        let (backup, certificate) = (backup.cluster.clone(), certificate.clone());
        return Err(Error::OtherCluster { backup, certificate });
    }
    let mut contents = Contents { revision: backup.revision, ..Contents::default() };
    let (mut found, mut last_event) = (false, 0);
    for (path, value) in &backup.records {
        let record =
            Record::decode(path, value.as_bytes()).map_err(|error| BadBackup::Content(error.to_string()))?;
        let record = match record {
            Record::Cluster(cluster) => {
                found = true;
                Record::Cluster(Arc::new(Cluster { epoch: cluster.epoch + 1, ..cluster.as_ref().clone() }))
            }
            Record::Token(token) => {
                Record::Token(Arc::new(JoinToken { voided: true, ..token.as_ref().clone() }))
            }
            Record::Event(event) => {
                last_event = last_event.max(event.sequence);
                Record::Event(event)
            }
            other => other,
        };
        contents.entries.insert(record.key().path(), record.encode());
    }
    if !found {
        return Err(Error::Empty);
    }
    let event = Record::Event(Arc::new(Event {
        sequence: last_event + 1,
        time: now,
        severity: Severity::Warning,
        subject: "cluster".to_owned(),
        replica: None,
        reason: "Restored".to_owned(),
        message: format!("the cluster is as it was at {} (change {})", backup.made_at, backup.revision),
    }));
    contents.entries.insert(event.key().path(), event.encode());
    Ok(contents)
}
