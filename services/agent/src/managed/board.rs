use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_model::{ReplicaId, ReplicaStatus};
use tokio::sync::watch;

/// What all statuses are at one moment.
pub type Statuses = Arc<BTreeMap<ReplicaId, ReplicaStatus>>;

/// Where supervisors write their replicas' status, and the session reads it. Clones share it.
#[derive(Clone)]
pub struct Board(watch::Sender<Statuses>);

impl Default for Board {
    fn default() -> Self {
        Self(watch::channel(Statuses::default()).0)
    }
}

impl Board {
    /// Writes the status of a replica.
    pub fn set(&self, replica: &ReplicaId, status: ReplicaStatus) {
        self.0.send_if_modified(|statuses| {
            if statuses.get(replica) == Some(&status) {
                return false;
            }
            Arc::make_mut(statuses).insert(replica.clone(), status);
            true
        });
    }

    /// Forgets a replica.
    pub fn clear(&self, replica: &ReplicaId) {
        self.0.send_if_modified(|statuses| {
            statuses.contains_key(replica) && Arc::make_mut(statuses).remove(replica).is_some()
        });
    }

    /// Hears of every change.
    pub fn subscribe(&self) -> watch::Receiver<Statuses> {
        self.0.subscribe()
    }

    /// What the statuses are now.
    pub fn get(&self) -> Statuses {
        self.0.borrow().clone()
    }
}
