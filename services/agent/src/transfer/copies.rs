//! Where an image comes from: it is here, another node has it, or a registry.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gantry_api::agent::v1::RegistryCredential;
use gantry_api::node::v1 as wire;
use gantry_model::registry_of;
use tokio::sync::watch;

use super::dial::{Dial, Peer};
use super::fetch;
use crate::engine::{Error, Kind};
use crate::managed::Runtime;

/// Nodes to fetch each image from, by the digest of its config. None at all: to wait for one's turn.
type Sources = BTreeMap<String, Vec<Peer>>;

/// An image that a replica needs.
#[derive(Debug, Clone, Copy)]
pub struct ImageNeeded<'a> {
    /// Its name.
    pub image: &'a str,
    /// The digest of its config; empty if it was not resolved.
    pub digest: &'a str,
    /// The platform; empty is the host's.
    pub platform: &'a str,
}

/// An image on its way here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The id of the node that it comes from.
    pub from: String,
    /// Bytes that have come.
    pub done: u64,
    /// About how many there are; 0 when not known.
    pub total: u64,
}

/// Gets images, one at a time: whoever else needs one waits in line, and finds it here if it was the same.
/// The line is never longer than the list of the node's replicas. Clones share everything.
#[derive(Clone)]
pub struct Copies {
    inner: Arc<Inner>,
}

struct Inner {
    dial: Dial,
    turn: tokio::sync::Mutex<()>,
    sources: watch::Sender<Sources>,
    running: watch::Sender<BTreeMap<String, Copy>>,
    /// Digests of images that are known to have a name which keeps them from being pruned.
    kept: Mutex<BTreeSet<String>>,
    /// How to log in to registries. Never on disk.
    credentials: Mutex<Vec<RegistryCredential>>,
    /// Counts changes of what images there are.
    changes: watch::Sender<u64>,
}

impl Copies {
    /// Nothing to fetch yet. Other agents are reached through `dial`.
    pub fn new(dial: Dial) -> Self {
        Self {
            inner: Arc::new(Inner {
                dial,
                turn: tokio::sync::Mutex::default(),
                sources: watch::Sender::default(),
                running: watch::Sender::default(),
                kept: Mutex::default(),
                credentials: Mutex::default(),
                changes: watch::Sender::default(),
            }),
        }
    }

    /// Takes in which nodes have what this one needs.
    pub fn set_sources(&self, sources: Vec<wire::ImageSource>) {
        let sources: Sources = sources
            .into_iter()
            .map(|source| (source.digest, source.nodes.into_iter().map(Peer::from).collect()))
            .collect();
        self.inner.sources.send_if_modified(|known| {
            let changed = *known != sources;
            *known = sources;
            changed
        });
    }

    /// Takes in how to log in to the registries of what this node needs.
    pub fn set_credentials(&self, credentials: Vec<RegistryCredential>) {
        *self.inner.credentials.lock().unwrap_or_else(PoisonError::into_inner) = credentials;
    }

    async fn pull<R: Runtime>(&self, runtime: &R, needed: ImageNeeded<'_>) -> Result<(), Error> {
        let credential = self.credential(needed.image);
        runtime.pull(needed, credential.as_ref()).await
    }

    fn credential(&self, image: &str) -> Option<RegistryCredential> {
        let known = self.inner.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().find(|credential| credential.registry == registry_of(image)).cloned()
    }

    /// What is on its way here, by digest.
    pub fn running(&self) -> watch::Receiver<BTreeMap<String, Copy>> {
        self.inner.running.subscribe()
    }

    /// Hears that images came.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// An image came, or got the name that keeps it.
    pub fn image_came(&self) {
        self.inner.changes.send_modify(|count| *count += 1);
    }

    /// Makes sure that the image is here, and answers with the name to make containers from. `tell` hears
    /// what is being waited for, in words for people.
    pub async fn obtain<R: Runtime>(
        &self,
        runtime: &R,
        needed: ImageNeeded<'_>,
        tell: impl Fn(String),
    ) -> Result<String, Error> {
        if let Some(name) = self.here(runtime, needed).await? {
            return Ok(name);
        }
        let _turn = self.inner.turn.lock().await;
        if let Some(name) = self.here(runtime, needed).await? {
            return Ok(name);
        }
        let mut sources = self.inner.sources.subscribe();
        loop {
            let known = sources.borrow_and_update().get(needed.digest).cloned();
            match known {
                // Who may log in to the registry need not wait for anybody.
                Some(peers) if peers.is_empty() && self.credential(needed.image).is_none() => {
                    tell("waits for a copy of its image: the nodes that have it are feeding others".into());
                    if sources.changed().await.is_err() {
                        return Err(Error::new(Kind::Internal, "the agent ends"));
                    }
                }
                Some(peers) if !peers.is_empty() => {
                    match self.copy(runtime, needed.digest, &peers, &tell).await {
                        Ok(()) => {}
                        // Nobody has it after all; a registry may.
                        Err(error) if error.kind == Kind::NotFound => self.pull(runtime, needed).await?,
                        Err(error) => return Err(error),
                    }
                    return self.came(runtime, needed).await;
                }
                _ => {
                    let has_source =
                        |sources: &Sources| sources.get(needed.digest).is_some_and(|peers| !peers.is_empty());
                    tokio::select! {
                        pulled = self.pull(runtime, needed) => pulled?,
                        // Another node has it after all, and is quicker.
                        Ok(_) = sources.wait_for(has_source) => continue,
                    }
                    return self.came(runtime, needed).await;
                }
            }
        }
    }

    /// The image, if it is here. What was deployed gets a name that keeps it.
    async fn here<R: Runtime>(&self, runtime: &R, needed: ImageNeeded<'_>) -> Result<Option<String>, Error> {
        let Some(name) = runtime.find_image(needed.image, needed.digest).await? else { return Ok(None) };
        if !needed.digest.is_empty() && !self.kept().contains(needed.digest) {
            runtime.keep_image(&name, needed.digest).await?;
            self.kept().insert(needed.digest.to_owned());
            self.image_came();
        }
        Ok(Some(name))
    }

    fn kept(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.inner.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn came<R: Runtime>(&self, runtime: &R, needed: ImageNeeded<'_>) -> Result<String, Error> {
        if !needed.digest.is_empty() {
            self.kept().remove(needed.digest);
        }
        self.here(runtime, needed).await?.ok_or_else(|| {
            let ImageNeeded { image, digest, .. } = needed;
            Error::new(
                Kind::NotFound,
                format!(
                    "{image} is another image by now, and the one that was deployed ({digest}) is on no node: deploy again"
                ),
            )
        })
    }

    /// Fetches an image from the first peer that can give it.
    async fn copy<R: Runtime>(
        &self,
        runtime: &R,
        digest: &str,
        peers: &[Peer],
        tell: &impl Fn(String),
    ) -> Result<(), Error> {
        let mut failures: Vec<(&Peer, Error)> = Vec::new();
        for peer in peers {
            let Failed { error, here } = match self.copy_from(runtime, digest, peer).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            tracing::warn!(from = peer.name, digest, %error, "cannot copy an image");
            let what = format!("cannot copy its image from {}: {}", peer.name, error.message);
            if here {
                return Err(Error::new(error.kind, what));
            }
            tell(what);
            failures.push((peer, error));
        }
        let absent = failures.iter().all(|(_, error)| error.kind == Kind::NotFound);
        let words: Vec<_> =
            failures.iter().map(|(peer, error)| format!("{}: {}", peer.name, error.message)).collect();
        Err(Error::new(
            if absent { Kind::NotFound } else { Kind::Unavailable },
            format!("its image cannot be copied from other nodes ({}); trying again", words.join("; ")),
        ))
    }

    async fn copy_from<R: Runtime>(&self, runtime: &R, digest: &str, peer: &Peer) -> Result<(), Failed> {
        let there = |error| Failed { error, here: false };
        let shown = Shown::begin(&self.inner.running, digest, peer);
        let mut client = self.inner.dial.peer(peer).await.map_err(there)?;
        let request = wire::FetchImageRequest { digest: digest.to_owned() };
        let answer =
            client.fetch_image(request).await.map_err(|status| there(fetch::from_status(&status)))?;
        let pieces = Box::pin(futures_util::StreamExt::map(
            answer.into_inner(),
            |answer: Result<wire::FetchImageResponse, _>| answer.map(|answer| answer.piece),
        ));
        let progress = shown.progress();
        let (archive, outcome) = fetch::archive(pieces, progress);
        let imported = runtime.import_image(digest, Box::pin(archive)).await;
        match (outcome.problem(), imported) {
            // What came was not whole, so whatever the engine says of it is beside the point.
            (Some(error), _) => Err(there(error)),
            (None, Ok(())) => Ok(()),
            (None, Err(error)) => {
                let here = matches!(error.kind, Kind::Exhausted | Kind::Unavailable | Kind::Timeout);
                Err(Failed { error, here })
            }
        }
    }
}

/// A copy that failed: here, so that no other source helps, or there.
struct Failed {
    error: Error,
    here: bool,
}

/// Shows a copy as running until it is dropped.
struct Shown<'a> {
    running: &'a watch::Sender<BTreeMap<String, Copy>>,
    digest: String,
}

impl<'a> Shown<'a> {
    fn begin(running: &'a watch::Sender<BTreeMap<String, Copy>>, digest: &str, peer: &Peer) -> Self {
        let copy = Copy { from: peer.id.clone(), done: 0, total: 0 };
        running.send_modify(|running| drop(running.insert(digest.to_owned(), copy)));
        Self { running, digest: digest.to_owned() }
    }

    fn progress(&self) -> impl Fn(u64, u64) + Send + Sync + 'static {
        let (running, digest) = (self.running.clone(), self.digest.clone());
        move |done, total| {
            running.send_if_modified(|running| match running.get_mut(&digest) {
                Some(copy) => {
                    (copy.done, copy.total) = (done, total);
                    true
                }
                None => false,
            });
        }
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.running.send_modify(|running| drop(running.remove(&self.digest)));
    }
}
