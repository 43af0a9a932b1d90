//! A service that is decided on second by second, with signals that the test sets.

#![allow(dead_code)] // Not every test needs all of it.

use std::time::Duration;

use gantry_autoscale::{Decision, Memory, Replica, Rules, Signals, Stage, Traffic, Usage, decide};
use gantry_model::{Autoscale, MetricTarget, ServiceSpec, Timestamp};

/// 2026-06-10T00:00:00Z, a Wednesday.
pub const BEGIN: Timestamp = Timestamp::from_millis(1_781_049_600_000);

/// A replica that has been ready for long, and uses this share of one core.
pub fn replica(percent: u32) -> Replica {
    let usage = Usage { cpu_millicores: percent * 10, memory_bytes: Some(0), age: Duration::from_secs(1) };
    Replica { stage: Stage::Ready, started_at: None, usage: Some(usage) }
}

/// So many of them.
pub fn replicas(count: u32, percent: u32) -> Vec<Replica> {
    vec![replica(percent); usize::try_from(count).unwrap()]
}

/// A number of the service's own, of which each replica takes so much.
pub fn jobs_waiting(target: f64) -> MetricTarget {
    let (path, name) = ("/metrics".into(), "jobs_waiting".into());
    MetricTarget { service: String::new(), port: 9000, path, name, target }
}

/// A service whose signals are as they are set, until they are set anew.
pub struct Driven {
    /// What is asked for.
    pub spec: ServiceSpec,
    /// What is seen.
    pub signals: Signals,
    /// What is remembered.
    pub memory: Memory,
    /// Seconds since [`BEGIN`].
    pub second: u64,
    /// Every change so far, in words.
    pub changes: Vec<String>,
}

impl Driven {
    /// A service with so many replicas that do nothing, and no traffic.
    pub fn new(autoscale: Autoscale, count: u32) -> Self {
        Self {
            spec: ServiceSpec { autoscale: Some(autoscale), ..ServiceSpec::default() },
            signals: Signals {
                count,
                replicas: replicas(count, 0),
                traffic: Some(Traffic::default()),
                ..Signals::default()
            },
            memory: Memory::default(),
            second: 0,
            changes: Vec::new(),
        }
    }

    /// Its replicas share this much processor time, in per cent of one core, whatever their number.
    pub fn share_cpu(&mut self, percent: u32) {
        let count = self.signals.count;
        self.signals.replicas = replicas(count, percent / count.max(1));
    }

    /// So many requests a second arrive.
    pub fn rps(&mut self, rps: f64) {
        self.traffic(|traffic| traffic.rps = rps);
    }

    /// Changes what proxies see.
    pub fn traffic(&mut self, change: impl FnOnce(&mut Traffic)) {
        change(self.signals.traffic.get_or_insert_default());
    }

    /// One second passes, and what is decided happens at once.
    pub fn tick(&mut self) -> Decision {
        self.second += 1;
        let now = BEGIN.after(Duration::from_secs(self.second));
        let rules = Rules::new(&self.spec, now).unwrap();
        let (memory, decision) = decide(&rules, &self.signals, std::mem::take(&mut self.memory), now);
        self.memory = memory;
        self.changes.extend(decision.change.as_ref().map(ToString::to_string));
        if decision.count != self.signals.count {
            self.signals.count = decision.count;
            let usage = self.signals.replicas.first().copied().unwrap_or(replica(0));
            self.signals.replicas = vec![usage; usize::try_from(decision.count).unwrap()];
        }
        decision
    }

    /// So many seconds pass; what was decided in the last one.
    pub fn pass(&mut self, seconds: u64) -> Decision {
        for _ in 1..seconds {
            self.tick();
        }
        self.tick()
    }

    /// As [`pass`](Self::pass): why the count is left, in words.
    pub fn held(&mut self, seconds: u64) -> String {
        self.pass(seconds).held.map(|held| held.to_string()).unwrap_or_default()
    }

    /// The count now.
    pub fn count(&self) -> u32 {
        self.signals.count
    }
}
