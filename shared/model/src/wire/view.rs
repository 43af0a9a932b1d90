//! A snapshot as people see it: the objects of `gantry.cluster.v1`.

use gantry_api::cluster::v1 as wire;

use super::parts::write_time;
use super::reader::without_secrets;
use super::spec::write_service_spec;
use super::status::{write_goal, write_health, write_host, write_phase};
use super::{words, write_ports};
use crate::ids::{ServiceId, StackName};
use crate::node::Node;
use crate::port::Port;
use crate::record::{Event, Severity};
use crate::replica::{Goal, Replica};
use crate::service::Service;
use crate::snapshot::{Map, Snapshot};
use crate::stack::Stack;
use crate::status::{Phase, ReplicaStatus};

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
        let trouble = words::trouble(self.0, replica, status);
        if !trouble.is_empty() {
            return trouble;
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
            state: words::state(self.0, replica, seen).to_owned(),
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
            conditions: self.all_conditions(node),
            availability: super::write_availability(node.availability).into(),
        }
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
    use super::*;

    #[test]
    fn a_problem_names_a_service_and_not_its_namesakes() {
        assert!(names("shop/web: port 80 is taken", "shop/web"));
        assert!(names("cannot listen on port 80 for shop/web.", "shop/web"));
        assert!(!names("shop/web2: port 80 is taken", "shop/web"));
        assert!(!names("my-shop/web: port 80 is taken", "shop/web"));
    }
}
