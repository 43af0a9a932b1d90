//! What is wrong with a node that runs all the same, in words for people.

use std::collections::BTreeMap;

use super::View;
use crate::ids::NodeId;
use crate::node::Node;
use crate::status::{BrokenPath, NodeStatus};

impl View<'_> {
    /// Everything that people are to know of.
    pub(super) fn all_conditions(self, node: &Node) -> Vec<String> {
        let disks = self.full_disks(node);
        quarantine(node).into_iter().chain(self.conditions(node)).chain(disks).collect()
    }

    /// Which of its disks are nearly full.
    pub(super) fn full_disks(self, node: &Node) -> Vec<String> {
        let Some(status) = self.0.node_statuses.get(&node.id) else { return Vec::new() };
        let line = |(owner, used): (&String, &u32)| {
            let keeps = match owner.as_str() {
                "engine" => "the engine keeps images, containers and volumes",
                _ => "the agent keeps what it has to remember",
            };
            format!("the disk where {keeps} is {used}% full")
        };
        status.full_disks.iter().map(line).collect()
    }

    /// What is wrong with a node's networks.
    pub(super) fn conditions(self, node: &Node) -> Vec<String> {
        let Some(status) = self.0.node_statuses.get(&node.id) else { return Vec::new() };
        let overlay = status
            .overlay_error
            .iter()
            .map(|error| format!("its networks cannot be joined to those of other nodes: {error}"));
        self.network_problem(node).into_iter().chain(overlay).chain(self.broken_paths(status)).collect()
    }

    /// One line for each node that is not reached; of one that is gone itself that goes without saying.
    fn broken_paths(self, status: &NodeStatus) -> Vec<String> {
        let mut by_node: BTreeMap<(&NodeId, bool), Vec<&str>> = BTreeMap::new();
        let is_there =
            |path: &&BrokenPath| self.0.node_statuses.get(&path.node).is_some_and(|status| status.connected);
        for path in status.broken_paths.iter().filter(is_there) {
            by_node.entry((&path.node, path.only_large)).or_default().push(&path.network);
        }
        let lines = by_node.into_iter().map(|((node, only_large), networks)| {
            let name = self.0.nodes.get(node).map_or(node.as_str(), |node| node.name.as_str());
            if only_large {
                format!(
                    "packets of {} bytes are lost on the way to {name} (networks {}): is its link narrower?",
                    self.0.cluster.mtu,
                    networks.join(", ")
                )
            } else {
                format!("does not reach {name} over the networks {}", networks.join(", "))
            }
        });
        lines.collect()
    }

    pub(super) fn network_problem(self, node: &Node) -> Option<String> {
        if let Some(error) = &self.0.node_statuses.get(&node.id)?.network_error {
            return Some(format!("service addresses do not work there: {error}"));
        }
        let mut proxies = self.0.proxies.values().filter(|proxy| proxy.node == node.id);
        let problem = proxies.find_map(|proxy| self.0.proxy_problems.get(&proxy.instance)?.first());
        problem.map(|problem| format!("its proxy: {problem}"))
    }
}

/// What people see of a node in quarantine.
fn quarantine(node: &Node) -> Option<String> {
    let since = node.quarantined_since?;
    Some(format!("in quarantine since {since}: too much failed there, and it gets nothing new"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::snapshot::Snapshot;
    use crate::{Change, Cluster, Record, Timestamp};

    #[test]
    fn a_node_shows_whom_it_does_not_reach_as_long_as_that_one_is_there() {
        let cluster: Cluster = serde_json::from_str(
            r#"{"id": "c1", "name": "test", "epoch": 1, "terms": [], "pool": "10.192.0.0/11", "prefix": 19,
                "mtu": 1450, "created_at": 0}"#,
        )
        .unwrap();
        let mut snapshot = Snapshot::new(cluster, Timestamp::default());
        for name in ["n1", "n2"] {
            let node = Node {
                id: NodeId::new(name).unwrap(),
                name: name.to_uppercase(),
                addresses: Vec::new(),
                agent_port: 7071,
                labels: Default::default(),
                availability: Default::default(),
                quarantined_since: None,
                role: Default::default(),
                host: Default::default(),
                joined_at: Timestamp::default(),
            };
            snapshot.apply(&Change::Put(Record::Node(Arc::new(node))));
        }
        let path = |network: &str, only_large| BrokenPath {
            node: NodeId::new("n2").unwrap(),
            network: network.into(),
            only_large,
        };
        let broken_paths = [path("a", false), path("b", false), path("c", true)].into();
        let full_disks = [("engine".to_owned(), 96)].into();
        let status =
            NodeStatus { connected: true, reported: true, broken_paths, full_disks, ..NodeStatus::default() };
        snapshot.node_statuses.insert_mut(NodeId::new("n1").unwrap(), Arc::new(status));
        let shown = |snapshot: &Snapshot| View(snapshot).node(&snapshot.nodes[&NodeId::new("n1").unwrap()]);
        let full = "the disk where the engine keeps images, containers and volumes is 96% full";
        assert_eq!(shown(&snapshot).conditions, [full], "n2 is not there");

        let there = NodeStatus { connected: true, ..NodeStatus::default() };
        snapshot.node_statuses.insert_mut(NodeId::new("n2").unwrap(), Arc::new(there));
        let node = shown(&snapshot);
        assert!(node.ready);
        assert_eq!(
            node.conditions,
            [
                "does not reach N2 over the networks a, b",
                "packets of 1450 bytes are lost on the way to N2 (networks c): is its link narrower?",
                full,
            ]
        );
    }
}
