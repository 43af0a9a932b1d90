//! Which node fetches which image from where. Pure.
//!
//! A node that has an image feeds a few others at a time, and each of those feeds others as soon as it has
//! the whole image: several nodes at once are fed as a tree, and no node's link carries all copies. The
//! tree is not kept anywhere. It follows from who has the image and who is fetching it from whom, which the
//! agents say again whenever it changes.

use std::collections::{BTreeMap, BTreeSet};

use gantry_api::node::v1::{ImageSource, Peer};
use gantry_model::{Goal, Node, NodeId, NodeStatus, Snapshot};

/// Nodes that one node feeds at a time.
pub const FAN_OUT: usize = 2;
/// Nodes that are named for an image: the one to fetch from, and others for when that fails.
const NAMED: usize = 3;

/// What the agent of `node` is told: where to get the images that it needs. An image that nobody has is
/// not among them.
pub fn image_sources(snapshot: &Snapshot, node: &NodeId) -> Vec<ImageSource> {
    let mut sources = Vec::new();
    for digest in needed(snapshot, node) {
        let holders: BTreeSet<NodeId> = holders(snapshot, &digest).filter(|holder| holder != node).collect();
        if holders.is_empty() {
            continue;
        }
        let (wanting, busy) = wanting(snapshot, &digest);
        let first = arrange(&holders, &wanting, &busy, FAN_OUT).remove(node);
        let others = holders.iter().filter(|holder| first.as_ref() != Some(*holder));
        let named = first.iter().chain(others).take(if first.is_some() { NAMED } else { 0 });
        let nodes = named.filter_map(|id| snapshot.nodes.get(id)).map(|node| peer(node)).collect();
        sources.push(ImageSource { digest, nodes });
    }
    sources
}

/// How one node reaches another's agent.
pub fn peer(node: &Node) -> Peer {
    Peer {
        node_id: node.id.to_string(),
        name: node.name.clone(),
        addresses: node.addresses.clone(),
        port: node.agent_port.into(),
    }
}

/// From whom each node that wants an image fetches it: `busy` says who is at it already and from whom.
/// A source feeds at most `fan_out` nodes at a time; who is not in the answer waits for its turn.
pub fn arrange(
    holders: &BTreeSet<NodeId>,
    wanting: &BTreeSet<NodeId>,
    busy: &BTreeMap<NodeId, NodeId>,
    fan_out: usize,
) -> BTreeMap<NodeId, NodeId> {
    let mut answer: BTreeMap<NodeId, NodeId> = busy
        .iter()
        .filter(|(node, source)| wanting.contains(*node) && holders.contains(*source))
        .map(|(node, source)| (node.clone(), source.clone()))
        .collect();
    let mut fed: BTreeMap<&NodeId, usize> = holders.iter().map(|holder| (holder, 0)).collect();
    for source in busy.values() {
        if let Some(count) = fed.get_mut(source) {
            *count += 1;
        }
    }
    for node in wanting.iter().filter(|node| !busy.contains_key(*node)) {
        // The least busy one; ties break by id.
        let free = fed.iter_mut().filter(|(_, count)| **count < fan_out).min_by_key(|(_, count)| **count);
        let Some((source, count)) = free else { break };
        *count += 1;
        answer.insert(node.clone(), (*source).clone());
    }
    answer
}

/// The images that a node is to run and has not said to have.
fn needed(snapshot: &Snapshot, node: &NodeId) -> BTreeSet<String> {
    let has = snapshot.node_statuses.get(node).map(|status| &status.images);
    snapshot
        .replicas_on(node)
        .filter(|replica| replica.goal == Goal::Run)
        .filter_map(|replica| snapshot.revision_of(replica)?.template.image_digest.as_ref())
        .filter(|digest| has.is_none_or(|has| !has.contains(*digest)))
        .cloned()
        .collect()
}

/// The connected nodes that have an image.
fn holders<'a>(snapshot: &'a Snapshot, digest: &'a str) -> impl Iterator<Item = NodeId> + 'a {
    let has = move |status: &NodeStatus| status.problem().is_none() && status.images.contains(digest);
    snapshot.node_statuses.iter().filter(move |(_, status)| has(status)).map(|(node, _)| node.clone())
}

/// The connected nodes that need an image, and those of them that fetch it already, with their sources.
fn wanting(snapshot: &Snapshot, digest: &str) -> (BTreeSet<NodeId>, BTreeMap<NodeId, NodeId>) {
    let (mut wanting, mut busy) = (BTreeSet::new(), BTreeMap::new());
    for (node, status) in &snapshot.node_statuses {
        if status.problem().is_some() || !needed(snapshot, node).contains(digest) {
            continue;
        }
        wanting.insert(node.clone());
        if let Some(copy) = status.copies.get(digest) {
            busy.insert(node.clone(), copy.from.clone());
        }
    }
    (wanting, busy)
}

#[cfg(test)]
mod tests {
    use gantry_model::{ImageCopy, Timestamp};
    use gantry_testkit::World;
    use proptest::prelude::*;

    use super::*;

    fn node(number: usize) -> NodeId {
        NodeId::new(format!("n{number:03}")).unwrap()
    }

    proptest! {
        #[test]
        fn no_node_feeds_more_than_it_may_and_everybody_has_it_after_a_few_rounds(
            holders in 1_usize..4, wanting in 0_usize..60, fan_out in 1_usize..4
        ) {
            let mut holders: BTreeSet<NodeId> = (0..holders).map(node).collect();
            let mut wanting: BTreeSet<NodeId> = (100..100 + wanting).map(node).collect();
            let mut rounds = 0;
            while !wanting.is_empty() {
                let fed = arrange(&holders, &wanting, &BTreeMap::new(), fan_out);
                for holder in &holders {
                    prop_assert!(fed.values().filter(|source| *source == holder).count() <= fan_out);
                }
                // Nobody waits while somebody could feed it.
                prop_assert_eq!(fed.len(), wanting.len().min(holders.len() * fan_out));
                for (node, source) in fed {
                    prop_assert!(holders.contains(&source) || wanting.contains(&node));
                    wanting.remove(&node);
                    holders.insert(node);
                }
                rounds += 1;
            }
            prop_assert!(rounds <= 6, "{} rounds: with every round at least twice as many have it", rounds);
        }

        #[test]
        fn who_has_begun_goes_on_with_its_source(
            busy in prop::collection::btree_map(100_usize..130, 0_usize..3, 0..20)
        ) {
            let holders: BTreeSet<NodeId> = (0..3).map(node).collect();
            let wanting: BTreeSet<NodeId> = (100..130).map(node).collect();
            let busy: BTreeMap<NodeId, NodeId> =
                busy.into_iter().map(|(to, from)| (node(to), node(from))).collect();
            let fed = arrange(&holders, &wanting, &busy, 2);
            for (to, from) in &busy {
                prop_assert_eq!(fed.get(to), Some(from));
            }
            for holder in &holders {
                let begun = busy.values().filter(|source| *source == holder).count();
                let all = fed.values().filter(|source| *source == holder).count();
                prop_assert!(all <= begun.max(2), "{} feeds {}", holder, all);
            }
        }
    }

    /// Three nodes run a service with an image of digest `sha256:1`; the first has it.
    fn world() -> World {
        let mut world = World::new(Timestamp::from_millis(1))
            .node("n1")
            .node("n2")
            .node("n3")
            .node("n4")
            .service("shop/web", |service| service.replicas(4));
        world.resolve_image("shop/web", "sha256:1");
        let plan = crate::decide::decide(&world.snapshot, world.now);
        world.commit(&plan.changes);
        world.change_node_status("n1", |status| {
            status.images.insert("sha256:1".into());
        });
        world
    }

    fn told(world: &World, node: &str) -> Vec<(String, Vec<String>)> {
        let sources = image_sources(&world.snapshot, &NodeId::new(node).unwrap());
        let ids = |source: ImageSource| source.nodes.into_iter().map(|peer| peer.node_id).collect();
        sources.into_iter().map(|source| (source.digest.clone(), ids(source))).collect()
    }

    fn entry(nodes: &[&str]) -> Vec<(String, Vec<String>)> {
        vec![("sha256:1".to_owned(), nodes.iter().map(ToString::to_string).collect())]
    }

    #[test]
    fn a_node_that_has_the_image_feeds_two_and_the_third_waits() {
        let world = world();
        assert_eq!(told(&world, "n1"), [], "it has the image");
        assert_eq!(told(&world, "n2"), entry(&["n1"]));
        assert_eq!(told(&world, "n3"), entry(&["n1"]));
        assert_eq!(told(&world, "n4"), entry(&[]), "it waits");
    }

    #[test]
    fn a_node_that_has_finished_becomes_a_source() {
        let mut world = world();
        let copy = ImageCopy { from: NodeId::new("n1").unwrap(), done: 1, total: 2 };
        world.change_node_status("n3", |status| drop(status.copies.insert("sha256:1".into(), copy)));
        world.change_node_status("n2", |status| {
            status.images.insert("sha256:1".into());
        });
        assert_eq!(told(&world, "n2"), []);
        assert_eq!(told(&world, "n3"), entry(&["n1", "n2"]), "it goes on where it began");
        assert_eq!(told(&world, "n4"), entry(&["n2", "n1"]), "the one that feeds nobody comes first");
    }

    #[test]
    fn an_image_that_nobody_reachable_has_is_not_to_be_fetched() {
        let mut world = world();
        world.disconnect("n1");
        assert_eq!(told(&world, "n2"), []);
    }
}
