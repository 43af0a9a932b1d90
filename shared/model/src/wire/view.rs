//! A snapshot as people see it: the objects of `gantry.cluster.v1`.

use std::collections::BTreeMap;

use gantry_api::cluster::v1 as wire;

use super::parts::write_time;
use super::spec::write_service_spec;
use super::status::{write_goal, write_health, write_host, write_phase};
use super::write_ports;
use crate::ids::{NodeId, ServiceId, StackName};
use crate::node::Node;
use crate::port::Port;
use crate::record::{Event, Severity};
use crate::replica::{Goal, Replica};
use crate::service::Service;
use crate::snapshot::{Map, Snapshot};
use crate::stack::Stack;
use crate::status::{BrokenPath, NodeStatus, Phase, ReplicaStatus};

/// Reads a snapshot for people.
#[derive(Debug, Clone, Copy)]
pub struct View<'a>(pub &'a Snapshot);

impl View<'_> {
    /// A stack with its services.
    pub fn stack(&self, stack: &Stack) -> wire::Stack {
        let keys = |keys: Vec<&String>| keys.into_iter().cloned().collect();
        wire::Stack {
            name: stack.name.to_string(),
            services: self.0.services_of(&stack.name).map(|service| self.service(service)).collect(),
            networks: keys(of_stack(&stack.name, &self.0.networks)),
            volumes: keys(of_stack(&stack.name, &self.0.volumes)),
            removing: stack.removing,
            created_at: Some(write_time(stack.created_at)),
            updated_at: Some(write_time(stack.updated_at)),
        }
    }

    /// A service and how it stands.
    pub fn service(&self, service: &Service) -> wire::Service {
        let live: Vec<_> =
            self.0.replicas_of(&service.id).filter(|replica| replica.goal == Goal::Run).collect();
        let count = |test: &dyn Fn(&Replica) -> bool| {
            u32::try_from(live.iter().filter(|replica| test(replica)).count()).unwrap_or(u32::MAX)
        };
        let running = |replica: &Replica| {
            self.0.status_of(&replica.id).is_some_and(|status| status.phase == Phase::Running)
                && !self.0.is_lost(replica)
        };
        let well = |replica: &Replica| replica.outcome.is_some_and(|outcome| outcome.exit_code == 0);
        wire::Service {
            name: service.id.to_string(),
            spec: Some(without_secrets(write_service_spec(service.id.name(), &service.spec))),
            revision: service.revision,
            wanted: service.wanted(),
            running: count(&running),
            ready: count(&|replica| self.0.takes_traffic(replica)),
            updated: count(&|replica| replica.revision == service.revision),
            stopped: service.stopped,
            removing: service.removing,
            message: self.message(service),
            created_at: Some(write_time(service.created_at)),
            updated_at: Some(write_time(service.updated_at)),
            completed: service.spec.restart().runs_once()
                && !live.is_empty()
                && live.iter().all(|replica| well(replica)),
        }
    }

    /// What a service waits for, in a few words.
    fn message(self, service: &Service) -> String {
        self.0
            .replicas_of(&service.id)
            .filter(|replica| replica.goal == Goal::Run)
            .map(|replica| self.replica_message(replica))
            .find(|message| !message.is_empty())
            .unwrap_or_default()
    }

    fn replica_message(self, replica: &Replica) -> String {
        if let Some(reason) = &replica.pending {
            return reason.clone();
        }
        let status = self.0.status_of(&replica.id);
        if let Some(progress) = self.image_copy(replica, status) {
            return progress;
        }
        if let Some(message) = status.map(|status| &status.message).filter(|message| !message.is_empty()) {
            return message.clone();
        }
        match (&replica.node, status) {
            (Some(node), _) if self.0.is_lost(replica) => {
                let name = self.0.nodes.get(node).map_or(node.as_str(), |node| node.name.as_str());
                format!("{name} is lost")
            }
            (Some(node), None) => self
                .0
                .node_statuses
                .get(node)
                .and_then(|status| status.problem())
                .map(|problem| format!("nothing is known of it: {problem}"))
                .unwrap_or_default(),
            _ => self.proxy_problem(&replica.service).unwrap_or_default(),
        }
    }

    /// How far the copy of the image that a replica waits for has come.
    fn image_copy(self, replica: &Replica, status: Option<&ReplicaStatus>) -> Option<String> {
        let node = replica.node.as_ref().filter(|_| status.is_some_and(|s| s.phase == Phase::Preparing))?;
        let digest = self.0.revision_of(replica)?.template.image_digest.as_ref()?;
        let copy = self.0.node_statuses.get(node)?.copies.get(digest)?;
        let name = self.0.nodes.get(node).map_or(node.as_str(), |node| node.name.as_str());
        Some(match copy.percent() {
            Some(percent) => format!("copying image to {name} {percent}%"),
            None => format!("copying image to {name}"),
        })
    }

    /// What a proxy cannot do for a service, such as listen on its port.
    fn proxy_problem(self, service: &ServiceId) -> Option<String> {
        let mut lines = self.0.proxy_problems.values().flat_map(|lines| lines.iter());
        lines.find(|line| names(line, &service.to_string())).cloned()
    }

    /// The replicas of a stack by service and slot.
    pub fn replicas_of_stack(&self, stack: &StackName) -> Vec<wire::Replica> {
        self.0.services_of(stack).flat_map(|service| self.replicas_of(&service.id)).collect()
    }

    /// The replicas of a service by slot.
    pub fn replicas_of(&self, service: &ServiceId) -> Vec<wire::Replica> {
        self.0.replicas_of(service).map(|replica| self.replica(replica)).collect()
    }

    /// One replica.
    pub fn replica(&self, replica: &Replica) -> wire::Replica {
        let unknown = ReplicaStatus::default();
        let seen = self.0.status_of(&replica.id);
        let status = seen.unwrap_or(&unknown);
        let node = replica.node.as_ref().and_then(|node| self.0.nodes.get(node));
        let phase = match (seen, &replica.node) {
            (_, None) => wire::Phase::Pending,
            (None, _) => wire::Phase::Unspecified,
            (Some(status), _) => write_phase(status.phase),
        };
        wire::Replica {
            id: replica.id.to_string(),
            service: replica.service.to_string(),
            slot: replica.slot,
            revision: replica.revision,
            node: node.map(|node| node.name.clone()).unwrap_or_default(),
            goal: write_goal(replica.goal).into(),
            phase: phase.into(),
            state: if self.0.is_lost(replica) { "lost" } else { state_word(replica, seen) }.to_owned(),
            health: write_health(status.health).into(),
            ready: self.0.takes_traffic(replica),
            message: self.replica_message(replica),
            container_id: status.container_id.clone(),
            container_name: replica.container_name(),
            addresses: replica
                .addresses
                .iter()
                .map(|(network, ip)| (network.clone(), ip.to_string()))
                .collect(),
            exit_code: status.exit_code.or(replica.outcome.map(|outcome| outcome.exit_code)),
            restarts: status.restarts,
            created_at: Some(write_time(replica.created_at)),
            started_at: status.started_at.map(write_time),
            image: self
                .0
                .revision_of(replica)
                .map(|revision| revision.template.container.image.clone())
                .unwrap_or_default(),
            ports: write_ports(&self.ports(replica, status)),
        }
    }

    /// The ports that lead to a replica: those of its host, and those on which all proxies listen.
    fn ports(self, replica: &Replica, status: &ReplicaStatus) -> Vec<Port> {
        let service = self.0.services.get(&replica.service).filter(|_| replica.goal == Goal::Run);
        let ingress = service.into_iter().flat_map(|service| service.ingress_ports());
        let mut ports: Vec<Port> = status.ports.iter().cloned().chain(ingress).collect();
        ports.retain(|port| port.published.is_some());
        ports
    }

    /// A node.
    pub fn node(&self, node: &Node) -> wire::Node {
        let problem = match self.0.node_statuses.get(&node.id) {
            Some(status) => status.problem(),
            None => Some("its agent has not connected since the scheduler started".to_owned()),
        };
        wire::Node {
            id: node.id.to_string(),
            name: node.name.clone(),
            addresses: node.addresses.clone(),
            ready: problem.is_none(),
            message: problem.or_else(|| self.network_problem(node)).unwrap_or_default(),
            host: Some(write_host(&node.host)),
            replicas: u32::try_from(self.0.replicas_on(&node.id).count()).unwrap_or(u32::MAX),
            joined_at: Some(write_time(node.joined_at)),
            labels: node.labels.clone(),
            agent_port: node.agent_port.into(),
            conditions: self.conditions(node),
            availability: super::write_availability(node.availability).into(),
        }
    }

    /// What is wrong with a node's networks.
    fn conditions(self, node: &Node) -> Vec<String> {
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

    fn network_problem(self, node: &Node) -> Option<String> {
        if let Some(error) = &self.0.node_statuses.get(&node.id)?.network_error {
            return Some(format!("service addresses do not work there: {error}"));
        }
        let mut proxies = self.0.proxies.values().filter(|proxy| proxy.node == node.id);
        let problem = proxies.find_map(|proxy| self.0.proxy_problems.get(&proxy.instance)?.first());
        problem.map(|problem| format!("its proxy: {problem}"))
    }

    /// An event.
    pub fn event(&self, event: &Event) -> wire::Event {
        wire::Event {
            sequence: event.sequence,
            time: Some(write_time(event.time)),
            severity: match event.severity {
                Severity::Normal => wire::Severity::Normal,
                Severity::Warning => wire::Severity::Warning,
            }
            .into(),
            subject: event.subject.clone(),
            replica: event.replica.as_ref().map(ToString::to_string).unwrap_or_default(),
            reason: event.reason.clone(),
            message: event.message.clone(),
        }
    }
}

/// Whether a line has this name as a word.
fn names(line: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    line.split(|c| !part(c)).any(|word| word.trim_end_matches('.') == name)
}

/// A spec for readers: keys and passwords of its routes are nobody's business.
fn without_secrets(mut spec: wire::ServiceSpec) -> wire::ServiceSpec {
    for route in &mut spec.routes {
        route.basic_auth.clear();
        if let Some(certificate) = &mut route.certificate {
            certificate.key_pem.clear();
        }
    }
    spec
}

/// The keys of a stack's networks or volumes.
fn of_stack<'m, T>(stack: &StackName, map: &'m Map<(StackName, String), T>) -> Vec<&'m String> {
    map.keys().filter(|(of, _)| of == stack).map(|(_, key)| key).collect()
}

/// Goal and phase together, in one word for people.
pub fn state_word(replica: &Replica, status: Option<&ReplicaStatus>) -> &'static str {
    if replica.node.is_none() {
        return "pending";
    }
    let Some(status) = status else { return "unknown" };
    match (replica.goal, status.phase) {
        (Goal::Drain, Phase::Running) => "draining",
        (Goal::Run, Phase::Running) if replica.pause.is_some() => "draining",
        (Goal::Stop, Phase::Removed) => "removed",
        (Goal::Stop, _) => "stopping",
        (_, Phase::Preparing) => "preparing",
        (_, Phase::Starting) => "starting",
        (_, Phase::Running) => match status.health {
            crate::Health::None => "running",
            crate::Health::Starting => "checking",
            crate::Health::Healthy => "healthy",
            crate::Health::Unhealthy => "unhealthy",
        },
        (_, Phase::Restarting) => "restarting",
        (_, Phase::Paused) => "paused",
        (_, Phase::Exited) => match replica.outcome {
            Some(outcome) if outcome.exit_code == 0 => "completed",
            _ => "exited",
        },
        (_, Phase::Failed) => "failed",
        (_, Phase::Stopping) => "stopping",
        (_, Phase::Removed) => "removed",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
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
        let status = NodeStatus { connected: true, reported: true, broken_paths, ..NodeStatus::default() };
        snapshot.node_statuses.insert_mut(NodeId::new("n1").unwrap(), Arc::new(status));
        let shown = |snapshot: &Snapshot| View(snapshot).node(&snapshot.nodes[&NodeId::new("n1").unwrap()]);
        assert!(shown(&snapshot).conditions.is_empty(), "n2 is not there");

        let there = NodeStatus { connected: true, ..NodeStatus::default() };
        snapshot.node_statuses.insert_mut(NodeId::new("n2").unwrap(), Arc::new(there));
        let node = shown(&snapshot);
        assert!(node.ready);
        assert_eq!(
            node.conditions,
            [
                "does not reach N2 over the networks a, b",
                "packets of 1450 bytes are lost on the way to N2 (networks c): is its link narrower?"
            ]
        );
    }

    #[test]
    fn a_problem_names_a_service_and_not_its_namesakes() {
        assert!(names("shop/web: port 80 is taken", "shop/web"));
        assert!(names("cannot listen on port 80 for shop/web.", "shop/web"));
        assert!(!names("shop/web2: port 80 is taken", "shop/web"));
        assert!(!names("my-shop/web: port 80 is taken", "shop/web"));
    }
}
