//! Which nodes are there: the simple rule, on what was heard of them.
//!
//! A node that is silent for a while gets nothing new; one of which neither the agent nor the proxy is
//! heard for longer is lost, and what it ran is replaced. The guards are what matters: a scheduler that
//! has just started, or that is cut off itself, must not take its own trouble for that of the nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_model::{NodeId, NodeStatus, Snapshot, Timestamp, Verdict};

/// A node that is silent for this long gets nothing new.
pub const SUSPECT: Duration = Duration::from_secs(3);
/// A node of which nothing is heard for this long is lost.
pub const LOST: Duration = Duration::from_secs(6);
/// For how long an agent that could not renew its lease may still run an exclusive service.
pub const LEASE: Duration = Duration::from_secs(10);
/// A restart that was announced may take this long.
const ANNOUNCED: Duration = Duration::from_mins(1);
/// From so many nodes on, more than half of them do not go at once by chance.
const MANY: usize = 3;
/// A node that was steady for this long has not come and gone of late.
const STEADY: Duration = Duration::from_mins(10);
/// How long a node is watched after it came back for the second time; twice as long every further time.
const WATCHED: Duration = Duration::from_secs(5);
const WATCHED_LONGEST: Duration = Duration::from_mins(5);

/// What is concluded of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// The conclusion.
    pub verdict: Verdict,
    /// It would be lost, had not more than half of the nodes gone at once.
    pub held: bool,
}

/// What is concluded of every node.
pub fn judge(snapshot: &Snapshot, now: Timestamp) -> BTreeMap<NodeId, Judgement> {
    let unknown = NodeStatus { silent_since: Some(snapshot.started_at), ..NodeStatus::default() };
    let status = |node| snapshot.node_statuses.get(node).map_or(&unknown, AsRef::as_ref);
    let mut silences: Vec<Timestamp> =
        snapshot.nodes.keys().filter_map(|node| status(node).silent_since).collect();
    silences.sort_unstable();
    let nodes = snapshot.nodes.keys().map(|node| {
        let verdict = judge_one(status(node), now);
        let held = verdict == Verdict::Lost
            && status(node)
                .silent_since
                .is_some_and(|since| most_went(&silences, since, snapshot.nodes.size()));
        let verdict = if held { Verdict::Suspect } else { verdict };
        (node.clone(), Judgement { verdict, held })
    });
    nodes.collect()
}

fn judge_one(status: &NodeStatus, now: Timestamp) -> Verdict {
    let Some(since) = status.silent_since else {
        let watched = status.returned_at.is_some_and(|back| now.since(back) < watched_for(status.flaps));
        return if watched { Verdict::Suspect } else { Verdict::Ready };
    };
    let silent = now.since(since);
    let announced = status.restarting_since.is_some_and(|since| now.since(since) < ANNOUNCED);
    if silent >= LOST && !status.connected && !status.proxy_heard && !announced {
        Verdict::Lost
    } else if silent >= SUSPECT {
        Verdict::Suspect
    } else {
        Verdict::Ready
    }
}

/// Whether more than half of the nodes that were there went silent when this one did.
fn most_went(silences: &[Timestamp], since: Timestamp, nodes: usize) -> bool {
    let before = silences.partition_point(|other| since.since(*other) > LOST);
    let until = silences.partition_point(|other| *other <= since.after(LOST));
    let were_there = nodes - before;
    were_there >= MANY && (until - before) * 2 > were_there
}

fn watched_for(flaps: u32) -> Duration {
    match flaps.checked_sub(2) {
        None => Duration::ZERO,
        Some(more) => WATCHED.saturating_mul(1 << more.min(10)).min(WATCHED_LONGEST),
    }
}

/// Notes that a node's agent has opened a session.
pub fn connected(status: &mut NodeStatus, now: Timestamp) {
    if status.silent_since.is_some() && status.verdict != Verdict::Ready {
        let steady = status.returned_at.is_none_or(|back| now.since(back) >= STEADY);
        status.flaps = if steady { 1 } else { status.flaps.saturating_add(1) };
        status.returned_at = Some(now);
    }
    *status = NodeStatus {
        connected: true,
        since: now,
        // Until it says otherwise, its network is as it was: names depend on that.
        network_error: status.network_error.take(),
        overlay_error: status.overlay_error.take(),
        broken_paths: std::mem::take(&mut status.broken_paths),
        proxy_heard: status.proxy_heard,
        flaps: status.flaps,
        returned_at: status.returned_at,
        verdict: status.verdict,
        ..NodeStatus::default()
    };
}

/// Notes that the session of a node's agent has ended.
pub fn disconnected(status: &mut NodeStatus, now: Timestamp) {
    (status.connected, status.reported, status.since) = (false, false, now);
    (status.engine_error, status.refused) = (None, None);
}

#[cfg(test)]
mod tests {
    use gantry_testkit::World;
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    fn world(nodes: usize) -> World {
        let mut world = World::new(START);
        for node in 1..=nodes {
            world = world.node(&format!("n{node}"));
        }
        world.snapshot.started_at = START;
        world
    }

    fn silent(world: &mut World, node: &str, since: Duration) {
        world.change_node_status(node, |status| {
            (status.silent_since, status.connected) = (Some(START.after(since)), false);
        });
    }

    fn after(world: &World, time: Duration) -> Vec<Verdict> {
        judge(&world.snapshot, START.after(time)).values().map(|judgement| judgement.verdict).collect()
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    use Verdict::{Lost, Ready, Suspect};

    #[test]
    fn a_silent_node_is_suspect_and_then_lost() {
        let mut world = world(3);
        silent(&mut world, "n2", ms(0));
        assert_eq!(after(&world, ms(2_900)), [Ready, Ready, Ready]);
        assert_eq!(after(&world, ms(3_000)), [Ready, Suspect, Ready]);
        assert_eq!(after(&world, ms(5_900)), [Ready, Suspect, Ready]);
        assert_eq!(after(&world, ms(6_000)), [Ready, Lost, Ready]);
    }

    #[test]
    fn a_node_is_not_lost_while_its_session_or_its_proxy_is_there() {
        let mut world = world(1);
        silent(&mut world, "n1", ms(0));
        world.change_node_status("n1", |status| status.connected = true);
        assert_eq!(after(&world, ms(60_000)), [Suspect]);
        world.change_node_status("n1", |status| (status.connected, status.proxy_heard) = (false, true));
        assert_eq!(after(&world, ms(60_000)), [Suspect]);
        world.change_node_status("n1", |status| status.proxy_heard = false);
        assert_eq!(after(&world, ms(60_000)), [Lost]);
    }

    #[test]
    fn when_most_nodes_go_at_once_none_is_lost() {
        let mut world = world(5);
        for (node, since) in [("n1", 0), ("n2", 1_000), ("n3", 4_000)] {
            silent(&mut world, node, ms(since));
        }
        assert_eq!(after(&world, ms(60_000)), [Suspect, Suspect, Suspect, Ready, Ready]);
        assert!(judge(&world.snapshot, START.after(ms(60_000)))[&NodeId::new("n1").unwrap()].held);
        // One of them comes back: the others were on their own.
        world.change_node_status("n3", |status| (status.silent_since, status.connected) = (None, true));
        assert_eq!(after(&world, ms(60_000)), [Lost, Lost, Ready, Ready, Ready]);
    }

    #[test]
    fn nodes_that_go_one_after_the_other_are_lost() {
        let mut world = world(3);
        silent(&mut world, "n1", ms(0));
        silent(&mut world, "n2", ms(60_000));
        assert_eq!(after(&world, ms(70_000)), [Lost, Lost, Ready], "two were there when n2 went");
        silent(&mut world, "n3", ms(61_000));
        assert_eq!(after(&world, ms(90_000)), [Lost, Lost, Lost]);
    }

    #[test]
    fn of_two_nodes_one_can_be_lost() {
        let mut world = world(2);
        silent(&mut world, "n1", ms(0));
        assert_eq!(after(&world, ms(6_000)), [Lost, Ready]);
    }

    #[test]
    fn a_scheduler_that_has_just_started_waits_before_it_concludes() {
        let mut world = world(3);
        world.snapshot.node_statuses.remove_mut(&NodeId::new("n3").unwrap());
        assert_eq!(after(&world, ms(5_900)), [Ready, Ready, Suspect]);
        assert_eq!(after(&world, ms(6_000)), [Ready, Ready, Lost]);
        world.snapshot.node_statuses.remove_mut(&NodeId::new("n2").unwrap());
        assert_eq!(after(&world, ms(60_000)), [Ready, Suspect, Suspect], "more likely it is this side");
    }

    #[test]
    fn a_restart_that_was_announced_has_its_time() {
        let mut world = world(1);
        silent(&mut world, "n1", ms(0));
        world.change_node_status("n1", |status| status.restarting_since = Some(START));
        assert_eq!(after(&world, ms(59_000)), [Suspect]);
        assert_eq!(after(&world, ms(60_000)), [Lost]);
    }

    #[test]
    fn a_node_that_comes_and_goes_is_watched_longer_every_time() {
        let mut world = world(1);
        for (returned, trusted) in [(10_000, 10_000), (20_000, 25_000), (30_000, 40_000)] {
            world.change_node_status("n1", |status| {
                (status.silent_since, status.verdict) = (Some(START), Suspect);
                connected(status, START.after(ms(returned)));
            });
            if trusted > returned {
                assert_eq!(after(&world, ms(trusted - 1)), [Suspect]);
            }
            assert_eq!(after(&world, ms(trusted)), [Ready]);
        }
        world.change_node_status("n1", |status| {
            (status.silent_since, status.verdict) = (Some(START), Lost);
            connected(status, START.after(ms(30_000) + STEADY));
            assert_eq!(status.flaps, 1, "that was long ago");
        });
    }

    proptest! {
        /// However nodes go silent: of those that were there within one lost time of each other, never
        /// more than half are judged to be lost.
        #[test]
        fn never_more_than_half_at_once(
            since in prop::collection::vec(prop::option::of(0..40_000_u64), 3..12),
            at in 0..60_000_u64,
        ) {
            let mut world = world(since.len());
            for (node, since) in since.iter().enumerate() {
                if let Some(since) = since {
                    silent(&mut world, &format!("n{}", node + 1), ms(*since));
                }
            }
            let now = START.after(ms(at));
            let judged = judge(&world.snapshot, now);
            for (node, _) in judged.iter().filter(|(_, judgement)| judgement.verdict == Lost) {
                let own = world.snapshot.node_statuses[node].silent_since.unwrap();
                prop_assert!(now.since(own) >= LOST);
                let others: Vec<_> = world.snapshot.node_statuses.values().map(|status| status.silent_since).collect();
                let there = others.iter().filter(|other| other.is_none_or(|other| own.since(other) <= LOST)).count();
                let with = others.iter().flatten().filter(|other| own.since(**other) <= LOST && other.since(own) <= LOST).count();
                prop_assert!(there < MANY || with * 2 <= there, "{with} of {there}");
            }
        }
    }
}
