use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_model::{
    Availability, Change, Cluster, ClusterId, Goal, Host, Key, MountSource, Network, Node, NodeId, NodeRole,
    NodeStatus, Phase, Proxy, Record, Replica, ReplicaId, ReplicaStatus, Revision, Secret, Service,
    ServiceId, Snapshot, Stack, StackName, TableVersion, Timestamp, Verdict, Volume,
};

use crate::service::ServiceBuilder;

/// A snapshot with a clock.
#[derive(Debug, Clone)]
pub struct World {
    /// The state.
    pub snapshot: Snapshot,
    /// The time.
    pub now: Timestamp,
}

impl World {
    /// An empty cluster.
    pub fn new(now: Timestamp) -> Self {
        let cluster = Cluster {
            id: ClusterId::new("test").unwrap(),
            name: "test".into(),
            epoch: 1,
            terms: Vec::new(),
            pool: "10.192.0.0/11".parse().unwrap(),
            prefix: 19,
            mtu: 1450,
            created_at: Timestamp::default(),
            cookie_secret: Secret("crumbs".to_owned()),
        };
        Self { snapshot: Snapshot::new(cluster, Timestamp::default()), now }
    }

    /// Stores changes, as the scheduler would.
    pub fn commit(&mut self, changes: &[Change]) {
        for change in changes {
            self.snapshot.apply(change);
        }
        for change in changes {
            if let Key::Replica(id) = change.key() {
                self.snapshot.restamp(&id, self.now);
            }
        }
        self.snapshot.revision += 1;
    }

    fn put(&mut self, record: Record) {
        self.commit(&[Change::Put(record)]);
    }

    /// Adds a node with 4 cores and 8 GiB whose agent is connected.
    pub fn node(mut self, name: &str) -> Self {
        let id = NodeId::new(name).unwrap();
        let host = Host { cpus: 4, memory: 8 << 30, ..Host::default() };
        self.put(Record::Node(Arc::new(Node {
            id: id.clone(),
            name: name.into(),
            addresses: vec![format!("192.0.2.{}", self.snapshot.nodes.size() + 1)],
            agent_port: 7071,
            labels: BTreeMap::new(),
            availability: Availability::Active,
            quarantined_since: None,
            role: NodeRole::Worker,
            host,
            joined_at: self.now,
        })));
        let status = NodeStatus { connected: true, reported: true, since: self.now, ..NodeStatus::default() };
        self.snapshot.node_statuses.insert_mut(id, Arc::new(status));
        self
    }

    /// Adds a proxy on the first node.
    pub fn proxy(mut self, instance: &str) -> Self {
        let node = self.snapshot.nodes.keys().next().unwrap().clone();
        self.put(Record::Proxy(Arc::new(Proxy { instance: instance.into(), node, since: self.now })));
        self
    }

    /// Deploys a service, with its stack, its default network and its volumes.
    pub fn service(mut self, name: &str, build: impl FnOnce(ServiceBuilder) -> ServiceBuilder) -> Self {
        let id: ServiceId = name.parse().unwrap();
        let spec = build(ServiceBuilder::default()).spec;
        let stack = id.stack().clone();
        self.put(Record::Stack(Arc::new(Stack {
            name: stack.clone(),
            created_at: self.now,
            updated_at: self.now,
            removing: false,
            remove_volumes: false,
        })));
        if !self.snapshot.networks.contains_key(&(stack.clone(), "default".to_owned())) {
            let vni = u32::try_from(self.snapshot.networks.size()).unwrap();
            self.put(Record::Network(Arc::new(Network {
                stack: stack.clone(),
                key: "default".into(),
                vni: (1 << 20) + vni,
                subnet: format!("10.192.{vni}.0/24").parse().unwrap(),
                internal: false,
                labels: BTreeMap::new(),
                nodes: BTreeMap::new(),
                cursor: 0,
                cooling: Vec::new(),
                vips: BTreeMap::new(),
                fixed: BTreeMap::new(),
            })));
        }
        for mount in &spec.container.mounts {
            if let MountSource::Volume { name: Some(key), .. } = &mount.source {
                self.put(Record::Volume(Arc::new(Volume {
                    stack: stack.clone(),
                    key: key.clone(),
                    name: format!("{stack}_{key}"),
                    external: false,
                    driver: None,
                    options: BTreeMap::new(),
                    labels: BTreeMap::new(),
                    node: None,
                    removing: false,
                    moving: None,
                })));
            }
        }
        self.put_revision(&id, 1, &spec);
        self.put(Record::Service(Arc::new(Service {
            id,
            incarnation: "test".into(),
            replicas: spec.replicas.unwrap_or(1),
            spec,
            revision: 1,
            stopped: false,
            removing: false,
            restart_sequence: 0,
            replicas_made: 0,
            last_batch_at: None,
            created_at: self.now,
            updated_at: self.now,
            assigned_ports: BTreeMap::new(),
            node_slots: BTreeMap::new(),
            repairs: Vec::new(),
        })));
        self
    }

    fn put_revision(&mut self, id: &ServiceId, number: u64, spec: &gantry_model::ServiceSpec) {
        let template = spec.template(None);
        let hash = format!("{}-{number}", template.hash());
        let created_at = self.now;
        self.put(Record::Revision(Arc::new(Revision {
            service: id.clone(),
            number,
            template,
            hash,
            platform: None,
            checks: spec.checks(),
            created_at,
        })));
    }

    /// Changes a service's record.
    pub fn change_service(&mut self, name: &str, change: impl FnOnce(&mut Service)) {
        let mut service = self.snapshot.services[&name.parse::<ServiceId>().unwrap()].as_ref().clone();
        change(&mut service);
        service.updated_at = self.now;
        self.put(Record::Service(Arc::new(service)));
    }

    /// Gives a service a new revision.
    pub fn revise(&mut self, name: &str) {
        let service = self.snapshot.services[&name.parse::<ServiceId>().unwrap()].clone();
        self.put_revision(&service.id, service.revision + 1, &service.spec);
        self.change_service(name, |service| service.revision += 1);
    }

    /// The image of a service's newest revision stands for that digest.
    pub fn resolve_image(&mut self, name: &str, digest: &str) {
        let service = self.snapshot.services[&name.parse::<ServiceId>().unwrap()].clone();
        let mut revision = self.snapshot.revisions[&(service.id.clone(), service.revision)].as_ref().clone();
        revision.template.image_digest = Some(digest.into());
        self.put(Record::Revision(Arc::new(revision)));
    }

    /// Removes a stack, as a person would.
    pub fn remove_stack(&mut self, name: &str, remove_volumes: bool) {
        let name = StackName::new(name).unwrap();
        let mut stack = self.snapshot.stacks[&name].as_ref().clone();
        (stack.removing, stack.remove_volumes) = (true, remove_volumes);
        self.put(Record::Stack(Arc::new(stack)));
        let services: Vec<String> =
            self.snapshot.services_of(&name).map(|service| service.id.to_string()).collect();
        for service in services {
            self.change_service(&service, |service| service.removing = true);
        }
    }

    /// The agent has removed a volume.
    pub fn forget_volume(&mut self, stack: &str, key: &str) {
        self.commit(&[Change::Delete(Key::Volume(StackName::new(stack).unwrap(), key.into()))]);
    }

    /// A proxy acknowledges a table.
    pub fn ack(&mut self, proxy: &str, version: TableVersion) {
        self.snapshot.acks.insert_mut(proxy.into(), version);
    }

    /// A proxy says who left its table and still has requests in flight there.
    pub fn still_serving(&mut self, proxy: &str, replicas: &[&ReplicaId]) {
        let replicas = replicas.iter().map(|id| (*id).clone()).collect();
        self.snapshot.serving.insert_mut(proxy.into(), Arc::new(replicas));
    }

    /// Changes a node's record, as a person or its agent would.
    pub fn change_node(&mut self, name: &str, change: impl FnOnce(&mut Node)) {
        let mut node = self.snapshot.nodes[&NodeId::new(name).unwrap()].as_ref().clone();
        change(&mut node);
        self.put(Record::Node(Arc::new(node)));
    }

    /// Sets a node's label.
    pub fn label(mut self, node: &str, name: &str, value: &str) -> Self {
        self.change_node(node, |node| drop(node.labels.insert(name.into(), value.into())));
        self
    }

    /// A node goes away, and is judged to be lost.
    pub fn lose(&mut self, node: &str) {
        let since = self.now;
        self.change_node_status(node, |status| {
            *status = NodeStatus {
                since,
                silent_since: Some(since),
                verdict: Verdict::Lost,
                ..NodeStatus::default()
            };
        });
    }

    /// A node comes back, with everything that it had.
    pub fn come_back(&mut self, node: &str) {
        let since = self.now;
        self.change_node_status(node, |status| {
            *status = NodeStatus { connected: true, reported: true, since, ..NodeStatus::default() };
        });
    }

    /// The nodes of a service's live replicas, by slot.
    pub fn nodes_of(&self, service: &str) -> Vec<String> {
        let live = self.replicas(service).into_iter().filter(|replica| replica.goal == Goal::Run);
        live.map(|replica| replica.node.map_or_else(|| "-".to_owned(), |node| node.to_string())).collect()
    }

    /// A node's agent goes away.
    pub fn disconnect(&mut self, node: &str) {
        let id = NodeId::new(node).unwrap();
        self.snapshot
            .node_statuses
            .insert_mut(id, Arc::new(NodeStatus { since: self.now, ..NodeStatus::default() }));
    }

    /// A node's agent says something else of itself.
    pub fn change_node_status(&mut self, node: &str, change: impl FnOnce(&mut NodeStatus)) {
        let id = NodeId::new(node).unwrap();
        let mut status = self.snapshot.node_statuses[&id].as_ref().clone();
        change(&mut status);
        self.snapshot.node_statuses.insert_mut(id.clone(), Arc::new(status));
        let there: Vec<ReplicaId> = self.snapshot.replicas_on(&id).map(|one| one.id.clone()).collect();
        for replica in there {
            self.snapshot.restamp(&replica, self.now);
        }
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
    }

    /// An agent reports a replica.
    pub fn see(&mut self, id: &ReplicaId, change: impl FnOnce(&mut ReplicaStatus)) {
        let mut status = self.snapshot.status_of(id).cloned().unwrap_or_default();
        change(&mut status);
        self.snapshot.see(id, Some(status), self.now);
        self.snapshot.sequence += 1;
    }

    /// Agents do what they are told: what is to run runs and is healthy, what is to stop is gone.
    pub fn run_all(&mut self) {
        let replicas: Vec<Arc<Replica>> = self.snapshot.replicas.values().cloned().collect();
        for replica in replicas.into_iter().filter(|replica| replica.node.is_some()) {
            if self.snapshot.is_lost(&replica) {
                continue;
            }
            let phase = if replica.goal == Goal::Stop { Phase::Removed } else { Phase::Running };
            self.see(&replica.id, |status| {
                (status.phase, status.restart_sequence) = (phase, replica.asked_restarts());
            });
        }
    }

    /// One of the running replicas ends and is being started again by its engine.
    pub fn crash_one(&mut self, which: usize) {
        let running: Vec<ReplicaId> = self
            .snapshot
            .statuses
            .iter()
            .filter(|(_, status)| status.phase == Phase::Running)
            .map(|(id, _)| id.clone())
            .collect();
        if let Some(id) = running.get(which % running.len().max(1)).cloned() {
            self.see(&id, |status| status.phase = Phase::Restarting);
        }
    }

    /// The replicas of a service by slot.
    pub fn replicas(&self, service: &str) -> Vec<Replica> {
        let id: ServiceId = service.parse().unwrap();
        self.snapshot.replicas_of(&id).map(|replica| replica.as_ref().clone()).collect()
    }
}
