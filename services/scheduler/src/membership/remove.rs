//! The end of a membership. Pure.

use std::sync::Arc;

use gantry_model::{Change, Denied, Key, Node, NodeId, Record, Severity, Snapshot, Timestamp};

use crate::decide::{Action, record_event};

/// Why a node is not removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRemoved {
    /// Its agent is there.
    #[error("node {0} is connected: run `gantry leave` there, or remove it all the same with --force")]
    Connected(String),
    /// It has replicas.
    #[error(
        "node {name} still has {replicas} replicas: drain it with `gantry node drain {name}`, or remove it all the same with --force"
    )]
    Replicas {
        /// The node.
        name: String,
        /// How many.
        replicas: usize,
    },
    /// Volumes of stacks lie there.
    #[error(
        "the volumes {volumes} lie on node {name}: what is in them is lost with it; --force removes it all the same"
    )]
    Volumes {
        /// The node.
        name: String,
        /// Which.
        volumes: String,
    },
}

/// Refuses the certificates of a node from now on.
pub fn revoke(node: &Node, until: Timestamp, now: Timestamp) -> Change {
    Change::Put(Record::Denied(Arc::new(Denied {
        holder: format!("node/{}", node.id),
        name: node.name.clone(),
        since: now,
        until,
    })))
}

/// Why `node` cannot be removed just like that.
pub fn objection(snapshot: &Snapshot, node: &Node) -> Option<NotRemoved> {
    let name = node.name.clone();
    let replicas = snapshot.replicas_on(&node.id).count();
    if replicas > 0 {
        return Some(NotRemoved::Replicas { name, replicas });
    }
    let volumes: Vec<String> = snapshot
        .volumes
        .values()
        .filter(|volume| volume.node.as_ref() == Some(&node.id))
        .map(|volume| format!("{}/{}", volume.stack, volume.key))
        .collect();
    (!volumes.is_empty()).then(|| NotRemoved::Volumes { name, volumes: volumes.join(", ") })
}

/// Removes `node` and all that was said of it; its replicas are made anew elsewhere. Its certificates are
/// refused until `until`, when the last of them has expired. `why` is for people.
pub fn removal(
    snapshot: &Snapshot,
    node: &NodeId,
    until: Timestamp,
    now: Timestamp,
    why: &str,
) -> Vec<Change> {
    let Some(node) = snapshot.nodes.get(node) else { return Vec::new() };
    let mut working = snapshot.clone();
    let mut changes = Vec::new();
    let mut make = |working: &mut Snapshot, new: Vec<Change>| {
        for change in &new {
            working.apply(change);
        }
        changes.extend(new);
    };
    let replicas: Vec<_> = snapshot.replicas_on(&node.id).map(|replica| replica.id.clone()).collect();
    for replica in replicas {
        let forgotten = Action::Forget { replica }.changes(&working, now);
        make(&mut working, forgotten);
    }
    for network in snapshot.networks.values().filter(|network| network.nodes.contains_key(&node.id)) {
        let key = (network.stack.clone(), network.key.clone());
        let mut network = working.networks.get(&key).unwrap_or(network).as_ref().clone();
        network.nodes.remove(&node.id);
        make(&mut working, vec![Change::Put(Record::Network(Arc::new(network)))]);
    }
    let subject = format!("node:{}", node.name);
    for volume in snapshot.volumes.values().filter(|volume| volume.node.as_ref() == Some(&node.id)) {
        let mut volume = volume.as_ref().clone();
        let name = format!("{}/{}", volume.stack, volume.key);
        let change = if volume.removing {
            Change::Delete(Key::Volume(volume.stack.clone(), volume.key.clone()))
        } else {
            volume.node = None;
            Change::Put(Record::Volume(Arc::new(volume)))
        };
        make(&mut working, vec![change]);
        let message =
            format!("the volume {name} was on node {}: it begins anew, empty, on another", node.name);
        let event = record_event(&working, now, Severity::Warning, &subject, None, "VolumeLost", message);
        make(&mut working, event);
    }
    for proxy in snapshot.proxies.values().filter(|proxy| proxy.node == node.id) {
        make(&mut working, vec![Change::Delete(Key::Proxy(proxy.instance.clone()))]);
    }
    make(&mut working, vec![Change::Delete(Key::Node(node.id.clone())), revoke(node, until, now)]);
    let message = format!("node {} was removed: {why}", node.name);
    let event = record_event(&working, now, Severity::Normal, &subject, None, "NodeRemoved", message);
    make(&mut working, event);
    changes
}

/// Records of membership that say nothing any more: revocations of certificates that have expired, and
/// tokens that have been over for a day.
pub fn stale(snapshot: &Snapshot, now: Timestamp) -> Vec<Change> {
    const KEPT: std::time::Duration = std::time::Duration::from_hours(24);
    let denied = snapshot.denied.values().filter(|denied| now >= denied.until);
    let denied = denied.map(|denied| Change::Delete(Key::Denied(denied.holder.clone())));
    let tokens = snapshot.tokens.values().filter(|token| now.since(token.expires_at) >= KEPT);
    denied.chain(tokens.map(|token| Change::Delete(Key::Token(token.id.clone())))).collect()
}

#[cfg(test)]
mod tests {
    use gantry_testkit::World;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);

    fn apply(snapshot: &mut Snapshot, changes: &[Change]) {
        for change in changes {
            snapshot.apply(change);
        }
    }

    #[test]
    fn nothing_of_a_removed_node_is_left_but_its_revocation() {
        let world = World::new(NOW).node("n1").node("n2").service("shop/web", |service| service);
        let mut snapshot = world.snapshot;
        let mut rounds = 0;
        while rounds < 5 {
            let changes = crate::decide::decide(&snapshot, NOW).changes;
            apply(&mut snapshot, &changes);
            rounds += 1;
        }
        let replica = snapshot.replicas.values().next().unwrap().clone();
        let node = replica.node.clone().unwrap();
        let record = snapshot.nodes[&node].clone();
        assert!(matches!(objection(&snapshot, &record), Some(NotRemoved::Replicas { replicas: 1, .. })));

        let until = NOW.after(std::time::Duration::from_hours(1));
        let changes = removal(&snapshot, &node, until, NOW, "a test");
        apply(&mut snapshot, &changes);
        assert!(!snapshot.nodes.contains_key(&node));
        assert!(!snapshot.replicas.contains_key(&replica.id));
        assert!(snapshot.networks.values().all(|network| !network.nodes.contains_key(&node)));
        assert!(snapshot.proxies.values().all(|proxy| proxy.node != node));
        assert_eq!(snapshot.denied[&format!("node/{node}")].until, until);
        assert!(stale(&snapshot, NOW).is_empty());
        assert_eq!(stale(&snapshot, until), [Change::Delete(Key::Denied(format!("node/{node}")))]);
    }
}
