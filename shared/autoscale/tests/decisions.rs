//! What the decision does, line by line of what it promises.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

mod driver;

use std::time::Duration;

use driver::{BEGIN, Driven, jobs_waiting, replica, replicas};
use gantry_autoscale::{Memory, Rules, Signals, Stage, Traffic, decide};
use gantry_model::{Autoscale, AutoscaleMode, Recurrence, ScheduleEntry, ServiceSpec};

fn by_cpu() -> Autoscale {
    Autoscale { min: 1, max: 20, cpu: Some(70), ..Autoscale::default() }
}

fn by_rps() -> Autoscale {
    Autoscale { min: 1, max: 20, rps: Some(100.0), ..Autoscale::default() }
}

#[test]
fn more_load_for_three_seconds_adds_replicas_and_says_why() {
    let mut web = Driven::new(by_cpu(), 3);
    web.share_cpu(3 * 65);
    web.pass(60);
    assert_eq!(web.count(), 3, "within the target");
    web.share_cpu(3 * 91);
    let waiting = web.held(3);
    assert_eq!(waiting, "4 are needed when it stays so for 3 s: cpu 91% of 70% target");
    let decision = web.pass(1);
    assert_eq!((decision.count, decision.recommend), (4, 4));
    assert_eq!(web.changes, ["3 → 4: cpu 91% of 70% target over 3 s"]);
}

#[test]
fn a_moment_of_load_adds_nothing() {
    let mut web = Driven::new(by_rps(), 3);
    for _ in 0..20 {
        web.rps(900.0);
        web.pass(3);
        web.rps(250.0);
        web.pass(1);
    }
    assert_eq!(web.count(), 3);
    assert_eq!(web.changes, [""; 0]);
}

#[test]
fn a_tenth_more_or_less_is_tolerated() {
    let mut web = Driven::new(by_rps(), 10);
    for rps in [1_000.0, 1_099.0, 901.0] {
        web.rps(rps);
        web.pass(700);
        assert_eq!(web.count(), 10, "{rps}");
    }
    web.rps(1_110.0);
    web.pass(10);
    assert_eq!(web.count(), 12);
}

#[test]
fn the_signal_that_needs_most_counts() {
    let spec = Autoscale { concurrency: Some(20.0), metrics: vec![jobs_waiting(30.0)], ..by_rps() };
    let mut web = Driven::new(spec, 2);
    web.traffic(|traffic| (traffic.rps, traffic.in_flight, traffic.waiting) = (210.0, 50.0, 8));
    web.signals.metrics = vec![Ok(50.0)];
    web.pass(10);
    assert_eq!(web.changes, ["2 → 3: concurrency 29 of 20 target over 3 s"]);
    web.signals.metrics = vec![Ok(135.0)];
    web.pass(10);
    assert_eq!(web.changes[1], "3 → 5: jobs_waiting 45 of 30 target over 3 s");
}

#[test]
fn at_most_doubling_or_four_more_in_fifteen_seconds() {
    let mut web = Driven::new(by_rps(), 2);
    web.rps(1_900.0);
    web.pass(5);
    assert_eq!(web.count(), 6);
    let change = &web.changes[0];
    assert!(change.ends_with("; 19 are needed, at most doubling or 4 more in 15 s"), "{change}");
    assert!(web.held(5).starts_with("19 are needed, at most doubling"));
    web.pass(10);
    assert_eq!(web.count(), 12);
    web.pass(17);
    assert_eq!(web.count(), 19);
}

#[test]
fn never_more_than_max() {
    let mut web = Driven::new(Autoscale { max: 5, ..by_rps() }, 3);
    web.rps(1_900.0);
    web.pass(5);
    assert_eq!(web.count(), 5);
    assert!(web.changes[0].ends_with("; 19 are needed, max is 5"), "{:?}", web.changes);
    let decision = web.pass(1);
    let held = decision.held.unwrap();
    assert_eq!(
        (held.word(), held.to_string().as_str()),
        ("AtMax", "19 are needed, max is 5: rps 380 of 100 target")
    );
}

#[test]
fn replicas_that_start_count_as_capacity_to_come() {
    let mut web = Driven::new(by_cpu(), 2);
    web.signals.replicas = vec![replica(100), replica(100)];
    web.pass(3);
    web.signals.replicas = vec![replica(100), replica(100)];
    web.tick();
    assert_eq!(web.count(), 3);
    for stage in [Stage::Pending, Stage::Starting] {
        let third = gantry_autoscale::Replica { stage, usage: None, ..replica(0) };
        web.signals.replicas = vec![replica(100), replica(100), third];
        web.pass(60);
        assert_eq!(web.count(), 3, "{stage:?}");
    }
    // Ready, but in its first 10 seconds, which are not counted, however busy it is.
    for _ in 0..9 {
        let started_at = Some(BEGIN.after(Duration::from_secs(124)));
        let third = gantry_autoscale::Replica { started_at, ..replica(100) };
        web.signals.replicas = vec![replica(100), replica(100), third];
        web.tick();
        assert_eq!(web.count(), 3);
    }
}

#[test]
fn down_to_the_most_that_was_needed_in_five_minutes() {
    let mut web = Driven::new(by_rps(), 10);
    web.rps(1_000.0);
    web.pass(600);
    web.rps(280.0);
    assert_eq!(web.held(100), "3 would do: down when that was so for 5 min");
    web.rps(480.0);
    web.pass(60);
    web.rps(280.0);
    web.pass(139);
    assert_eq!(web.count(), 10);
    web.pass(10);
    assert_eq!(web.count(), 5, "the middle needed five");
    assert_eq!(web.changes, ["10 → 5: rps at most 48 of 100 target over 5 min"]);
    web.pass(160);
    assert_eq!(web.count(), 3);
}

#[test]
fn without_data_it_holds_and_says_so() {
    let mut web = Driven::new(by_cpu(), 4);
    web.share_cpu(4 * 60);
    web.pass(600);
    for replica in &mut web.signals.replicas {
        replica.usage = None;
    }
    assert_eq!(web.held(10), "no data: no replica that has run for 10 s has a sample of cpu");
    assert_eq!(web.count(), 4);
    web.share_cpu(4 * 60);
    web.pass(600);
    assert_eq!(web.changes, [""; 0]);

    let mut api = Driven::new(by_rps(), 4);
    api.signals.traffic = None;
    assert_eq!(api.held(1_000), "no data: no proxy has reported");
    assert_eq!(api.count(), 4);
}

#[test]
fn one_signal_that_is_missing_prevents_down_and_not_up() {
    let mut web = Driven::new(Autoscale { cpu: Some(70), ..by_rps() }, 4);
    web.signals.replicas.iter_mut().for_each(|replica| replica.usage = None);
    web.rps(10.0);
    assert!(web.held(1_000).contains("sample of cpu"));
    assert_eq!(web.count(), 4);
    web.rps(700.0);
    web.pass(10);
    assert_eq!(web.count(), 7);
}

#[test]
fn replicas_that_are_not_ready_prevent_scaling_down() {
    let mut web = Driven::new(by_rps(), 4);
    web.rps(100.0);
    web.signals.replicas[3].stage = Stage::Unready;
    web.pass(400);
    assert_eq!(web.held(1), "1 would do, but 1 replica is not ready");
    assert_eq!(web.count(), 4);
    web.signals.replicas[3].stage = Stage::Pending;
    web.tick();
    assert_eq!(web.count(), 1, "one that has no place is not missed");
}

#[test]
fn an_update_is_left_alone() {
    let mut web = Driven::new(by_rps(), 4);
    web.rps(1_500.0);
    web.signals.changing = Some("an update");
    assert_eq!(web.held(60), "an update is under way");
    assert_eq!(web.count(), 4);
    web.signals.changing = None;
    web.tick();
    assert_eq!(web.count(), 8, "what was seen meanwhile counts");
}

#[test]
fn while_replicas_are_repaired_more_may_come_and_none_goes() {
    let mut web = Driven::new(by_rps(), 4);
    web.signals.healing = Some("a repair");
    web.rps(100.0);
    assert_eq!(web.held(900), "a repair is under way");
    assert_eq!(web.count(), 4);
    web.rps(700.0);
    web.pass(5);
    assert_eq!(web.count(), 7, "who is ill because of too much to do gets help");
}

#[test]
fn bounds_hold_whatever_else_there_is() {
    let mut web = Driven::new(Autoscale { min: 3, max: 6, ..by_rps() }, 1);
    web.signals = Signals { count: 1, changing: Some("an update"), ..Signals::default() };
    web.tick();
    assert_eq!((web.count(), web.changes[0].as_str()), (3, "1 → 3: min is 3"));
    web.signals.count = 9;
    web.tick();
    assert_eq!((web.count(), web.changes[1].as_str()), (6, "9 → 6: max is 6"));
}

#[test]
fn the_schedule_sets_the_bounds() {
    let entry = |cron, min| ScheduleEntry {
        begins: Recurrence::parse(cron, "Europe/Berlin").unwrap(),
        min,
        max: None,
    };
    let schedule = vec![entry("0 3 * * *", Some(4)), entry("30 3 * * *", None)];
    let mut web = Driven::new(Autoscale { schedule, ..by_rps() }, 1);
    // The test begins at 02:00 in Berlin.
    web.pass(3_599);
    assert_eq!(web.count(), 1);
    web.tick();
    assert_eq!(web.changes, ["1 → 4: min is 4 by the schedule's \"0 3 * * *\" Europe/Berlin"]);
    web.pass(1_800);
    assert_eq!(web.count(), 1, "the load needs no more, and has not for five minutes");
}

#[test]
fn a_schedule_alone_is_enough() {
    let entry = |cron, min| ScheduleEntry { begins: Recurrence::parse(cron, "").unwrap(), min, max: None };
    let schedule = vec![entry("10 0 * * *", Some(4)), entry("20 0 * * *", None)];
    let mut web = Driven::new(Autoscale { max: 10, schedule, ..Autoscale::default() }, 1);
    web.signals.traffic = None;
    web.pass(600);
    assert_eq!(web.count(), 4);
    web.pass(600);
    assert_eq!(web.count(), 1);
    assert_eq!(web.changes[1], "4 → 1: nothing asked for more over 5 min");
}

#[test]
fn nobody_asks_and_it_sleeps_somebody_asks_and_it_wakes() {
    let mut web = Driven::new(Autoscale { min: 0, cpu: Some(70), ..by_rps() }, 2);
    web.share_cpu(4);
    web.rps(1.0);
    web.pass(600);
    assert_eq!(web.count(), 1, "a little is not nothing");
    web.rps(0.0);
    web.pass(300);
    assert_eq!(web.count(), 1);
    web.tick();
    assert_eq!((web.count(), web.changes.last().unwrap().as_str()), (0, "1 → 0: no request for 5 min"));
    assert_eq!(web.held(600), "");
    web.traffic(|traffic| traffic.waiting = 1);
    web.tick();
    assert_eq!((web.count(), web.changes.last().unwrap().as_str()), (1, "0 → 1: 1 request waits"));
}

#[test]
fn it_wakes_with_what_the_requests_ask_for() {
    let mut web = Driven::new(Autoscale { min: 0, concurrency: Some(10.0), ..by_rps() }, 0);
    web.traffic(|traffic| traffic.waiting = 25);
    web.tick();
    assert_eq!(web.count(), 3);
    let mut crowd = Driven::new(Autoscale { min: 0, max: 2, concurrency: Some(10.0), ..by_rps() }, 0);
    crowd.traffic(|traffic| traffic.waiting = 500);
    crowd.tick();
    assert_eq!(crowd.count(), 2);
}

#[test]
fn silence_of_the_proxies_is_no_reason_to_sleep() {
    let mut web = Driven::new(Autoscale { min: 0, max: 1, ..Autoscale::default() }, 1);
    web.signals.traffic = None;
    web.pass(1_000);
    assert_eq!(web.count(), 1);
    web.signals.traffic = Some(Traffic::default());
    web.pass(300);
    assert_eq!(web.count(), 1, "the five minutes begin when it is known");
    web.tick();
    assert_eq!(web.count(), 0);
    web.signals.traffic = None;
    assert_eq!(web.held(1), "no data: no proxy has reported");
}

#[test]
fn a_recommendation_changes_nothing() {
    let mut web = Driven::new(Autoscale { mode: AutoscaleMode::Recommend, ..by_rps() }, 3);
    web.rps(1_900.0);
    let decision = web.pass(60);
    assert_eq!((decision.count, decision.recommend), (3, 19), "all at once: it does not go in steps");
    assert_eq!(decision.change.unwrap().to_string(), "3 → 19: rps 633 of 100 target over 3 s");
    web.spec.autoscale.as_mut().unwrap().mode = AutoscaleMode::Off;
    let decision = web.pass(60);
    assert_eq!((decision.count, decision.change), (3, None));
    assert_eq!(decision.held.unwrap().to_string(), "autoscale is off");
}

#[test]
fn after_a_restart_nothing_is_taken_away_before_the_whole_time_was_seen() {
    let mut web = Driven::new(by_rps(), 10);
    web.rps(100.0);
    web.pass(299);
    web.memory = Memory::default();
    web.pass(300);
    assert_eq!(web.count(), 10);
    web.tick();
    assert_eq!(web.count(), 1);
}

#[test]
fn other_targets_begin_anew() {
    let mut web = Driven::new(by_rps(), 4);
    web.rps(390.0);
    web.pass(299);
    web.spec.autoscale.as_mut().unwrap().rps = Some(400.0);
    web.pass(300);
    assert_eq!(web.count(), 4, "what was counted by the old target says nothing");
    web.pass(2);
    assert_eq!(web.count(), 1);
}

#[test]
fn a_service_without_replicas_in_the_list_is_no_reason_to_panic() {
    let spec = ServiceSpec { autoscale: Some(by_cpu()), ..ServiceSpec::default() };
    let rules = Rules::new(&spec, BEGIN).unwrap();
    let signals = Signals { count: 3, ..Signals::default() };
    let (_, decision) = decide(&rules, &signals, Memory::default(), BEGIN);
    assert_eq!(decision.count, 3);
    assert_eq!(replicas(0, 5), []);
}
