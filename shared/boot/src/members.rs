//! What a member keeps of the others: where the scheduler is, and whose certificates are refused.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use gantry_api::node::v1::Membership;
use serde::{Deserialize, Serialize};

use crate::deny::DenyList;

/// Addresses that are tried at most.
const MOST: usize = 32;
const LEARNED: &str = "members.json";
/// Addresses that a person has named, one a line: `gantry node repoint` writes them.
const NAMED: &str = "schedulers";

/// What is known of the other members. Clones share it.
#[derive(Clone)]
pub struct Members {
    folder: Option<PathBuf>,
    configured: Vec<String>,
    deny: DenyList,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    learned: Learned,
    /// What of it is on disk.
    kept: Learned,
    /// The address that worked last.
    last: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Learned {
    schedulers: Vec<String>,
    denied: BTreeSet<String>,
}

impl Members {
    /// Knows the schedulers that are `configured`, and what was kept in `folder`.
    pub fn open(folder: PathBuf, configured: Vec<String>) -> Self {
        let learned = match fs::read(folder.join(LEARNED)).map(|bytes| serde_json::from_slice(&bytes)) {
            Ok(Ok(learned)) => learned,
            Ok(Err(error)) => {
                tracing::warn!(%error, "cannot read {LEARNED}; the scheduler will say it again");
                Learned::default()
            }
            Err(_) => Learned::default(),
        };
        let members = Self { folder: Some(folder), ..Self::of(configured) };
        members.deny.set(learned.denied.clone());
        let mut inner = members.lock();
        inner.kept = learned.clone();
        inner.learned = learned;
        drop(inner);
        members
    }

    /// Knows the schedulers that are `configured`, and keeps nothing.
    pub fn of(configured: Vec<String>) -> Self {
        Self { folder: None, configured, deny: DenyList::default(), inner: Arc::default() }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose certificates are refused.
    pub fn deny_list(&self) -> DenyList {
        self.deny.clone()
    }

    /// Where the scheduler may be, the likeliest first: what worked last, what a person named, what the
    /// scheduler said, what was configured.
    pub fn addresses(&self) -> Vec<String> {
        let named = self.folder.as_ref().and_then(|folder| fs::read_to_string(folder.join(NAMED)).ok());
        let named: Vec<String> = named
            .iter()
            .flat_map(|text| text.lines())
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        let inner = self.lock();
        let mut all: Vec<String> = Vec::new();
        for address in
            inner.last.iter().chain(&named).chain(&inner.learned.schedulers).chain(&self.configured)
        {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        all.truncate(MOST);
        all
    }

    /// An address worked.
    pub fn worked(&self, address: &str) {
        self.lock().last = Some(address.to_owned());
    }

    /// Takes in what the scheduler says. It counts at once; an error says that it was not kept on disk, which is
    /// tried again with what is said next.
    pub async fn learn(&self, membership: Membership) -> io::Result<()> {
        let learned = Learned {
            schedulers: membership.scheduler_addresses,
            denied: membership.denied.into_iter().collect(),
        };
        self.deny.set(learned.denied.clone());
        {
            let mut inner = self.lock();
            inner.learned = learned.clone();
            if inner.kept == learned {
                return Ok(());
            }
        }
        if let Some(folder) = self.folder.clone() {
            let what = learned.clone();
            // A disk may take seconds for it.
            let kept = tokio::task::spawn_blocking(move || keep(&folder, &what)).await;
            kept.map_err(io::Error::other).flatten()?;
        }
        self.lock().kept = learned;
        Ok(())
    }
}

fn keep(folder: &Path, learned: &Learned) -> io::Result<()> {
    let new = folder.join("members.new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(learned)?)?;
    file.sync_all()?;
    fs::rename(&new, folder.join(LEARNED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_learned_is_there_again_and_what_a_person_named_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Members::open(folder.path().to_owned(), vec!["a:1".into()]);
        let members = open();
        assert_eq!(members.addresses(), ["a:1"]);
        let said = Membership {
            scheduler_addresses: vec!["b:1".into(), "a:1".into()],
            denied: vec!["node/n9".into()],
        };
        members.learn(said).await.unwrap();
        assert!(members.deny_list().contains("node/n9"));

        let again = open();
        assert_eq!(again.addresses(), ["b:1", "a:1"]);
        assert!(again.deny_list().contains("node/n9"));
        fs::write(folder.path().join(NAMED), "c:1\n\n").unwrap();
        assert_eq!(again.addresses(), ["c:1", "b:1", "a:1"]);
        again.worked("a:1");
        assert_eq!(again.addresses(), ["a:1", "c:1", "b:1"]);
    }
}
