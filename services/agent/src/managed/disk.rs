//! What the agent keeps over its own restarts: small files, replaced whole.

mod next;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use gantry_model::{Lineage, ReplicaId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::assignment::{Assignment, Networks, Redirect, Segment, VolumeUse};

/// What was last wanted of this node, and by which state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// The newest state that was believed.
    pub lineage: Option<Lineage>,
    /// Replicas.
    pub assignments: BTreeMap<ReplicaId, Assignment>,
    /// Networks.
    pub segments: Vec<Segment>,
    /// Volumes.
    pub volumes: Vec<VolumeUse>,
    /// Volumes that are to be removed.
    pub volume_removals: Vec<String>,
    /// How service addresses lead to the node's proxy.
    #[serde(default)]
    pub redirect: Option<Redirect>,
    /// The addresses of the cluster's other nodes.
    #[serde(default)]
    pub members: Vec<IpAddr>,
}

impl Disk {
    fn path(folder: &Path) -> PathBuf {
        folder.join("assignments.json")
    }

    /// What the node's networks are to be.
    pub fn networks(&self) -> Networks {
        Networks {
            segments: self.segments.clone(),
            redirect: self.redirect.clone(),
            members: self.members.clone(),
        }
    }

    /// Reads what was saved in `folder`; nothing, if nothing was.
    pub fn load(folder: &Path) -> io::Result<Self> {
        read_json(&Self::path(folder))
    }

    /// Saves it in `folder`, readable for the agent only. After a crash in the middle the old file is there.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        write_json(&Self::path(folder), self)
    }
}

/// Reads a file; the default, if there is none.
pub fn read_json<T: Default + DeserializeOwned>(path: &Path) -> io::Result<T> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(error),
    }
}

/// Replaces a file, readable for the agent only. After a crash in the middle the old one is there.
pub fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_saved_is_nothing_wanted() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Disk::load(folder.path()).unwrap(), Disk::default());
    }

    #[test]
    fn a_broken_file_is_an_error_and_not_nothing() {
        let folder = tempfile::tempdir().unwrap();
        Disk::default().save(folder.path()).unwrap();
        assert_eq!(Disk::load(folder.path()).unwrap(), Disk::default());
        fs::write(folder.path().join("assignments.json"), "{").unwrap();
        assert!(Disk::load(folder.path()).is_err());
    }
}
