//! When each node was heard last.
//!
//! Heartbeats come from every node every second. They are noted here and not in the state, which would
//! wake everybody each time: the state hears only that a node has gone silent. What that means is for the
//! watchdog to say, but for the safe side of it (`decide/lost.rs`).

mod told;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_boot::now;
use gantry_model::{Checked, NodeId, NodeStatus, ReplicaId, Snapshot, Timestamp, Verdict};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::decide::lost::{self, LOST, presence, settle_restart};
use crate::state::State;
use told::leave_events;

/// Silences and their ends are noticed within this time.
const TICK: Duration = Duration::from_millis(250);
/// Changes that come together are judged together.
const GATHER: Duration = Duration::from_millis(20);
/// Two heartbeats that did not come are a silence.
const SILENCE: Duration = Duration::from_secs(2);
/// How long a check may fail that is not known.
const PATIENCE: Duration = Duration::from_secs(15);

/// When each node was heard last; clones share it.
#[derive(Clone, Default)]
pub struct Hearing {
    heard: Arc<Mutex<HashMap<NodeId, Heard>>>,
    watchdog: Arc<Mutex<Option<Timestamp>>>,
}

/// What holds of a node, as events tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Presence {
    verdict: Verdict,
    held: bool,
    is_silent: bool,
    flaps: u32,
}

#[derive(Clone, Copy, Default)]
struct Heard {
    agent: Option<Timestamp>,
    proxy: Option<Timestamp>,
}

impl Hearing {
    /// The agent of a node was heard.
    pub fn agent(&self, node: &NodeId) {
        self.note(node, |heard| heard.agent = Some(now()));
    }

    /// The proxy of a node was heard.
    pub fn proxy(&self, node: &NodeId) {
        self.note(node, |heard| heard.proxy = Some(now()));
    }

    /// The watchdog that leads was heard.
    pub fn watchdog(&self) {
        *self.watchdog.lock().unwrap_or_else(PoisonError::into_inner) = Some(now());
    }

    fn note(&self, node: &NodeId, change: impl FnOnce(&mut Heard)) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match heard.get_mut(node) {
            Some(known) => change(known),
            None => change(heard.entry(node.clone()).or_default()),
        }
    }

    /// Notes silences, and tells people of nodes that are lost or back, until `stop`.
    pub async fn run(self, state: State, stop: CancellationToken) {
        let mut changes = state.subscribe();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = BTreeMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
                // A session that opens or ends, and what a watchdog says, is noted at once.
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    sleep(GATHER).await;
                }
            }
            let after = self.look(&state, now());
            if after != before {
                leave_events(&state, &before, &after).await;
                before = after;
            }
            changes.mark_unchanged();
        }
    }

    /// Notes in the state who is silent.
    fn look(&self, state: &State, now: Timestamp) -> BTreeMap<NodeId, Presence> {
        let heard = {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let snapshot = state.snapshot();
            heard.retain(|node, _| snapshot.nodes.contains_key(node));
            heard.clone()
        };
        let watchdog = *self.watchdog.lock().unwrap_or_else(PoisonError::into_inner);
        let mut after = BTreeMap::new();
        state.observe(|snapshot| {
            let changed = note_silences(snapshot, &heard, watchdog, now);
            after = presences(snapshot);
            note_overdue(snapshot, now) || changed
        });
        after
    }
}

fn presences(snapshot: &Snapshot) -> BTreeMap<NodeId, Presence> {
    let statuses = snapshot.node_statuses.iter().filter(|(node, _)| snapshot.nodes.contains_key(*node));
    let presence = |status: &NodeStatus| Presence {
        verdict: status.verdict,
        held: status.held,
        is_silent: status.silent_since.is_some(),
        flaps: status.flaps,
    };
    statuses.map(|(node, status)| (node.clone(), presence(status))).collect()
}

fn note_silences(
    snapshot: &mut Snapshot,
    heard: &HashMap<NodeId, Heard>,
    watchdog: Option<Timestamp>,
    now: Timestamp,
) -> bool {
    let nodes: Vec<NodeId> = snapshot.nodes.keys().cloned().collect();
    let mut changed = false;
    for node in nodes {
        let heard = heard.get(&node).copied().unwrap_or_default();
        let last = heard.agent.unwrap_or(snapshot.started_at);
        let silent_since = (now.since(last) >= SILENCE).then_some(last);
        let proxy_heard = heard.proxy.is_some_and(|last| now.since(last) < LOST);
        changed |= change(snapshot, &node, now, |status| {
            if silent_since.is_none() {
                lost::heard_again(status, now);
            }
            (status.silent_since, status.proxy_heard) = (silent_since, proxy_heard);
            status.verdict = presence(status, watchdog, now);
            // Where its proxy is heard it would not be lost, whatever became of the others.
            status.held &= silent_since.is_some() && !proxy_heard;
            settle_restart(status, now);
        });
    }
    changed
}

/// Notes of whom a failed check is no slow one any more.
fn note_overdue(snapshot: &mut Snapshot, now: Timestamp) -> bool {
    let overdue: Vec<ReplicaId> = snapshot
        .stamps
        .iter()
        .filter(|(_, stamp)| stamp.checked == Checked::Failing && !stamp.overdue)
        .filter(|(id, stamp)| now.since(stamp.checked_since) >= patience(snapshot, id))
        .map(|(id, _)| id.clone())
        .collect();
    for id in &overdue {
        if let Some(mut stamp) = snapshot.stamps.get(id).map(|stamp| **stamp) {
            stamp.overdue = true;
            snapshot.stamps.insert_mut(id.clone(), Arc::new(stamp));
        }
    }
    !overdue.is_empty()
}

/// How long as many checks take as may fail.
fn patience(snapshot: &Snapshot, replica: &ReplicaId) -> Duration {
    let service = snapshot.replicas.get(replica).and_then(|replica| snapshot.services.get(&replica.service));
    let probe =
        service.and_then(|service| service.spec.readiness.as_ref().or(service.spec.liveness.as_ref()));
    probe.map_or(PATIENCE, |probe| probe.interval.saturating_mul(probe.retries) + probe.timeout)
}

/// Changes what is known of a node, and so what is known of its replicas.
pub(super) fn change(
    snapshot: &mut Snapshot,
    node: &NodeId,
    now: Timestamp,
    change: impl FnOnce(&mut NodeStatus),
) -> bool {
    let known = snapshot.node_statuses.get(node);
    let before = known.map(|status| status.verdict);
    let mut status = known.map(|status| status.as_ref().clone()).unwrap_or_default();
    change(&mut status);
    if known.is_some_and(|known| **known == status) {
        return false;
    }
    let verdict = status.verdict;
    snapshot.node_statuses.insert_mut(node.clone(), Arc::new(status));
    if before != Some(verdict) {
        let there: Vec<ReplicaId> = snapshot.replicas_on(node).map(|replica| replica.id.clone()).collect();
        for replica in there {
            snapshot.restamp(&replica, now);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use gantry_testkit::World;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn state() -> (State, NodeId) {
        let mut world = World::new(START).node("n1").node("n2");
        world.snapshot.started_at = START;
        world.snapshot.revision = 0;
        (State::new(Box::new(gantry_store::Memory::default()), world.snapshot), NodeId::new("n1").unwrap())
    }

    fn heard(hearing: &Hearing, node: &NodeId, after: u64) {
        let at = START.after(Duration::from_millis(after));
        hearing.note(node, |heard| heard.agent = Some(at));
    }

    #[test]
    fn heartbeats_change_nothing_and_silence_does_once() {
        let (state, n1) = state();
        let (hearing, n2) = (Hearing::default(), NodeId::new("n2").unwrap());
        let at = |millis| START.after(Duration::from_millis(millis));
        let sequence = || state.snapshot().sequence;
        let first = sequence();
        for second in 0..5 {
            heard(&hearing, &n1, second * 1_000);
            heard(&hearing, &n2, second * 1_000);
            hearing.look(&state, at(second * 1_000 + 250));
        }
        assert_eq!(sequence(), first);
        for step in 0..5 {
            heard(&hearing, &n2, 5_000 + step * 300);
            hearing.look(&state, at(6_000 + step * 200));
        }
        assert_eq!(sequence(), first + 1, "n1 is silent");
        assert_eq!(state.snapshot().node_statuses[&n1].silent_since, Some(at(4_000)));
        assert_eq!(state.snapshot().node_statuses[&n2].silent_since, None);
        let judged = hearing.look(&state, at(7_000));
        assert_eq!(judged[&n1].verdict, Verdict::Suspect);
        assert_eq!(state.snapshot().verdict_on(&n1), Verdict::Suspect);
    }

    #[test]
    fn a_node_is_held_until_its_agent_or_its_proxy_is_heard() {
        let (state, n1) = state();
        let hearing = Hearing::default();
        let at = |millis| START.after(Duration::from_millis(millis));
        let is_held = |millis| {
            hearing.look(&state, at(millis));
            state.snapshot().node_statuses[&n1].held
        };
        let hold = || state.observe(|snapshot| change(snapshot, &n1, START, |status| status.held = true));
        hearing.look(&state, at(9_000));
        hold();
        assert!(is_held(10_000), "nothing is heard");
        hearing.note(&n1, |heard| heard.proxy = Some(at(10_500)));
        assert!(!is_held(11_000), "its proxy is");
        hold();
        heard(&hearing, &n1, 30_000);
        assert!(!is_held(30_100), "its agent is");
    }

    #[test]
    fn a_check_that_fails_for_as_long_as_its_retries_take_is_no_slow_one() {
        let mut world = World::new(START).node("n1").service("s/web", |web| web);
        let plan = crate::decide::decide(&world.snapshot, START);
        world.commit(&plan.changes);
        world.run_all();
        let replica = world.replicas("s/web").remove(0);
        world.see(&replica.id, |status| status.probe_ready = Some(false));
        (world.snapshot.started_at, world.snapshot.revision) = (START, 0);
        let state = State::new(Box::new(gantry_store::Memory::default()), world.snapshot);
        let (hearing, n1) = (Hearing::default(), NodeId::new("n1").unwrap());
        let answers = |millis| {
            heard(&hearing, &n1, millis);
            hearing.look(&state, START.after(Duration::from_millis(millis)));
            state.snapshot().is_endpoint(&replica)
        };
        assert!(answers(14_900));
        assert!(!answers(15_000));
    }

    #[test]
    fn a_node_that_stalls_on_a_living_session_is_counted_as_one_that_comes_and_goes() {
        let (state, n1) = state();
        let (hearing, n2) = (Hearing::default(), NodeId::new("n2").unwrap());
        let mut second = 0;
        for stall in [2, 4, 5] {
            heard(&hearing, &n1, second * 1_000);
            for _ in 0..stall {
                second += 1;
                heard(&hearing, &n2, second * 1_000);
                hearing.look(&state, START.after(Duration::from_secs(second)));
            }
        }
        heard(&hearing, &n1, second * 1_000);
        let seen = hearing.look(&state, START.after(Duration::from_secs(second)));
        assert_eq!((seen[&n1].flaps, seen[&n2].flaps), (2, 0), "two seconds are nothing");
        assert_eq!(
            state.snapshot().node_statuses[&n1].returned_at,
            Some(START.after(Duration::from_secs(second)))
        );
    }
}
