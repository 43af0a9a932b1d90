use std::collections::{BTreeMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use gantry_model::{
    Change, Event, Goal, Replica, ReplicaId, Service, ServiceId, Severity, Snapshot, StackName, Timestamp,
};

use super::action::Action;
use super::load::Load;

/// What was decided so far, and the snapshot as it will be.
pub struct Plan {
    /// The state with every decision so far applied.
    pub working: Snapshot,
    /// The time of the decision.
    pub now: Timestamp,
    /// The decisions.
    pub actions: Vec<Action>,
    /// What they change in the store, in order.
    pub changes: Vec<Change>,
    used: BTreeMap<(StackName, String), HashSet<Ipv4Addr>>,
    load: Option<Load>,
}

impl Plan {
    /// Nothing decided yet.
    pub fn new(snapshot: &Snapshot, now: Timestamp) -> Self {
        Self {
            working: snapshot.clone(),
            now,
            actions: Vec::new(),
            changes: Vec::new(),
            used: BTreeMap::new(),
            load: None,
        }
    }

    /// Decides on `action`.
    pub fn push(&mut self, action: Action) {
        for change in action.changes(&self.working, self.now) {
            self.change(change);
        }
        if let Some((severity, subject, replica, message)) = action.event(&self.working) {
            self.event(severity, &subject, replica, action.reason(), message);
        }
        self.actions.push(action);
    }

    /// Leaves an event.
    pub fn event(
        &mut self,
        severity: Severity,
        subject: &str,
        replica: Option<ReplicaId>,
        reason: &str,
        message: String,
    ) {
        for change in record_event(&self.working, self.now, severity, subject, replica, reason, message) {
            self.change(change);
        }
    }

    fn change(&mut self, change: Change) {
        self.working.apply(&change);
        self.changes.push(change);
    }

    /// The ids of all services; a list of its own, so that stages may decide while they go through it.
    pub fn services(&self) -> Vec<Arc<Service>> {
        self.working.services.values().cloned().collect()
    }

    /// The replicas of a service by slot.
    pub fn replicas(&self, service: &ServiceId) -> Vec<Arc<Replica>> {
        self.working.replicas_of(service).cloned().collect()
    }

    /// Those that are to run.
    pub fn live(&self, service: &ServiceId) -> Vec<Arc<Replica>> {
        self.working.replicas_of(service).filter(|replica| replica.goal == Goal::Run).cloned().collect()
    }

    /// Whether a replica has what it was made for: it takes traffic, or has ended well if it is
    /// meant to end.
    pub fn is_settled(&self, replica: &Replica) -> bool {
        replica.outcome.is_some_and(|outcome| outcome.exit_code == 0) || self.working.is_ready(replica)
    }

    /// What the nodes carry, counted when it is first asked for. Give it back with [`Self::keep_load`]:
    /// until replicas are forgotten, at the end of a decision, only placing one changes it.
    pub fn take_load(&mut self) -> Load {
        self.load.take().unwrap_or_else(|| Load::new(&self.working))
    }

    /// Keeps what was counted for the next who asks.
    pub fn keep_load(&mut self, load: Load) {
        self.load = Some(load);
    }

    /// The addresses in use on a network, kept up to date as the plan gives more away.
    pub fn used_addresses(&mut self, network: &(StackName, String)) -> &mut HashSet<Ipv4Addr> {
        let working = &self.working;
        self.used.entry(network.clone()).or_insert_with(|| {
            let (stack, key) = network;
            let mut used = HashSet::new();
            for service in working.services_of(stack) {
                used.extend(
                    working.replicas_of(&service.id).filter_map(|replica| replica.addresses.get(key)),
                );
            }
            if let Some(record) = working.networks.get(network) {
                used.extend(record.nodes.values().map(|segment| segment.gateway));
                used.extend(record.fixed.values());
            }
            used
        })
    }
}

/// The changes that leave an event and keep the log bounded.
pub fn record_event(
    snapshot: &Snapshot,
    now: Timestamp,
    severity: Severity,
    subject: &str,
    replica: Option<ReplicaId>,
    reason: &str,
    message: String,
) -> Vec<Change> {
    let sequence = snapshot.next_event();
    let event = Event {
        sequence,
        time: now,
        severity,
        subject: subject.to_owned(),
        replica,
        reason: reason.to_owned(),
        message,
    };
    let mut changes = vec![Change::Put(gantry_model::Record::Event(Arc::new(event)))];
    if let Some((oldest, _)) = snapshot.events.first()
        && sequence - oldest >= Event::KEPT
    {
        changes.push(Change::Delete(gantry_model::Key::Event(*oldest)));
    }
    changes
}
