//! The networks of this node: made before their first user, removed after their last.

use std::collections::HashSet;
use std::sync::PoisonError;

use tokio::sync::{Mutex, watch};

use super::assignment::Segment;
use super::runtime::Runtime;
use crate::engine::{Error, Kind};

/// Makes and removes networks, one at a time.
#[derive(Default)]
pub struct Segments {
    /// Never held while the engine is asked: an engine that hangs must not keep the scheduler's word out.
    wanted: std::sync::Mutex<Vec<Segment>>,
    /// The names of what is known to be there; held while networks are made and removed.
    present: Mutex<HashSet<String>>,
    /// Counts what was made, or found to be there.
    made: watch::Sender<u64>,
}

impl Segments {
    /// Says what is wanted.
    pub fn want(&self, segments: Vec<Segment>) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = segments;
    }

    /// What is wanted.
    pub fn wanted(&self) -> Vec<Segment> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts the networks that were made.
    pub fn made(&self) -> watch::Receiver<u64> {
        self.made.subscribe()
    }

    /// Makes the networks that other nodes have too: this node's proxy may need them where no replica does.
    pub async fn ensure_joined<R: Runtime>(&self, runtime: &R) -> Result<(), Error> {
        let mut outcome = Ok(());
        for segment in self.wanted().into_iter().filter(|segment| segment.overlay.is_some()) {
            outcome = outcome.and(self.ensure(runtime, &segment.name).await);
        }
        outcome
    }

    /// Makes the network if it is not there.
    pub async fn ensure<R: Runtime>(&self, runtime: &R, name: &str) -> Result<(), Error> {
        let mut present = self.present.lock().await;
        if present.contains(name) {
            return Ok(());
        }
        let wanted = self.wanted();
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
        self.present.lock().await.clear();
    }

    /// Removes what is not wanted. Answers whether all of it is gone.
    pub async fn sweep<R: Runtime>(&self, runtime: &R) -> Result<bool, Error> {
        let mut present = self.present.lock().await;
        let mut clean = true;
        for name in runtime.segments().await? {
            // As it is wanted by now: somebody may just have come to need it.
            if self.wanted().iter().any(|segment| segment.name == name) {
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
