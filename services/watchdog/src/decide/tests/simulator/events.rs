//! What happens to the cluster.

use std::collections::BTreeMap;

use gantry_model::{End, ReplicaId};

use super::{RETURN, Simulator};
use crate::world::{Condition, Presence};

/// What happens to the cluster.
#[derive(Debug, Clone)]
pub enum Event {
    /// A replica hangs.
    Hang(u32, u32),
    /// A process ends, and the engine starts it again.
    Crash(u32, u32, i32),
    /// The engine has started again what ended.
    Start(u32, u32),
    /// A replica cannot be started.
    Fail(u32, u32),
    /// A replica becomes well by itself.
    Recover(u32, u32),
    /// A replica is slow for a moment.
    Slow(u32, u32),
    /// A person pauses a replica.
    Rest(u32, u32),
    /// From now on repairs of a slot help, or do not.
    Nature(u32, u32, bool),
    /// From now on nothing comes up on a node, and all that runs there hangs; or the node is well again.
    BadNode(u32, bool),
    /// A node's heartbeats stop.
    Cut(u32),
    /// They come again.
    Back(u32),
    /// The proxy of a node is heard, or not.
    Proxy(u32, bool),
    /// What a node's agent says of its replicas is known, or not.
    Reported(u32, bool),
    /// A person closes a node, or opens it.
    Cordon(u32, bool),
    /// An update begins, or ends.
    Change(u32, bool),
    /// A person switches the healing of a service off, or on.
    Disable(u32, bool),
    /// The watchdog is started anew: it forgets all.
    Restart,
    /// The scheduler is started anew: what agents see is said again, and stamped again.
    SchedulerRestart,
    /// The feed stands still, or goes on.
    Lag(bool),
    /// What is submitted next is lost on the way.
    Lose,
    /// Nothing but time.
    Wait(u32),
}

impl Simulator {
    /// Lets something happen.
    pub fn happen(&mut self, event: &Event) {
        match *event {
            Event::Hang(service, slot) => self.turn(service, slot, Condition::Unhealthy),
            Event::Start(service, slot) => self.turn(service, slot, Condition::Starting),
            Event::Fail(service, slot) => self.turn(service, slot, Condition::Failed),
            Event::Recover(service, slot) => self.turn(service, slot, Condition::Healthy),
            Event::Slow(service, slot) => self.turn(service, slot, Condition::Failing),
            Event::Rest(service, slot) => self.turn(service, slot, Condition::AtRest),
            Event::Crash(service, slot, code) => self.crash(service, slot, code),
            Event::Nature(service, slot, hopeless) => {
                if let Some(replica) = self.pick(service, slot) {
                    let case = &self.truth.snapshot.cases[&replica];
                    self.hopeless.insert((case.service.clone(), case.slot), hopeless);
                }
            }
            Event::BadNode(node, is_bad) => self.turn_node(node, is_bad),
            Event::Cut(node) => {
                let now = self.now;
                let hearing = self.truth.hearing(&self.node(node));
                if hearing.silent_since.is_none() {
                    (hearing.silent_since, hearing.connected) = (Some(now), false);
                }
            }
            Event::Back(node) => {
                let now = self.now;
                let hearing = self.truth.hearing(&self.node(node));
                if hearing.silent_since.take().is_some() {
                    hearing.connected = true;
                    if hearing.presence != Presence::Ready {
                        (hearing.returned_at, hearing.flaps) = (Some(now), hearing.flaps + 1);
                    }
                }
            }
            Event::Proxy(node, heard) => self.truth.hearing(&self.node(node)).proxy_heard = heard,
            Event::Reported(node, reported) => {
                let name = self.node(node);
                let here = self.truth.snapshot.cases.values_mut();
                let here = here.filter(|case| case.node.as_ref().is_some_and(|node| node.as_str() == name));
                here.for_each(|case| case.reported = reported);
            }
            Event::Cordon(node, open) => self.truth.hearing(&self.node(node)).schedulable = open,
            Event::Change(service, changing) => {
                let now = self.now;
                let course = self.course(service);
                (course.changing, course.progressed_at) = (changing, now);
            }
            Event::Disable(service, disabled) => self.course(service).disabled = disabled,
            Event::Restart => {
                self.memory = crate::memory::Memory::default();
                // It reads the feed from the start.
                self.lag = None;
            }
            Event::SchedulerRestart => self.restart_scheduler(),
            Event::Lag(stands) => self.lag = stands.then_some(self.now),
            Event::Lose => self.lose = true,
            Event::Wait(_) => {}
        }
    }

    fn pick(&self, service: u32, slot: u32) -> Option<ReplicaId> {
        let services = &self.truth.snapshot.services;
        let service = services.keys().nth(service as usize % services.len())?;
        let cases: Vec<_> = self.truth.wanted(service).collect();
        let found = cases.get(slot as usize % cases.len().max(1))?;
        Some(found.replica.clone())
    }

    fn course(&mut self, service: u32) -> &mut crate::world::Course {
        let services = &mut self.truth.snapshot.services;
        let index = service as usize % services.len();
        services.values_mut().nth(index).unwrap()
    }

    /// Unless something is done about it just now.
    fn turn(&mut self, service: u32, slot: u32, condition: Condition) {
        let free = |replica: &ReplicaId| !self.running.contains_key(replica);
        if let Some(replica) = self.pick(service, slot).filter(free) {
            self.condition(&replica, condition);
        }
    }

    fn crash(&mut self, service: u32, slot: u32, exit_code: i32) {
        self.turn(service, slot, Condition::Restarting);
        let Some(replica) = self.pick(service, slot) else { return };
        let end = End { at: self.now, exit_code, oom_killed: exit_code == 137, ..End::default() };
        let ends = &mut self.truth.snapshot.cases.get_mut(&replica).unwrap().ends;
        ends.push(end);
        let over = ends.len().saturating_sub(End::KEPT);
        ends.drain(..over);
    }

    fn turn_node(&mut self, node: u32, is_bad: bool) {
        let name = self.node(node);
        let id = gantry_model::NodeId::new(&*name).unwrap();
        if !is_bad {
            self.bad.remove(&id);
            return;
        }
        let cases = self.truth.snapshot.cases.values();
        let here = cases.filter(|case| case.node.as_ref() == Some(&id) && !case.in_repair);
        let here: Vec<ReplicaId> = here.map(|case| case.replica.clone()).collect();
        self.bad.insert(id);
        for replica in here {
            self.condition(&replica, Condition::Unhealthy);
        }
    }

    /// Repairs, quarantines and what was asked for are stored; what is seen is not.
    fn restart_scheduler(&mut self) {
        let now = self.now;
        let mut unheard = self.unheard.take().map(|(_, all)| all).unwrap_or_default();
        let snapshot = &mut self.truth.snapshot;
        for case in snapshot.cases.values_mut() {
            unheard.entry(case.replica.clone()).or_insert(case.condition);
            (case.reported, case.ready, case.ready_since) = (false, false, now);
            (case.condition, case.condition_since) = (Condition::Unknown, now);
        }
        for hearing in snapshot.nodes.values_mut() {
            (hearing.presence, hearing.flaps, hearing.returned_at) = (Presence::Ready, 0, None);
            (hearing.connected, hearing.proxy_heard) = (false, false);
            hearing.silent_since = hearing.silent_since.map(|_| now);
        }
        self.unheard = Some((now, unheard));
        // The feed begins anew.
        self.lag = None;
    }

    /// The name of a node.
    pub fn node(&self, node: u32) -> String {
        format!("n{}", node % self.nodes + 1)
    }

    /// After this nothing stands in the way of repairs any more. What is ill stays ill.
    pub fn clear_the_way(&mut self) {
        for node in 0..self.nodes {
            for event in [Event::Back(node), Event::Cordon(node, true), Event::Reported(node, true)] {
                self.happen(&event);
            }
        }
        for service in 0..4 {
            self.happen(&Event::Change(service, false));
            self.happen(&Event::Disable(service, false));
        }
        self.happen(&Event::Lag(false));
        self.pass(RETURN);
        // What is paused is let go on, what is slow recovers or does not, and every start has an end.
        let undecided = [Condition::AtRest, Condition::Failing, Condition::Starting];
        let cases = self.truth.snapshot.cases.values();
        let undecided = cases.filter(|case| undecided.contains(&case.condition) && !case.in_repair);
        let undecided: Vec<ReplicaId> = undecided.map(|case| case.replica.clone()).collect();
        for replica in undecided {
            self.condition(&replica, self.outcome(&replica));
        }
    }

    /// From now on every repair helps.
    pub fn cure(&mut self) {
        self.hopeless = BTreeMap::new();
        self.bad.clear();
    }
}
