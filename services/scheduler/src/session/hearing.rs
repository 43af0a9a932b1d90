//! When each node was heard last, and what that means.
//!
//! Heartbeats come from every node every second. They are noted here and not in the state, which would
//! wake everybody each time: the state hears only that a node has gone silent, and what is concluded.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gantry_boot::now;
use gantry_model::{NodeId, NodeStatus, Severity, Snapshot, Timestamp, Verdict};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::decide::lost::{Judgement, LOST, judge};
use crate::decide::record_event;
use crate::state::State;

/// Silences and their ends are noticed within this time.
const TICK: Duration = Duration::from_millis(250);
/// Changes that come together are judged together.
const GATHER: Duration = Duration::from_millis(20);
/// Two heartbeats that did not come are a silence.
const SILENCE: Duration = Duration::from_secs(2);

/// When each node was heard last; clones share it.
#[derive(Clone, Default)]
pub struct Hearing {
    heard: Arc<Mutex<HashMap<NodeId, Heard>>>,
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

    fn note(&self, node: &NodeId, change: impl FnOnce(&mut Heard)) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        match heard.get_mut(node) {
            Some(known) => change(known),
            None => change(heard.entry(node.clone()).or_default()),
        }
    }

    /// Judges nodes until `stop`.
    pub async fn run(self, state: State, stop: CancellationToken) {
        let mut changes = state.subscribe();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = BTreeMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
                // A session that opens or ends is judged at once.
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    sleep(GATHER).await;
                }
            }
            let judged = self.judge(&state, now());
            if judged != before {
                leave_events(&state, &before, &judged).await;
                before = judged;
            }
            changes.mark_unchanged();
        }
    }

    /// Notes in the state who is silent and what is concluded of whom.
    fn judge(&self, state: &State, now: Timestamp) -> BTreeMap<NodeId, Judgement> {
        let heard = {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let snapshot = state.snapshot();
            heard.retain(|node, _| snapshot.nodes.contains_key(node));
            heard.clone()
        };
        let mut judged = BTreeMap::new();
        state.observe(|snapshot| {
            let changed = note_silences(snapshot, &heard, now);
            judged = judge(snapshot, now);
            note_verdicts(snapshot, &judged) || changed
        });
        judged
    }
}

fn note_silences(snapshot: &mut Snapshot, heard: &HashMap<NodeId, Heard>, now: Timestamp) -> bool {
    let nodes: Vec<NodeId> = snapshot.nodes.keys().cloned().collect();
    let mut changed = false;
    for node in nodes {
        let heard = heard.get(&node).copied().unwrap_or_default();
        let last = heard.agent.unwrap_or(snapshot.started_at);
        let silent_since = (now.since(last) >= SILENCE).then_some(last);
        let proxy_heard = heard.proxy.is_some_and(|last| now.since(last) < LOST);
        changed |= change(snapshot, &node, |status| {
            (status.silent_since, status.proxy_heard) = (silent_since, proxy_heard);
        });
    }
    changed
}

fn note_verdicts(snapshot: &mut Snapshot, judged: &BTreeMap<NodeId, Judgement>) -> bool {
    let mut changed = false;
    for (node, judgement) in judged {
        changed |= change(snapshot, node, |status| status.verdict = judgement.verdict);
    }
    changed
}

fn change(snapshot: &mut Snapshot, node: &NodeId, change: impl FnOnce(&mut NodeStatus)) -> bool {
    let known = snapshot.node_statuses.get(node);
    let mut status = known.map(|status| status.as_ref().clone()).unwrap_or_default();
    change(&mut status);
    if known.is_some_and(|known| **known == status) {
        return false;
    }
    snapshot.node_statuses.insert_mut(node.clone(), Arc::new(status));
    true
}

/// Tells people of nodes that were lost or came back, and of those that are held for all that.
async fn leave_events(
    state: &State,
    before: &BTreeMap<NodeId, Judgement>,
    after: &BTreeMap<NodeId, Judgement>,
) {
    let stored = state
        .commit::<_, gantry_store::Error>(|snapshot| {
            let mut working = snapshot.clone();
            let mut changes = Vec::new();
            let mut tell = |subject: &str, severity, reason: &str, message: String| {
                let event = record_event(&working, now(), severity, subject, None, reason, message);
                for change in &event {
                    working.apply(change);
                }
                changes.extend(event);
            };
            for (node, judgement) in after {
                let Some(record) = snapshot.nodes.get(node) else { continue };
                let subject = format!("node:{}", record.name);
                let was = before.get(node).map_or(Verdict::Ready, |judgement| judgement.verdict);
                if judgement.verdict == Verdict::Lost && was != Verdict::Lost {
                    let message = format!(
                        "node {} is lost: neither its agent nor its proxy was heard for {} s",
                        record.name,
                        LOST.as_secs()
                    );
                    tell(&subject, Severity::Warning, "NodeLost", message);
                } else if was == Verdict::Lost && judgement.verdict != Verdict::Lost {
                    tell(&subject, Severity::Normal, "NodeBack", format!("node {} is heard again", record.name));
                }
            }
            let held = |judged: &BTreeMap<_, Judgement>| judged.values().filter(|judged| judged.held).count();
            if held(after) > 0 && held(before) == 0 {
                let message = format!(
                    "{} of {} nodes went silent at once: nothing is moved, as the fault is likely on this side",
                    held(after),
                    after.len()
                );
                tell("cluster", Severity::Warning, "NodesHeld", message);
            }
            Ok((changes, ()))
        })
        .await;
    if let Err(error) = stored {
        tracing::error!(error = gantry_boot::chain(&error), "cannot store what became of nodes");
    }
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
            hearing.judge(&state, at(second * 1_000 + 250));
        }
        assert_eq!(sequence(), first);
        for step in 0..5 {
            heard(&hearing, &n2, 5_000 + step * 300);
            hearing.judge(&state, at(6_000 + step * 200));
        }
        assert_eq!(sequence(), first + 1, "n1 is silent");
        assert_eq!(state.snapshot().node_statuses[&n1].silent_since, Some(at(4_000)));
        assert_eq!(state.snapshot().node_statuses[&n2].silent_since, None);
        let judged = hearing.judge(&state, at(7_000));
        assert_eq!(judged[&n1].verdict, Verdict::Suspect);
        assert_eq!(state.snapshot().verdict_on(&n1), Verdict::Suspect);
    }

    #[tokio::test]
    async fn a_node_that_is_lost_and_comes_back_leaves_an_event_of_each() {
        let (state, n1) = state();
        let judged = |verdict| BTreeMap::from([(n1.clone(), Judgement { verdict, held: false })]);
        for (before, after) in [
            (Verdict::Ready, Verdict::Suspect),
            (Verdict::Suspect, Verdict::Lost),
            (Verdict::Lost, Verdict::Ready),
        ] {
            leave_events(&state, &judged(before), &judged(after)).await;
        }
        let reasons: Vec<_> = state.snapshot().events.values().map(|event| event.reason.clone()).collect();
        assert_eq!(reasons, ["NodeLost", "NodeBack"]);
    }
}
