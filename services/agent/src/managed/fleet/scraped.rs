//! What the scheduler wants to know of the replicas' own numbers.

use std::collections::BTreeMap;

use gantry_api::node::v1::Scrape;
use gantry_model::{ReplicaId, ReplicaStatus};

use super::Fleet;
use crate::managed::assignment::Assignment;
use crate::managed::runtime::Runtime;

impl<R: Runtime> Fleet<R> {
    /// What `plan` makes of what is to be read, of the replicas that are wanted, and of how they are. Nothing, and
    /// at no cost, where nothing is to be read.
    pub async fn scraped<T>(
        &self,
        plan: impl FnOnce(
            &[Scrape],
            &BTreeMap<ReplicaId, Assignment>,
            &BTreeMap<ReplicaId, ReplicaStatus>,
        ) -> Vec<T>,
    ) -> Vec<T> {
        let inner = self.inner.lock().await;
        if inner.scrapes.is_empty() {
            return Vec::new();
        }
        plan(&inner.scrapes, &inner.disk.assignments, &self.shared.board.get())
    }
}
