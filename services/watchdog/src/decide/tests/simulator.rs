//! A cluster that does what verdicts say, after a while: what a watchdog judges, without the cluster.
//!
//! It holds what is true, and what the feed showed last. Repairs take their time; what they lead to is
//! decided by the slot's and the node's own nature.

mod events;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry_model::{NodeId, ReplicaId, ServiceId, Timestamp};

use crate::decide::sample::{START, World};
use crate::decide::{Outlook, outlook};
use crate::memory::{Memory, Topic};
use crate::verdict::{Conclusion, Verdict};
use crate::world::{Condition, PastRepair, Presence, RepairKind, Snapshot};

pub use events::Event;

/// A repair that is on its way.
#[derive(Debug, Clone)]
struct Running {
    until: Timestamp,
    kind: RepairKind,
    stage: Stage,
}

#[derive(Debug, Clone)]
enum Stage {
    /// It waits for its process to end, or for a successor to be placed.
    Begun,
    /// Its process is being started again.
    Restarted,
    /// Its successor is there.
    Succeeded(ReplicaId),
}

/// A repair that was begun.
#[derive(Debug, Clone)]
pub struct Begun {
    pub at: Timestamp,
    pub service: ServiceId,
    pub slot: u32,
    pub reason: &'static str,
}

/// The cluster, its feed and the watchdog's memory.
pub struct Simulator {
    pub truth: World,
    pub seen: Snapshot,
    pub memory: Memory,
    pub now: Timestamp,
    standing: BTreeSet<Topic>,
    pub begun: Vec<Begun>,
    /// Quarantines that were begun.
    pub quarantines: u32,
    nodes: u32,
    running: BTreeMap<ReplicaId, Running>,
    hopeless: BTreeMap<(ServiceId, u32), bool>,
    /// Nodes on which nothing comes up.
    bad: BTreeSet<NodeId>,
    /// What agents have not said again since the scheduler was started anew, and since when.
    unheard: Option<(Timestamp, BTreeMap<ReplicaId, Condition>)>,
    lag: Option<Timestamp>,
    lose: bool,
    /// How long repairs take, drawn in turn.
    times: Vec<u64>,
    drawn: usize,
}

/// The feed stands still for this long at most; then it is not connected, and nobody judges by it.
const LONGEST_LAG: Duration = Duration::from_secs(5);
/// Agents come back to a scheduler that was started anew within this time.
const RETURN: Duration = Duration::from_secs(3);

impl Simulator {
    /// Services of so many replicas each. Where it is `tied`, each needs the one before it.
    pub fn new(services: &[u32], nodes: u32, times: Vec<u64>, tied: bool) -> Self {
        let names: Vec<String> = (1..=nodes).map(|node| format!("n{node}")).collect();
        let refs: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut truth = names.iter().fold(World::new(), |world, node| world.node(node));
        for (index, replicas) in services.iter().enumerate() {
            truth = truth.service(&format!("s/w{index}"), *replicas, &refs);
            if let Some(before) = index.checked_sub(1).filter(|_| tied) {
                let needed = World::id(&format!("s/w{before}"));
                truth.service_mut(&format!("s/w{index}")).depends_on.push(needed);
            }
        }
        Self {
            seen: truth.snapshot.clone(),
            truth,
            memory: Memory::default(),
            now: START,
            standing: BTreeSet::new(),
            begun: Vec::new(),
            quarantines: 0,
            nodes,
            running: BTreeMap::new(),
            hopeless: BTreeMap::new(),
            bad: BTreeSet::new(),
            unheard: None,
            lag: None,
            lose: false,
            times,
            drawn: 0,
        }
    }

    fn draw(&mut self) -> Duration {
        self.drawn += 1;
        Duration::from_secs(self.times[self.drawn % self.times.len()])
    }

    fn condition(&mut self, replica: &ReplicaId, condition: Condition) {
        if let Some(unheard) = self.unheard.as_mut().and_then(|(_, all)| all.get_mut(replica)) {
            *unheard = condition;
            return;
        }
        let now = self.now;
        let Some(case) = self.truth.snapshot.cases.get_mut(replica) else { return };
        if case.condition != condition {
            (case.condition, case.condition_since) = (condition, now);
        }
        let ready = condition == Condition::Healthy && !case.in_repair;
        if case.ready != ready {
            (case.ready, case.ready_since) = (ready, now);
        }
    }

    /// Time passes, and what was on its way arrives.
    pub fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        if let Some((_, all)) = self.unheard.take_if(|(since, _)| self.now.since(*since) >= RETURN) {
            for (replica, condition) in all {
                if let Some(case) = self.truth.snapshot.cases.get_mut(&replica) {
                    case.reported = true;
                }
                self.condition(&replica, condition);
            }
            for hearing in self.truth.snapshot.nodes.values_mut() {
                hearing.connected = hearing.silent_since.is_none();
            }
        }
        let due = self.running.iter().filter(|(_, running)| running.until <= self.now);
        let due: Vec<_> = due.map(|(id, _)| id.clone()).collect();
        for replica in due {
            let running = self.running.remove(&replica).unwrap();
            self.advance(&replica, running);
        }
        let lags = self.lag.is_some_and(|since| self.now.since(since) < LONGEST_LAG);
        if !lags {
            self.lag = None;
            self.truth.snapshot.revision += 1;
            self.seen = self.truth.snapshot.clone();
        }
    }

    /// What becomes of a process that is started.
    fn outcome(&self, replica: &ReplicaId) -> Condition {
        let case = &self.truth.snapshot.cases[replica];
        let hopeless = self.hopeless.get(&(case.service.clone(), case.slot)).copied().unwrap_or(false);
        let bad = case.node.as_ref().is_some_and(|node| self.bad.contains(node));
        if hopeless || bad { Condition::Unhealthy } else { Condition::Healthy }
    }

    fn advance(&mut self, replica: &ReplicaId, running: Running) {
        let next = match (running.kind, running.stage) {
            (RepairKind::Restart, Stage::Begun) => {
                self.condition(replica, Condition::Starting);
                Stage::Restarted
            }
            (RepairKind::Restart, _) => {
                self.truth.snapshot.cases.get_mut(replica).unwrap().in_repair = false;
                self.condition(replica, self.outcome(replica));
                return;
            }
            (RepairKind::Replace, Stage::Begun | Stage::Restarted) => Stage::Succeeded(self.succeed(replica)),
            // The old one goes when the new one serves.
            (RepairKind::Replace, Stage::Succeeded(successor)) => {
                let new = self.truth.snapshot.cases.get(&successor);
                if new.is_none_or(|new| new.ready) {
                    self.truth.snapshot.cases.remove(replica);
                    return;
                }
                if new.is_some_and(|new| new.condition == Condition::Starting && !new.in_repair) {
                    self.condition(&successor, self.outcome(&successor));
                }
                Stage::Succeeded(successor)
            }
        };
        let until = self.now.after(self.draw());
        self.running.insert(replica.clone(), Running { until, kind: running.kind, stage: next });
    }

    /// A successor on a node that takes something new, if there is one, and not on the one that failed it.
    fn succeed(&mut self, replica: &ReplicaId) -> ReplicaId {
        let case = self.truth.snapshot.cases[replica].clone();
        let mut nodes: Vec<NodeId> = self.schedulable().into_iter().cloned().collect();
        if nodes.len() > 1 {
            nodes.retain(|node| Some(node) != case.node.as_ref());
        }
        let node = match nodes.len() {
            0 => self.node(0),
            many => nodes[self.drawn % many].to_string(),
        };
        let successor = self.truth.add(&case.service.to_string(), case.slot, &node);
        let now = self.now;
        let new = self.truth.snapshot.cases.get_mut(&successor).unwrap();
        (new.ready, new.ready_since) = (false, now);
        (new.condition, new.condition_since) = (Condition::Starting, now);
        successor
    }

    /// The watchdog looks, and what it concludes is handed over.
    pub fn look(&mut self) -> Outlook {
        self.memory.settle(&self.seen, &self.standing, self.now);
        let found = outlook(&self.seen, &self.memory, self.now);
        self.standing.clone_from(&found.standing);
        let lost = std::mem::take(&mut self.lose);
        for verdict in &found.verdicts {
            if lost {
                self.memory.sent(verdict, self.now);
                continue;
            }
            match self.take(verdict) {
                Ok(()) => self.memory.sent(verdict, self.now),
                Err(why) => self.memory.refused(verdict, self.now, why),
            }
        }
        found
    }

    /// What a scheduler does with a verdict.
    fn take(&mut self, verdict: &Verdict) -> Result<(), &'static str> {
        match &verdict.conclusion {
            Conclusion::Repair { replica, kind } => {
                let Some(case) = self.truth.snapshot.cases.get_mut(replica) else { return Err("it is gone") };
                if case.ready || case.in_repair || !case.wanted || !case.reported {
                    return Err("it does not need that");
                }
                case.in_repair = true;
                let case = case.clone();
                let repair = PastRepair {
                    at: self.now,
                    replica: replica.clone(),
                    slot: case.slot,
                    node: case.node,
                    kind: *kind,
                    reason: verdict.reason.into(),
                };
                let repairs = &mut self.truth.snapshot.services.get_mut(&case.service).unwrap().repairs;
                repairs.push(repair);
                let over = repairs.len().saturating_sub(64);
                repairs.drain(..over);
                let until = self.now.after(self.draw());
                self.running.insert(replica.clone(), Running { until, kind: *kind, stage: Stage::Begun });
                let (service, slot, reason) = (case.service, case.slot, verdict.reason);
                self.begun.push(Begun { at: self.now, service, slot, reason });
            }
            Conclusion::Node { node, presence, silent_since, .. } => {
                let hearing = self.truth.snapshot.nodes.get_mut(node).unwrap();
                if hearing.silent_since != *silent_since {
                    return Err("it was heard");
                }
                hearing.presence = *presence;
            }
            Conclusion::Quarantine { node, begins } => {
                let now = self.now;
                let hearing = self.truth.snapshot.nodes.get_mut(node).unwrap();
                hearing.quarantined_since = begins.then_some(now);
                self.quarantines += u32::from(*begins);
            }
            Conclusion::Note { .. } => {}
        }
        Ok(())
    }

    /// The slots of a service that are under repair in truth, as far as they hold others up: ten minutes.
    pub fn under_repair(&self, service: &ServiceId) -> usize {
        let course = &self.truth.snapshot.services[service];
        let slots = self.truth.wanted(service).filter(|case| {
            let began = course.repairs.iter().rfind(|repair| repair.replica == case.replica);
            case.in_repair && began.is_some_and(|repair| self.now.since(repair.at) < Duration::from_mins(10))
        });
        slots.map(|case| case.slot).collect::<BTreeSet<_>>().len()
    }

    /// The nodes that take new replicas, in truth.
    pub fn schedulable(&self) -> Vec<&NodeId> {
        let nodes = self.truth.snapshot.nodes.iter().filter(|(_, hearing)| {
            hearing.schedulable && hearing.quarantined_since.is_none() && hearing.presence == Presence::Ready
        });
        nodes.map(|(node, _)| node).collect()
    }
}
