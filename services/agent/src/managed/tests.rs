//! Whole fleets on a simulated engine, with the clock of the tests: whatever happens on the way, what is
//! wanted is there in the end, once, and nothing else.

mod exclusive;
mod health;
mod life;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gantry_api::agent::v1::{ContainerSpec, ContainerState as State};
use gantry_api::cluster::v1::Goal;
use gantry_api::node::v1::{Assignment, Assignments};
use gantry_model::{ClusterId, Lineage, ReplicaId, Stale, Term, Timestamp};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::simulated::{Fate, Simulated};
use super::{Assigned, Disk, Fleet, Folders, watch};
use crate::transfer::{Copies, Dial, Moves};

const REPLICAS: u8 = 4;
/// Longer than any backoff.
const LONG: Duration = Duration::from_mins(10);

fn id(number: u8) -> ReplicaId {
    ReplicaId::new(format!("r{number}")).unwrap()
}

fn assignment(number: u8, goal: Goal) -> Assignment {
    Assignment {
        replica_id: id(number).to_string(),
        stack: "shop".into(),
        service: "web".into(),
        slot: u32::from(number),
        revision: 1,
        goal: goal.into(),
        container_name: format!("shop-web-{number}-{}", id(number)),
        container: Some(ContainerSpec { image: "test".into(), ..ContainerSpec::default() }),
        ..Assignment::default()
    }
}

/// Lets `time` go by on the simulated clock of these tests, with all that happens in it:
/// nobody waits for it, and what is asserted after it is so at that very moment, every time.
async fn pass(time: Duration) {
    let began = Instant::now();
    tokio::time::sleep(time).await;
    let late = began.elapsed().saturating_sub(time);
    assert!(late <= Duration::from_millis(2), "the clock is not the simulated one: {late:?} too late");
}

fn all(wanted: &BTreeSet<u8>) -> Assignments {
    let upserts = wanted.iter().map(|number| assignment(*number, Goal::Run)).collect();
    Assignments { full: true, upserts, ..Assignments::default() }
}

fn lineage(term: &str, revision: u64) -> Lineage {
    Lineage {
        cluster: ClusterId::new("c1").unwrap(),
        epoch: 1,
        terms: vec![Term { id: term.into(), first_revision: 1 }],
        revision,
    }
}

/// A node whose agent can be killed, and started again on what it kept.
struct Node {
    engine: Simulated,
    folder: TempDir,
    agent: Option<(Fleet<Simulated>, JoinSet<()>)>,
    revision: u64,
    suspended: Arc<AtomicU64>,
}

impl Node {
    async fn start() -> Self {
        let (engine, folder) = (Simulated::default(), TempDir::new().unwrap());
        let suspended = Arc::default();
        let agent = Some(agent(&engine, &folder, &suspended).await);
        Self { engine, folder, agent, revision: 0, suspended }
    }

    /// The agent is killed, and started again.
    async fn restart_agent(&mut self) {
        if let Some((fleet, mut tasks)) = self.agent.take() {
            tasks.shutdown().await;
            // The supervisors end with the last handle to the fleet.
            drop(fleet);
            tokio::task::yield_now().await;
        }
        self.agent = Some(agent(&self.engine, &self.folder, &self.suspended).await);
    }

    async fn assign(&mut self, message: Assignments) -> Assigned {
        self.revision += 1;
        self.assign_from(lineage("t1", self.revision), message).await
    }

    async fn assign_from(&self, lineage: Lineage, message: Assignments) -> Assigned {
        let (fleet, _) = self.agent.as_ref().unwrap();
        fleet.assign(lineage, message, Timestamp::default()).await.unwrap()
    }

    /// Tells it, at that time, all that is wanted.
    async fn assign_at(&mut self, now: Timestamp, upserts: Vec<Assignment>) {
        self.revision += 1;
        let (fleet, _) = self.agent.as_ref().unwrap();
        let message = Assignments { full: true, upserts, ..Assignments::default() };
        fleet.assign(lineage("t1", self.revision), message, now).await.unwrap();
    }

    /// What runs; panics if there is anything else.
    fn running(&self) -> Vec<ReplicaId> {
        let there = self.engine.there();
        assert!(there.iter().all(|(_, state)| *state == State::Running), "{there:?}");
        let mut running: Vec<_> = there.into_iter().map(|(replica, _)| replica).collect();
        running.sort();
        running
    }
}

/// `suspended`: for how many seconds the host was, while the clock of timers stood still.
async fn agent(
    engine: &Simulated,
    folder: &TempDir,
    suspended: &Arc<AtomicU64>,
) -> (Fleet<Simulated>, JoinSet<()>) {
    let path = folder.path().to_owned();
    let folders = Folders { own: path.clone(), host: path.clone() };
    let copies = Copies::new(Dial::new(path.clone()));
    let moves = Moves::new(Dial::new(path.clone()));
    let (began, suspended) = (Instant::now(), suspended.clone());
    let clock = Clock::new(move || began.elapsed() + Duration::from_secs(suspended.load(Ordering::Relaxed)));
    let disk = Disk::load(&path).unwrap();
    let fleet = Fleet::open_on(clock, engine.clone(), folders, disk, copies, moves).await;
    let mut tasks = JoinSet::new();
    let (problem, _) = channel::channel(None);
    tasks.spawn(watch(fleet.clone(), engine.clone(), problem, CancellationToken::new()));
    let cleaning = fleet.clone();
    tasks.spawn(async move { cleaning.keep_clean(CancellationToken::new()).await });
    let keeping = fleet.clone();
    tasks.spawn(async move { keeping.keep_promises(CancellationToken::new()).await });
    (fleet, tasks)
}

fn ids(numbers: &BTreeSet<u8>) -> Vec<ReplicaId> {
    numbers.iter().map(|number| id(*number)).collect()
}

/// Something that happens to a node.
#[derive(Debug, Clone)]
enum Happening {
    Want(BTreeSet<u8>),
    Engine(Vec<Fate>),
    Kill(u8),
    TakeAway(u8),
    RestartAgent,
    Wait(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let fate = prop_oneof![Just(Fate::Fine), Just(Fate::FailsBefore), Just(Fate::FailsAfter)];
    prop_oneof![
        3 => prop::collection::btree_set(1..=REPLICAS, 0..=usize::from(REPLICAS)).prop_map(Happening::Want),
        2 => prop::collection::vec(fate, 1..6).prop_map(Happening::Engine),
        1 => (1..=REPLICAS).prop_map(Happening::Kill),
        1 => (1..=REPLICAS).prop_map(Happening::TakeAway),
        1 => Just(Happening::RestartAgent),
        3 => (0_u64..3000).prop_map(Happening::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_what_is_wanted_runs_once_and_nothing_else_is_left(
        happenings in prop::collection::vec(happening(), 1..25)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut node = Node::start().await;
            let mut wanted = BTreeSet::new();
            for happening in happenings {
                match happening {
                    Happening::Want(numbers) => {
                        node.assign(all(&numbers)).await;
                        wanted = numbers;
                    }
                    Happening::Engine(fates) => node.engine.fates(fates),
                    Happening::Kill(number) => node.engine.kill(&id(number)),
                    Happening::TakeAway(number) => node.engine.take_away(&id(number)),
                    Happening::RestartAgent => node.restart_agent().await,
                    Happening::Wait(millis) => pass(Duration::from_millis(millis)).await,
                }
            }
            // A scheduler says everything again when a session opens.
            node.assign(all(&wanted)).await;
            pass(LONG).await;
            assert_eq!(node.running(), ids(&wanted));
        });
    }
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_starts_without_a_scheduler_carries_on_and_removes_nothing() {
    let mut node = Node::start().await;
    node.assign(all(&BTreeSet::from([1, 2]))).await;
    pass(LONG).await;
    node.engine.take_away(&id(1));
    node.restart_agent().await;
    pass(LONG).await;
    assert_eq!(node.running(), ids(&BTreeSet::from([1, 2])), "what it was told last is on disk");

    // What it had on disk is lost: it knows of nothing that is wanted, and leaves alone what it finds.
    std::fs::remove_dir_all(node.folder.path()).unwrap();
    std::fs::create_dir(node.folder.path()).unwrap();
    node.restart_agent().await;
    pass(LONG).await;
    assert_eq!(node.running(), ids(&BTreeSet::from([1, 2])));
    assert!(node.engine.removed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_word_of_a_state_that_lacks_changes_is_refused() {
    let mut node = Node::start().await;
    for _ in 0..5 {
        node.assign(all(&BTreeSet::from([1, 2]))).await;
    }
    pass(LONG).await;
    for stale in [lineage("t1", 3), lineage("t2", 900)] {
        let answer = node.assign_from(stale, all(&BTreeSet::new())).await;
        assert!(matches!(answer, Assigned::Refused(Stale::LacksChanges { .. })), "{answer:?}");
    }
    pass(LONG).await;
    assert_eq!(node.running(), ids(&BTreeSet::from([1, 2])));
    assert!(node.engine.removed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_drains_or_stops_is_not_brought_back() {
    let mut node = Node::start().await;
    node.assign(all(&BTreeSet::from([1, 2]))).await;
    pass(LONG).await;
    let upserts = vec![assignment(1, Goal::Drain), assignment(2, Goal::Stop)];
    node.assign(Assignments { upserts, ..Assignments::default() }).await;
    pass(LONG).await;
    assert_eq!(node.running(), [id(1)], "draining goes on serving, stopping ends");
    node.engine.kill(&id(1));
    pass(LONG).await;
    assert_eq!(node.engine.there(), [(id(1), State::Exited)]);
}
