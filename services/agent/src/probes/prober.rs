//! Checks one replica, as long as its process runs.

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use gantry_model::{Check, ReplicaId};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::ask::{Process, ask};
use super::gauge::Gauge;
use super::outcome::Outcome;
use super::plan::{Ask, Plan, Planned, Run, plan};
use crate::engine::Observed;
use crate::managed::{Assignment, Runtime};

/// Checks of one node that are under way at a time.
const ASKING: usize = 64;
/// Processes of checks that are waited for at a time: each costs the engine a tenth of a second.
const PROCESSES: usize = 8;
/// An agent that starts anew says nothing of a replica that runs before its checks have had a result:
/// for so long at most.
const FIRST_RESULT: Duration = Duration::from_secs(2);

/// How many checks a node makes at a time.
#[derive(Debug)]
pub struct Places {
    asking: Semaphore,
    processes: Semaphore,
}

impl Default for Places {
    fn default() -> Self {
        Self { asking: Semaphore::new(ASKING), processes: Semaphore::new(PROCESSES) }
    }
}

/// What is told of a replica's checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tell {
    /// Nothing of the replica at all yet: its checks are about to have a result.
    Later,
    /// This; `None` where nothing is checked.
    Now(Option<Outcome>),
}

/// Checks one replica.
#[derive(Debug, Default)]
pub struct Prober {
    followed: Option<Plan>,
    /// The run that was seen last.
    run: Option<Run>,
    /// It has been looked at before: a run that is new now began under this agent's eyes.
    looked: bool,
    outcome: Option<Outcome>,
    later_until: Option<Instant>,
    results: Option<watch::Receiver<Option<Outcome>>>,
    /// The checks, which end with the prober.
    checking: JoinSet<()>,
}

impl Prober {
    /// Checks what is to be checked now, and says what is told of it.
    pub fn follow<R: Runtime>(
        &mut self,
        replica: &ReplicaId,
        desired: Option<&Assignment>,
        observed: Option<&Observed>,
        runtime: &R,
        places: &Arc<Places>,
    ) -> Tell {
        let (plan, run) = (plan(desired, observed), Run::of(observed));
        if plan != self.followed {
            self.checking.abort_all();
            self.checking = JoinSet::new();
            self.results = None;
            self.later_until = None;
            let new = self.run != run;
            match &plan {
                None => self.outcome = None,
                Some(plan) => {
                    if new && self.looked {
                        self.outcome = Some(Outcome::starting(plan));
                    } else if !self.looked {
                        self.later_until = Some(Instant::now() + FIRST_RESULT);
                    }
                    // Else it is checked in another way than before: what was known holds until there is a result.
                    let age = if new && self.looked { Duration::ZERO } else { age(&plan.run) };
                    self.check(replica, plan, age, runtime.clone(), places.clone());
                }
            }
            self.followed = plan;
        }
        (self.run, self.looked) = (run, true);
        self.told()
    }

    /// Waits until something else is to be told.
    pub async fn changed(&mut self) {
        let later = self.later_until;
        let result = async {
            match &mut self.results {
                Some(results) => {
                    if results.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                None => std::future::pending().await,
            }
        };
        match later {
            Some(until) => drop(tokio::time::timeout_at(until, result).await),
            None => result.await,
        }
    }

    fn told(&mut self) -> Tell {
        if let Some(result) = self.results.as_mut().and_then(|results| results.borrow_and_update().clone()) {
            self.outcome = Some(result);
            self.later_until = None;
        }
        match self.later_until {
            Some(until) if Instant::now() < until => return Tell::Later,
            Some(_) => {
                self.later_until = None;
                self.outcome = self.followed.as_ref().map(Outcome::starting);
            }
            None => {}
        }
        Tell::Now(self.outcome.clone())
    }

    fn check<R: Runtime>(
        &mut self,
        replica: &ReplicaId,
        plan: &Plan,
        age: Duration,
        runtime: R,
        places: Arc<Places>,
    ) {
        let (results, heard) = watch::channel(None);
        self.results = Some(heard);
        let (plan, phase) = (plan.clone(), phase(replica));
        let (replica, began) = (replica.clone(), Instant::now());
        let gauges = plan.checks.iter().map(|check| Gauge::new(check.timing, phase, age)).collect();
        self.checking.spawn(async move {
            let course =
                Course { replica, plan, age, began, runtime, places, gauges: Mutex::new(gauges), results };
            join_all((0..course.plan.checks.len()).map(|number| course.run(number))).await;
        });
    }
}

/// The checks of one run, on their way.
struct Course<R> {
    replica: ReplicaId,
    plan: Plan,
    /// How old the process was when it was first checked.
    age: Duration,
    began: Instant,
    runtime: R,
    places: Arc<Places>,
    gauges: Mutex<Vec<Gauge>>,
    results: watch::Sender<Option<Outcome>>,
}

impl<R: Runtime> Course<R> {
    async fn run(&self, number: usize) {
        let mut process = Process::default();
        let Some(check) = self.plan.checks.get(number) else { return };
        loop {
            let Some(due) = self.with_gauge(number, |gauge| gauge.due()) else { return };
            sleep_until(self.began + due.saturating_sub(self.age)).await;
            let said =
                self.ask(check, &mut process).await.map_err(|problem| format!("{}: {problem}", check.ask));
            let age = self.age + self.began.elapsed();
            self.with_gauge(number, |gauge| gauge.take(said, age));
            self.tell();
        }
    }

    async fn ask(&self, check: &Planned, process: &mut Process) -> Result<(), String> {
        if let Ask::One(Check::Exec { command }) = &check.ask {
            let _place = self.places.processes.acquire().await;
            return process.run(&self.runtime, &self.plan.run.container, command, check.timeout).await;
        }
        let _place = self.places.asking.acquire().await;
        match timeout(check.timeout, ask(&check.ask, self.plan.address)).await {
            Ok(said) => said,
            Err(_) => Err(format!("no answer within {:?}", check.timeout)),
        }
    }

    fn with_gauge<T>(&self, number: usize, work: impl FnOnce(&mut Gauge) -> T) -> Option<T> {
        let mut gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.get_mut(number).map(work)
    }

    /// Says what the checks have come to, once each has had a result, and then when that is something else.
    fn tell(&self) {
        let gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        if !gauges.iter().all(Gauge::was_asked) {
            return;
        }
        let readings = self.plan.checks.iter().zip(gauges.iter().map(Gauge::reading));
        let outcome = Outcome::of(readings);
        self.results.send_if_modified(|known| {
            if known.as_ref() == Some(&outcome) {
                return false;
            }
            let before = known.replace(outcome.clone());
            if before.as_ref().map(|before| (before.ready, before.health))
                != Some((outcome.ready, outcome.health))
            {
                let Outcome { ready, health, message } = &outcome;
                tracing::info!(replica = %self.replica, ?ready, ?health, message, "checks say");
            }
            true
        });
    }
}

/// How long ago a process was started.
fn age(run: &Run) -> Duration {
    run.started_at.map(|started| gantry_boot::now().since(started)).unwrap_or_default()
}

/// Where in an interval a replica is checked: always the same for one replica.
fn phase(replica: &ReplicaId) -> u8 {
    Sha256::digest(replica.as_str()).first().copied().unwrap_or_default()
}
