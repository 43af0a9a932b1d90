//! Everything that is known at one moment.

mod readiness;

use std::collections::BTreeSet;
use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use crate::alert::{Alert, AlertConfig, Silence};
use crate::heal::Stamp;
use crate::ids::{NodeId, ReplicaId, ServiceId, StackName};
use crate::lineage::Lineage;
use crate::membership::{Denied, JoinToken};
use crate::node::{Node, Proxy};
use crate::record::{Cluster, Event, Key, Network, Record, Volume};
use crate::replica::Replica;
use crate::revision::Revision;
use crate::service::Service;
use crate::stack::Stack;
use crate::status::{NodeStatus, ReplicaStatus, TableVersion, Verdict};
use crate::time::Timestamp;

/// A persistent map: a clone shares everything, a change copies only the path to it.
pub type Map<K, V> = RedBlackTreeMapSync<K, V>;
type Set<K> = RedBlackTreeSetSync<K>;

/// A consistent, immutable view of all records and all status.
///
/// It is made of persistent maps: a clone costs nothing, and a change costs O(log n) without
/// touching the clone. Readers share one behind an `Arc`; decisions work on a clone of their own.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The newest stored change that is included.
    pub revision: u64,
    /// Counts changes of status, in this run of the scheduler.
    pub sequence: u64,
    /// When this run of the scheduler began.
    pub started_at: Timestamp,
    /// The cluster as a whole.
    pub cluster: Arc<Cluster>,
    /// Stacks by name.
    pub stacks: Map<StackName, Arc<Stack>>,
    /// Services by full name.
    pub services: Map<ServiceId, Arc<Service>>,
    /// Revisions by service and number.
    pub revisions: Map<(ServiceId, u64), Arc<Revision>>,
    /// Replicas by id.
    pub replicas: Map<ReplicaId, Arc<Replica>>,
    /// Nodes by id.
    pub nodes: Map<NodeId, Arc<Node>>,
    /// Proxies by instance.
    pub proxies: Map<String, Arc<Proxy>>,
    /// Networks by stack and key.
    pub networks: Map<(StackName, String), Arc<Network>>,
    /// Volumes by stack and key.
    pub volumes: Map<(StackName, String), Arc<Volume>>,
    /// The newest events by number.
    pub events: Map<u64, Arc<Event>>,
    /// Join tokens by id.
    pub tokens: Map<String, Arc<JoinToken>>,
    /// Whose certificates are refused, by holder.
    pub denied: Map<String, Arc<Denied>>,
    /// The user's rules of alerts, and whom to tell.
    pub alert_config: Arc<AlertConfig>,
    /// Active and past alerts by number.
    pub alerts: Map<u64, Arc<Alert>>,
    /// What keeps alerts from being sent, by id.
    pub silences: Map<String, Arc<Silence>>,
    /// What agents see of replicas.
    pub statuses: Map<ReplicaId, Arc<ReplicaStatus>>,
    /// Since when replicas are as they are.
    pub stamps: Map<ReplicaId, Arc<Stamp>>,
    /// The services of which a replica has been ready since the scheduler started.
    pub served: Set<ServiceId>,
    /// What is known of agents.
    pub node_statuses: Map<NodeId, Arc<NodeStatus>>,
    /// The table that each connected proxy serves by.
    pub acks: Map<String, TableVersion>,
    /// The replicas that have left the table of a connected proxy and still have requests in flight there.
    pub serving: Map<String, Arc<BTreeSet<ReplicaId>>>,
    /// What of its table a connected proxy cannot put to use, one line each.
    pub proxy_problems: Map<String, Arc<Vec<String>>>,
    by_service: Set<(ServiceId, u32, ReplicaId)>,
    by_node: Set<(NodeId, ReplicaId)>,
}

/// One change of the stored records.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Stores a record in place of the one of its key.
    Put(Record),
    /// Deletes the record of a key.
    Delete(Key),
}

impl Change {
    /// The key that it changes.
    pub fn key(&self) -> Key {
        match self {
            Self::Put(record) => record.key(),
            Self::Delete(key) => key.clone(),
        }
    }
}

impl Snapshot {
    /// A cluster in which nothing has happened yet.
    pub fn new(cluster: Cluster, started_at: Timestamp) -> Self {
        Self {
            revision: 0,
            sequence: 0,
            started_at,
            cluster: Arc::new(cluster),
            stacks: Map::new_sync(),
            services: Map::new_sync(),
            revisions: Map::new_sync(),
            replicas: Map::new_sync(),
            nodes: Map::new_sync(),
            proxies: Map::new_sync(),
            networks: Map::new_sync(),
            volumes: Map::new_sync(),
            events: Map::new_sync(),
            tokens: Map::new_sync(),
            denied: Map::new_sync(),
            alert_config: Arc::default(),
            alerts: Map::new_sync(),
            silences: Map::new_sync(),
            statuses: Map::new_sync(),
            stamps: Map::new_sync(),
            served: Set::new_sync(),
            node_statuses: Map::new_sync(),
            acks: Map::new_sync(),
            serving: Map::new_sync(),
            proxy_problems: Map::new_sync(),
            by_service: Set::new_sync(),
            by_node: Set::new_sync(),
        }
    }

    /// Makes one change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(record) => self.put(record),
            Change::Delete(key) => self.delete(key),
        }
    }

    fn put(&mut self, record: &Record) {
        match record {
            Record::Cluster(cluster) => self.cluster = cluster.clone(),
            Record::Stack(stack) => self.stacks.insert_mut(stack.name.clone(), stack.clone()),
            Record::Service(service) => self.services.insert_mut(service.id.clone(), service.clone()),
            Record::Revision(revision) => {
                self.revisions.insert_mut((revision.service.clone(), revision.number), revision.clone());
            }
            Record::Replica(replica) => {
                self.unindex(&replica.id);
                self.by_service.insert_mut((replica.service.clone(), replica.slot, replica.id.clone()));
                if let Some(node) = &replica.node {
                    self.by_node.insert_mut((node.clone(), replica.id.clone()));
                }
                self.replicas.insert_mut(replica.id.clone(), replica.clone());
            }
            Record::Node(node) => self.nodes.insert_mut(node.id.clone(), node.clone()),
            Record::Proxy(proxy) => self.proxies.insert_mut(proxy.instance.clone(), proxy.clone()),
            Record::Network(network) => {
                self.networks.insert_mut((network.stack.clone(), network.key.clone()), network.clone());
            }
            Record::Volume(volume) => {
                self.volumes.insert_mut((volume.stack.clone(), volume.key.clone()), volume.clone());
            }
            Record::Event(event) => self.events.insert_mut(event.sequence, event.clone()),
            Record::Token(token) => self.tokens.insert_mut(token.id.clone(), token.clone()),
            Record::Denied(denied) => self.denied.insert_mut(denied.holder.clone(), denied.clone()),
            Record::AlertConfig(config) => self.alert_config = config.clone(),
            Record::Alert(alert) => self.alerts.insert_mut(alert.id, alert.clone()),
            Record::Silence(silence) => self.silences.insert_mut(silence.id.clone(), silence.clone()),
        }
    }

    fn delete(&mut self, key: &Key) {
        match key {
            Key::Cluster => {}
            Key::Stack(name) => drop(self.stacks.remove_mut(name)),
            Key::Service(id) => {
                self.services.remove_mut(id);
                self.served.remove_mut(id);
            }
            Key::Revision(id, number) => drop(self.revisions.remove_mut(&(id.clone(), *number))),
            Key::Replica(id) => {
                self.unindex(id);
                self.replicas.remove_mut(id);
                self.statuses.remove_mut(id);
                self.stamps.remove_mut(id);
            }
            Key::Node(id) => {
                self.nodes.remove_mut(id);
                self.node_statuses.remove_mut(id);
            }
            Key::Proxy(instance) => {
                self.proxies.remove_mut(instance);
                self.acks.remove_mut(instance);
                self.serving.remove_mut(instance);
                self.proxy_problems.remove_mut(instance);
            }
            Key::Network(stack, key) => drop(self.networks.remove_mut(&(stack.clone(), key.clone()))),
            Key::Volume(stack, key) => drop(self.volumes.remove_mut(&(stack.clone(), key.clone()))),
            Key::Event(sequence) => drop(self.events.remove_mut(sequence)),
            Key::Token(id) => drop(self.tokens.remove_mut(id)),
            Key::Denied(holder) => drop(self.denied.remove_mut(holder)),
            Key::AlertConfig => self.alert_config = Arc::default(),
            Key::Alert(id) => drop(self.alerts.remove_mut(id)),
            Key::Silence(id) => drop(self.silences.remove_mut(id)),
        }
    }

    fn unindex(&mut self, id: &ReplicaId) {
        if let Some(old) = self.replicas.get(id) {
            self.by_service.remove_mut(&(old.service.clone(), old.slot, id.clone()));
            if let Some(node) = &old.node {
                self.by_node.remove_mut(&(node.clone(), id.clone()));
            }
        }
    }

    /// The replicas of a service by slot.
    pub fn replicas_of(&self, service: &ServiceId) -> impl Iterator<Item = &Arc<Replica>> {
        let first = (service.clone(), 0, ReplicaId::smallest());
        self.by_service
            .range(first..)
            .take_while(move |(of, ..)| of == service)
            .filter_map(|(_, _, id)| self.replicas.get(id))
    }

    /// The replicas of a service in one slot, by id.
    pub fn replicas_in(&self, service: &ServiceId, slot: u32) -> impl Iterator<Item = &Arc<Replica>> {
        let first = (service.clone(), slot, ReplicaId::smallest());
        self.by_service
            .range(first..)
            .take_while(move |(of, at, _)| of == service && *at == slot)
            .filter_map(|(_, _, id)| self.replicas.get(id))
    }

    /// The replicas that were placed on a node, by id.
    pub fn replicas_on(&self, node: &NodeId) -> impl Iterator<Item = &Arc<Replica>> {
        let first = (node.clone(), ReplicaId::smallest());
        self.by_node
            .range(first..)
            .take_while(move |(on, _)| on == node)
            .filter_map(|(_, id)| self.replicas.get(id))
    }

    /// The services of a stack by name.
    pub fn services_of<'a>(&'a self, stack: &'a StackName) -> impl Iterator<Item = &'a Arc<Service>> {
        self.services.values().filter(move |service| service.id.stack() == stack)
    }

    /// The revision that a replica runs.
    pub fn revision_of(&self, replica: &Replica) -> Option<&Arc<Revision>> {
        self.revisions.get(&(replica.service.clone(), replica.revision))
    }

    /// What its agent sees of a replica, if its agent has said anything.
    pub fn status_of(&self, replica: &ReplicaId) -> Option<&ReplicaStatus> {
        self.statuses.get(replica).map(AsRef::as_ref)
    }

    /// What was concluded of a node. One that is not on record is lost; of one that has not been heard
    /// since the scheduler started, nothing is.
    pub fn verdict_on(&self, node: &NodeId) -> Verdict {
        if !self.nodes.contains_key(node) {
            return Verdict::Lost;
        }
        self.node_statuses.get(node).map_or(Verdict::Suspect, |status| status.verdict)
    }

    /// Whether a replica's node is lost.
    pub fn is_lost(&self, replica: &Replica) -> bool {
        replica.node.as_ref().is_some_and(|node| self.verdict_on(node) == Verdict::Lost)
    }

    /// The volume that holds a replica on its node.
    pub fn pinned_by(&self, replica: &Replica) -> Option<&Arc<Volume>> {
        let template = &self.revision_of(replica)?.template;
        template
            .volume_keys()
            .filter_map(|key| self.volumes.get(&(replica.service.stack().clone(), key.to_owned())))
            .find(|volume| volume.node.is_some() && volume.node == replica.node)
    }

    /// Which history of changes this state has.
    pub fn lineage(&self) -> Lineage {
        Lineage {
            cluster: self.cluster.id.clone(),
            epoch: self.cluster.epoch,
            terms: self.cluster.terms.clone(),
            revision: self.revision,
        }
    }

    /// The number that the next event gets.
    pub fn next_event(&self) -> u64 {
        self.events.last().map_or(1, |(last, _)| last + 1)
    }

    /// The version of tables that are made from this.
    pub fn table_version(&self) -> TableVersion {
        TableVersion { revision: self.revision, sequence: self.sequence }
    }
}

#[cfg(test)]
mod tests {
    use ipnet::Ipv4Net;

    use super::*;
    use crate::ids::ClusterId;

    fn snapshot() -> Snapshot {
        let cluster = Cluster {
            id: ClusterId::new("c1").unwrap(),
            name: "test".into(),
            epoch: 1,
            terms: Vec::new(),
            pool: "10.192.0.0/11".parse::<Ipv4Net>().unwrap(),
            prefix: 19,
            mtu: 1450,
            created_at: Timestamp::default(),
            cookie_secret: Default::default(),
        };
        Snapshot::new(cluster, Timestamp::default())
    }

    fn replica(id: &str, service: &str, slot: u32, node: Option<&str>) -> Change {
        Change::Put(Record::Replica(Arc::new(Replica {
            id: ReplicaId::new(id).unwrap(),
            service: service.parse().unwrap(),
            slot,
            revision: 1,
            goal: crate::Goal::Run,
            node: node.map(|node| NodeId::new(node).unwrap()),
            addresses: Default::default(),
            restart_sequence: 0,
            pending: None,
            drain: None,
            pause: None,
            leave: false,
            repairs: 0,
            repair: None,
            outcome: None,
            created_at: Timestamp::default(),
        })))
    }

    fn ids<'a>(replicas: impl Iterator<Item = &'a Arc<Replica>>) -> Vec<String> {
        replicas.map(|replica| replica.id.to_string()).collect()
    }

    #[test]
    fn replicas_are_found_by_service_and_by_node_as_they_move() {
        let mut snapshot = snapshot();
        for change in [
            replica("b", "s/web", 2, Some("n1")),
            replica("a", "s/web", 10, None),
            replica("c", "s/web2", 1, Some("n1")),
            replica("d", "s/web", 1, Some("n2")),
        ] {
            snapshot.apply(&change);
        }
        let web: ServiceId = "s/web".parse().unwrap();
        assert_eq!(ids(snapshot.replicas_of(&web)), ["d", "b", "a"]);
        let n1 = NodeId::new("n1").unwrap();
        assert_eq!(ids(snapshot.replicas_on(&n1)), ["b", "c"]);

        snapshot.apply(&replica("a", "s/web", 10, Some("n1")));
        snapshot.apply(&Change::Delete(Key::Replica(ReplicaId::new("b").unwrap())));
        assert_eq!(ids(snapshot.replicas_on(&n1)), ["a", "c"]);
        assert_eq!(ids(snapshot.replicas_of(&web)), ["d", "a"]);
    }

    #[test]
    fn a_change_does_not_touch_an_earlier_clone() {
        let mut snapshot = snapshot();
        let before = snapshot.clone();
        snapshot.apply(&replica("a", "s/web", 1, None));
        assert_eq!((before.replicas.size(), snapshot.replicas.size()), (0, 1));
    }
}
