//! The signals of one service, from what is on record and what was seen: pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_autoscale::{Replica as Seat, Signals, Stage, Traffic};
use gantry_model::{Goal, Phase, Proxy, Replica, Service, Snapshot, Timestamp, Verdict};

use super::seen::Seen;
use crate::traffic::{Load, Loads};

/// What was seen of `service` in the last second.
pub fn signals(snapshot: &Snapshot, service: &Service, seen: &Seen) -> Signals {
    let live: Vec<&Replica> = snapshot
        .replicas_of(&service.id)
        .filter(|replica| replica.goal == Goal::Run)
        .map(AsRef::as_ref)
        .collect();
    // One that takes another one's place is in the same slot for a while: the one that is further counts.
    let mut slots: BTreeMap<u32, Seat> = BTreeMap::new();
    for replica in &live {
        let seat = Seat {
            stage: stage(snapshot, replica),
            started_at: started_at(snapshot, replica),
            usage: seen.measured.usage.get(&replica.id).copied(),
        };
        let known = slots.entry(replica.slot).or_insert(seat);
        if rank(seat.stage) > rank(known.stage) {
            *known = seat;
        }
    }
    let count = service.replicas;
    let metrics = service.spec.autoscale.as_ref().map_or(0, |rules| rules.metrics.len());
    let mut read = seen.measured.metrics.get(&service.id).cloned().unwrap_or_default();
    read.resize(metrics, Err("nobody was asked yet".to_owned()));
    Signals {
        count,
        replicas: slots.range(..=count).map(|(_, seat)| *seat).collect(),
        traffic: traffic(snapshot, service, seen),
        metrics: read,
        changing: changing(service, &live),
        healing: healing(service, &live),
    }
}

/// When its process was started, by its node's clock; or since when it takes traffic by this one's, if that clock is
/// ahead.
fn started_at(snapshot: &Snapshot, replica: &Replica) -> Option<Timestamp> {
    let started = snapshot.status_of(&replica.id)?.started_at;
    let ready = snapshot.stamps.get(&replica.id).filter(|stamp| stamp.ready).map(|stamp| stamp.ready_since);
    match (started, ready) {
        (Some(started), Some(ready)) => Some(started.min(ready)),
        (started, _) => started,
    }
}

/// How far a replica is.
fn stage(snapshot: &Snapshot, replica: &Replica) -> Stage {
    if snapshot.takes_traffic(replica) {
        return Stage::Ready;
    }
    // One that waits for what its service depends on has no node yet, either.
    if replica.node.is_none() {
        return Stage::Pending;
    }
    let status = snapshot.status_of(&replica.id);
    // One that ended once, or whose checks have passed, was further than this.
    let passed = snapshot.stamps.get(&replica.id).is_some_and(|stamp| stamp.passed);
    let fell_back = status.is_some_and(|status| {
        status.restarts > 0
            || status.finished_at.is_some()
            || matches!(status.phase, Phase::Restarting | Phase::Exited | Phase::Paused | Phase::Failed)
    });
    if passed || fell_back || snapshot.is_lost(replica) { Stage::Unready } else { Stage::Starting }
}

fn rank(stage: Stage) -> u8 {
    match stage {
        Stage::Pending => 0,
        Stage::Unready => 1,
        Stage::Starting => 2,
        Stage::Ready => 3,
    }
}

/// Whether every proxy that serves has told something lately. One that is cut off from here serves on.
pub fn have_all_told(snapshot: &Snapshot, loads: &Loads) -> bool {
    let lives = |proxy: &&Arc<Proxy>| snapshot.verdict_on(&proxy.node) != Verdict::Lost;
    loads.proxies > 0 && loads.proxies >= snapshot.proxies.values().filter(lives).count()
}

/// What its proxies saw. As long as some proxies are silent, that nobody wants anything is not known.
fn traffic(snapshot: &Snapshot, service: &Service, seen: &Seen) -> Option<Traffic> {
    let is_wanted = seen.wanted.contains(&service.id);
    let load = seen.loads.services.get(&service.id);
    let is_used = load.is_some_and(|load| load.arrived > 0 || load.in_flight > 0.0 || load.waiting > 0);
    let all_told = have_all_told(snapshot, &seen.loads);
    if !(all_told || is_used || is_wanted) {
        return None;
    }
    let none = Load::default();
    let load = load.unwrap_or(&none);
    #[allow(clippy::cast_precision_loss)] // Nobody has so many.
    let rps = load.arrived as f64;
    let waiting = u32::try_from(load.waiting).unwrap_or(u32::MAX);
    Some(Traffic {
        rps,
        in_flight: load.in_flight,
        waiting: waiting.max(u32::from(is_wanted)),
        p95: load.quantile(0.95),
        p99: load.quantile(0.99),
        requests: load.answers(),
        partial: !all_told,
    })
}

/// What changes all of the service right now besides its load, in words.
fn changing(service: &Service, live: &[&Replica]) -> Option<&'static str> {
    live.iter().any(|replica| replica.revision != service.revision).then_some("an update")
}

/// What changes some of its replicas, in words.
fn healing(service: &Service, live: &[&Replica]) -> Option<&'static str> {
    let any = |is_so: fn(&Service, &Replica) -> bool| live.iter().any(|replica| is_so(service, replica));
    if any(|_, replica| replica.repair.is_some()) {
        Some("a repair")
    } else if any(|service, replica| {
        replica.pause.is_some() || replica.restart_sequence != service.restart_sequence
    }) {
        Some("a restart")
    } else if any(|_, replica| replica.leave) {
        Some("a move to another node")
    } else {
        None
    }
}
