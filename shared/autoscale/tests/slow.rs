//! What the decision does about answers that take too long, and about requests that pile up.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

mod driver;

use std::time::Duration;

use driver::Driven;
use gantry_autoscale::Alert;
use gantry_model::Autoscale;

fn by_p95() -> Autoscale {
    Autoscale { min: 1, max: 20, p95: Some(Duration::from_millis(250)), ..Autoscale::default() }
}

#[test]
fn slow_answers_add_a_quarter_at_a_time() {
    let mut web = Driven::new(by_p95(), 4);
    web.traffic(|traffic| (traffic.rps, traffic.requests) = (100.0, 500));
    let p95 = |web: &mut Driven, millis| {
        web.traffic(|traffic| traffic.p95 = Some(Duration::from_millis(millis)));
    };
    p95(&mut web, 200);
    web.pass(60);
    p95(&mut web, 320);
    web.pass(4);
    assert_eq!(web.changes, ["4 → 5: p95 320 ms of 250 ms target over 3 s"]);
    assert_eq!(web.held(2), "p95 320 ms of 250 ms target: waits for what the last change gains");
    p95(&mut web, 200);
    web.pass(1_000);
    assert_eq!(web.count(), 5, "above 70% of the target nothing is taken away");
}

#[test]
fn a_bottleneck_elsewhere_is_said_and_no_step_follows() {
    let mut web = Driven::new(by_p95(), 4);
    web.traffic(|traffic| {
        (traffic.rps, traffic.requests) = (100.0, 500);
        traffic.p95 = Some(Duration::from_millis(900));
    });
    let decision = web.pass(600);
    assert_eq!(web.count(), 7, "two steps: {:?}", web.changes);
    assert!(matches!(decision.alert, Some(Alert::BottleneckElsewhere(_))));
    assert_eq!(
        decision.alert.unwrap().to_string(),
        "the bottleneck is elsewhere: p95 900 ms of 250 ms target, and more replicas do not help"
    );
    assert!(decision.held.unwrap().to_string().contains("gained less than 10%"));
    web.traffic(|traffic| traffic.p95 = Some(Duration::from_millis(50)));
    assert_eq!(web.pass(30).alert, None);
    web.pass(600);
    assert!(web.count() < 7, "it goes down when it is quick again");
}

#[test]
fn what_was_in_vain_is_tried_again_when_there_is_much_more_to_do() {
    let mut web = Driven::new(by_p95(), 4);
    web.traffic(|traffic| {
        (traffic.rps, traffic.requests) = (100.0, 500);
        traffic.p95 = Some(Duration::from_millis(900));
    });
    web.pass(300);
    let stuck = web.count();
    web.pass(300);
    assert_eq!(web.count(), stuck, "in vain: {:?}", web.changes);
    web.traffic(|traffic| (traffic.rps, traffic.requests) = (200.0, 1_000));
    web.pass(300);
    let again = web.count();
    assert!(again > stuck, "{:?}", web.changes);
    web.pass(3_000);
    assert_eq!(web.count(), again, "one step, which was in vain as well: {:?}", web.changes);
}

#[test]
fn one_replica_that_is_ill_is_no_reason_to_leave_the_others_alone() {
    let mut web = Driven::new(by_p95(), 4);
    web.signals.replicas[3].stage = gantry_autoscale::Stage::Unready;
    web.traffic(|traffic| {
        (traffic.rps, traffic.requests) = (100.0, 500);
        traffic.p95 = Some(Duration::from_millis(900));
    });
    web.pass(20);
    assert!(web.count() > 4, "{:?}", web.changes);
}

#[test]
fn quick_answers_take_a_quarter_away_where_nothing_else_counts() {
    let mut web = Driven::new(by_p95(), 8);
    web.traffic(|traffic| {
        (traffic.rps, traffic.requests) = (100.0, 500);
        traffic.p95 = Some(Duration::from_millis(100));
    });
    web.pass(310);
    assert_eq!(web.changes, ["8 → 6: p95 100 ms of 250 ms target, below 70% of it for 5 min"]);
    web.pass(3_000);
    assert_eq!(web.count(), 1);
}

#[test]
fn by_concurrency_it_goes_down_as_far_as_is_proven_and_then_a_quarter_at_a_time() {
    let spec = Autoscale { min: 1, max: 20, concurrency: Some(20.0), ..Autoscale::default() };
    let mut web = Driven::new(spec, 16);
    web.traffic(|traffic| (traffic.rps, traffic.in_flight) = (1_600.0, 310.0));
    web.pass(600);
    assert_eq!(web.count(), 16);
    // Each of four has as much to do as each of sixteen had.
    web.traffic(|traffic| (traffic.rps, traffic.in_flight) = (400.0, 10.0));
    web.pass(330);
    assert_eq!(web.count(), 4);
    web.pass(300);
    assert_eq!(web.count(), 3, "{:?}", web.changes);
}

#[test]
fn slow_answers_keep_what_the_sum_would_take_away() {
    let mut web = Driven::new(Autoscale { rps: Some(100.0), ..by_p95() }, 6);
    web.traffic(|traffic| {
        (traffic.rps, traffic.requests) = (200.0, 500);
        traffic.p95 = Some(Duration::from_millis(200));
    });
    assert_eq!(web.held(1_000), "p95 200 ms of 250 ms target: no scaling down above 70% of it");
    assert_eq!(web.count(), 6);
}
