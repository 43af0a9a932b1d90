//! The ways between nodes, as their agents find them: which are broken, and which are well again.

use std::collections::BTreeSet;

use gantry_api::node::v1 as wire;
use gantry_boot::now;
use gantry_model::{BrokenPath, Change, NodeId, Severity, Snapshot, Timestamp};

use crate::decide::record_event;
use crate::state::State;

/// Paths that are kept of one node: what is told is bounded, whoever tells it.
const KEPT: usize = 1024;

/// Reads what an agent tells; what cannot be read is left out.
pub fn read(paths: &[wire::BrokenPath]) -> BTreeSet<BrokenPath> {
    let read = paths.iter().take(KEPT).filter_map(|path| {
        Some(BrokenPath {
            node: NodeId::new(&path.node_id).ok()?,
            network: path.network.clone(),
            only_large: path.lost() == wire::Lost::Large,
        })
    });
    read.collect()
}

/// Leaves an event for each node that is not reached any more, or is reached again.
pub async fn tell(
    state: &State,
    node: &NodeId,
    before: &BTreeSet<BrokenPath>,
    broken: &BTreeSet<BrokenPath>,
) {
    let stored = state
        .commit::<_, gantry_store::Error>(|snapshot| Ok((events(snapshot, now(), node, before, broken), ())))
        .await;
    if let Err(error) = stored {
        tracing::error!(error = gantry_boot::chain(&error), "cannot store which paths are broken");
    }
}

fn events(
    snapshot: &Snapshot,
    now: Timestamp,
    node: &NodeId,
    before: &BTreeSet<BrokenPath>,
    broken: &BTreeSet<BrokenPath>,
) -> Vec<Change> {
    let name = |id: &NodeId| snapshot.nodes.get(id).map_or_else(|| id.to_string(), |node| node.name.clone());
    let to = |paths: &BTreeSet<BrokenPath>| -> BTreeSet<NodeId> {
        paths.iter().map(|path| path.node.clone()).collect()
    };
    let (was, is) = (to(before), to(broken));
    let subject = format!("node:{}", name(node));
    let mut working = snapshot.clone();
    let mut changes = Vec::new();
    let mut event = |severity, reason, message| {
        let event = record_event(&working, now, severity, &subject, None, reason, message);
        for change in &event {
            working.apply(change);
        }
        changes.extend(event);
    };
    for other in is.difference(&was) {
        // A node that is gone itself is said to be gone; that nobody reaches it goes without saying.
        let there = snapshot.node_statuses.get(other).is_some_and(|status| status.connected);
        if there {
            let mut over = broken.iter().filter(|path| path.node == *other);
            let networks: Vec<&str> = over.clone().map(|path| path.network.as_str()).collect();
            let what = if over.all(|path| path.only_large) {
                "large packets do not reach"
            } else {
                "does not reach"
            };
            let message = format!("{what} {} over the networks {}", name(other), networks.join(", "));
            event(Severity::Warning, "PathBroken", message);
        }
    }
    for other in was.difference(&is).filter(|other| snapshot.nodes.contains_key(*other)) {
        event(Severity::Normal, "PathHealed", format!("reaches {} over all their networks", name(other)));
    }
    changes
}

#[cfg(test)]
mod tests {
    use gantry_model::Record;
    use gantry_testkit::World;

    use super::*;

    fn id(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn broken(paths: &[(&str, &str)]) -> BTreeSet<BrokenPath> {
        let path = |(node, network): &(&str, &str)| BrokenPath {
            node: id(node),
            network: (*network).to_owned(),
            only_large: false,
        };
        paths.iter().map(path).collect()
    }

    fn messages(world: &World, before: &[(&str, &str)], after: &[(&str, &str)]) -> Vec<String> {
        let changes = events(&world.snapshot, world.now, &id("n1"), &broken(before), &broken(after));
        let message = |change: &Change| match change {
            Change::Put(Record::Event(event)) => Some(format!("{} {}", event.reason, event.message)),
            _ => None,
        };
        changes.iter().filter_map(message).collect()
    }

    #[test]
    fn a_path_that_breaks_and_heals_is_told_once_each() {
        let world = World::new(Timestamp::from_millis(1)).node("n1").node("n2");
        let both = [("n2", "shop_back"), ("n2", "shop_default")];
        assert_eq!(
            messages(&world, &[], &both),
            ["PathBroken does not reach n2 over the networks shop_back, shop_default"]
        );
        assert!(messages(&world, &both[..1], &both).is_empty(), "that is known");
        assert_eq!(messages(&world, &both, &[]), ["PathHealed reaches n2 over all their networks"]);
    }

    #[test]
    fn nobody_is_told_that_a_node_which_is_gone_is_not_reached() {
        let mut world = World::new(Timestamp::from_millis(1)).node("n1").node("n2");
        world.disconnect("n2");
        assert!(messages(&world, &[], &[("n2", "shop_default")]).is_empty());
    }

    #[test]
    fn what_an_agent_tells_is_bounded() {
        let path = |number: usize| wire::BrokenPath {
            network: format!("n{number}"),
            node_id: "n2".into(),
            lost: wire::Lost::Large.into(),
        };
        let many: Vec<_> = (0..2 * KEPT).map(path).collect();
        let read = read(&many);
        assert_eq!(read.len(), KEPT);
        assert!(read.iter().all(|path| path.only_large));
        assert!(super::read(&[wire::BrokenPath::default()]).is_empty(), "no such node");
    }
}
