//! Looks after one replica: one task, one step at a time, until nothing is left of it.

use std::sync::Arc;
use std::time::Duration;

use gantry_boot::Backoff;
use gantry_model::{Goal, MountSource, ReplicaId};
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use super::assignment::{Assignment, VolumeUse};
use super::board::Board;
use super::lifecycle::{Step, lifecycle};
use super::resolv::Folders;
use super::runtime::Runtime;
use super::segments::Segments;
use super::status::{Activity, status};
use crate::engine::{Error, Kind, Observed};
use crate::transfer::{Copies, ImageNeeded, Moves};

/// What is known of a replica's container.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Sight {
    /// Nobody has looked yet: nothing may be done.
    #[default]
    Unknown,
    /// It is not there.
    Absent,
    /// It is there.
    Present(Observed),
}

/// What a supervisor works towards, from where.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Input {
    /// What is wanted; `None`: nobody wants it.
    pub desired: Option<Arc<Assignment>>,
    /// What is seen.
    pub sight: Sight,
}

/// What all supervisors of a node share.
pub struct Shared<R> {
    /// The engine.
    pub runtime: R,
    /// Where statuses go.
    pub board: Board,
    /// The node's networks.
    pub segments: Segments,
    /// The node's volumes.
    pub volumes: std::sync::Mutex<Vec<VolumeUse>>,
    /// The agent's folder.
    pub folders: Folders,
    /// Where images come from.
    pub copies: Copies,
    /// Volumes that move here or away.
    pub moves: Moves,
    /// How many containers are made or started at a time: more would only queue in the engine.
    pub starts: Semaphore,
    /// How many are stopped or removed at a time.
    pub stops: Semaphore,
}

impl<R> Shared<R> {
    /// Says which volumes the node has.
    pub fn set_volumes(&self, volumes: &[VolumeUse]) {
        let mut known = self.volumes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        volumes.clone_into(&mut known);
    }
}

/// The task of one replica.
pub struct Supervisor<R> {
    replica: ReplicaId,
    shared: Arc<Shared<R>>,
    input: watch::Sender<Input>,
    /// Held from the start: an input that nobody hears is that of a supervisor which has ended.
    changes: watch::Receiver<Input>,
    activity: Activity,
    own_restarts: u32,
}

impl<R: Runtime> Supervisor<R> {
    /// Looks after `replica`, whose input comes through `input`.
    pub fn new(replica: ReplicaId, shared: Arc<Shared<R>>, input: watch::Sender<Input>) -> Self {
        let changes = input.subscribe();
        Self { replica, shared, input, changes, activity: Activity::Waiting, own_restarts: 0 }
    }

    /// Works until nothing is left of a replica that nobody wants.
    pub async fn run(mut self) {
        let mut changes = self.changes.clone();
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        let mut last = Step::Idle;
        loop {
            let input = changes.borrow_and_update().clone();
            let (desired, observed) = match &input.sight {
                Sight::Unknown => {
                    if changes.changed().await.is_err() {
                        return;
                    }
                    continue;
                }
                Sight::Absent => (input.desired.clone(), None),
                Sight::Present(observed) => (input.desired.clone(), Some(observed.clone())),
            };
            let step = lifecycle(desired.as_deref(), observed.as_ref());
            match step {
                Step::Gone => {
                    self.shared.folders.forget(&self.replica);
                    if desired.is_none() {
                        self.shared.board.clear(&self.replica);
                        return;
                    }
                    self.show(Activity::Gone);
                }
                Step::Idle => self.show(Activity::Waiting),
                // The same step twice in a row: it does not help, whatever the engine said.
                step if step == last => {
                    last = Step::Idle;
                    sleep(backoff.pause()).await;
                    continue;
                }
                step => match self.perform(step, desired.as_deref(), observed.as_ref()).await {
                    Ok(()) => {
                        last = step;
                        continue;
                    }
                    // It went away meanwhile: look again.
                    Err(error) if error.kind == Kind::NotFound && self.is_absent(observed.as_ref()).await => {
                        self.see(Sight::Absent);
                        continue;
                    }
                    Err(error) => {
                        tracing::warn!(replica = %self.replica, ?step, %error, "cannot take a step; trying again");
                        self.show(Activity::Failed(error.message));
                        // Something else may be wanted, or seen, before the pause is over.
                        tokio::select! {
                            () = sleep(backoff.pause()) => continue,
                            changed = changes.changed() => if changed.is_err() { return },
                        }
                        continue;
                    }
                },
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    async fn perform(
        &mut self,
        step: Step,
        desired: Option<&Assignment>,
        observed: Option<&Observed>,
    ) -> Result<(), Error> {
        let shared = self.shared.clone();
        let runtime = &shared.runtime;
        let id = observed.map(|observed| observed.id.clone()).unwrap_or_default();
        match step {
            Step::Create => {
                let Some(desired) = desired else { return Ok(()) };
                self.show(Activity::Preparing(String::new()));
                self.create(desired).await
            }
            Step::Start | Step::Restart => {
                self.show(Activity::Starting);
                let permit = shared.starts.acquire().await;
                let done =
                    if step == Step::Start { runtime.start(&id).await } else { runtime.restart(&id).await };
                drop(permit);
                if done.is_ok() && observed.is_some_and(|observed| observed.started_at.is_some()) {
                    self.own_restarts += u32::from(step == Step::Start);
                }
                self.look(&id).await?;
                done
            }
            Step::Unpause => {
                runtime.unpause(&id).await?;
                self.look(&id).await
            }
            Step::Stop => {
                self.show(Activity::Stopping);
                let _permit = shared.stops.acquire().await;
                runtime.stop(&id).await?;
                // Nothing else is to be seen of it: go on and remove it.
                runtime.remove(&id).await?;
                self.see(Sight::Absent);
                Ok(())
            }
            Step::Remove => {
                self.show(Activity::Stopping);
                let _permit = shared.stops.acquire().await;
                runtime.remove(&id).await?;
                self.see(Sight::Absent);
                Ok(())
            }
            Step::Idle | Step::Gone => Ok(()),
        }
    }

    async fn create(&mut self, desired: &Assignment) -> Result<(), Error> {
        let shared = self.shared.clone();
        let runtime = &shared.runtime;
        for network in &desired.networks {
            shared.segments.ensure(runtime, &network.network).await?;
        }
        for volume in self.volumes_of(desired) {
            runtime.ensure_volume(&volume).await?;
        }
        let Some(image) = self.image(desired).await? else { return Ok(()) };
        let segments = shared.segments.wanted();
        let resolv_conf = shared.folders.resolv_conf(desired, &segments).map_err(|error| {
            Error::new(Kind::Exhausted, format!("cannot write the agent's folder: {error}"))
        })?;
        self.show(Activity::Starting);
        let _permit = shared.starts.acquire().await;
        let id = match runtime.create(desired, &image, resolv_conf.into_iter().collect()).await {
            Ok(id) => id,
            // An earlier try may have got further than it could say.
            Err(error) if error.kind == Kind::AlreadyExists => return self.adopt(desired, error).await,
            Err(error) => {
                // It may have been a network that somebody removed.
                shared.segments.doubt().await;
                return Err(error);
            }
        };
        let started = runtime.start(&id).await;
        let seen = runtime.observe(&id).await?;
        if let Some(seen) = &seen
            && !desired.image_digest.is_empty()
            && seen.image_id != desired.image_digest
        {
            // The name was given to another image between the look and the create.
            runtime.remove(&id).await?;
            self.see(Sight::Absent);
            return Err(Error::new(Kind::State, format!("{image} was given to another image meanwhile")));
        }
        self.see(seen.map_or(Sight::Absent, Sight::Present));
        started
    }

    /// The name to make the container from, once the image is here. `None` if it is not wanted any more.
    async fn image(&mut self, desired: &Assignment) -> Result<Option<String>, Error> {
        let shared = self.shared.clone();
        let needed = ImageNeeded {
            image: &desired.container.image,
            digest: &desired.image_digest,
            platform: desired.container.platform.as_deref().unwrap_or_default(),
        };
        let (tell, mut told) = watch::channel(String::new());
        let obtaining = shared.copies.obtain(&shared.runtime, needed, |words| drop(tell.send(words)));
        let mut obtaining = std::pin::pin!(obtaining);
        let mut changes = self.input.subscribe();
        let unwanted =
            changes.wait_for(|input| input.desired.as_ref().is_none_or(|desired| desired.goal != Goal::Run));
        let mut unwanted = std::pin::pin!(unwanted);
        loop {
            tokio::select! {
                image = &mut obtaining => return image.map(Some),
                _ = &mut unwanted => return Ok(None),
                Ok(()) = told.changed() => {
                    let words = told.borrow_and_update().clone();
                    self.show(Activity::Preparing(words));
                }
            }
        }
    }

    async fn adopt(&mut self, desired: &Assignment, error: Error) -> Result<(), Error> {
        match self.shared.runtime.observe(&desired.name).await? {
            Some(own) if own.replica == self.replica => {
                self.see(Sight::Present(own));
                Ok(())
            }
            _ => Err(error),
        }
    }

    fn volumes_of(&self, desired: &Assignment) -> Vec<VolumeUse> {
        let known = self.shared.volumes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let named = desired.container.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume { name: Some(name), .. } => Some(name),
            _ => None,
        });
        named.filter_map(|name| known.iter().find(|volume| volume.name == *name).cloned()).collect()
    }

    async fn is_absent(&self, observed: Option<&Observed>) -> bool {
        match observed {
            Some(observed) => matches!(self.shared.runtime.observe(&observed.id).await, Ok(None)),
            None => false,
        }
    }

    async fn look(&self, id: &str) -> Result<(), Error> {
        let seen = self.shared.runtime.observe(id).await?;
        self.see(seen.map_or(Sight::Absent, Sight::Present));
        Ok(())
    }

    fn see(&self, sight: Sight) {
        self.input.send_if_modified(|input| {
            let changed = input.sight != sight;
            input.sight = sight;
            changed
        });
    }

    /// Writes the status, as it follows from what is wanted and seen at this moment.
    fn show(&mut self, activity: Activity) {
        self.activity = activity;
        let input = self.input.borrow().clone();
        let observed = match &input.sight {
            Sight::Present(observed) => Some(observed),
            Sight::Unknown | Sight::Absent => None,
        };
        let status = status(input.desired.as_deref(), observed, &self.activity, self.own_restarts);
        self.shared.board.set(&self.replica, status);
    }
}
