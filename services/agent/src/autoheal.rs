//! Restarts containers outside any stack that the engine calls unhealthy, where their label asks for it:
//! what the tool docker-autoheal does, so that a host needs no container for it. No scheduler is needed.
//!
//! Unlike that tool it gives a container the time that its own health check takes, before it judges the
//! restart to have failed, and waits twice as long after each one that did.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use gantry_boot::now;
use gantry_model::Timestamp;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, Patient};

/// How often containers are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How long a container may take to end, where its label does not say.
const GRACE: Duration = Duration::from_secs(10);
/// A label cannot ask for more.
const LONGEST_GRACE: Duration = Duration::from_mins(5);
/// The label that says it, in seconds.
const GRACE_LABEL: &str = "autoheal.stop.timeout";
/// The longest pause between two restarts of a container.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// A container that was not unhealthy for this long, and twice the pause, begins anew.
const WELL: Duration = Duration::from_mins(10);
/// An engine that says nothing for this long hangs.
const HANGS: Duration = Duration::from_secs(30);
/// Containers that are restarted at a time, but for those that take long to end.
const AT_ONCE: usize = 4;
/// A restart that takes longer than this waits for a process, and keeps nobody else waiting.
const BUSY: Duration = Duration::from_secs(15);

/// The containers that it looks after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen(String);

impl Chosen {
    /// Those with the label `label=true`; all of them, if it is "all"; none, if it is empty.
    pub fn new(label: &str) -> Self {
        Self(label.to_owned())
    }

    fn includes(&self, labels: &BTreeMap<String, String>) -> bool {
        let of_gantry = labels.keys().any(|label| label.starts_with("gantry."));
        match self.0.as_str() {
            "" => false,
            "all" => !of_gantry,
            label => !of_gantry && labels.get(label).is_some_and(|value| value == "true"),
        }
    }
}

/// A restart that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// The container's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How long it may take to end.
    pub grace: Duration,
    /// The how-manieth this is in a row.
    pub number: u32,
}

/// The restarts that were made, by container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory(BTreeMap<String, (Timestamp, u32)>);

/// Which of the containers that are unhealthy to restart now. What is answered counts as done. Those that are
/// `under_way` are being restarted.
pub fn decide(
    patients: &[Patient],
    chosen: &Chosen,
    under_way: &BTreeSet<String>,
    memory: &mut Memory,
    now: Timestamp,
) -> Vec<Restart> {
    // A container that has recovered, or gone, needs no memory some time later.
    let longest = LONGEST_PAUSE * 2 + WELL;
    memory.0.retain(|_, (last, _)| now.since(*last) < longest);
    let mut restarts = Vec::new();
    let waits = |patient: &&Patient| chosen.includes(&patient.labels) && !under_way.contains(&patient.id);
    for patient in patients.iter().filter(waits) {
        let before = memory.0.get(&patient.id).copied();
        let number = match before {
            None => 1,
            Some((last, number)) => {
                let pause = pause(patient.verdict_after, number);
                if now.since(last) < pause {
                    continue;
                }
                if now.since(last) < pause * 2 + WELL { number.saturating_add(1) } else { 1 }
            }
        };
        memory.0.insert(patient.id.clone(), (now, number));
        let (id, name) = (patient.id.clone(), patient.name.clone());
        restarts.push(Restart { id, name, grace: grace(&patient.labels), number });
    }
    restarts
}

/// How long to wait after the restart of that number: as long as a check takes to fail, then twice that.
fn pause(verdict_after: Duration, number: u32) -> Duration {
    let doublings = number.saturating_sub(1).min(16);
    // A check that takes longer than the longest pause must have its time all the same.
    verdict_after.saturating_mul(1 << doublings).min(LONGEST_PAUSE.max(verdict_after))
}

fn grace(labels: &BTreeMap<String, String>) -> Duration {
    let asked = labels.get(GRACE_LABEL).and_then(|seconds| seconds.trim().parse().ok());
    asked.map_or(GRACE, Duration::from_secs).min(LONGEST_GRACE)
}

/// Looks after containers until `stop`, and counts restarts.
pub async fn run(engine: Engine, chosen: Chosen, restarts: Counter, stop: CancellationToken) {
    if chosen == Chosen::new("") {
        return stop.cancelled().await;
    }
    let mut memory = Memory::default();
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (places, mut tasks) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
    // At most one a container.
    let mut under_way: HashMap<Id, String> = HashMap::new();
    let mut unknown = BTreeMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        while let Some(ended) = tasks.try_join_next_with_id() {
            under_way.remove(&ended.map_or_else(|failed| failed.id(), |(id, ())| id));
        }
        // That the engine does not answer is said by others.
        let Ok(Ok(ward)) = timeout(HANGS, engine.unhealthy()).await else { continue };
        for (container, error) in ward.unknown.iter().filter(|(id, _)| !unknown.contains_key(*id)) {
            tracing::warn!(container, %error, "cannot look at an unhealthy container; leaving it alone");
        }
        unknown = ward.unknown;
        let busy = under_way.values().cloned().collect();
        for restart in decide(&ward.patients, &chosen, &busy, &mut memory, now()) {
            let (engine, places, restarts) = (engine.clone(), places.clone(), restarts.clone());
            let id = restart.id.clone();
            let work = async move { heal(&engine, &restart, &restarts).await };
            let task = tasks.spawn(async move { in_turn(&places, work).await });
            under_way.insert(task.id(), id);
        }
    }
}

/// Does some work when there is a place for it, and leaves that place to others when it takes long.
async fn in_turn(places: &Semaphore, work: impl Future<Output = ()>) {
    let place = places.acquire().await;
    let mut work = pin!(work);
    if timeout(BUSY, &mut work).await.is_err() {
        drop(place);
        work.await;
    }
}

async fn heal(engine: &Engine, restart: &Restart, restarts: &Counter) {
    let Restart { id, name, grace, number } = restart;
    tracing::warn!(container = name, number, "a container is unhealthy; restarting it, as its label asks");
    match timeout(*grace + HANGS, engine.restart(id, Some(*grace))).await {
        Ok(Ok(())) => {
            restarts.inc();
        }
        Ok(Err(error)) => tracing::warn!(container = name, %error, "cannot restart an unhealthy container"),
        Err(_) => tracing::warn!(container = name, "the restart of an unhealthy container does not end"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patient(id: &str, labels: &[(&str, &str)]) -> Patient {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Patient { id: id.to_owned(), name: id.to_owned(), labels, verdict_after: Duration::from_secs(30) }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000).after(Duration::from_secs(seconds))
    }

    fn chosen(label: &str, labels: &[(&str, &str)]) -> bool {
        !decide(&[patient("a", labels)], &Chosen::new(label), &BTreeSet::new(), &mut Memory::default(), at(0))
            .is_empty()
    }

    #[test]
    fn the_label_chooses_and_what_is_gantrys_is_left_alone() {
        assert!(chosen("autoheal", &[("autoheal", "true")]));
        assert!(!chosen("autoheal", &[("autoheal", "false")]) && !chosen("autoheal", &[]));
        assert!(chosen("heal-me", &[("heal-me", "true")]) && !chosen("heal-me", &[("autoheal", "true")]));
        assert!(chosen("all", &[]) && !chosen("", &[("", "true")]));
        let of_a_stack = [("autoheal", "true"), ("gantry.replica", "r1")];
        assert!(!chosen("autoheal", &of_a_stack) && !chosen("all", &of_a_stack));
    }

    #[test]
    fn the_grace_is_the_labels() {
        let grace = |value| grace(&BTreeMap::from([(GRACE_LABEL.to_owned(), String::from(value))]));
        assert_eq!((grace("3"), grace("soon")), (Duration::from_secs(3), GRACE));
        assert_eq!(grace("99999999999"), LONGEST_GRACE);
    }

    #[test]
    fn pauses_double_up_to_five_minutes_and_begin_anew() {
        let (sick, all) = ([patient("a", &[])], Chosen::new("all"));
        let (mut memory, mut times) = (Memory::default(), Vec::new());
        for second in 0..1_500 {
            for restart in decide(&sick, &all, &BTreeSet::new(), &mut memory, at(second)) {
                times.push((second, restart.number));
            }
        }
        assert_eq!(times, [(0, 1), (30, 2), (90, 3), (210, 4), (450, 5), (750, 6), (1050, 7), (1350, 8)]);
        let later = decide(&sick, &all, &BTreeSet::new(), &mut memory, at(1_350 + 300 * 2 + 600));
        assert_eq!(later[0].number, 1, "it was well for long");
    }

    #[test]
    fn what_is_being_restarted_is_not_restarted_meanwhile() {
        let (sick, busy) = ([patient("a", &[]), patient("b", &[])], BTreeSet::from(["a".to_owned()]));
        let restarts = decide(&sick, &Chosen::new("all"), &busy, &mut Memory::default(), at(0));
        assert_eq!(restarts.iter().map(|restart| restart.id.as_str()).collect::<Vec<_>>(), ["b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_take_long_to_end_keep_nobody_waiting_for_long() {
        let (places, mut tasks) = (Arc::new(Semaphore::new(AT_ONCE)), JoinSet::new());
        for _ in 0..AT_ONCE {
            let places = places.clone();
            tasks.spawn(async move { in_turn(&places, tokio::time::sleep(LONGEST_GRACE)).await });
        }
        tokio::task::yield_now().await;
        assert_eq!(places.available_permits(), 0);
        timeout(BUSY * 2, in_turn(&places, async {})).await.unwrap();
        assert!(tasks.try_join_next().is_none(), "they are under way still");
    }

    #[test]
    fn a_check_that_takes_long_has_its_time() {
        let slow = Duration::from_mins(7);
        assert_eq!((pause(slow, 1), pause(slow, 9)), (slow, slow));
        assert_eq!(pause(Duration::from_secs(30), 9), LONGEST_PAUSE);
    }

    proptest! {
        /// However containers fall ill: between two restarts of one there is always the time in which its
        /// check could have passed, and one that stays ill is always restarted again.
        #[test]
        fn never_before_its_check_could_have_passed(
            ill in prop::collection::vec(prop::collection::vec(any::<bool>(), 3), 1..200),
        ) {
            let (mut memory, mut last) = (Memory::default(), BTreeMap::new());
            let patients: Vec<_> = ["a", "b", "c"].iter().map(|id| patient(id, &[])).collect();
            for (tick, ill) in ill.iter().enumerate() {
                let now = at(tick as u64 * 5);
                let here: Vec<_> =
                    patients.iter().zip(ill).filter(|(_, ill)| **ill).map(|(patient, _)| patient.clone()).collect();
                let restarts = decide(&here, &Chosen::new("all"), &BTreeSet::new(), &mut memory, now);
                for restart in &restarts {
                    prop_assert!(here.iter().any(|patient| patient.id == restart.id));
                    let before = last.insert(restart.id.clone(), now);
                    prop_assert!(before.is_none_or(|before| now.since(before) >= Duration::from_secs(30)));
                }
                for patient in &here {
                    let waited = last.get(&patient.id).map(|last| now.since(*last));
                    prop_assert!(waited.is_some_and(|waited| waited < LONGEST_PAUSE));
                }
            }
        }
    }
}
