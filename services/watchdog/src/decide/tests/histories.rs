//! What holds whatever happens: random histories of health, exits, partitions and restarts of the
//! watchdog and of the scheduler, with repairs that take their time and may not help.
//!
//! What is allowed is written out here, and not asked of the code that is tested.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use gantry_model::{ServiceId, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseResult, TestRunner};

use super::simulator::{Event, Simulator};
use crate::decide::{Outlook, breaker};
use crate::verdict::Conclusion;
use crate::world::{Case, Condition, Presence};

/// A change that does not go on for this long is stuck.
const STUCK: Duration = Duration::from_mins(2);

fn event() -> impl Strategy<Value = Event> {
    let replica = || (0..4_u32, 0..24_u32);
    let node = || 0..5_u32;
    prop_oneof![
        8 => replica().prop_map(|(service, slot)| Event::Hang(service, slot)),
        4 => (replica(), prop::sample::select(vec![1, 137, 139]))
            .prop_map(|((service, slot), code)| Event::Crash(service, slot, code)),
        2 => replica().prop_map(|(service, slot)| Event::Start(service, slot)),
        1 => replica().prop_map(|(service, slot)| Event::Fail(service, slot)),
        3 => replica().prop_map(|(service, slot)| Event::Recover(service, slot)),
        1 => replica().prop_map(|(service, slot)| Event::Slow(service, slot)),
        1 => replica().prop_map(|(service, slot)| Event::Rest(service, slot)),
        2 => (replica(), any::<bool>()).prop_map(|((service, slot), bad)| Event::Nature(service, slot, bad)),
        2 => (node(), prop::bool::weighted(0.7)).prop_map(|(node, bad)| Event::BadNode(node, bad)),
        1 => node().prop_map(Event::Cut),
        2 => node().prop_map(Event::Back),
        1 => (node(), any::<bool>()).prop_map(|(node, heard)| Event::Proxy(node, heard)),
        1 => (node(), prop::bool::weighted(0.7)).prop_map(|(node, known)| Event::Reported(node, known)),
        1 => (node(), any::<bool>()).prop_map(|(node, open)| Event::Cordon(node, open)),
        1 => (0..4_u32, prop::bool::weighted(0.3)).prop_map(|(service, on)| Event::Change(service, on)),
        1 => (0..4_u32, prop::bool::weighted(0.3)).prop_map(|(service, off)| Event::Disable(service, off)),
        2 => Just(Event::Restart),
        1 => Just(Event::SchedulerRestart),
        1 => any::<bool>().prop_map(Event::Lag),
        1 => Just(Event::Lose),
        4 => (1..200_u32).prop_map(Event::Wait),
    ]
}

/// A cluster, and what happens to it.
#[derive(Debug, Clone)]
struct History {
    services: Vec<u32>,
    nodes: u32,
    times: Vec<u64>,
    /// Each service needs the one before it.
    tied: bool,
    events: Vec<(Event, u64)>,
}

impl History {
    fn cluster(&self) -> Simulator {
        Simulator::new(&self.services, self.nodes, self.times.clone(), self.tied)
    }
}

fn history() -> impl Strategy<Value = History> {
    let replicas = prop_oneof![9 => 1..7_u32, 1 => 20..25_u32];
    let cluster = (prop::collection::vec(replicas, 1..4), 1..6_u32, prop::collection::vec(0..90_u64, 4));
    let events = prop::collection::vec((event(), 0..20_u64), 1..25);
    (cluster, any::<bool>(), events).prop_map(|((services, nodes, times), tied, events)| History {
        services,
        nodes,
        times,
        tied,
        events,
    })
}

/// What has to hold of every look, and of the cluster after it.
fn check(simulator: &Simulator, found: &Outlook) -> TestCaseResult {
    for verdict in &found.verdicts {
        prop_assert!(!verdict.reason.is_empty() && !verdict.message.is_empty(), "no reason: {verdict:?}");
        match &verdict.conclusion {
            Conclusion::Repair { replica, .. } => {
                let case = &simulator.seen.cases[replica];
                let sick = match case.condition {
                    Condition::Unhealthy | Condition::Restarting | Condition::Failed => true,
                    Condition::Starting => case.ends.iter().any(|end| !end.asked),
                    _ => false,
                };
                prop_assert!(!case.ready && sick, "it is healthy: {case:?}");
                prop_assert!(!case.in_repair && case.wanted && case.reported, "it is left alone: {case:?}");
                let course = &simulator.seen.services[&case.service];
                let goes_on = course.changing && simulator.now.since(course.progressed_at) < STUCK;
                prop_assert!(!goes_on && !course.disabled, "it is left alone: {course:?}");
            }
            Conclusion::Quarantine { node, begins: true } => {
                // By what was seen: what is not known cannot be heeded.
                let others = simulator.seen.nodes.iter().filter(|(other, hearing)| {
                    *other != node
                        && hearing.schedulable
                        && hearing.quarantined_since.is_none()
                        && hearing.presence == Presence::Ready
                });
                prop_assert!(others.count() > 0, "the last node: {verdict}");
            }
            _ => {}
        }
    }
    for (service, course) in &simulator.truth.snapshot.services {
        let repairs = simulator.under_repair(service);
        let most = usize::try_from(course.wanted / 10).unwrap().max(1);
        prop_assert!(repairs <= most, "{repairs} repairs of {service} at once");
    }
    let quarantined =
        simulator.truth.snapshot.nodes.values().filter(|hearing| hearing.quarantined_since.is_some()).count();
    prop_assert!(quarantined <= 1, "{quarantined} nodes in quarantine");
    Ok(())
}

fn step(simulator: &mut Simulator, time: Duration) -> TestCaseResult {
    simulator.pass(time);
    let found = simulator.look();
    check(simulator, &found)
}

/// Lets everything happen, with a look after each.
fn live(simulator: &mut Simulator, events: &[(Event, u64)]) -> TestCaseResult {
    for (event, then) in events {
        simulator.happen(event);
        let seconds = if let Event::Wait(seconds) = event { u64::from(*seconds) } else { *then };
        step(simulator, Duration::from_secs(seconds))?;
    }
    Ok(())
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 2_000, failure_persistence: None, ..ProptestConfig::default() }
}

/// What occurred in a run: what never does proves nothing.
#[derive(Debug, Default)]
struct Seen {
    quarantines: Cell<u32>,
    /// Repairs as trials, while a service was down that is needed.
    dependency_trials: Cell<u32>,
    many_trials: Cell<u32>,
    repairs: Cell<u32>,
}

impl Seen {
    fn count(&self, simulator: &Simulator) {
        let add = |count: &Cell<u32>, more: usize| count.set(count.get() + u32::try_from(more).unwrap());
        let because = |reason| simulator.begun.iter().filter(|begun| begun.reason == reason).count();
        add(&self.quarantines, simulator.quarantines as usize);
        add(&self.dependency_trials, because(breaker::DEPENDENCY_DOWN));
        add(&self.many_trials, because(breaker::MANY_UNHEALTHY));
        add(&self.repairs, simulator.begun.len());
    }

    fn assert_all(&self) {
        let counts = [&self.quarantines, &self.dependency_trials, &self.many_trials, &self.repairs];
        assert!(counts.iter().all(|count| count.get() > 0), "something never occurs: {self:?}");
        println!("{self:?}");
    }
}

#[test]
fn no_history_makes_a_storm_or_touches_what_is_well() {
    let seen = Seen::default();
    let run = TestRunner::new(config(10_000)).run(&history(), |history| {
        let mut simulator = history.cluster();
        live(&mut simulator, &history.events)?;
        seen.count(&simulator);
        Ok(())
    });
    run.unwrap();
    seen.assert_all();
}

/// The longest a service in trouble waits for its next repair: the longest pause, the longest that a
/// repair takes here, and what it takes to see it fail.
const PROGRESS: Duration = Duration::from_mins(9);
/// While a slot waits for a repair, another slot of its service gets no more than so many: those that fit
/// into the ten minutes for which a replacement that does not help holds its place.
const OVERTAKEN: usize = 8;

/// Who waits for a repair, and who was repaired meanwhile.
#[derive(Default)]
struct Queue {
    /// Since when services have something broken, or had their last repair.
    services: BTreeMap<ServiceId, Timestamp>,
    /// How often each other slot was repaired while a slot waits.
    slots: BTreeMap<(ServiceId, u32), BTreeMap<u32, usize>>,
    counted: usize,
}

impl Queue {
    fn check(&mut self, simulator: &Simulator) -> TestCaseResult {
        let new = &simulator.begun[self.counted..];
        self.counted = simulator.begun.len();
        for begun in new {
            self.services.insert(begun.service.clone(), begun.at);
            self.slots.remove(&(begun.service.clone(), begun.slot));
            for ((_, slot), overtaken) in self.slots.iter_mut().filter(|((of, _), _)| *of == begun.service) {
                let times = overtaken.entry(begun.slot).or_default();
                *times += 1;
                prop_assert!(
                    *times <= OVERTAKEN,
                    "{} of {} was repaired {times} times while {slot} waits",
                    begun.slot,
                    begun.service
                );
            }
        }
        let broken = |case: &&Case| case.is_broken() && !case.in_repair;
        let waiting: Vec<_> = simulator.truth.snapshot.cases.values().filter(broken).collect();
        let waits = |service: &ServiceId| waiting.iter().any(|case| case.service == *service);
        self.slots.retain(|(service, slot), _| {
            waiting.iter().any(|case| case.service == *service && case.slot == *slot)
        });
        for case in &waiting {
            self.slots.entry((case.service.clone(), case.slot)).or_default();
        }
        for service in simulator.truth.snapshot.services.keys() {
            let since = self.services.entry(service.clone()).or_insert(simulator.now);
            if !waits(service) {
                *since = simulator.now;
            }
            let waited = simulator.now.since(*since);
            prop_assert!(waited < PROGRESS, "{service} waits for {waited:?}");
        }
        Ok(())
    }
}

/// After any history, when nothing stands in the way any more: whatever is broken is repaired again
/// and again, in turn, and what can be healed is healed.
#[test]
fn what_can_be_repaired_is_repaired_in_the_end() {
    let strategy = (history(), prop::bool::weighted(0.7), 30..75_u64);
    let run = TestRunner::new(config(10_000)).run(&strategy, |(history, heals, pace)| {
        let mut simulator = history.cluster();
        live(&mut simulator, &history.events)?;
        simulator.clear_the_way();
        if heals {
            simulator.cure();
        }
        let start = simulator.now;
        let mut queue = Queue { counted: simulator.begun.len(), ..Queue::default() };
        let is_broken = |simulator: &Simulator| simulator.truth.snapshot.cases.values().any(Case::is_broken);
        // Of a large service in which most are ill each has its trial.
        let minutes = if heals { 90 } else { 40 };
        while simulator.now.since(start) < Duration::from_mins(minutes) {
            step(&mut simulator, Duration::from_secs(pace))?;
            queue.check(&simulator)?;
            // Nothing changes any more.
            if !is_broken(&simulator) {
                break;
            }
        }
        if heals {
            let sick: Vec<_> =
                simulator.truth.snapshot.cases.values().filter(|case| case.is_broken()).collect();
            prop_assert!(sick.is_empty(), "not healed: {sick:?}");
        }
        let lost =
            simulator.truth.snapshot.nodes.values().filter(|hearing| hearing.presence == Presence::Lost);
        prop_assert_eq!(lost.count(), 0, "they are heard");
        Ok(())
    });
    run.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 50, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever watchdog looks, with or without a memory: the trials of a service whose cause is elsewhere
    /// are not closer to each other than their pauses.
    #[test]
    fn trials_have_growing_pauses_across_restarts(
        replicas in 3..9_u32,
        restarts in prop::collection::btree_set(1..1_500_u64, 0..20),
    ) {
        let mut simulator = Simulator::new(&[replicas], 1, vec![0, 1, 2], false);
        for slot in 0..replicas {
            simulator.happen(&Event::Nature(0, slot, true));
            simulator.happen(&Event::Hang(0, slot));
        }
        for second in 1..1_500 {
            if restarts.contains(&second) {
                simulator.happen(&Event::Restart);
            }
            step(&mut simulator, Duration::from_secs(1))?;
        }
        let times: Vec<_> = simulator.begun.iter().map(|begun| begun.at).collect();
        let pauses: Vec<_> = times.windows(2).map(|two| two[1].since(two[0]).as_secs()).collect();
        prop_assert!(pauses.len() >= 7, "{pauses:?}");
        for (pause, least) in pauses.iter().zip([10, 20, 40, 80, 160, 300, 300, 300]) {
            prop_assert!(*pause >= least, "{pauses:?}");
        }
        let course = simulator.seen.services.values().next().unwrap();
        prop_assert!(course.repairs.iter().all(|repair| repair.reason == breaker::MANY_UNHEALTHY));
    }
}
