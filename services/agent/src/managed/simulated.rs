//! An engine in memory, whose calls fail when a test says so: before they had an effect, or after.
//!
//! Here is what it holds and what tests do with it; what supervisors see of it is in `runtime`.

mod runtime;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry_api::agent::v1::{ContainerState as State, RegistryCredential};
use gantry_model::{ReplicaId, Timestamp};
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::runtime::{Changed, What};
use crate::engine::{Error, Kind, Observed};

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
    /// How long a pull takes.
    pull_takes: Duration,
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
    /// The processes that checks have run inside containers.
    processes: Vec<Vec<String>>,
    /// How such a process ends; `None`: never.
    process_ends: Option<(i32, String)>,
    /// The replicas whose processes do not end when they are asked to.
    stubborn: BTreeSet<ReplicaId>,
    /// How hooks end, by their first word.
    hooks: BTreeMap<String, Option<i32>>,
    /// Starts, stops and hooks, in order.
    done: Vec<String>,
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
            pull_takes: Duration::ZERO,
            logins: Vec::new(),
            imports: 0,
            volumes: BTreeMap::new(),
            loses: None,
            room: usize::MAX,
            processes: Vec::new(),
            process_ends: Some((0, String::new())),
            stubborn: BTreeSet::new(),
            hooks: BTreeMap::new(),
            done: Vec::new(),
        })))
    }
}

impl Engine {
    fn now(&self) -> Timestamp {
        Timestamp::default().after(self.began.elapsed() + Duration::from_secs(1))
    }

    fn tell(&self, id: &str, replica: &ReplicaId, what: What) {
        let time = gantry_model::wire::write_time(self.now());
        let changed = Changed { time, id: id.to_owned(), replica: replica.clone(), what };
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
        let what = match state {
            State::Running => What::Started,
            State::Exited => What::Ended { exit_code: container.exit_code },
            _ => What::Other,
        };
        self.tell(id, &replica, what);
        Ok(())
    }

    fn end(&mut self, id: &str, exit_code: i32) -> Result<(), Error> {
        self.container(id)?.exit_code = exit_code;
        self.set(id, State::Exited)
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

    /// From now on a pull takes this long.
    pub fn pulls_take(&self, time: Duration) {
        self.lock().pull_takes = time;
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

    /// The processes that checks have run inside containers.
    pub fn processes(&self) -> Vec<Vec<String>> {
        self.lock().processes.clone()
    }

    /// From now on such processes end with this code and these words; or never.
    pub fn processes_end(&self, how: Option<(i32, &str)>) {
        self.lock().process_ends = how.map(|(code, words)| (code, words.to_owned()));
    }

    /// Somebody kills the container of a replica.
    pub fn kill(&self, replica: &ReplicaId) {
        self.of(replica, |engine, id| engine.set(id, State::Exited).map(drop));
    }

    /// Somebody removes the container of a replica.
    pub fn take_away(&self, replica: &ReplicaId) {
        self.of(replica, |engine, id| {
            engine.containers.remove(id);
            engine.tell(id, replica, What::Gone);
            Ok(())
        });
    }

    /// The process of a replica ends by itself.
    pub fn ends(&self, replica: &ReplicaId, exit_code: i32) {
        self.of(replica, |engine, id| engine.end(id, exit_code));
    }

    /// The kernel says that the memory of a replica has run out.
    pub fn starve(&self, replica: &ReplicaId) {
        self.of(replica, |engine, id| {
            engine.tell(id, replica, What::OutOfMemory);
            Ok(())
        });
    }

    /// The process of a replica does not end when it is asked to.
    pub fn ignores_signals(&self, replica: &ReplicaId) {
        self.lock().stubborn.insert(replica.clone());
    }

    /// A hook with that first word ends with this exit code; `None`: never.
    pub fn hook_ends(&self, word: &str, exit_code: Option<i32>) {
        self.lock().hooks.insert(word.to_owned(), exit_code);
    }

    /// What was done, in order: `post_start`, `start`, `stop` and the like.
    pub fn done(&self) -> Vec<String> {
        self.lock().done.clone()
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
