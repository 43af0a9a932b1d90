//! What is not known, or not of this load, takes nothing away.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

mod driver;

use driver::{Driven, jobs_waiting};
use gantry_model::Autoscale;

fn by_rps() -> Autoscale {
    Autoscale { min: 1, max: 20, rps: Some(100.0), ..Autoscale::default() }
}

#[test]
fn what_only_some_proxies_tell_is_a_reason_to_add_and_none_to_take_away() {
    let mut web = Driven::new(Autoscale { min: 0, ..by_rps() }, 4);
    web.traffic(|traffic| (traffic.rps, traffic.partial) = (100.0, true));
    assert_eq!(web.held(900), "no data: not all proxies have reported");
    web.rps(0.0);
    web.pass(900);
    assert_eq!(web.count(), 4, "nor does it sleep");
    web.rps(700.0);
    web.pass(5);
    assert_eq!(web.count(), 7);
}

#[test]
fn bursts_of_work_are_followed_down_again_each_time() {
    let mut worker = Driven::new(
        Autoscale { min: 1, max: 50, metrics: vec![jobs_waiting(10.0)], ..Autoscale::default() },
        1,
    );
    for burst in 0..6 {
        worker.signals.metrics = vec![Ok(2_000.0)];
        worker.pass(90);
        assert_eq!(worker.count(), 50, "burst {burst}: {:?}", worker.changes);
        worker.signals.metrics = vec![Ok(0.0)];
        worker.pass(390);
        assert_eq!(worker.count(), 1, "burst {burst}: {:?}", worker.changes);
    }
}

#[test]
fn a_clock_that_jumps_is_no_time_that_passed() {
    let mut web = Driven::new(Autoscale { min: 0, ..by_rps() }, 4);
    web.rps(100.0);
    web.pass(100);
    web.second += 3_600;
    web.tick();
    assert_eq!(web.count(), 4, "nobody has looked for an hour");
    web.second -= 7_200.min(web.second - 1);
    web.rps(700.0);
    web.pass(5);
    assert_eq!(web.count(), 7, "it goes on, too, when it is earlier again");
}
