//! What people are told of nodes, as events.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_boot::now;
use gantry_model::{NodeId, Severity, Snapshot, Timestamp, Verdict};

use super::Presence;
use crate::decide::lost::{LOST, SUSPECT};
use crate::decide::record_event;
use crate::state::State;

/// From so many times on a node that went silent and came back is one that comes and goes.
const FLAPPING: u32 = 2;
/// What is said of a node that is suspect, or comes and goes, is not said again within this time.
const TOLD_FOR: Duration = Duration::from_mins(5);

/// Whether people were told this of late.
fn was_told(snapshot: &Snapshot, subject: &str, reason: &str, now: Timestamp) -> bool {
    let mut late = snapshot.events.values().rev().take_while(|event| now.since(event.time) < TOLD_FOR);
    late.any(|event| event.subject == subject && event.reason == reason)
}

/// Tells people of nodes that are suspect, come and go, were lost or came back, and of those that are held for
/// all that.
pub async fn leave_events(
    state: &State,
    before: &BTreeMap<NodeId, Presence>,
    after: &BTreeMap<NodeId, Presence>,
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
            for (node, presence) in after {
                let Some(record) = snapshot.nodes.get(node) else { continue };
                let subject = format!("node:{}", record.name);
                let (was, flaps) = before.get(node).map_or((Verdict::Ready, 0), |was| (was.verdict, was.flaps));
                let is_new = |reason| !was_told(snapshot, &subject, reason, now());
                if presence.flaps > flaps && presence.flaps >= FLAPPING && is_new("NodeFlaps") {
                    let message = format!(
                        "node {} went silent and came back {} times of late; nothing new is placed there for a while",
                        record.name, presence.flaps
                    );
                    tell(&subject, Severity::Warning, "NodeFlaps", message);
                }
                if presence.verdict == Verdict::Lost && was != Verdict::Lost {
                    let message = format!(
                        "node {} is lost: neither its agent nor its proxy was heard for {} s",
                        record.name,
                        LOST.as_secs()
                    );
                    tell(&subject, Severity::Warning, "NodeLost", message);
                } else if was == Verdict::Lost && presence.verdict != Verdict::Lost {
                    tell(&subject, Severity::Normal, "NodeBack", format!("node {} is heard again", record.name));
                } else if was == Verdict::Ready
                    && presence.verdict == Verdict::Suspect
                    && presence.is_silent
                    && is_new("NodeSuspect")
                {
                    let message = format!(
                        "nothing was heard of node {}'s agent for {} s; nothing new is placed there",
                        record.name,
                        SUSPECT.as_secs()
                    );
                    tell(&subject, Severity::Warning, "NodeSuspect", message);
                }
            }
            let held = |all: &BTreeMap<_, Presence>| all.values().filter(|one| one.held).count();
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

    fn state() -> (State, NodeId) {
        let start = Timestamp::from_millis(1_000_000);
        let mut world = World::new(start).node("n1").node("n2");
        (world.snapshot.started_at, world.snapshot.revision) = (start, 0);
        (State::new(Box::new(gantry_store::Memory::default()), world.snapshot), NodeId::new("n1").unwrap())
    }

    fn told(state: &State) -> Vec<String> {
        state.snapshot().events.values().map(|event| event.reason.clone()).collect()
    }

    fn present(verdict: Verdict, is_silent: bool, flaps: u32) -> Presence {
        Presence { verdict, held: false, is_silent, flaps }
    }

    #[tokio::test]
    async fn a_node_that_is_lost_and_comes_back_leaves_an_event_of_each() {
        let (state, n1) = state();
        let all = |presence| BTreeMap::from([(n1.clone(), presence)]);
        let (ready, back) = (present(Verdict::Ready, false, 0), present(Verdict::Ready, false, 1));
        let (suspect, lost) = (present(Verdict::Suspect, true, 0), present(Verdict::Lost, true, 0));
        for (before, after) in [(ready, suspect), (suspect, lost), (lost, back)] {
            leave_events(&state, &all(before), &all(after)).await;
        }
        assert_eq!(told(&state), ["NodeSuspect", "NodeLost", "NodeBack"]);
    }

    #[tokio::test]
    async fn a_node_that_comes_and_goes_leaves_an_event_and_not_one_each_time() {
        let (state, n1) = state();
        let all = |presence| BTreeMap::from([(n1.clone(), presence)]);
        for flaps in 0..5 {
            let (ready, suspect) =
                (present(Verdict::Ready, false, flaps), present(Verdict::Suspect, true, flaps));
            let watched = present(Verdict::Suspect, false, flaps + 1);
            leave_events(&state, &all(ready), &all(suspect)).await;
            leave_events(&state, &all(suspect), &all(watched)).await;
        }
        assert_eq!(told(&state), ["NodeSuspect", "NodeFlaps"]);
        let snapshot = state.snapshot();
        let flaps = snapshot.events.values().next_back().unwrap();
        assert!(flaps.subject == "node:n1" && flaps.message.contains("came back 2 times"), "{flaps:?}");
    }
}
