//! The networks of this node: made before their first user, removed after their last.

use std::collections::HashSet;

use tokio::sync::{Mutex, watch};

use super::assignment::Segment;
use super::runtime::Runtime;
use crate::engine::{Error, Kind};

/// Makes and removes networks, one at a time.
#[derive(Default)]
pub struct Segments {
    /// What is wanted, and the names of what is known to be there.
    inner: Mutex<(Vec<Segment>, HashSet<String>)>,
    /// Counts what was made, or found to be there.
    made: watch::Sender<u64>,
}

impl Segments {
    /// Says what is wanted.
    pub async fn want(&self, segments: Vec<Segment>) {
        self.inner.lock().await.0 = segments;
    }

    /// What is wanted.
    pub async fn wanted(&self) -> Vec<Segment> {
        self.inner.lock().await.0.clone()
    }

    /// Counts the networks that were made.
    pub fn made(&self) -> watch::Receiver<u64> {
        self.made.subscribe()
    }

    /// Makes the networks that other nodes have too: this node's proxy may need them where no replica does.
    pub async fn ensure_joined<R: Runtime>(&self, runtime: &R) -> Result<(), Error> {
        let mut outcome = Ok(());
        for segment in self.wanted().await.into_iter().filter(|segment| segment.overlay.is_some()) {
            outcome = outcome.and(self.ensure(runtime, &segment.name).await);
        }
        outcome
    }

    /// Makes the network if it is not there.
    pub async fn ensure<R: Runtime>(&self, runtime: &R, name: &str) -> Result<(), Error> {
        let mut inner = self.inner.lock().await;
        let (wanted, present) = &mut *inner;
        if present.contains(name) {
            return Ok(());
        }
        let segment = wanted.iter().find(|segment| segment.name == name).ok_or_else(|| {
            Error::new(
                Kind::State,
                format!("the scheduler has not said how the network {name} is to be made"),
            )
        })?;
        runtime.ensure_segment(segment).await?;
        present.insert(name.to_owned());
        self.made.send_modify(|made| *made += 1);
        Ok(())
    }

    /// Nothing is known to be there any more: the engine was away, or has lost one.
    pub async fn doubt(&self) {
        self.inner.lock().await.1.clear();
    }

    /// Removes what is not wanted. Answers whether all of it is gone.
    pub async fn sweep<R: Runtime>(&self, runtime: &R) -> Result<bool, Error> {
        let mut inner = self.inner.lock().await;
        let (wanted, present) = &mut *inner;
        let mut clean = true;
        for name in runtime.segments().await? {
            if wanted.iter().any(|segment| segment.name == name) {
                continue;
            }
            present.remove(&name);
            if let Err(error) = runtime.remove_segment(&name).await {
                tracing::debug!(network = name, %error, "cannot remove a network yet");
                clean = false;
            }
        }
        Ok(clean)
    }
}
