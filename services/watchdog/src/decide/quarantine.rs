//! A node on which replicas of several services fail that are healthy elsewhere: the fault is likely its
//! own, so it gets nothing new for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry_model::{NodeId, ServiceId, Timestamp};

use crate::memory::Memory;
use crate::verdict::{Conclusion, Verdict};
use crate::world::{Hearing, Presence, Roster, Snapshot};

/// So many replicas have to fail.
const REPLICAS: usize = 5;
/// Of so many services.
const SERVICES: usize = 2;
/// Within this time.
const WITHIN: Duration = Duration::from_mins(5);
/// After this time a node is trusted again.
pub const LASTS: Duration = Duration::from_mins(15);

/// A slot of a service.
type Slot = (ServiceId, u32);

/// Whose quarantine begins or ends.
pub fn verdicts(snapshot: &Snapshot, roster: &Roster<'_>, memory: &Memory, now: Timestamp) -> Vec<Verdict> {
    let verdict = |reason, message, node: &NodeId, begins| Verdict {
        revision: snapshot.revision,
        reason,
        message,
        conclusion: Conclusion::Quarantine { node: node.clone(), begins },
    };
    let mut verdicts = Vec::new();
    let mut any = memory.any_quarantine_is_under_way();
    for (node, hearing) in &snapshot.nodes {
        let Some(since) = hearing.quarantined_since else { continue };
        any = true;
        if now.since(since) >= LASTS && !memory.quarantine_is_under_way(node) {
            let message = format!("node {} is tried again after {} min", hearing.name, LASTS.as_secs() / 60);
            verdicts.push(verdict("QuarantineOver", message, node, false));
        }
    }
    if any {
        return verdicts;
    }
    let failures = failures(snapshot, now);
    let worst = failures
        .iter()
        .filter_map(|(node, slots)| {
            let hearing = snapshot.nodes.get(node).filter(|hearing| takes_new(hearing))?;
            let slots: BTreeSet<_> = slots
                .iter()
                .filter(|(service, _)| is_well_elsewhere(roster, &failures, node, service))
                .collect();
            let services = slots.iter().map(|(service, _)| service).collect::<BTreeSet<_>>().len();
            (slots.len() >= REPLICAS && services >= SERVICES).then_some((
                node,
                hearing,
                slots.len(),
                services,
            ))
        })
        // The first of those with the most.
        .min_by_key(|(_, _, slots, _)| std::cmp::Reverse(*slots));
    let others =
        |node: &NodeId| snapshot.nodes.iter().any(|(other, hearing)| other != node && takes_new(hearing));
    if let Some((node, hearing, slots, services)) = worst
        && others(node)
    {
        let message = format!(
            "{slots} replicas of {services} services failed on node {} within {} min, and those services are \
             healthy elsewhere; it gets nothing new for {} min",
            hearing.name,
            WITHIN.as_secs() / 60,
            LASTS.as_secs() / 60
        );
        verdicts.push(verdict("NodeFailing", message, node, true));
    }
    verdicts
}

/// Whether new replicas are placed there.
fn takes_new(hearing: &Hearing) -> bool {
    hearing.schedulable
        && hearing.quarantined_since.is_none()
        && hearing.presence == Presence::Ready
        && hearing.is_heard()
}

/// The slots that failed of late, by the node where they did.
fn failures(snapshot: &Snapshot, now: Timestamp) -> BTreeMap<NodeId, BTreeSet<Slot>> {
    let mut failures: BTreeMap<NodeId, BTreeSet<Slot>> = BTreeMap::new();
    let mut note = |node: &NodeId, slot: Slot| {
        failures.entry(node.clone()).or_default().insert(slot);
    };
    for (service, course) in &snapshot.services {
        for repair in course.repairs.iter().filter(|repair| now.since(repair.at) < WITHIN) {
            if let Some(node) = &repair.node {
                note(node, (service.clone(), repair.slot));
            }
        }
    }
    for case in snapshot.cases.values().filter(|case| case.wanted && case.is_broken()) {
        if let Some(node) = &case.node
            && now.since(case.ready_since) < WITHIN
        {
            note(node, (case.service.clone(), case.slot));
        }
    }
    failures
}

/// Whether a service serves on other nodes, and has not failed there of late.
fn is_well_elsewhere(
    roster: &Roster<'_>,
    failures: &BTreeMap<NodeId, BTreeSet<Slot>>,
    node: &NodeId,
    service: &ServiceId,
) -> bool {
    let serves = roster
        .wanted(service)
        .any(|case| case.ready && case.node.as_ref().is_some_and(|other| other != node));
    let fails = failures
        .iter()
        .any(|(other, slots)| other != node && slots.iter().any(|(failing, _)| failing == service));
    serves && !fails
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::sample::{World, at};
    use crate::world::{Condition, RepairKind};

    /// Two services with replicas on both nodes; those on n1 have failed.
    fn failing() -> World {
        let mut world = World::new().node("n1").node("n2").service("s/a", 6, &["n1", "n2"]).service(
            "s/b",
            4,
            &["n1", "n2"],
        );
        for (service, slots) in [("s/a", [1, 3, 5].as_slice()), ("s/b", &[1, 3])] {
            for slot in slots {
                world.condition(service, *slot, Condition::Unhealthy, 10);
            }
        }
        world
    }

    fn judged(world: &World, memory: &Memory, seconds: u64) -> Vec<Verdict> {
        verdicts(&world.snapshot, &world.snapshot.roster(), memory, at(seconds))
    }

    fn said(world: &World, seconds: u64) -> Vec<String> {
        judged(world, &Memory::default(), seconds).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_node_on_which_much_fails_that_is_well_elsewhere_is_quarantined() {
        let world = failing();
        let [only] = said(&world, 20).try_into().unwrap();
        assert!(
            only.starts_with("put node n1 into quarantine (NodeFailing: 5 replicas of 2 services"),
            "{only}"
        );
    }

    #[test]
    fn what_was_repaired_meanwhile_counts_and_what_is_long_ago_does_not() {
        let mut world = failing();
        world.condition("s/b", 3, Condition::Healthy, 15);
        assert_eq!(said(&world, 20).len(), 0);
        world.repaired("s/b", 3, RepairKind::Restart, 12, "Unhealthy");
        assert_eq!(said(&world, 20).len(), 1);
        assert_eq!(said(&world, 312).len(), 0);
    }

    #[test]
    fn what_fails_elsewhere_too_or_runs_nowhere_else_is_not_the_nodes_fault() {
        let mut world = failing();
        world.condition("s/a", 2, Condition::Unhealthy, 10);
        assert_eq!(said(&world, 20).len(), 0);
        let mut world = failing();
        for slot in [2, 4] {
            world.condition("s/b", slot, Condition::Starting, 10);
        }
        assert_eq!(said(&world, 20).len(), 0);
    }

    #[test]
    fn never_the_last_node_and_never_a_second_one() {
        let mut world = failing();
        world.hearing("n2").schedulable = false;
        assert_eq!(said(&world, 20).len(), 0);
        let mut world = failing().node("n3").node("n4");
        world.hearing("n3").quarantined_since = Some(at(0));
        assert_eq!(said(&world, 20).len(), 0);
        let mut memory = Memory::default();
        let world = failing();
        let first = judged(&world, &memory, 20);
        memory.sent(&first[0], at(20));
        assert_eq!(judged(&world, &memory, 21), []);
    }

    #[test]
    fn a_quarantine_ends() {
        let mut world = World::new().node("n1").node("n2");
        world.hearing("n1").quarantined_since = Some(at(0));
        assert_eq!(said(&world, 899).len(), 0);
        assert!(said(&world, 900)[0].starts_with("end the quarantine of node n1"));
    }
}
