//! All replicas of this node.

mod promises;
mod scraped;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::node::v1 as wire;
use gantry_model::{Lineage, ReplicaId, Stale, Timestamp};
use tokio::sync::{Mutex, Notify, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::assignment::Networks;
use super::board::Board;
use super::clock::Clock;
use super::disk::Disk;
use super::lease::{self, Lease, Standing};
use super::lives::Lives;
use super::resolv::Folders;
use super::runtime::{Changed, Runtime};
use super::segments::Segments;
use super::supervisor::{Input, Shared, Sight, Supervisor};
use crate::engine::{Error, Observed};
use crate::transfer::{Copies, Moves};

/// Containers that are made or started at a time. Measured: from two on, more bring nothing.
const STARTS: usize = 4;
/// Containers that are stopped at a time; each may take its whole grace.
const STOPS: usize = 16;
/// How often is tried again to remove what could not be removed.
const SWEEP_AGAIN: Duration = Duration::from_secs(2);

/// Logs of ended processes that are read at a time.
const READINGS: usize = 2;

/// What became of an assignment.
#[derive(Debug, PartialEq, Eq)]
pub enum Assigned {
    /// It is on disk and being worked on.
    Taken,
    /// The state that it came from is not believed; nothing was changed.
    Refused(Stale),
}

/// The replicas of this node; clones share them.
#[derive(Clone)]
pub struct Fleet<R> {
    shared: Arc<Shared<R>>,
    inner: Arc<Mutex<Inner>>,
    sweep: Arc<Notify>,
    volumes: Arc<Notify>,
    networks: Arc<watch::Sender<Arc<Networks>>>,
}

struct Inner {
    disk: Disk,
    supervisors: HashMap<ReplicaId, watch::Sender<Input>>,
    /// The supervisors' tasks, which end with the fleet.
    tasks: JoinSet<()>,
    /// The watch has told of every container: what it did not name is not there.
    synced: bool,
    /// A believed scheduler has said everything that it wants since this agent started.
    trusted: bool,
    /// Containers of replicas that nobody wants, as far as is known without a scheduler.
    strays: BTreeMap<ReplicaId, Observed>,
    /// How long exclusive replicas may run.
    lease: Lease,
    clock: Clock,
    /// Which numbers of replicas are to be read.
    scrapes: Vec<wire::Scrape>,
}

impl<R: Runtime> Fleet<R> {
    /// Takes up what was wanted last.
    pub async fn open(runtime: R, folders: Folders, disk: Disk, copies: Copies, moves: Moves) -> Self {
        Self::open_on(Clock::of_host(), runtime, folders, disk, copies, moves).await
    }

    /// The same, with leases counted on that clock.
    pub(super) async fn open_on(
        clock: Clock,
        runtime: R,
        folders: Folders,
        disk: Disk,
        copies: Copies,
        moves: Moves,
    ) -> Self {
        let board = Board::default();
        let lease = Lease::inherited(lease::load(&folders.own), clock.now());
        let shared = Arc::new(Shared {
            runtime,
            lives: Lives::open(&folders.own, board.clone()),
            board,
            segments: Segments::default(),
            volumes: std::sync::Mutex::new(disk.volumes.clone()),
            folders,
            copies,
            moves,
            starts: Semaphore::new(STARTS),
            stops: Semaphore::new(STOPS),
            places: Arc::default(),
            readings: Semaphore::new(READINGS),
        });
        shared.segments.want(disk.segments.clone());
        let networks = Arc::new(watch::Sender::new(Arc::new(disk.networks())));
        let inner = Inner {
            disk,
            supervisors: HashMap::new(),
            tasks: JoinSet::new(),
            synced: false,
            trusted: false,
            strays: BTreeMap::new(),
            lease,
            clock,
            scrapes: Vec::new(),
        };
        let fleet = Self {
            shared,
            inner: Arc::new(Mutex::new(inner)),
            sweep: Arc::default(),
            volumes: Arc::default(),
            networks,
        };
        fleet.inner.lock().await.supervise(&fleet.shared);
        fleet
    }

    /// Where the replicas' status is written.
    pub fn board(&self) -> &Board {
        &self.shared.board
    }

    /// What the node's networks are to be.
    pub fn networks(&self) -> watch::Receiver<Arc<Networks>> {
        self.networks.subscribe()
    }

    /// Counts the networks that were made.
    pub fn networks_made(&self) -> watch::Receiver<u64> {
        self.shared.segments.made()
    }

    /// Where images come from.
    pub fn copies(&self) -> &Copies {
        &self.shared.copies
    }

    /// The volumes that move.
    pub fn moves(&self) -> &Moves {
        &self.shared.moves
    }

    /// The digests of the cluster's images that this node has.
    pub async fn kept_images(&self) -> Result<BTreeSet<String>, Error> {
        self.shared.runtime.kept_images().await
    }

    /// Whether a scheduler's state is to be believed.
    pub async fn judge(&self, lineage: &Lineage) -> Result<(), Stale> {
        match &self.inner.lock().await.disk.lineage {
            Some(seen) => lineage.contains(seen),
            None => Ok(()),
        }
    }

    /// Waits until every container of the cluster was looked at since the agent started, and every
    /// replica has its status on the board.
    pub async fn settled(&self) {
        let mut statuses = self.shared.board.subscribe();
        loop {
            let known = statuses.borrow_and_update().clone();
            let inner = self.inner.lock().await;
            if inner.synced && inner.disk.assignments.keys().all(|id| known.contains_key(id)) {
                return;
            }
            drop(inner);
            // Whether the containers were looked at shows in no status where there are none.
            let _ = timeout(Duration::from_millis(50), statuses.changed()).await;
        }
    }

    /// The volumes that are to be removed, on the word of a believed scheduler.
    pub async fn volume_removals(&self) -> Vec<String> {
        let inner = self.inner.lock().await;
        if inner.trusted { inner.disk.volume_removals.clone() } else { Vec::new() }
    }

    /// Removes a volume and what is in it.
    pub async fn remove_volume(&self, name: &str) -> Result<(), Error> {
        self.shared.runtime.remove_volume(name).await
    }

    /// Waits until other volumes are to be removed, at most for `again`.
    pub async fn volume_removals_changed(&self, again: Duration) {
        let _ = timeout(again, self.volumes.notified()).await;
    }

    /// Takes what the scheduler wants: on disk first, then in hand.
    pub async fn assign(
        &self,
        lineage: Lineage,
        mut message: wire::Assignments,
        now: Timestamp,
    ) -> io::Result<Assigned> {
        let mut inner = self.inner.lock().await;
        if let Some(seen) = &inner.disk.lineage
            && let Err(stale) = lineage.contains(seen)
        {
            return Ok(Assigned::Refused(stale));
        }
        let full = message.full;
        self.shared.copies.set_sources(std::mem::take(&mut message.image_sources));
        self.shared.copies.set_credentials(std::mem::take(&mut message.credentials));
        let (copies, offers) = (&mut message.volume_copies, &mut message.volume_offers);
        self.shared.moves.set(std::mem::take(copies), std::mem::take(offers));
        inner.scrapes = std::mem::take(&mut message.scrapes);
        let next = inner.disk.next(lineage, message, now);
        if next != inner.disk {
            let (saved, folder) = (next.clone(), self.shared.folders.own.clone());
            tokio::task::spawn_blocking(move || saved.save(&folder)).await.map_err(io::Error::other)??;
        }
        inner.disk = next;
        inner.trusted |= full;
        if full {
            let now = inner.clock.now();
            inner.lease.confirm(now);
        }
        self.shared.segments.want(inner.disk.segments.clone());
        self.shared.set_volumes(&inner.disk.volumes);
        let networks = inner.disk.networks();
        self.networks.send_if_modified(|known| {
            let changed = **known != networks;
            *known = Arc::new(networks);
            changed
        });
        inner.supervise(&self.shared);
        self.sweep.notify_one();
        self.volumes.notify_one();
        Ok(Assigned::Taken)
    }

    /// All containers of the cluster, as they are now.
    pub async fn see_all(&self, containers: Vec<Observed>) {
        self.shared.segments.doubt().await;
        for container in &containers {
            self.remember(&container.replica, &container.id, |history| history.see(container));
        }
        let mut inner = self.inner.lock().await;
        let known = inner.supervisors.keys().chain(containers.iter().map(|container| &container.replica));
        self.shared.lives.keep_only(&known.cloned().collect());
        let mut seen: HashMap<ReplicaId, Observed> =
            containers.into_iter().map(|container| (container.replica.clone(), container)).collect();
        for (replica, input) in &inner.supervisors {
            tell(input, seen.remove(replica).map_or(Sight::Absent, Sight::Present));
        }
        inner.strays = seen.into_iter().collect();
        inner.synced = true;
        inner.supervise(&self.shared);
    }

    /// One container has changed, and is now like this.
    pub async fn see(&self, changed: &Changed, container: Option<Observed>) {
        let replica = &changed.replica;
        let mut inner = self.inner.lock().await;
        match inner.supervisors.get(replica) {
            // A container that the replica had before.
            Some(input) if container.is_none() && is_another(input, &changed.id) => {}
            Some(input) => {
                if let Some(container) = &container {
                    self.remember(replica, &container.id, |history| history.see(container));
                }
                tell(input, container.map_or(Sight::Absent, Sight::Present));
            }
            None => {
                match container {
                    Some(container) => inner.strays.insert(replica.clone(), container),
                    None => inner.strays.remove(replica),
                };
                inner.supervise(&self.shared);
            }
        }
    }

    /// Removes networks that nobody uses, and makes those that are to be here without a replica, until `stop`.
    pub async fn keep_clean(&self, stop: CancellationToken) {
        let mut clean = false;
        let mut statuses = self.shared.board.subscribe();
        loop {
            let woken = async {
                tokio::select! {
                    () = self.sweep.notified() => {}
                    _ = statuses.changed(), if !clean => {}
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                // While something is left, try now and then without being told.
                _ = timeout(if clean { Duration::from_mins(1) } else { SWEEP_AGAIN }, woken) => {}
            }
            let made = self.shared.segments.ensure_joined(&self.shared.runtime).await;
            if let Err(error) = &made {
                tracing::debug!(%error, "cannot make a network yet");
            }
            clean = made.is_ok();
            if self.inner.lock().await.trusted {
                clean &= match self.shared.segments.sweep(&self.shared.runtime).await {
                    Ok(clean) => clean,
                    Err(error) => {
                        tracing::debug!(%error, "cannot look for networks that nobody uses");
                        false
                    }
                };
            }
        }
    }
}

fn tell(input: &watch::Sender<Input>, sight: Sight) {
    input.send_if_modified(|input| {
        let changed = input.sight != sight;
        input.sight = sight;
        changed
    });
}

/// Whether what is seen of a replica is not this container.
fn is_another(input: &watch::Sender<Input>, container: &str) -> bool {
    matches!(&input.borrow().sight, Sight::Present(seen) if seen.id != container)
}

impl Inner {
    /// Gives every wanted replica its supervisor, and tells those of unwanted ones. Containers that
    /// nobody wants are ended only once a believed scheduler has said everything that it wants.
    fn supervise<R: Runtime>(&mut self, shared: &Arc<Shared<R>>) {
        while self.tasks.try_join_next().is_some() {}
        self.supervisors.retain(|_, input| !input.is_closed());
        let standing = self.lease.standing(self.clock.now());
        for (id, assignment) in self.disk.assignments.clone() {
            // Nobody else needs to be woken by it.
            let standing = if assignment.exclusive { standing } else { Standing::Held };
            let desired = Some(Arc::new(assignment));
            match self.supervisors.get(&id) {
                Some(input) => {
                    input.send_if_modified(|input| {
                        let changed = input.desired != desired || input.standing != standing;
                        (input.desired, input.standing) = (desired, standing);
                        changed
                    });
                }
                None => {
                    let sight = match self.strays.remove(&id) {
                        Some(container) => Sight::Present(container),
                        None if self.synced => Sight::Absent,
                        None => Sight::Unknown,
                    };
                    self.spawn(&id, shared, Input { desired, sight, standing });
                }
            }
        }
        if !self.trusted {
            return;
        }
        for (id, input) in &self.supervisors {
            if !self.disk.assignments.contains_key(id) {
                input.send_if_modified(|input| input.desired.take().is_some());
            }
        }
        for (id, container) in std::mem::take(&mut self.strays) {
            tracing::info!(replica = %id, container = container.id, "removing a container that nobody wants");
            let input = Input { sight: Sight::Present(container), ..Input::default() };
            self.spawn(&id, shared, input);
        }
    }

    fn spawn<R: Runtime>(&mut self, id: &ReplicaId, shared: &Arc<Shared<R>>, input: Input) {
        let (sender, _) = watch::channel(input);
        self.tasks.spawn(Supervisor::new(id.clone(), shared.clone(), sender.clone()).run());
        self.supervisors.insert(id.clone(), sender);
    }
}
