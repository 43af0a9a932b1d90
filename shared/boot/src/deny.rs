use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;

/// Whose certificates are refused although they are good, by holder (`Identity::holder`). Clones share it.
#[derive(Debug, Clone)]
pub struct DenyList(Arc<watch::Sender<Arc<BTreeSet<String>>>>);

impl Default for DenyList {
    fn default() -> Self {
        Self(Arc::new(watch::channel(Arc::default()).0))
    }
}

impl DenyList {
    /// These are all from now on.
    pub fn set(&self, holders: BTreeSet<String>) {
        self.0.send_if_modified(|current| {
            let new = **current != holders;
            if new {
                *current = Arc::new(holders);
            }
            new
        });
    }

    /// Whether a holder is refused.
    pub fn contains(&self, holder: &str) -> bool {
        self.0.borrow().contains(holder)
    }

    /// Waits until a holder is refused.
    pub async fn wait_for(&self, holder: &str) {
        let mut list = self.0.subscribe();
        if list.wait_for(|list| list.contains(holder)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
