use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use gantry_model::{End, ReplicaId, ReplicaStatus};
use tokio::sync::watch;

/// What all statuses are at one moment.
pub type Statuses = Arc<BTreeMap<ReplicaId, ReplicaStatus>>;

/// Where supervisors write their replicas' status, and the session reads it. Clones share it.
#[derive(Clone)]
pub struct Board {
    statuses: watch::Sender<Statuses>,
    /// Written by others than supervisors, and so kept apart; only touched while a status is written.
    ends: Arc<Mutex<BTreeMap<ReplicaId, Vec<End>>>>,
}

impl Default for Board {
    fn default() -> Self {
        Self { statuses: watch::channel(Statuses::default()).0, ends: Arc::default() }
    }
}

impl Board {
    /// Writes the status of a replica, but for its ends.
    pub fn set(&self, replica: &ReplicaId, mut status: ReplicaStatus) {
        self.statuses.send_if_modified(|statuses| {
            let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            status.ends = ends.get(replica).cloned().unwrap_or_default();
            if statuses.get(replica) == Some(&status) {
                return false;
            }
            Arc::make_mut(statuses).insert(replica.clone(), status);
            true
        });
    }

    /// Writes the ends of a replica.
    pub fn set_ends(&self, replica: &ReplicaId, now: &[End]) {
        self.statuses.send_if_modified(|statuses| {
            let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            ends.insert(replica.clone(), now.to_owned());
            if statuses.get(replica).is_none_or(|status| status.ends == now) {
                return false;
            }
            if let Some(status) = Arc::make_mut(statuses).get_mut(replica) {
                now.clone_into(&mut status.ends);
            }
            true
        });
    }

    /// Forgets a replica.
    pub fn clear(&self, replica: &ReplicaId) {
        self.statuses.send_if_modified(|statuses| {
            self.ends.lock().unwrap_or_else(PoisonError::into_inner).remove(replica);
            statuses.contains_key(replica) && Arc::make_mut(statuses).remove(replica).is_some()
        });
    }

    /// Hears of every change.
    pub fn subscribe(&self) -> watch::Receiver<Statuses> {
        self.statuses.subscribe()
    }

    /// What the statuses are now.
    pub fn get(&self) -> Statuses {
        self.statuses.borrow().clone()
    }
}
