//! Volumes that move to this node, and those that move away from it.
//!
//! A copy is made of the archive that the old node sends, and then compared with it: what this node's engine
//! says is in the copy against what came. Only a copy that is whole is said to be so. Whatever else is left of
//! a try is removed, and nothing that this move did not make.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use gantry_api::node::v1 as wire;
use gantry_boot::Backoff;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::dial::{Dial, Peer};
use super::fetch;
use super::fingerprint::{Fingerprint, Reading};
use crate::engine::{Error, Kind};
use crate::managed::{Runtime, VolumeUse};

/// A volume that moves to this node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    id: String,
    volume: VolumeUse,
    from: Peer,
}

/// A volume that moves away from this node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Offer {
    id: String,
    name: String,
    to: String,
}

/// How far a copy has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The volume's name on the engine.
    pub name: String,
    /// Bytes that have come.
    pub done: u64,
    /// The copy is whole.
    pub verified: bool,
    /// Why the last try failed.
    pub error: String,
    /// How many tries have failed.
    pub failures: u32,
}

/// The moves of this node, by their ids. Clones share them.
#[derive(Clone)]
pub struct Moves {
    inner: Arc<Inner>,
}

struct Inner {
    dial: Dial,
    wanted: watch::Sender<Vec<Wanted>>,
    offers: watch::Sender<Vec<Offer>>,
    progress: watch::Sender<BTreeMap<String, Progress>>,
}

impl Moves {
    /// None yet. Other agents are reached through `dial`.
    pub fn new(dial: Dial) -> Self {
        Self {
            inner: Arc::new(Inner {
                dial,
                wanted: watch::Sender::default(),
                offers: watch::Sender::default(),
                progress: watch::Sender::default(),
            }),
        }
    }

    /// Takes in what moves here and away.
    pub fn set(&self, copies: Vec<wire::VolumeCopy>, offers: Vec<wire::VolumeOffer>) {
        let wanted: Vec<Wanted> = copies
            .into_iter()
            .filter_map(|copy| {
                Some(Wanted { id: copy.move_id, volume: copy.volume?.into(), from: copy.from?.into() })
            })
            .collect();
        let offers = offers
            .into_iter()
            .map(|offer| Offer { id: offer.move_id, name: offer.name, to: offer.to_node_id })
            .collect();
        self.inner.offers.send_replace(offers);
        self.inner.wanted.send_if_modified(|known| {
            let changed = *known != wanted;
            *known = wanted;
            changed
        });
    }

    /// How far the copies have come, by the ids of their moves.
    pub fn progress(&self) -> watch::Receiver<BTreeMap<String, Progress>> {
        self.inner.progress.subscribe()
    }

    /// Whether `node` may fetch a volume.
    pub fn is_offered(&self, name: &str, id: &str, node: &str) -> bool {
        let offers = self.inner.offers.borrow();
        offers
            .iter()
            .any(|offer| (offer.name.as_str(), offer.id.as_str(), offer.to.as_str()) == (name, id, node))
    }

    /// Copies what is to be copied, one volume at a time, until `stop`.
    pub async fn run<R: Runtime>(&self, runtime: R, stop: CancellationToken) {
        let mut wanted = self.inner.wanted.subscribe();
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        loop {
            let current = wanted.borrow_and_update().clone();
            self.inner.progress.send_if_modified(|progress| {
                let before = progress.len();
                progress.retain(|id, _| current.iter().any(|wanted| wanted.id == *id));
                progress.len() != before
            });
            let verified = |id: &String| self.inner.progress.borrow().get(id).is_some_and(|one| one.verified);
            let next = current.into_iter().find(|wanted| !verified(&wanted.id));
            let working = async {
                match &next {
                    Some(next) => self.attempt(&runtime, next, &mut backoff).await,
                    None => std::future::pending().await,
                }
            };
            let mut others = wanted.clone();
            // A copy that is not wanted any more is not finished.
            let given_up = wanted.wait_for(|all| next.as_ref().is_none_or(|next| !all.contains(next)));
            let changed = tokio::select! {
                () = stop.cancelled() => return,
                () = working => false,
                _ = given_up, if next.is_some() => true,
                _ = others.changed(), if next.is_none() => false,
            };
            if changed && let Some(next) = &next {
                self.clear(&runtime, next).await;
            }
        }
    }

    /// One try, and the pause after one that failed.
    async fn attempt<R: Runtime>(&self, runtime: &R, wanted: &Wanted, backoff: &mut Backoff) {
        self.note(wanted, |progress| progress.done = 0);
        match self.copy(runtime, wanted).await {
            Ok(()) => {
                tracing::info!(volume = wanted.volume.name, from = wanted.from.name, "a volume was copied");
                backoff.reset();
                self.note(wanted, |progress| {
                    (progress.verified, progress.error) = (true, String::new());
                });
            }
            Err(error) => {
                tracing::warn!(volume = wanted.volume.name, from = wanted.from.name, %error, "cannot copy a volume");
                self.clear(runtime, wanted).await;
                self.note(wanted, |progress| {
                    progress.failures += 1;
                    progress.error.clone_from(&error.message);
                });
                sleep(backoff.pause()).await;
            }
        }
    }

    fn note(&self, wanted: &Wanted, change: impl FnOnce(&mut Progress)) {
        self.inner.progress.send_modify(|all| {
            let progress = all.entry(wanted.id.clone()).or_default();
            progress.name.clone_from(&wanted.volume.name);
            change(progress);
        });
    }

    async fn clear<R: Runtime>(&self, runtime: &R, wanted: &Wanted) {
        if let Err(error) = runtime.clear_volume(&wanted.volume.name, &wanted.id).await {
            tracing::warn!(volume = wanted.volume.name, %error, "cannot remove what a copy left behind");
        }
    }

    async fn copy<R: Runtime>(&self, runtime: &R, wanted: &Wanted) -> Result<(), Error> {
        let (name, id) = (&wanted.volume.name, &wanted.id);
        runtime.clear_volume(name, id).await?;
        runtime.begin_volume(&wanted.volume, id).await?;
        let mut client = self.inner.dial.peer(&wanted.from).await?;
        let request = wire::FetchVolumeRequest { name: name.clone(), move_id: id.clone() };
        let answer =
            client.fetch_volume(request).await.map_err(|status| fetch::from_status(&status))?.into_inner();
        let pieces = Box::pin(
            answer.map(|answer: Result<wire::FetchVolumeResponse, _>| answer.map(|answer| answer.piece)),
        );
        let (progress, id) = (self.inner.progress.clone(), id.clone());
        let (archive, outcome) = fetch::archive(pieces, move |done, _| {
            progress.send_if_modified(|all| all.get_mut(&id).map(|one| one.done = done).is_some());
        });
        let reading = Reading::begin();
        let imported = runtime.import_volume(name, Box::pin(tee(archive, reading.bytes()))).await;
        if let Some(problem) = outcome.problem() {
            return Err(problem);
        }
        imported?;
        let sent = reading.finish().await?;
        if fingerprint(runtime, name).await? != sent {
            return Err(Error::new(Kind::Internal, "the copy is not what was sent"));
        }
        Ok(())
    }
}

/// What is in a volume of this node.
async fn fingerprint<R: Runtime>(runtime: &R, name: &str) -> Result<Fingerprint, Error> {
    let mut archive = runtime.export_volume(name).await?;
    let reading = Reading::begin();
    let bytes = reading.bytes();
    while let Some(chunk) = archive.next().await {
        // A reader that has failed says why at the end.
        if bytes.send(chunk?).await.is_err() {
            break;
        }
    }
    drop(bytes);
    reading.finish().await
}

/// The same bytes, to two readers.
fn tee(
    archive: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    second: mpsc::Sender<Bytes>,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let (first, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut archive = std::pin::pin!(archive);
        while let Some(chunk) = archive.next().await {
            if let Ok(bytes) = &chunk {
                let _ = second.send(bytes.clone()).await;
            }
            if first.send(chunk).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(stream)
}
