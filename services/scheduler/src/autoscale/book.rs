//! What is remembered of each service that is scaled by load, and what becomes of the next second: pure.

use std::collections::{BTreeMap, BTreeSet};

use gantry_autoscale::{Alert, Decision, Measure, Memory, Rules, decide, measures};
use gantry_model::{AutoscaleMode, Service, ServiceId, Snapshot, Timestamp};

use super::seen::Seen;
use super::signals::signals;
use super::told::{Note, Told};

/// What is remembered, service by service. It is empty after a start: then nothing is taken away before
/// a whole `scale_down_after` was seen, and nothing is added before a whole `scale_up_after`.
#[derive(Debug, Default)]
pub struct Book {
    services: BTreeMap<ServiceId, Entry>,
}

/// What is remembered of one service.
#[derive(Debug)]
pub struct Entry {
    /// Which service of this name it is.
    incarnation: String,
    memory: Memory,
    told: Told,
    /// What was decided last.
    pub decision: Decision,
    /// Its targets, and what was known of them then.
    pub measures: Vec<Measure>,
}

impl Entry {
    /// What takes too long although replicas were added, in words.
    pub fn bottleneck(&self) -> Option<String> {
        let Alert::BottleneckElsewhere(reading) = self.decision.alert.as_ref()?;
        Some(reading.to_string())
    }
}

/// What is to be done about one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The service.
    pub service: ServiceId,
    /// How many replicas it had when that was decided.
    pub from: u32,
    /// How many it is to have, and why, if that is another number.
    pub to: Option<(u32, String)>,
    /// What people are to be told besides.
    pub notes: Vec<Note>,
}

impl Book {
    /// Decides on every service that is scaled by load, or on those of `only`, by what was seen of them.
    pub fn judge(
        &mut self,
        snapshot: &Snapshot,
        seen: &Seen,
        now: Timestamp,
        only: Option<&BTreeSet<ServiceId>>,
    ) -> Vec<Step> {
        self.services.retain(|id, entry| {
            snapshot
                .services
                .get(id)
                .is_some_and(|service| is_scaled(service) && service.incarnation == entry.incarnation)
        });
        let meant = |service: &&Service| only.is_none_or(|only| only.contains(&service.id));
        let services = snapshot.services.values().map(AsRef::as_ref);
        services
            .filter(|service| is_scaled(service))
            .filter(meant)
            .filter_map(|service| self.second(snapshot, service, seen, now))
            .collect()
    }

    /// One second of one service; `None` where there is nothing to do.
    fn second(
        &mut self,
        snapshot: &Snapshot,
        service: &Service,
        seen: &Seen,
        now: Timestamp,
    ) -> Option<Step> {
        let rules = Rules::new(&service.spec, now)?;
        let signals = signals(snapshot, service, seen);
        let (memory, mut told) = match self.services.remove(&service.id) {
            Some(entry) => (entry.memory, entry.told),
            None => (Memory::default(), Told::default()),
        };
        let (memory, decision) = decide(&rules, &signals, memory, now);
        let notes = told.of(&decision, now);
        let change = decision.change.as_ref().filter(|_| decision.count != signals.count);
        let to = change.map(|change| (change.to, change.to_string()));
        let measures = measures(&rules, &signals, now);
        let incarnation = service.incarnation.clone();
        self.services.insert(service.id.clone(), Entry { incarnation, memory, told, decision, measures });
        if to.is_none() && notes.is_empty() {
            return None;
        }
        Some(Step { service: service.id.clone(), from: signals.count, to, notes })
    }

    /// What is remembered of a service; `None` where it is not scaled by load, or nothing was decided yet.
    pub fn entry(&self, service: &ServiceId) -> Option<&Entry> {
        self.services.get(service)
    }

    /// What was to be told of these could not be: it is told anew.
    pub fn untold(&mut self, steps: &[Step]) {
        for step in steps {
            if let Some(entry) = self.services.get_mut(&step.service) {
                entry.told = Told::default();
            }
        }
    }
}

/// Whether a service's count is a matter of its load at all.
pub fn is_scaled(service: &Service) -> bool {
    let on = service.spec.autoscale.as_ref().is_some_and(|rules| rules.mode != AutoscaleMode::Off);
    on && !service.stopped && !service.removing && !service.is_global()
}
