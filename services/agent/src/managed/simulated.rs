//! An engine in memory, whose calls fail when a test says so: before they had an effect, or after.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use gantry_api::agent::v1::{ContainerState as State, RegistryCredential};
use gantry_model::{Health, Mount, ReplicaId, Timestamp};
use prost_types::Timestamp as WireTime;
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast;
use tokio::time::Instant;
use tokio_stream::wrappers::BroadcastStream;

use super::assignment::{Assignment, Segment, VolumeUse};
use super::runtime::{Changed, Changes, Runtime};
use crate::engine::{Archive, Error, Flow, Kind, Observed};
use crate::transfer::ImageNeeded;

/// How a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// As it should.
    Fine,
    /// It fails, and did nothing.
    FailsBefore,
    /// It fails, and was done all the same.
    FailsAfter,
}

/// The engine; clones share it.
#[derive(Clone)]
pub struct Simulated(Arc<Mutex<Engine>>);

struct Engine {
    began: Instant,
    made: u64,
    /// By id, with their names.
    containers: BTreeMap<String, (String, Observed)>,
    segments: BTreeSet<String>,
    fates: VecDeque<Fate>,
    /// What was removed, by replica.
    removed: Vec<ReplicaId>,
    changes: broadcast::Sender<Changed>,
    /// Images by digest: an image is its content.
    images: BTreeMap<String, Vec<u8>>,
    /// What can be pulled.
    registry: BTreeMap<String, Vec<u8>>,
    /// How often something was pulled.
    pulls: usize,
    /// What was logged in with.
    logins: Vec<RegistryCredential>,
    /// How many images were loaded.
    imports: usize,
    /// Volumes by name: the move that each was made for, and an archive of what is in it.
    volumes: BTreeMap<String, (Option<String>, Vec<u8>)>,
    /// What the next volume that is written will have in it, whatever was written.
    loses: Option<Vec<u8>>,
    /// The largest image for which there is room.
    room: usize,
}

/// The digest of an image's content.
pub fn digest_of(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

impl Default for Simulated {
    fn default() -> Self {
        let (changes, _) = broadcast::channel(1024);
        Self(Arc::new(Mutex::new(Engine {
            began: Instant::now(),
            made: 0,
            containers: BTreeMap::new(),
            segments: BTreeSet::new(),
            fates: VecDeque::new(),
            removed: Vec::new(),
            changes,
            images: BTreeMap::new(),
            registry: BTreeMap::new(),
            pulls: 0,
            logins: Vec::new(),
            imports: 0,
            volumes: BTreeMap::new(),
            loses: None,
            room: usize::MAX,
        })))
    }
}

impl Engine {
    fn now(&self) -> Timestamp {
        Timestamp::default().after(self.began.elapsed() + Duration::from_secs(1))
    }

    fn tell(&self, id: &str, replica: &ReplicaId, gone: bool) {
        let changed =
            Changed { time: WireTime::default(), id: id.to_owned(), replica: replica.clone(), gone };
        // Nobody may be listening.
        let _ = self.changes.send(changed);
    }

    /// Does `work` as the next fate has it.
    fn call<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let failed = || Error::new(Kind::Internal, "the test says so");
        match self.fates.pop_front().unwrap_or(Fate::Fine) {
            Fate::Fine => work(self),
            Fate::FailsBefore => Err(failed()),
            Fate::FailsAfter => work(self).and(Err(failed())),
        }
    }

    fn container(&mut self, id: &str) -> Result<&mut Observed, Error> {
        let found = self.containers.get_mut(id).map(|(_, observed)| observed);
        found.ok_or_else(|| Error::new(Kind::NotFound, format!("No such container: {id}")))
    }

    fn set(&mut self, id: &str, state: State) -> Result<(), Error> {
        let now = self.now();
        let container = self.container(id)?;
        container.state = state;
        match state {
            State::Running => container.started_at = Some(now),
            _ => container.finished_at = Some(now),
        }
        let replica = container.replica.clone();
        self.tell(id, &replica, false);
        Ok(())
    }
}

impl Simulated {
    fn lock(&self) -> MutexGuard<'_, Engine> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next calls go like this, one after the other.
    pub fn fates(&self, fates: impl IntoIterator<Item = Fate>) {
        self.lock().fates.extend(fates);
    }

    /// What is there: each container's replica and state.
    pub fn there(&self) -> Vec<(ReplicaId, State)> {
        let engine = self.lock();
        engine.containers.values().map(|(_, seen)| (seen.replica.clone(), seen.state)).collect()
    }

    /// The replicas whose containers were removed through the agent.
    pub fn removed(&self) -> Vec<ReplicaId> {
        self.lock().removed.clone()
    }

    /// It has an image; answers with its digest.
    pub fn has_image(&self, content: &[u8]) -> String {
        let digest = digest_of(content);
        self.lock().images.insert(digest.clone(), content.to_owned());
        digest
    }

    /// An image can be pulled; answers with its digest.
    pub fn registry_has(&self, content: &[u8]) -> String {
        let digest = digest_of(content);
        self.lock().registry.insert(digest.clone(), content.to_owned());
        digest
    }

    /// How often something was pulled.
    pub fn pulls(&self) -> usize {
        self.lock().pulls
    }

    /// It has a volume, with what is in that archive.
    pub fn has_volume(&self, name: &str, archive: &[u8]) {
        self.lock().volumes.insert(name.to_owned(), (None, archive.to_owned()));
    }

    /// An archive of what is in a volume.
    pub fn volume(&self, name: &str) -> Option<Vec<u8>> {
        self.lock().volumes.get(name).map(|(_, content)| content.clone())
    }

    /// The next volume that is written will have this in it.
    pub fn loses(&self, archive: &[u8]) {
        self.lock().loses = Some(archive.to_owned());
    }

    /// How many images were loaded.
    pub fn imports(&self) -> usize {
        self.lock().imports
    }

    /// What was logged in with.
    pub fn logins(&self) -> Vec<RegistryCredential> {
        self.lock().logins.clone()
    }

    /// There is room for images of at most that many bytes.
    pub fn set_room(&self, room: usize) {
        self.lock().room = room;
    }

    /// Somebody kills the container of a replica.
    pub fn kill(&self, replica: &ReplicaId) {
        self.of(replica, |engine, id| engine.set(id, State::Exited).map(drop));
    }

    /// Somebody removes the container of a replica.
    pub fn take_away(&self, replica: &ReplicaId) {
        self.of(replica, |engine, id| {
            engine.containers.remove(id);
            engine.tell(id, replica, true);
            Ok(())
        });
    }

    fn of(&self, replica: &ReplicaId, work: impl FnOnce(&mut Engine, &str) -> Result<(), Error>) {
        let mut engine = self.lock();
        let id = engine
            .containers
            .iter()
            .find(|(_, (_, seen))| seen.replica == *replica)
            .map(|(id, _)| id.clone());
        if let Some(id) = id {
            let _ = work(&mut engine, &id);
        }
    }
}

impl Runtime for Simulated {
    async fn ping(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Observed>, Error> {
        Ok(self.lock().containers.values().map(|(_, seen)| seen.clone()).collect())
    }

    async fn observe(&self, id: &str) -> Result<Option<Observed>, Error> {
        let engine = self.lock();
        let found = engine.containers.iter().find(|(known, (name, _))| *known == id || name == id);
        Ok(found.map(|(_, (_, seen))| seen.clone()))
    }

    fn changes(&self, _: Option<WireTime>) -> Changes {
        let stream = BroadcastStream::new(self.lock().changes.subscribe());
        Box::pin(stream.map(|next| next.map_err(|error| Error::new(Kind::Unavailable, error.to_string()))))
    }

    async fn create(&self, wanted: &Assignment, _: &str, _: Vec<Mount>) -> Result<String, Error> {
        self.lock().call(|engine| {
            if engine.containers.values().any(|(name, _)| *name == wanted.name) {
                return Err(Error::new(Kind::AlreadyExists, "the name is already in use by container"));
            }
            engine.made += 1;
            let id = format!("c{}", engine.made);
            let seen = Observed {
                id: id.clone(),
                replica: wanted.replica.clone(),
                image_id: wanted.image_digest.clone(),
                state: State::Created,
                exit_code: 0,
                oom_killed: false,
                error: String::new(),
                restart_count: 0,
                health: Health::None,
                started_at: None,
                finished_at: None,
                ports: Vec::new(),
            };
            engine.containers.insert(id.clone(), (wanted.name.clone(), seen));
            engine.tell(&id, &wanted.replica, false);
            Ok(id)
        })
    }

    async fn start(&self, id: &str) -> Result<(), Error> {
        self.lock().call(|engine| engine.set(id, State::Running))
    }

    async fn stop(&self, id: &str) -> Result<(), Error> {
        self.lock().call(|engine| engine.set(id, State::Exited))
    }

    async fn restart(&self, id: &str) -> Result<(), Error> {
        self.lock().call(|engine| engine.set(id, State::Running))
    }

    async fn unpause(&self, id: &str) -> Result<(), Error> {
        self.lock().call(|engine| engine.set(id, State::Running))
    }

    async fn remove(&self, id: &str) -> Result<(), Error> {
        self.lock().call(|engine| {
            let replica = engine.container(id)?.replica.clone();
            engine.containers.remove(id);
            engine.removed.push(replica.clone());
            engine.tell(id, &replica, true);
            Ok(())
        })
    }

    async fn find_image(&self, image: &str, digest: &str) -> Result<Option<String>, Error> {
        self.lock().call(|engine| {
            // An image that was not resolved is always there.
            let there = digest.is_empty() || engine.images.contains_key(digest);
            Ok(there.then(|| image.to_owned()))
        })
    }

    async fn keep_image(&self, _: &str, _: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn kept_images(&self) -> Result<BTreeSet<String>, Error> {
        Ok(self.lock().images.keys().cloned().collect())
    }

    async fn pull(
        &self,
        needed: ImageNeeded<'_>,
        credential: Option<&RegistryCredential>,
    ) -> Result<(), Error> {
        let mut engine = self.lock();
        engine.logins.extend(credential.cloned());
        engine.pulls += 1;
        match engine.registry.get(needed.digest).cloned() {
            Some(content) => {
                engine.images.insert(needed.digest.to_owned(), content);
                Ok(())
            }
            None => Err(Error::new(Kind::NotFound, format!("no such image: {}", needed.image))),
        }
    }

    async fn export_image(&self, digest: &str) -> Result<(u64, Flow<Bytes>), Error> {
        let found = self.lock().images.get(digest).cloned();
        let content = found.ok_or_else(|| Error::new(Kind::NotFound, format!("No such image: {digest}")))?;
        let chunks: Vec<_> =
            content.chunks(32 << 10).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        Ok((content.len() as u64, Box::pin(futures_util::stream::iter(chunks))))
    }

    async fn import_image(&self, digest: &str, mut archive: Archive) -> Result<(), Error> {
        let mut content = Vec::new();
        while let Some(chunk) = archive.next().await {
            let chunk = chunk.map_err(|error| Error::new(Kind::Internal, error.to_string()))?;
            content.extend_from_slice(&chunk);
        }
        let mut engine = self.lock();
        if content.len() > engine.room {
            return Err(Error::new(Kind::Exhausted, "write /var: no space left on device"));
        }
        if digest_of(&content) != digest {
            return Err(Error::new(Kind::State, "what came is another image"));
        }
        engine.images.insert(digest.to_owned(), content);
        engine.imports += 1;
        Ok(())
    }

    async fn ensure_segment(&self, segment: &Segment) -> Result<(), Error> {
        self.lock().call(|engine| {
            engine.segments.insert(segment.name.clone());
            Ok(())
        })
    }

    async fn segments(&self) -> Result<Vec<String>, Error> {
        Ok(self.lock().segments.iter().cloned().collect())
    }

    async fn remove_segment(&self, name: &str) -> Result<(), Error> {
        self.lock().segments.remove(name);
        Ok(())
    }

    async fn ensure_volume(&self, _: &VolumeUse) -> Result<(), Error> {
        Ok(())
    }

    async fn begin_volume(&self, volume: &VolumeUse, move_id: &str) -> Result<(), Error> {
        let mut engine = self.lock();
        if engine.volumes.contains_key(&volume.name) {
            return Err(Error::new(
                Kind::AlreadyExists,
                format!("there is a volume {} already", volume.name),
            ));
        }
        engine.volumes.insert(volume.name.clone(), (Some(move_id.to_owned()), Vec::new()));
        Ok(())
    }

    async fn clear_volume(&self, name: &str, move_id: &str) -> Result<(), Error> {
        let mut engine = self.lock();
        if engine.volumes.get(name).is_some_and(|(made_for, _)| made_for.as_deref() == Some(move_id)) {
            engine.volumes.remove(name);
        }
        Ok(())
    }

    async fn export_volume(&self, name: &str) -> Result<Flow<Bytes>, Error> {
        let found = self.lock().volumes.get(name).map(|(_, content)| content.clone());
        let content = found.ok_or_else(|| Error::new(Kind::NotFound, format!("no such volume: {name}")))?;
        let chunks: Vec<_> = content.chunks(8 << 10).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        Ok(Box::pin(futures_util::stream::iter(chunks)))
    }

    async fn import_volume(&self, name: &str, mut archive: Archive) -> Result<(), Error> {
        let mut content = Vec::new();
        while let Some(chunk) = archive.next().await {
            content.extend_from_slice(&chunk.map_err(|error| Error::new(Kind::Internal, error.to_string()))?);
        }
        let mut engine = self.lock();
        if content.len() > engine.room {
            return Err(Error::new(Kind::Exhausted, "write /var: no space left on device"));
        }
        if let Some(lost) = engine.loses.take() {
            content = lost;
        }
        let (_, volume) = engine
            .volumes
            .get_mut(name)
            .ok_or_else(|| Error::new(Kind::NotFound, format!("no such volume: {name}")))?;
        *volume = content;
        Ok(())
    }

    async fn remove_volume(&self, name: &str) -> Result<(), Error> {
        self.lock().volumes.remove(name);
        Ok(())
    }
}
