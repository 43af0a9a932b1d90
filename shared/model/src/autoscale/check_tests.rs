use super::super::{Recurrence, ScheduleEntry};
use super::*;
use crate::container::RestartPolicy;
use crate::port::{Port, PublishMode};

fn service(autoscale: Autoscale) -> ServiceSpec {
    ServiceSpec { autoscale: Some(autoscale), ..ServiceSpec::default() }
}

fn fine() -> Autoscale {
    Autoscale { max: 10, cpu: Some(70), ..Autoscale::default() }
}

fn keys(service: &ServiceSpec) -> Vec<&'static str> {
    service.autoscale_faults().iter().map(|fault| fault.key).collect()
}

#[test]
fn what_makes_sense_has_no_fault() {
    assert_eq!(keys(&service(fine())), [""; 0]);
    assert_eq!(keys(&ServiceSpec::default()), [""; 0]);
    let to_zero = Autoscale { min: 0, max: 1, ..Autoscale::default() };
    assert_eq!(keys(&service(to_zero)), [""; 0], "it only sleeps and wakes");
}

#[test]
fn bounds_are_in_order_and_something_is_aimed_at() {
    assert_eq!(keys(&service(Autoscale { max: 0, ..fine() })), ["max"]);
    assert_eq!(keys(&service(Autoscale { min: 11, ..fine() })), ["min"]);
    assert_eq!(keys(&service(Autoscale { max: 10_001, ..fine() })), ["max"]);
    assert_eq!(keys(&service(Autoscale { cpu: None, ..fine() })), [""]);
    let begins = Recurrence::parse("0 8 * * *", "UTC").unwrap();
    let entry = ScheduleEntry { begins, min: Some(11), max: None };
    assert_eq!(keys(&service(Autoscale { schedule: vec![entry], ..fine() })), ["schedule"]);
}

#[test]
fn what_proxies_measure_needs_traffic_through_them() {
    let dnsrr = |autoscale| ServiceSpec { endpoint_mode: Some(EndpointMode::Dnsrr), ..service(autoscale) };
    for (autoscale, key) in [
        (Autoscale { rps: Some(100.0), ..fine() }, "rps"),
        (Autoscale { concurrency: Some(20.0), ..fine() }, "concurrency"),
        (Autoscale { p95: Some(Duration::from_millis(250)), ..fine() }, "p95"),
        (Autoscale { p99: Some(Duration::from_millis(250)), ..fine() }, "p99"),
        (Autoscale { min: 0, ..fine() }, "min"),
    ] {
        let mut service = dnsrr(autoscale);
        assert_eq!(keys(&service), [key]);
        let message = &service.autoscale_faults()[0].message;
        assert!(message.contains("publish a port") && message.contains("endpoint_mode: vip"), "{message}");
        service.ports.push(Port { mode: PublishMode::Host, ..Port::new(80, Some(80)) });
        assert_eq!(keys(&service), [key], "the engine's own port does not count");
        service.ports.push(Port::new(80, Some(80)));
        assert_eq!(keys(&service), [""; 0]);
    }
    assert_eq!(keys(&dnsrr(fine())), [""; 0], "cpu needs no traffic");
}

#[test]
fn what_sleeps_must_have_something_to_wake_it() {
    let jobs = |service: &str| MetricTarget {
        service: service.to_owned(),
        port: 9000,
        path: "/metrics".into(),
        name: "jobs".into(),
        target: 30.0,
    };
    let own = Autoscale { min: 0, cpu: None, metrics: vec![jobs("")], ..fine() };
    let worker = service(own.clone());
    assert_eq!(keys(&worker), ["min"]);
    let message = &worker.autoscale_faults()[0].message;
    assert!(message.contains("service: QUEUE") && message.contains("min: 1"), "{message}");
    let entry =
        ScheduleEntry { begins: Recurrence::parse("0 20 * * *", "UTC").unwrap(), min: Some(0), max: None };
    let nightly = Autoscale { min: 1, schedule: vec![entry], ..own.clone() };
    assert_eq!(keys(&service(nightly)), ["schedule"]);
    for woken in [
        ServiceSpec { ports: vec![Port::new(80, Some(80))], ..worker.clone() },
        service(Autoscale { metrics: vec![jobs("queue")], ..own.clone() }),
        service(Autoscale { rps: Some(100.0), ..own.clone() }),
        service(Autoscale { min: 1, ..own }),
    ] {
        assert_eq!(keys(&woken), [""; 0], "{woken:?}");
    }
    let udp = Port { protocol: Protocol::Udp, ..Port::new(53, Some(53)) };
    let host = Port { mode: PublishMode::Host, ..Port::new(80, Some(80)) };
    for port in [udp, host] {
        assert!(keys(&ServiceSpec { ports: vec![port], ..worker.clone() }).contains(&"min"));
    }
}

#[test]
fn ports_of_the_host_go_past_the_proxy_which_is_said() {
    let host = Port { mode: PublishMode::Host, ..Port::new(80, Some(80)) };
    let busy = service(Autoscale { rps: Some(100.0), ..fine() });
    let past = ServiceSpec { ports: vec![host.clone()], ..busy.clone() };
    assert_eq!(keys(&past), [""; 0], "other services reach it at its own address");
    let doubt = past.autoscale_doubt().unwrap();
    assert!(doubt.key == "rps" && doubt.message.contains("mode: host"), "{doubt:?}");
    for clear in [
        busy.clone(),
        ServiceSpec { endpoint_mode: Some(EndpointMode::Vip), ..past.clone() },
        ServiceSpec { ports: vec![host.clone(), Port::new(81, Some(81))], ..busy },
        ServiceSpec { ports: vec![host], ..service(fine()) },
    ] {
        assert_eq!(clear.autoscale_doubt(), None, "{clear:?}");
    }
}

#[test]
fn a_target_is_one_that_proxies_can_tell() {
    let slow = |seconds| service(Autoscale { p95: Some(Duration::from_secs(seconds)), ..fine() });
    assert_eq!((keys(&slow(20)), keys(&slow(21))), (vec![], vec!["p95"]));
}

#[test]
fn a_service_whose_count_is_fixed_is_not_scaled() {
    let text = |service: &ServiceSpec| service.autoscale_faults()[0].message.clone();
    assert!(text(&ServiceSpec { mode: Mode::Global, ..service(fine()) }).contains("mode: global"));
    assert!(text(&ServiceSpec { exclusive: true, ..service(fine()) }).contains("exclusive"));
    let mut job = service(fine());
    job.container.restart = Some(RestartPolicy::No);
    assert!(text(&job).contains("runs once"));
}

#[test]
fn a_share_must_be_one_that_can_be_exceeded() {
    let mut limited = service(Autoscale { cpu: Some(95), memory: Some(80), ..fine() });
    assert_eq!(keys(&limited), ["memory"], "of one core more than 100% can be used; of no memory no share");
    limited.container.resources.nano_cpus = Some(500_000_000);
    limited.container.resources.memory = Some(64 << 20);
    assert_eq!(keys(&limited), ["cpu"]);
    assert_eq!(keys(&service(Autoscale { cpu: Some(0), ..fine() })), ["cpu"]);
}

#[test]
fn a_metric_says_where_it_is_and_how_much_a_replica_takes() {
    let good = MetricTarget {
        service: String::new(),
        port: 9000,
        path: "/metrics".into(),
        name: "jobs_waiting{queue=\"mail\"}".into(),
        target: 30.0,
    };
    assert_eq!(good.fault(), None);
    let message = |metric: MetricTarget| metric.fault().unwrap().message;
    assert!(message(MetricTarget { port: 0, ..good.clone() }).contains("port: NUMBER"));
    assert!(message(MetricTarget { path: "metrics".into(), ..good.clone() }).contains("/metrics"));
    assert!(message(MetricTarget { name: "jobs waiting".into(), ..good.clone() }).contains("jobs_waiting"));
    assert!(message(MetricTarget { name: "jobs{".into(), ..good.clone() }).contains("jobs_waiting"));
    assert!(message(MetricTarget { target: f64::NAN, ..good }).contains("above 0"));
}
