//! What holds for every load: bounds, order, rest, and an end of every climb.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

mod driver;

use std::time::Duration;

use driver::{BEGIN, Driven};
use gantry_autoscale::simulate::{Load, Model, Point, Trace, run};
use gantry_autoscale::{Memory, Replica, Rules, Signals, Stage, Traffic, Usage, decide};
use gantry_model::{Autoscale, MetricTarget, ServiceSpec};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn metric() -> MetricTarget {
    MetricTarget {
        service: String::new(),
        port: 9000,
        path: "/metrics".into(),
        name: "jobs".into(),
        target: 30.0,
    }
}

prop_compose! {
    /// Bounds, and any of the targets.
    fn any_autoscale()(
        min in 0_u32..5,
        more in 0_u32..40,
        cpu in option::of(10_u32..90),
        memory in option::of(10_u32..90),
        rps in option::of(1.0_f64..200.0),
        concurrency in option::of(0.5_f64..50.0),
        p95 in option::of(50_u64..2_000),
        has_metric: bool,
        up in 0_u64..10,
        down in 0_u64..120,
    ) -> Autoscale {
        Autoscale {
            min,
            max: (min + more).max(1),
            cpu,
            memory,
            rps,
            concurrency,
            p95: p95.map(Duration::from_millis),
            metrics: if has_metric { vec![metric()] } else { Vec::new() },
            scale_up_after: Duration::from_secs(up),
            scale_down_after: Duration::from_secs(down),
            ..Autoscale::default()
        }
    }
}

prop_compose! {
    fn any_replica()(
        stage in prop_oneof![
            6 => Just(Stage::Ready), 1 => Just(Stage::Starting), 1 => Just(Stage::Unready), 1 => Just(Stage::Pending)
        ],
        cpu_millicores in 0_u32..2_000,
        memory_bytes in option::of(0_u64..200),
        age in 0_u64..8,
        usage_is_known in prop::bool::weighted(0.8),
        started in option::of(0_u64..20),
    ) -> Replica {
        let usage = Usage { cpu_millicores, memory_bytes, age: Duration::from_secs(age) };
        Replica {
            stage,
            started_at: started.map(|second| BEGIN.after(Duration::from_secs(second))),
            usage: usage_is_known.then_some(usage),
        }
    }
}

prop_compose! {
    /// Whatever may be seen in one second, with parts of it missing.
    fn any_signals()(
        replicas in vec(any_replica(), 0..8),
        traffic in option::weighted(0.8, (0.0_f64..5_000.0, 0.0_f64..500.0, 0_u32..50, option::of(1_u64..3_000), 0_u64..200)),
        quiet in prop::bool::weighted(0.2),
        job in option::of(0.0_f64..1_000.0),
        is_changing in prop::bool::weighted(0.1),
        is_healing in prop::bool::weighted(0.1),
        partial in prop::bool::weighted(0.1),
    ) -> Signals {
        let traffic = traffic.map(|(rps, in_flight, waiting, p95, requests)| Traffic {
            rps,
            in_flight,
            waiting,
            p95: p95.map(Duration::from_millis),
            p99: None,
            requests,
            partial,
        });
        Signals {
            count: 0,
            replicas,
            traffic: if quiet { traffic.map(|_| Traffic::default()) } else { traffic },
            metrics: vec![job.ok_or_else(|| "refused".to_owned())],
            changing: is_changing.then_some("an update"),
            healing: is_healing.then_some("a repair"),
        }
    }
}

fn spec(autoscale: Autoscale) -> ServiceSpec {
    let mut spec = ServiceSpec { autoscale: Some(autoscale), ..ServiceSpec::default() };
    spec.container.resources.memory = Some(100);
    spec
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn the_count_is_never_outside_its_bounds(
        autoscale in any_autoscale(),
        first in 0_u32..60,
        seen in vec(any_signals(), 1..200),
    ) {
        let spec = spec(autoscale);
        let (mut count, mut memory) = (first, Memory::default());
        for (second, signals) in (1..).zip(seen) {
            let now = BEGIN.after(Duration::from_secs(second));
            let rules = Rules::new(&spec, now).unwrap();
            let (next, decision) = decide(&rules, &Signals { count, ..signals }, memory, now);
            prop_assert!((rules.bounds.min..=rules.bounds.max).contains(&decision.count), "{decision:?}");
            prop_assert_eq!(decision.change.is_some(), decision.count != count, "a change says why: {:?}", &decision);
            (count, memory) = (decision.count, next);
        }
    }

    #[test]
    fn more_load_never_means_fewer_replicas(
        autoscale in any_autoscale(),
        count in 1_u32..40,
        before in vec(any_signals(), 0..40),
        last in any_signals(),
        times in 1.0_f64..5.0,
    ) {
        let spec = spec(autoscale);
        let mut memory = Memory::default();
        for (second, signals) in (1..).zip(before) {
            let now = BEGIN.after(Duration::from_secs(second));
            let rules = Rules::new(&spec, now).unwrap();
            memory = decide(&rules, &Signals { count, ..signals }, memory, now).0;
        }
        let now = BEGIN.after(Duration::from_secs(41));
        let rules = Rules::new(&spec, now).unwrap();
        let decided = |signals: &Signals| decide(&rules, signals, memory.clone(), now).1.count;
        let less = Signals { count, ..last };
        let more = busier(&less, times);
        prop_assert!(decided(&more) >= decided(&less), "{less:?}\n{more:?}");
    }

}

proptest! {
    // Each case is hours of seconds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(25) })]

    #[test]
    fn a_constant_load_comes_to_rest_with_enough(
        rps in 1.0_f64..2_000.0,
        first in 1_u32..40,
        signal in 0_usize..4,
    ) {
        let trace = under(signal, first, 9_000, |_| rps);
        let late = trace.changes.iter().filter(|(second, _)| *second > 6_000).count();
        prop_assert_eq!(late, 0, "{:?}", words(&trace));
        let last = trace.points.last().unwrap();
        prop_assert!(is_enough(last), "{last:?} {:?}", words(&trace));
    }

    #[test]
    fn noise_of_a_tenth_is_not_followed(
        rps in 50.0_f64..1_500.0,
        first in 1_u32..30,
        signal in 0_usize..3,
        noise in vec(-0.1_f64..0.1, 200),
    ) {
        let trace = under(signal, first, 7_200, |second| {
            let at = usize::try_from(second).unwrap();
            rps * (1.0 + noise[(at * 7 + at / 200) % noise.len()])
        });
        let reversals = |after: u64| {
            let late: Vec<_> = trace.changes.iter().filter(|(second, _)| *second > after).collect();
            late.windows(2).filter(|pair| pair[0].1.to < pair[0].1.from && pair[1].1.to > pair[1].1.from).count()
        };
        if signal == 2 {
            // What is in flight grows faster than the load: where that is learned the hard way, it is
            // learned soon, and once for every level.
            prop_assert!(reversals(0) <= 3, "{:?}", words(&trace));
        } else {
            prop_assert_eq!(reversals(900), 0, "{:?}", words(&trace));
        }
    }

    #[test]
    fn a_linear_service_has_enough_within_a_given_time(
        rps in 100.0_f64..2_500.0,
        first in 1_u32..10,
        signal in 0_usize..2,
    ) {
        let trace = under(signal, first, 300, |_| rps);
        // Requests say at once how many they need: 1 → 42 is 1, 5, 10, 20, 40, 42. Processor time is not
        // seen above the limit: 1.43 times as many after each start, whose first 10 seconds do not count.
        let within = [180, 100][signal];
        let late = trace.points.iter().skip(within).find(|point| !is_enough(point));
        prop_assert!(late.is_none(), "{late:?} {:?}", words(&trace));
        let steps = trace.changes.iter().take_while(|(second, _)| *second < 200).count();
        prop_assert!(steps <= 12, "{:?}", words(&trace));
    }

    #[test]
    fn slow_answers_that_no_replica_helps_stop_the_climb(
        first in 1_u32..20,
        rps in 50.0_f64..90.0,
    ) {
        let model = Model { elsewhere: Duration::from_millis(900), ..Model::default() };
        let autoscale =
            Autoscale { max: 200, p95: Some(Duration::from_millis(250)), ..Autoscale::default() };
        let load = Load::each_second(1_800, |_| rps);
        let trace = run(&spec(autoscale), model, &load, first, BEGIN);
        prop_assert!(trace.changes.len() <= 3, "{:?}", words(&trace));
    }
}

/// As one signal after the other has it: cpu, requests a second, concurrency, the 95th percentile.
fn under(signal: usize, first: u32, seconds: u64, rps: impl Fn(u64) -> f64) -> Trace {
    let plain = Autoscale { min: 1, max: 60, ..Autoscale::default() };
    let autoscale = match signal {
        0 => Autoscale { cpu: Some(70), ..plain },
        1 => Autoscale { rps: Some(60.0), ..plain },
        2 => Autoscale { concurrency: Some(4.0), ..plain },
        _ => Autoscale { p95: Some(Duration::from_millis(150)), ..plain },
    };
    run(&spec(autoscale), Model::default(), &Load::each_second(seconds, rps), first, BEGIN)
}

/// Whether the replicas are as many as are needed, but for the tolerance. Processor time is counted in whole thousandths
/// of a core, of which a replica that is at the tolerance uses 770.
fn is_enough(point: &Point) -> bool {
    point.need <= f64::from(point.ready) * 1.1 * (1.0 + 1.0 / 770.0) + 1e-9
}

fn words(trace: &Trace) -> Vec<String> {
    trace.changes.iter().map(|(second, change)| format!("{second}: {change}")).collect()
}

/// The same with so many times the load.
fn busier(signals: &Signals, times: f64) -> Signals {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let scaled = |amount: u64| (amount as f64 * times).ceil() as u64;
    let mut more = signals.clone();
    for usage in more.replicas.iter_mut().filter_map(|replica| replica.usage.as_mut()) {
        usage.cpu_millicores = u32::try_from(scaled(usage.cpu_millicores.into())).unwrap();
        usage.memory_bytes = usage.memory_bytes.map(&scaled);
    }
    if let Some(traffic) = &mut more.traffic {
        traffic.rps *= times;
        traffic.in_flight *= times;
        traffic.waiting = u32::try_from(scaled(traffic.waiting.into())).unwrap();
        traffic.p95 = traffic.p95.map(|p95| p95.mul_f64(times));
    }
    for value in more.metrics.iter_mut().flatten() {
        *value *= times;
    }
    more
}

#[test]
fn the_same_seconds_give_the_same_decisions() {
    let decided = || {
        let mut web =
            Driven::new(Autoscale { max: 20, cpu: Some(70), rps: Some(50.0), ..Autoscale::default() }, 2);
        for at in 0..600_u32 {
            web.rps(f64::from(at % 97) * 10.0);
            web.share_cpu(at % 331);
            web.tick();
        }
        web.changes
    };
    assert_eq!(decided(), decided());
    assert!(decided().len() > 3);
}
