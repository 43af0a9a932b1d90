//! What is remembered of all replicas of this node, over restarts of the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry_model::{ReplicaId, Timestamp};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::disk::{read_json, write_json};
use super::history::History;

const FILE: &str = "lives.json";
/// Changes that come together are saved together. What a crash loses of them the engine says again.
const GATHER: Duration = Duration::from_millis(300);
/// A disk that is full may have room again.
const AGAIN: Duration = Duration::from_secs(10);

/// The histories of this node's replicas.
pub struct Lives {
    known: Mutex<BTreeMap<ReplicaId, History>>,
    changed: Notify,
    folder: PathBuf,
    board: Board,
}

impl Lives {
    /// Takes up what was saved in `folder`. Ends are shown on `board`.
    pub fn open(folder: &Path, board: Board) -> Self {
        let known: BTreeMap<ReplicaId, History> = read_json(&folder.join(FILE)).unwrap_or_else(|error| {
            // Not worth an agent that does not start.
            tracing::warn!(%error, "cannot read how replicas ended; beginning anew");
            BTreeMap::new()
        });
        for (replica, history) in &known {
            board.set_ends(replica, &history.ends);
        }
        Self { known: Mutex::new(known), changed: Notify::new(), folder: folder.to_owned(), board }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, History>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of a replica.
    pub fn get(&self, replica: &ReplicaId) -> History {
        self.lock().get(replica).cloned().unwrap_or_default()
    }

    /// When the newest end was that is known.
    pub fn newest(&self) -> Option<Timestamp> {
        self.lock().values().filter_map(|history| Some(history.ends.last()?.at)).max()
    }

    /// Changes what is remembered of a replica, and shows it.
    pub fn change<T>(&self, replica: &ReplicaId, change: impl FnOnce(&mut History) -> T) -> T {
        let mut known = self.lock();
        let before = known.get(replica);
        let mut history = before.cloned().unwrap_or_default();
        let done = change(&mut history);
        if before.unwrap_or(&History::default()) != &history {
            self.board.set_ends(replica, &history.ends);
            known.insert(replica.clone(), history);
            self.changed.notify_one();
        }
        done
    }

    /// Forgets all replicas but these.
    pub fn keep_only(&self, replicas: &BTreeSet<ReplicaId>) {
        let mut known = self.lock();
        let before = known.len();
        known.retain(|replica, _| replicas.contains(replica));
        if known.len() != before {
            self.changed.notify_one();
        }
    }

    /// Saves what changes, until `stop`.
    pub async fn keep(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => sleep(GATHER).await,
            }
            let (now, path) = (self.lock().clone(), self.folder.join(FILE));
            let saved = tokio::task::spawn_blocking(move || write_json(&path, &now)).await;
            if let Ok(Err(error)) = saved {
                tracing::warn!(%error, "cannot save how replicas ended; trying again");
                self.changed.notify_one();
                sleep(AGAIN).await;
            }
        }
    }
}
