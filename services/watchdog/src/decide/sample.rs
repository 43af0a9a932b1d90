//! Small worlds to judge.

use std::time::Duration;

use gantry_model::{End, NodeId, ReplicaId, ServiceId, Timestamp};

use crate::world::{Case, Condition, Course, Hearing, PastRepair, Presence, RepairKind, Snapshot};

pub const START: Timestamp = Timestamp::from_millis(1_000_000_000);

/// So many seconds after the start.
pub fn at(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

pub fn end(seconds: u64, exit_code: i32, oom_killed: bool) -> End {
    End { at: at(seconds), exit_code, oom_killed, ..End::default() }
}

/// A world that is made step by step. Everything is well unless it is said otherwise.
#[derive(Debug, Clone, Default)]
pub struct World {
    pub snapshot: Snapshot,
    made: u32,
}

impl World {
    pub fn new() -> Self {
        Self { snapshot: Snapshot { revision: 1, ..Snapshot::default() }, made: 0 }
    }

    pub fn node(mut self, id: &str) -> Self {
        let hearing = Hearing {
            name: id.into(),
            connected: true,
            silent_since: None,
            held: false,
            proxy_heard: false,
            restarting_since: None,
            flaps: 0,
            returned_at: None,
            presence: Presence::Ready,
            schedulable: true,
            quarantined_since: None,
        };
        self.snapshot.nodes.insert(NodeId::new(id).unwrap(), hearing);
        self
    }

    /// A service with replicas in turn on these nodes.
    pub fn service(mut self, id: &str, replicas: u32, nodes: &[&str]) -> Self {
        let course = Course {
            wanted: replicas,
            revision: 1,
            changing: false,
            progressed_at: START,
            finished: false,
            restart_limit: 3,
            window: Duration::from_mins(10),
            disabled: false,
            depends_on: Vec::new(),
            repairs: Vec::new(),
        };
        self.snapshot.services.insert(id.parse().unwrap(), course);
        for slot in 1..=replicas {
            self.add(id, slot, nodes[(slot as usize - 1) % nodes.len()]);
        }
        self
    }

    /// One more replica.
    pub fn add(&mut self, service: &str, slot: u32, node: &str) -> ReplicaId {
        self.made += 1;
        let replica = ReplicaId::new(format!("r{:04}", self.made)).unwrap();
        let case = Case {
            replica: replica.clone(),
            service: service.parse().unwrap(),
            slot,
            revision: 1,
            node: Some(NodeId::new(node).unwrap()),
            reported: true,
            wanted: true,
            in_repair: false,
            ready: true,
            ready_since: START,
            condition: Condition::Healthy,
            condition_since: START,
            message: String::new(),
            ends: Vec::new(),
            failed_requests: 0,
            requests: 0,
        };
        self.snapshot.cases.insert(replica.clone(), case);
        replica
    }

    /// The replica in the slot is gone, and another is there.
    pub fn succeed(&mut self, service: &str, slot: u32, node: &str) -> ReplicaId {
        let old = self.case(service, slot).replica.clone();
        self.snapshot.cases.remove(&old);
        self.add(service, slot, node)
    }

    pub fn id(service: &str) -> ServiceId {
        service.parse().unwrap()
    }

    pub fn hearing(&mut self, node: &str) -> &mut Hearing {
        self.snapshot.nodes.get_mut(&NodeId::new(node).unwrap()).unwrap()
    }

    pub fn course(&self, service: &str) -> &Course {
        &self.snapshot.services[&Self::id(service)]
    }

    pub fn service_mut(&mut self, service: &str) -> &mut Course {
        self.snapshot.services.get_mut(&Self::id(service)).unwrap()
    }

    /// The first replica in a slot.
    pub fn case(&mut self, service: &str, slot: u32) -> &mut Case {
        let id = Self::id(service);
        self.snapshot.cases.values_mut().find(|case| case.service == id && case.slot == slot).unwrap()
    }

    /// What its checks say from then on.
    pub fn condition(&mut self, service: &str, slot: u32, condition: Condition, seconds: u64) {
        let case = self.case(service, slot);
        (case.condition, case.condition_since) = (condition, at(seconds));
        let ready = condition == Condition::Healthy;
        if case.ready != ready {
            (case.ready, case.ready_since) = (ready, at(seconds));
        }
    }

    /// The replicas of a service that it is to have, by id.
    pub fn wanted<'a>(&'a self, service: &'a ServiceId) -> impl Iterator<Item = &'a Case> {
        self.snapshot.cases.values().filter(move |case| case.wanted && case.service == *service)
    }

    /// A repair is on record.
    pub fn repaired(&mut self, service: &str, slot: u32, kind: RepairKind, seconds: u64, reason: &str) {
        let case = self.case(service, slot);
        let (replica, node) = (case.replica.clone(), case.node.clone());
        let repair = PastRepair { at: at(seconds), replica, slot, node, kind, reason: reason.into() };
        let repairs = &mut self.service_mut(service).repairs;
        repairs.push(repair);
        repairs.sort_by_key(|repair| repair.at);
    }
}
