//! Seconds of small worlds, with what was seen of them given.

use std::collections::BTreeSet;
use std::time::Duration;

use gantry_autoscale::{Stage, Usage};
use gantry_model::{Autoscale, AutoscaleMode, Phase, Service, ServiceId, Severity, TableVersion, Timestamp};
use gantry_testkit::World;

use super::act::act;
use super::book::Book;
use super::seen::{Measured, Seen};
use super::signals::signals;
use crate::decide::{SCALED, decide};
use crate::traffic::{Load, Loads};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn web() -> ServiceId {
    "shop/web".parse().unwrap()
}

/// 100 requests a second for each replica, down after a minute.
fn rules() -> Autoscale {
    let minute = Duration::from_mins(1);
    Autoscale { min: 1, max: 10, rps: Some(100.0), scale_down_after: minute, ..Autoscale::default() }
}

/// A world that goes on second by second.
struct Days {
    world: World,
    book: Book,
    measured: Measured,
}

impl Days {
    fn new(rules: Autoscale, replicas: u32) -> Self {
        let mut world = World::new(NOW)
            .node("n1")
            .proxy("p1")
            .service("shop/web", |service| service.replicas(replicas).port(80).autoscale(rules));
        world.ack("p1", TableVersion::default());
        let mut days = Self { world, book: Book::default(), measured: Measured::default() };
        days.settle();
        days
    }

    /// Whatever else is decided is done.
    fn settle(&mut self) {
        for _ in 0..50 {
            let plan = decide(&self.world.snapshot, self.world.now);
            if plan.changes.is_empty() {
                self.world.run_all();
                let started = self.world.now;
                for replica in self.world.replicas("shop/web") {
                    self.world.see(&replica.id, |status| {
                        status.started_at.get_or_insert(started);
                    });
                }
                self.world.ack("p1", self.world.snapshot.table_version());
                if decide(&self.world.snapshot, self.world.now).changes.is_empty() {
                    return;
                }
                continue;
            }
            self.world.commit(&plan.changes);
        }
    }

    fn seen(&self, loads: Loads) -> Seen {
        Seen { loads, wanted: BTreeSet::new(), measured: self.measured.clone() }
    }

    /// One second in which this was seen.
    fn second(&mut self, seen: &Seen) {
        self.world.pass(Duration::from_secs(1));
        let steps = self.book.judge(&self.world.snapshot, seen, self.world.now, None);
        let plan = act(&self.world.snapshot, &steps, self.world.now);
        if !plan.changes.is_empty() {
            self.world.commit(&plan.changes);
        }
        self.settle();
    }

    /// So many seconds with so many requests a second; how many replicas there were after each.
    fn run(&mut self, seconds: usize, rps: u64) -> Vec<u32> {
        let seen = self.seen(load(rps));
        (0..seconds)
            .map(|_| {
                self.second(&seen);
                self.count()
            })
            .collect()
    }

    fn count(&self) -> u32 {
        self.world.snapshot.services[&web()].replicas
    }

    /// The events of a kind, oldest first.
    fn told(&self, reason: &str) -> Vec<String> {
        let events = self.world.snapshot.events.values().filter(|event| event.reason == reason);
        events.map(|event| event.message.clone()).collect()
    }
}

#[test]
fn what_the_load_changes_is_no_change_by_a_person() {
    let mut days = Days::new(rules(), 1);
    let service = |days: &Days| days.world.snapshot.services[&web()].clone();
    let before = service(&days);
    days.run(20, 500);
    let after = service(&days);
    assert!(after.replicas > before.replicas);
    assert_eq!((after.updated_at, after.progressed_at()), (before.updated_at, before.progressed_at()));
}

fn load(rps: u64) -> Loads {
    let load = Load { arrived: rps, ..Load::default() };
    Loads { proxies: 1, services: [(web(), load)].into() }
}

fn nobody_tells() -> Loads {
    Loads::default()
}

#[test]
fn more_load_than_the_target_adds_replicas_after_three_seconds_with_the_numbers() {
    let mut days = Days::new(rules(), 2);
    assert_eq!(days.run(5, 200), [2; 5]);
    let counts = days.run(8, 500);
    assert_eq!(days.count(), 5, "{counts:?}");
    assert_eq!(counts[..3], [2; 3], "not at once: {counts:?}");
    let told = days.told(SCALED);
    assert!(told[0].starts_with("2 → ") && told[0].contains("of 100 target over 3 s"), "{told:?}");
    assert_eq!(days.world.replicas("shop/web").len(), 5);
    days.run(120, 500);
    assert_eq!(days.told(SCALED).len(), told.len(), "a constant load has a constant count");
}

#[test]
fn after_a_start_of_the_scheduler_nothing_is_taken_away_before_the_window_is_over() {
    let mut days = Days::new(rules(), 6);
    days.run(30, 600);
    days.book = Book::default();
    days.run(5, 600);
    let silent = days.seen(nobody_tells());
    days.second(&silent);
    let counts = days.run(59, 100);
    assert!(counts.iter().all(|count| *count == 6), "{counts:?}");
    days.run(30, 100);
    assert_eq!(days.count(), 1);
    assert!(days.told(SCALED)[0].starts_with("6 → 1: rps at most "), "{:?}", days.told(SCALED));
}

#[test]
fn while_nobody_tells_anything_the_count_stays_and_that_is_said_once() {
    let mut days = Days::new(rules(), 4);
    let silent = days.seen(nobody_tells());
    for _ in 0..200 {
        days.second(&silent);
    }
    assert_eq!(days.count(), 4);
    assert_eq!(days.told("AutoscaleHeld"), ["the count stays: no data: no proxy has reported"]);
}

#[test]
fn an_update_is_not_disturbed() {
    let mut days = Days::new(rules(), 2);
    days.world.revise("shop/web");
    let seen = days.seen(load(900));
    for _ in 0..20 {
        days.world.pass(Duration::from_secs(1));
        let steps = days.book.judge(&days.world.snapshot, &seen, days.world.now, None);
        assert!(steps.iter().all(|step| step.to.is_none()), "{steps:?}");
        let plan = act(&days.world.snapshot, &steps, days.world.now);
        days.world.commit(&plan.changes);
    }
    assert_eq!(days.told("AutoscaleHeld").len(), 1);
    assert!(days.told("AutoscaleHeld")[0].contains("an update"), "{:?}", days.told("AutoscaleHeld"));
}

#[test]
fn what_a_person_has_changed_in_the_meantime_stays() {
    let mut days = Days::new(rules(), 2);
    days.run(3, 900);
    let seen = days.seen(load(900));
    let steps: Vec<_> = (0..5)
        .flat_map(|_| {
            days.world.pass(Duration::from_secs(1));
            days.book.judge(&days.world.snapshot, &seen, days.world.now, None)
        })
        .filter(|step| step.to.is_some())
        .collect();
    assert!(!steps.is_empty());
    let changed = |days: &Days| !act(&days.world.snapshot, &steps[..1], days.world.now).actions.is_empty();
    assert!(changed(&days));
    let changes: [fn(&mut Service); 6] = [
        |service| service.replicas = 7,
        |service| service.stopped = true,
        |service| service.removing = true,
        |service| service.spec.autoscale.as_mut().unwrap().mode = AutoscaleMode::Off,
        |service| service.spec.autoscale.as_mut().unwrap().mode = AutoscaleMode::Recommend,
        |service| service.spec.autoscale = None,
    ];
    for change in changes {
        let mut other = Days { world: days.world.clone(), ..Days::new(rules(), 2) };
        other.world.change_service("shop/web", change);
        assert!(!changed(&other));
    }
}

#[test]
fn a_recommendation_is_said_and_changes_nothing() {
    let mut days = Days::new(Autoscale { mode: AutoscaleMode::Recommend, ..rules() }, 2);
    days.run(100, 500);
    assert_eq!(days.count(), 2);
    let told = days.told("AutoscaleRecommended");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("would be 2 → "), "{told:?}");
    assert!(days.book.entry(&web()).unwrap().decision.recommend > 2);
    assert!(days.told(SCALED).is_empty());
}

#[test]
fn a_service_that_is_off_or_has_no_rules_is_left_alone_and_forgotten() {
    let mut days = Days::new(rules(), 2);
    days.run(2, 100);
    assert!(days.book.entry(&web()).is_some());
    days.world.change_service("shop/web", |service| {
        service.spec.autoscale.as_mut().unwrap().mode = AutoscaleMode::Off;
    });
    days.run(50, 900);
    assert_eq!((days.count(), days.book.entry(&web()).is_none()), (2, true));
}

#[test]
fn a_service_sleeps_when_nobody_wants_anything_and_wakes_at_once_for_who_waits() {
    let mut days = Days::new(Autoscale { min: 0, ..rules() }, 1);
    days.run(10, 20);
    days.run(90, 0);
    assert_eq!(days.count(), 0);
    assert!(days.world.snapshot.services[&web()].sleeps());
    assert!(days.world.replicas("shop/web").is_empty());
    // What a proxy says is enough, whatever the summaries say.
    let wanted = BTreeSet::from([web()]);
    let seen = Seen { wanted: wanted.clone(), ..days.seen(load(0)) };
    let steps = days.book.judge(&days.world.snapshot, &seen, days.world.now, Some(&wanted));
    let plan = act(&days.world.snapshot, &steps, days.world.now);
    days.world.commit(&plan.changes);
    assert_eq!(days.count(), 1);
    assert!(days.told(SCALED).last().unwrap().starts_with("0 → 1: "), "{:?}", days.told(SCALED));
}

#[test]
fn a_service_does_not_sleep_while_one_of_its_proxies_is_silent() {
    let mut days = Days::new(Autoscale { min: 0, ..rules() }, 1);
    days.world = days.world.proxy("p1").proxy("p2");
    days.run(200, 0);
    assert_eq!(days.count(), 1);
    let known = days.seen(load(30));
    let traffic = signals(&days.world.snapshot, &days.world.snapshot.services[&web()], &known).traffic;
    let traffic = traffic.unwrap();
    assert!((traffic.rps - 30.0).abs() < 1e-9 && traffic.partial, "what is there is known: {traffic:?}");
}

#[test]
fn what_replicas_use_scales_them_as_well() {
    let rules = Autoscale { cpu: Some(50), rps: None, ..rules() };
    let mut days = Days::new(rules, 2);
    days.world.pass(Duration::from_secs(20));
    let hot = |days: &mut Days, millicores: u32| {
        for replica in days.world.replicas("shop/web") {
            let age = Duration::from_millis(500);
            let usage = Usage { cpu_millicores: millicores, memory_bytes: Some(1), age };
            days.measured.usage.insert(replica.id.clone(), usage);
        }
    };
    hot(&mut days, 900);
    days.run(4, 1);
    // 2 × 90% of 50% target are 3.6 replicas.
    assert_eq!(days.count(), 4, "{:?}", days.told(SCALED));
    assert_eq!(days.told(SCALED), ["2 → 4: cpu 90% of 50% target over 3 s"]);
}

#[test]
fn the_users_own_numbers_are_read_in_the_order_of_the_rules() {
    let metric = |name: &str| gantry_model::MetricTarget {
        service: String::new(),
        port: 9090,
        path: "/metrics".into(),
        name: name.into(),
        target: 10.0,
    };
    let rules = Autoscale { rps: None, metrics: vec![metric("jobs"), metric("mails")], ..rules() };
    let mut days = Days::new(rules, 1);
    days.measured.metrics.insert(web(), vec![Ok(35.0)]);
    let service = days.world.snapshot.services[&web()].clone();
    let seen = days.seen(load(0));
    let read = signals(&days.world.snapshot, &service, &seen).metrics;
    assert_eq!(read, [Ok(35.0), Err("nobody was asked yet".to_owned())]);
    days.run(4, 0);
    assert_eq!(days.told(SCALED), ["1 → 4: jobs 35 of 10 target over 3 s"]);
}

#[test]
fn replicas_are_as_far_as_they_were_seen() {
    let mut days = Days::new(rules(), 3);
    let replicas = days.world.replicas("shop/web");
    let stages = |days: &Days| -> Vec<Stage> {
        let service = &days.world.snapshot.services[&web()];
        let signals = signals(&days.world.snapshot, service, &Seen::default());
        signals.replicas.iter().map(|replica| replica.stage).collect()
    };
    assert_eq!(stages(&days), [Stage::Ready; 3]);
    days.world.see(&replicas[0].id, |status| (status.phase, status.restarts) = (Phase::Restarting, 1));
    days.world.see(&replicas[1].id, |status| {
        (status.phase, status.started_at) = (Phase::Starting, None);
    });
    assert_eq!(stages(&days)[0], Stage::Unready);
    days.world.change_service("shop/web", |service| service.replicas = 4);
    let plan = decide(&days.world.snapshot, days.world.now);
    days.world.commit(&plan.changes);
    days.world.lose("n1");
    let far = stages(&days);
    assert_eq!(far.len(), 4, "{far:?}");
    assert_eq!(far[2], Stage::Unready, "nothing is known of what is on a lost node: {far:?}");
}

#[test]
fn refusals_at_the_bound_are_a_warning() {
    let mut days = Days::new(Autoscale { max: 3, ..rules() }, 3);
    days.run(60, 900);
    assert_eq!(days.count(), 3);
    let held: Vec<_> =
        days.world.snapshot.events.values().filter(|event| event.reason == "AutoscaleHeld").collect();
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(held[0].severity, Severity::Warning);
    assert!(held[0].message.contains("max"), "{}", held[0].message);
}
