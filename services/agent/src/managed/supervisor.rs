//! Looks after one replica: one task, one step at a time, until nothing is left of it.

mod creation;
mod ending;

use std::sync::Arc;
use std::time::Duration;

use gantry_boot::Backoff;
use gantry_model::ReplicaId;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::{sleep, timeout};

use super::assignment::{Assignment, VolumeUse};
use super::board::Board;
use super::history::History;
use super::lease::Standing;
use super::lifecycle::{Circumstances, Step, lifecycle};
use super::lives::Lives;
use super::resolv::Folders;
use super::runtime::Runtime;
use super::segments::Segments;
use super::status::{Activity, Notes, status};
use crate::engine::{Error, Kind, Observed};
use crate::probes::{Places, Prober, Tell};
use crate::transfer::{Copies, Moves};

/// A run of this length went well.
const WELL: Duration = Duration::from_secs(10);
/// What may not run is tried to be stopped at least this often.
const HALT_AGAIN: Duration = Duration::from_millis(500);

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
    /// What it may do, if it is exclusive.
    pub standing: Standing,
}

/// What all supervisors of a node share.
pub struct Shared<R> {
    /// The engine.
    pub runtime: R,
    /// Where statuses go.
    pub board: Board,
    /// What is remembered of replicas.
    pub lives: Lives,
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
    /// How many are stopped or removed at a time. What is exclusive waits for no other.
    pub stops: Semaphore,
    /// How many checks on health are made at a time.
    pub places: Arc<Places>,
    /// How many logs are read at a time.
    pub readings: Semaphore,
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
    prober: Prober,
    /// What people should know of the last start or stop.
    said: String,
}

impl<R: Runtime> Supervisor<R> {
    /// Looks after `replica`, whose input comes through `input`.
    pub fn new(replica: ReplicaId, shared: Arc<Shared<R>>, input: watch::Sender<Input>) -> Self {
        let changes = input.subscribe();
        Self {
            replica,
            shared,
            input,
            changes,
            activity: Activity::Waiting,
            said: String::new(),
            prober: Prober::default(),
        }
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
            let step = self.next(&input);
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
                    if observed.as_ref().is_some_and(ran_well) {
                        backoff.reset();
                    }
                    self.pause(step, until_again(step, &mut backoff)).await;
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
                            () = sleep(until_again(step, &mut backoff)) => continue,
                            changed = changes.changed() => if changed.is_err() { return },
                        }
                        continue;
                    }
                },
            }
            let changed = tokio::select! {
                changed = changes.changed() => changed,
                // What its checks say shows in its status.
                () = self.prober.changed() => Ok(()),
            };
            if changed.is_err() {
                return;
            }
        }
    }

    /// The next step, by what is wanted, seen and remembered.
    fn next(&self, input: &Input) -> Step {
        let observed = match &input.sight {
            Sight::Present(observed) => Some(observed),
            Sight::Unknown | Sight::Absent => None,
        };
        let History { hooked, restarts, .. } = self.shared.lives.get(&self.replica);
        let circumstances = Circumstances { standing: input.standing, hooked, restarts };
        lifecycle(input.desired.as_deref(), observed, circumstances)
    }

    /// Waits before a step is taken again, as long as it is the one to take.
    async fn pause(&self, step: Step, pause: Duration) {
        let mut changes = self.input.subscribe();
        let other = changes.wait_for(|input| self.next(input) != step);
        // Either is a reason to look again.
        let _ = timeout(pause, other).await;
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
                self.said.clear();
                self.show(Activity::Starting);
                if step == Step::Restart {
                    let _permit = stop_place(&shared.stops, desired).await;
                    let grace = desired.and_then(|desired| desired.repair_grace);
                    self.end(&id, desired, observed, grace).await?;
                }
                let permit = shared.starts.acquire().await;
                if !self.may_start() {
                    drop(permit);
                    return self.look(&id).await;
                }
                let done = runtime.start(&id).await;
                drop(permit);
                let again = step == Step::Start && observed.is_some_and(|seen| seen.started_at.is_some());
                if done.is_ok() && again {
                    shared.lives.change(&self.replica, |history| history.restarts += 1);
                }
                self.look(&id).await?;
                done
            }
            Step::PostStart => {
                let (Some(desired), Some(observed)) = (desired, observed) else { return Ok(()) };
                self.post_start(desired, observed).await;
                Ok(())
            }
            Step::Halt => {
                self.show(Activity::Stopping);
                tracing::warn!(replica = %self.replica, "the scheduler is not heard; ending an exclusive replica");
                // Its successor does not wait: neither may this, for the stops of others.
                self.end(&id, desired, observed, None).await?;
                self.look(&id).await
            }
            Step::Unpause => {
                runtime.unpause(&id).await?;
                self.look(&id).await
            }
            Step::Stop => {
                self.show(Activity::Stopping);
                let _permit = stop_place(&shared.stops, desired).await;
                let grace = desired.and_then(|desired| desired.repair_grace);
                self.end(&id, desired, observed, grace).await?;
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

    /// Whether it may be started at this moment: its lease may have ended while this step was taken.
    fn may_start(&self) -> bool {
        self.input.borrow().standing == Standing::Held
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
        let desired = input.desired.as_deref();
        let (runtime, places) = (&self.shared.runtime, &self.shared.places);
        let outcome = match self.prober.follow(&self.replica, desired, observed, runtime, places) {
            Tell::Now(outcome) => outcome,
            Tell::Later => return,
        };
        let History { restarts, .. } = self.shared.lives.get(&self.replica);
        let notes = Notes { restarts, said: &self.said, standing: input.standing };
        let mut status = status(desired, observed, &self.activity, notes);
        if let Some(outcome) = outcome {
            outcome.write(&mut status);
        }
        self.shared.board.set(&self.replica, status);
    }
}

/// How long to wait before a step is taken again. What may not run any more does not wait for long.
fn until_again(step: Step, backoff: &mut Backoff) -> Duration {
    let pause = backoff.pause();
    if step == Step::Halt { pause.min(HALT_AGAIN) } else { pause }
}

/// A place among the stops. What is exclusive needs none: a stop that waits for others could come after the start
/// of its successor.
async fn stop_place<'a>(stops: &'a Semaphore, desired: Option<&Assignment>) -> Option<SemaphorePermit<'a>> {
    if desired.is_some_and(|desired| desired.exclusive) {
        return None;
    }
    stops.acquire().await.ok()
}

/// Whether its last run was long enough that the next one begins anew, as the engine judges it.
fn ran_well(observed: &Observed) -> bool {
    let run = observed.started_at.zip(observed.finished_at);
    run.is_some_and(|(started, finished)| finished.since(started) >= WELL)
}
