//! What a replica waits for before it starts.

use gantry_model::{Condition, Goal, Health, Phase, ReplicaStatus, Service, Snapshot};

/// The first unmet dependency of `service`, in words; `None` if all are met.
pub fn unmet(snapshot: &Snapshot, service: &Service) -> Option<String> {
    service.spec.depends_on.iter().find_map(|(name, dependency)| {
        let target = snapshot.services_of(service.id.stack()).find(|other| other.id.name() == name);
        match target {
            Some(target) => unmet_condition(snapshot, target, dependency.condition),
            None if dependency.required => Some(format!("{name} does not exist")),
            None => None,
        }
    })
}

fn unmet_condition(snapshot: &Snapshot, target: &Service, condition: Condition) -> Option<String> {
    // One that is scaled to zero is there for whoever asks.
    if target.sleeps() && condition != Condition::Completed {
        return None;
    }
    let name = target.id.name();
    let mut live = snapshot.replicas_of(&target.id).filter(|replica| {
        replica.goal == Goal::Run && (replica.outcome.is_some() || !snapshot.is_lost(replica))
    });
    match condition {
        Condition::Started => {
            let started = live.any(|replica| {
                replica.outcome.is_some()
                    || snapshot.status_of(&replica.id).is_some_and(|status| status.phase == Phase::Running)
            });
            (!started).then(|| format!("{name} to start"))
        }
        Condition::Healthy => {
            let healthy = live.any(|replica| snapshot.status_of(&replica.id).is_some_and(is_healthy));
            (!healthy).then(|| format!("{name} to be healthy"))
        }
        Condition::Completed => {
            let current: Vec<_> = live.filter(|replica| replica.revision == target.revision).collect();
            let failed = current.iter().find_map(|replica| {
                replica.outcome.map(|outcome| outcome.exit_code).filter(|code| *code != 0)
            });
            if let Some(code) = failed {
                return Some(format!("{name} to complete, but it ended with exit code {code}"));
            }
            let done = !current.is_empty() && current.iter().all(|replica| replica.outcome.is_some());
            (!done).then(|| format!("{name} to complete"))
        }
    }
}

/// A check of some kind says so, and none says otherwise.
fn is_healthy(status: &ReplicaStatus) -> bool {
    status.is_ready() && (status.health == Health::Healthy || status.probe_ready == Some(true))
}
