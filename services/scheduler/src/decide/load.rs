//! What the nodes carry: counted once in a decision, kept up to date as replicas are placed.

use std::collections::HashMap;
use std::sync::Arc;

use gantry_model::{Node, NodeId, Port, Replica, ServiceId, Snapshot, Template};

/// All nodes by id, with what is on them.
pub struct Load {
    nodes: Vec<Carried>,
    index: HashMap<NodeId, usize>,
}

/// One node with what is on it, also what is on its way out: it holds its part until it is gone.
pub struct Carried {
    /// The node.
    pub node: Arc<Node>,
    /// Why nothing can be started there.
    pub problem: Option<String>,
    /// How often it was lost and came back, of late.
    pub flaps: u32,
    /// How many replicas it has.
    pub replicas: u32,
    reserved: Reserved,
    ports: Vec<Held>,
}

/// A port of the node that leads to a replica.
pub struct Held {
    /// The port.
    pub port: Port,
    /// Who has it.
    pub service: ServiceId,
    /// The replica's slot.
    pub slot: u32,
}

#[derive(Clone, Copy, Default)]
struct Reserved {
    nano_cpus: i64,
    memory: i64,
}

impl Reserved {
    fn of(template: &Template) -> Self {
        let resources = &template.container.resources;
        Self {
            nano_cpus: resources.reserved_nano_cpus.unwrap_or(0),
            memory: resources.reserved_memory.unwrap_or(0),
        }
    }
}

impl Load {
    /// What is where now.
    pub fn new(snapshot: &Snapshot) -> Self {
        let mut nodes: Vec<Carried> = Vec::with_capacity(snapshot.nodes.size());
        let mut index = HashMap::with_capacity(snapshot.nodes.size());
        for node in snapshot.nodes.values() {
            let status = snapshot.node_statuses.get(&node.id);
            index.insert(node.id.clone(), nodes.len());
            nodes.push(Carried {
                node: node.clone(),
                problem: match status {
                    Some(status) => status.problem(),
                    None => Some("its agent has not connected since the scheduler started".to_owned()),
                },
                flaps: status.map_or(0, |status| status.flaps),
                replicas: 0,
                reserved: Reserved::default(),
                ports: Vec::new(),
            });
        }
        let mut load = Self { nodes, index };
        // Replicas of a service are of few revisions, and each is looked up once.
        let mut known = HashMap::new();
        for replica in snapshot.replicas.values() {
            let Some(at) = replica.node.as_ref().and_then(|node| load.position(node)) else { continue };
            let revision = known
                .entry((&replica.service, replica.revision))
                .or_insert_with(|| snapshot.revision_of(replica));
            if let Some(revision) = revision {
                load.add(at, &revision.template, replica);
            }
        }
        load
    }

    /// All nodes by id.
    pub fn nodes(&self) -> &[Carried] {
        &self.nodes
    }

    /// Where a node stands in the list.
    pub fn position(&self, node: &NodeId) -> Option<usize> {
        self.index.get(node).copied()
    }

    /// A replica is on the node at that position.
    pub fn add(&mut self, at: usize, template: &Template, replica: &Replica) {
        let reserved = Reserved::of(template);
        let carried = &mut self.nodes[at];
        carried.replicas += 1;
        carried.reserved.nano_cpus = carried.reserved.nano_cpus.saturating_add(reserved.nano_cpus);
        carried.reserved.memory = carried.reserved.memory.saturating_add(reserved.memory);
        carried.ports.extend(
            template.ports.iter().filter(|port| port.published.is_some()).map(|port| Held {
                port: port.clone(),
                service: replica.service.clone(),
                slot: replica.slot,
            }),
        );
    }

    /// A replica is not on the node at that position any more.
    pub fn remove(&mut self, at: usize, template: &Template, replica: &Replica) {
        let reserved = Reserved::of(template);
        let carried = &mut self.nodes[at];
        carried.replicas = carried.replicas.saturating_sub(1);
        carried.reserved.nano_cpus = carried.reserved.nano_cpus.saturating_sub(reserved.nano_cpus);
        carried.reserved.memory = carried.reserved.memory.saturating_sub(reserved.memory);
        carried.ports.retain(|held| held.service != replica.service || held.slot != replica.slot);
    }
}

impl Carried {
    /// Billionths of cores that can be reserved. A twentieth is kept for the system.
    pub fn free_nano_cpus(&self) -> i64 {
        let all = i64::from(self.node.host.cpus) * 1_000_000_000;
        (all - all / 20).saturating_sub(self.reserved.nano_cpus)
    }

    /// Memory that can be reserved. A sixteenth is kept for the system, at most half a gibibyte.
    pub fn free_memory(&self) -> i64 {
        const MOST: i64 = 512 << 20;
        let all = i64::try_from(self.node.host.memory).unwrap_or(i64::MAX);
        (all - (all / 16).min(MOST)).saturating_sub(self.reserved.memory)
    }

    /// Who has a port.
    pub fn holder(&self, port: &Port) -> Option<&Held> {
        self.ports.iter().find(|held| held.port.collides(port))
    }
}
