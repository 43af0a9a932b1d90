//! A node that is not needed: all that runs would have room on the others, and much of it. It is only said:
//! who has nodes to give back decides that.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_model::{Availability, Node, NodeId, NodeRole, Replica, Severity, Snapshot, Timestamp};

use super::seen::Measured;
use super::told::Note;
use crate::decide::Elsewhere;

/// It is looked for at most this often.
const EVERY: Duration = Duration::from_mins(1);
/// Of what the others have, so much may be needed at most.
const SHARE: f64 = 0.5;
/// It must have been so for this long: load comes and goes.
const SETTLED: Duration = Duration::from_mins(30);
/// The same node is named again after this time.
const AGAIN: Duration = Duration::from_hours(24);

/// What is remembered of the node that is not needed.
#[derive(Debug, Default)]
pub struct Spare {
    looked: Option<Timestamp>,
    candidate: Option<(NodeId, Timestamp)>,
    /// When each node was last named. Those of more than a day ago are forgotten.
    told: BTreeMap<NodeId, Timestamp>,
}

impl Spare {
    /// What people are to be told at `now`, and about which node.
    pub fn of(&mut self, snapshot: &Snapshot, measured: &Measured, now: Timestamp) -> Option<(String, Note)> {
        if self.looked.is_some_and(|looked| now.since(looked) < EVERY) {
            return None;
        }
        self.looked = Some(now);
        let found = find(snapshot, measured);
        let since = match (&found, &self.candidate) {
            (Some((node, _)), Some((known, since))) if node.id == *known => *since,
            _ => now,
        };
        self.candidate = found.as_ref().map(|(node, _)| (node.id.clone(), since));
        let (node, message) = found?;
        self.told.retain(|node, told| now.since(*told) < AGAIN && snapshot.nodes.contains_key(node));
        if now.since(since) < SETTLED || self.told.contains_key(&node.id) {
            return None;
        }
        self.told.insert(node.id.clone(), now);
        let note = Note { severity: Severity::Normal, reason: "NodeNotNeeded", message };
        Some((format!("node:{}", node.name), note))
    }
}

/// What replicas need: cores and bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Need {
    cores: f64,
    bytes: f64,
}

impl Need {
    fn add(&mut self, other: Self) {
        self.cores += other.cores;
        self.bytes += other.bytes;
    }
}

/// The node with the fewest replicas of those that can go, and why it can. `None` also where it is not known what
/// some replica needs.
fn find<'a>(snapshot: &'a Snapshot, measured: &Measured) -> Option<(&'a Node, String)> {
    let usable: Vec<&Node> = snapshot
        .nodes
        .values()
        .map(AsRef::as_ref)
        .filter(|node| node.availability == Availability::Active && node.quarantined_since.is_none())
        .filter(|node| snapshot.node_statuses.get(&node.id).is_some_and(|status| status.problem().is_none()))
        .collect();
    if usable.len() < 2 || usable.len() < snapshot.nodes.size() {
        return None;
    }
    let mut all = Need::default();
    for replica in snapshot.replicas.values() {
        replica.node.as_ref()?;
        all.add(need(snapshot, replica, measured)?);
    }
    let elsewhere = Elsewhere::new(snapshot);
    let can_go =
        |replica: &Replica| snapshot.pinned_by(replica).is_none() && elsewhere.has_place_for(replica);
    let free = usable.iter().filter(|node| {
        node.role != NodeRole::Manager && snapshot.replicas_on(&node.id).all(|replica| can_go(replica))
    });
    let node: &Node = free.min_by_key(|node| snapshot.replicas_on(&node.id).count())?;
    let mut others = Need::default();
    for other in usable.iter().filter(|other| other.id != node.id) {
        others.add(capacity(other));
    }
    let (cores, bytes) = (all.cores / others.cores, all.bytes / others.bytes);
    // Without any load there is nothing to go by, as after an installation.
    let is_spare = snapshot.replicas.size() > 0 && cores <= SHARE && bytes <= SHARE;
    is_spare.then(|| {
        let name = &node.name;
        let message = format!(
            "{name} is not needed now: all that runs needs {:.0}% of the processor time and {:.0}% of the memory of \
             the other nodes; `gantry node drain {name}` empties it",
            cores * 100.0,
            bytes * 100.0
        );
        (node, message)
    })
}

/// What it reserves, or uses where that is more; `None` where neither is known.
fn need(snapshot: &Snapshot, replica: &Replica, measured: &Measured) -> Option<Need> {
    let resources = &snapshot.revision_of(replica)?.template.container.resources;
    let used = measured.usage.get(&replica.id);
    let larger = |reserved: Option<f64>, used: Option<f64>| match (reserved, used) {
        (Some(reserved), Some(used)) => Some(reserved.max(used)),
        (reserved, used) => reserved.or(used),
    };
    #[allow(clippy::cast_precision_loss)] // The last bytes do not matter.
    let (cores, bytes) = (
        resources.reserved_nano_cpus.map(|nano| nano as f64 / 1e9),
        resources.reserved_memory.map(|bytes| bytes as f64),
    );
    #[allow(clippy::cast_precision_loss)] // The last bytes do not matter.
    let used_bytes = used.and_then(|used| used.memory_bytes).map(|bytes| bytes as f64);
    Some(Need {
        cores: larger(cores, used.map(|used| f64::from(used.cpu_millicores) / 1_000.0))?,
        bytes: larger(bytes, used_bytes)?,
    })
}

fn capacity(node: &Node) -> Need {
    #[allow(clippy::cast_precision_loss)] // The last bytes do not matter.
    let bytes = node.host.memory as f64;
    Need { cores: f64::from(node.host.cpus), bytes }
}

#[cfg(test)]
mod tests {
    use gantry_testkit::World;

    use super::*;
    use crate::decide::decide;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    /// Three nodes of 4 cores and 8 GiB.
    fn world(replicas: u32, nano_cpus: i64) -> World {
        let world = World::new(NOW).node("n1").node("n2").node("n3");
        let mut world = world.service("shop/web", |web| {
            web.replicas(replicas).reserve(nano_cpus).container(|container| {
                container.resources.reserved_memory = Some(64 << 20);
            })
        });
        for _ in 0..5 {
            let plan = decide(&world.snapshot, world.now);
            world.commit(&plan.changes);
            world.run_all();
        }
        world
    }

    fn said(world: &World, minutes: u64) -> Vec<(String, Note)> {
        let mut spare = Spare::default();
        (0..minutes)
            .filter_map(|minute| {
                let now = world.now.after(Duration::from_mins(minute));
                spare.of(&world.snapshot, &Measured::default(), now)
            })
            .collect()
    }

    #[test]
    fn a_node_without_which_there_is_much_room_is_named_after_a_while_and_once_a_day() {
        let world = world(4, 500_000_000);
        assert!(said(&world, 30).is_empty());
        let said = said(&world, 26 * 60);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].1.message.contains("needs 25% of the processor time"), "{}", said[0].1.message);
        assert!(said[0].0.starts_with("node:n"));
    }

    #[test]
    fn no_node_is_named_that_runs_the_scheduler_or_what_can_run_nowhere_else() {
        let mut managers = world(4, 500_000_000);
        for name in ["n1", "n3"] {
            managers.change_node(name, |node| node.role = NodeRole::Manager);
        }
        assert_eq!(said(&managers, 60)[0].0, "node:n2");
        managers.change_node("n2", |node| node.role = NodeRole::Manager);
        assert!(said(&managers, 60).is_empty());

        let mut bound = world(3, 500_000_000).label("n2", "disk", "fast").label("n3", "disk", "fast");
        bound.change_service("shop/web", |web| {
            web.spec.placement.constraints = vec!["node.labels.disk == fast".parse().unwrap()];
        });
        bound.change_node("n3", |node| node.role = NodeRole::Manager);
        assert_eq!(said(&bound, 60)[0].0, "node:n1", "what is on n1 finds a place on the others");
        bound.change_node("n1", |node| node.role = NodeRole::Manager);
        assert_eq!(said(&bound, 60)[0].0, "node:n2", "n3 has the label, too");
        bound.change_node("n3", |node| node.labels.clear());
        assert!(said(&bound, 60).is_empty(), "what is on n2 can run nowhere else");
    }

    #[test]
    fn when_a_node_was_named_is_remembered_for_each() {
        let mut world = world(4, 500_000_000);
        let mut spare = Spare::default();
        let mut named = Vec::new();
        for minute in 0..120 {
            // By turns only one of them can go, an hour each.
            let (keeps, goes) = if minute < 60 { ("n2", "n3") } else { ("n3", "n2") };
            for (name, role) in
                [("n1", NodeRole::Manager), (keeps, NodeRole::Manager), (goes, NodeRole::Worker)]
            {
                world.change_node(name, |node| node.role = role);
            }
            let now = world.now.after(Duration::from_mins(minute));
            named.extend(spare.of(&world.snapshot, &Measured::default(), now).map(|(node, _)| node));
        }
        assert_eq!(named, ["node:n3", "node:n2"]);
    }

    #[test]
    fn no_node_is_named_that_is_needed_or_of_which_too_little_is_known() {
        assert!(said(&world(9, 500_000_000), 60).is_empty(), "more than half of the others is needed");
        let mut unknown = world(4, 500_000_000);
        unknown = unknown.service("shop/other", |other| other);
        let plan = decide(&unknown.snapshot, unknown.now);
        unknown.commit(&plan.changes);
        assert!(said(&unknown, 60).is_empty(), "nobody knows what the other one needs");
        let mut cut = world(4, 500_000_000);
        cut.disconnect("n2");
        assert!(said(&cut, 60).is_empty(), "a node that is gone may be missed");
    }
}
