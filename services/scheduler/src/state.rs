//! The one place where the cluster's state lives and changes.
//!
//! Records change by [`State::commit`] only: one at a time, written to the store before anybody sees
//! them, and only if the store is still where the decision was made. Status changes by
//! [`State::observe`] and is not stored. Everybody else reads [`Snapshot`]s.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_boot::now;
use gantry_model::{Change, Key, Record, Snapshot};
use gantry_store::{Contents, Error, Op, Store, Txn};
use tokio::sync::{Mutex, watch};

/// A handle to the state; clones share it.
#[derive(Clone)]
pub struct State {
    inner: Arc<Inner>,
}

struct Inner {
    store: Box<dyn Store>,
    /// Held while a change is decided and written. `true`: a write failed, and what the store holds
    /// must be read again before the next one.
    writer: Mutex<bool>,
    snapshot: watch::Sender<Arc<Snapshot>>,
}

impl State {
    /// The state of `store`, whose contents are `snapshot`'s.
    pub fn new(store: Box<dyn Store>, snapshot: Snapshot) -> Self {
        let (sender, _) = watch::channel(Arc::new(snapshot));
        Self { inner: Arc::new(Inner { store, writer: Mutex::new(false), snapshot: sender }) }
    }

    /// Everything that is known now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.inner.snapshot.borrow().clone()
    }

    /// Hears of every change; a reader that is slow misses the ones between.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.inner.snapshot.subscribe()
    }

    /// Decides on changes and stores them. `decide` sees the newest state; nothing changes between
    /// its decision and the write. Its error changes nothing.
    pub async fn commit<T, E: From<Error>>(
        &self,
        decide: impl FnOnce(&Snapshot) -> Result<(Vec<Change>, T), E>,
    ) -> Result<T, E> {
        let mut must_reload = self.inner.writer.lock().await;
        if *must_reload {
            self.reload().await?;
            *must_reload = false;
        }
        let before = self.snapshot();
        let (changes, answer) = decide(&before)?;
        if changes.is_empty() {
            return Ok(answer);
        }
        let changes = last_of_each_key(changes);
        let ops = changes.iter().map(encode).collect();
        // A caller that goes away in the middle must not leave the store ahead of the snapshot.
        *must_reload = true;
        let revision = self.inner.store.commit(Txn { after: before.revision, ops }).await?;
        let now = now();
        self.inner.snapshot.send_modify(|snapshot| {
            let snapshot = Arc::make_mut(snapshot);
            for change in &changes {
                snapshot.apply(change);
            }
            for change in &changes {
                let touched = match change.key() {
                    Key::Replica(id) => vec![id],
                    // A node that goes off the record is lost.
                    Key::Node(node) => {
                        snapshot.replicas_on(&node).map(|replica| replica.id.clone()).collect()
                    }
                    _ => Vec::new(),
                };
                for id in touched {
                    snapshot.restamp(&id, now);
                }
            }
            snapshot.revision = revision;
        });
        *must_reload = false;
        Ok(answer)
    }

    /// Everything that is stored, at one moment.
    pub async fn export(&self) -> Result<Contents, Error> {
        self.inner.store.load().await
    }

    /// Takes note of what was seen. `note` says whether anything is new.
    pub fn observe(&self, note: impl FnOnce(&mut Snapshot) -> bool) {
        self.inner.snapshot.send_if_modified(|snapshot| {
            let mut next = snapshot.as_ref().clone();
            let changed = note(&mut next);
            if changed {
                next.sequence += 1;
                *snapshot = Arc::new(next);
            }
            changed
        });
    }

    /// After a failed write it is not known whether it was made: the store says.
    async fn reload(&self) -> Result<(), Error> {
        let contents = self.inner.store.load().await?;
        let before = self.snapshot();
        if contents.revision == before.revision {
            return Ok(());
        }
        tracing::warn!(revision = contents.revision, "reading the state again after a failed write");
        let records =
            decode(&contents).map_err(|problem| Error::Broken { path: "the store".into(), problem })?;
        self.inner.snapshot.send_modify(|snapshot| {
            let mut fresh = Snapshot::new(snapshot.cluster.as_ref().clone(), snapshot.started_at);
            fresh.sequence = snapshot.sequence + 1;
            for record in records {
                fresh.apply(&Change::Put(record));
            }
            fresh.statuses = snapshot.statuses.clone();
            fresh.stamps = snapshot.stamps.clone();
            fresh.served = snapshot.served.clone();
            fresh.node_statuses = snapshot.node_statuses.clone();
            fresh.acks = snapshot.acks.clone();
            fresh.serving = snapshot.serving.clone();
            fresh.proxy_problems = snapshot.proxy_problems.clone();
            fresh.revision = contents.revision;
            *snapshot = Arc::new(fresh);
        });
        Ok(())
    }
}

/// Reads everything that a store holds.
pub fn decode(contents: &Contents) -> Result<Vec<Record>, String> {
    contents
        .entries
        .iter()
        .map(|(path, value)| Record::decode(path, value).map_err(|error| error.to_string()))
        .collect()
}

fn encode(change: &Change) -> Op {
    match change {
        Change::Put(record) => Op::Put(record.key().path(), record.encode()),
        Change::Delete(key) => Op::Delete(key.path()),
    }
}

/// A record that is changed twice in one decision is written once.
fn last_of_each_key(changes: Vec<Change>) -> Vec<Change> {
    let mut last = BTreeMap::new();
    for change in changes {
        last.insert(change.key(), change);
    }
    last.into_values().collect()
}
