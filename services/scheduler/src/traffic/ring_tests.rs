use super::super::report::OfEndpoint;
use super::*;

fn service(name: &str) -> ServiceId {
    name.parse().unwrap()
}

/// So many answers with 200, and so many in flight, of each of these replicas of shop/web.
fn report(replicas: &[(&str, u32, u32)]) -> Report {
    let endpoints = replicas.iter().map(|(replica, ok, in_flight)| {
        let mut counts = Counts::default();
        counts.classes[2] = *ok;
        counts.latency[3] = *ok;
        (ReplicaId::new(replica).ok(), OfEndpoint { counts, in_flight: *in_flight })
    });
    let web = OfService { endpoints: endpoints.collect(), ..OfService::default() };
    Report { services: vec![(service("shop/web"), web)] }
}

fn requests(windows: &BTreeMap<ServiceId, Window>) -> u32 {
    windows.values().flat_map(|window| window.counts.classes).sum()
}

#[test]
fn reports_of_all_proxies_are_added_up() {
    let mut ring = Ring::default();
    ring.add(100, "p1", report(&[("a", 3, 1), ("b", 1, 0)]));
    ring.add(100, "p2", report(&[("a", 4, 2)]));
    let windows = ring.window(101, 10);
    let web = &windows[&service("shop/web")];
    assert_eq!((web.counts.classes[2], web.counts.latency[3], web.in_flight), (8, 8, 3));
    let replica = |name: &str| &web.replicas[&ReplicaId::new(name).unwrap()];
    assert_eq!((replica("a").counts.classes[2], replica("a").in_flight), (7, 3));
    assert_eq!(replica("b").counts.classes[2], 1);
}

#[test]
fn a_window_has_the_seconds_before_the_one_that_is_filling() {
    let mut ring = Ring::default();
    for at in 100..=200 {
        ring.add(at, "p1", report(&[("a", 1, 0)]));
    }
    assert_eq!(requests(&ring.window(200, 10)), 10);
    assert_eq!(requests(&ring.window(200, KEPT)), 60);
    assert_eq!(requests(&ring.window(200, 1_000)), 60, "older ones are gone");
    assert!(ring.seconds.len() <= 61, "{}", ring.seconds.len());
}

#[test]
fn two_reports_in_one_second_count_twice_and_are_in_flight_once() {
    let mut ring = Ring::default();
    ring.add(100, "p1", report(&[("a", 2, 5)]));
    ring.add(100, "p1", report(&[("a", 2, 4)]));
    let windows = ring.window(101, 10);
    assert_eq!((requests(&windows), windows[&service("shop/web")].in_flight), (4, 4));
}

#[test]
fn a_proxy_that_went_away_fades_out() {
    let mut ring = Ring::default();
    ring.add(100, "p1", report(&[("a", 10, 5)]));
    ring.add(100, "p2", report(&[("a", 1, 1)]));
    ring.forget("p2");
    let at = |second| {
        let windows = ring.window(second, 10);
        let web = windows.get(&service("shop/web"));
        (requests(&windows), web.map_or(0, |web| web.in_flight), ring.proxies(second))
    };
    assert_eq!(at(101), (11, 5, 1));
    assert_eq!(at(104), (11, 0, 0), "nobody says any more that anything is in flight");
    assert_eq!(at(111), (0, 0, 0));
}

#[test]
fn whoever_was_sent_away_counts_as_not_answered() {
    let web = OfService { waiting: 2, turned_away: 3, endpoints: Vec::new() };
    let mut ring = Ring::default();
    ring.add(100, "p1", Report { services: vec![(service("shop/web"), web)] });
    let windows = ring.window(101, 10);
    let web = &windows[&service("shop/web")];
    assert_eq!((web.counts.classes[0], web.waiting), (3, 2));
}

fn waiting(count: u32) -> Report {
    let web = OfService { waiting: count, ..OfService::default() };
    Report { services: vec![(service("shop/web"), web)] }
}

fn web(loads: &Loads) -> (u64, f64, u64) {
    let load = loads.services.get(&service("shop/web")).cloned().unwrap_or_default();
    (load.arrived, load.in_flight, load.waiting)
}

#[test]
fn what_arrives_is_what_ended_and_what_there_is_more_of() {
    let mut ring = Ring::default();
    ring.add(100, "p1", report(&[("a", 10, 4)]));
    assert_eq!(web(&ring.loads(100)), (10, 4.0, 0), "what was there before has not come now");
    ring.add(101, "p1", report(&[("a", 10, 10)]));
    assert_eq!(web(&ring.loads(101)), (16, 7.0, 0));
    ring.add(102, "p1", report(&[("a", 10, 0)]));
    assert_eq!(web(&ring.loads(102)), (0, 5.0, 0), "they had all come before");
    ring.add(103, "p1", waiting(3));
    assert_eq!(web(&ring.loads(103)), (3, 0.0, 3));
    ring.add(104, "p1", waiting(3));
    assert_eq!(web(&ring.loads(104)), (0, 0.0, 3), "those that wait have come once");
}

#[test]
fn what_arrives_is_added_up_over_proxies_that_are_heard() {
    let mut ring = Ring::default();
    ring.add(100, "p1", report(&[("a", 10, 0)]));
    // Two reports in one second of ours are still one second each.
    ring.add(101, "p2", report(&[("a", 5, 0)]));
    ring.add(101, "p2", report(&[("a", 6, 0)]));
    let loads = ring.loads(101);
    assert_eq!((web(&loads).0, loads.proxies), (16, 2));
    let latencies = |at| ring.loads(at).services.get(&service("shop/web")).map(|load| load.latency[3]);
    assert_eq!((latencies(105), latencies(106), latencies(107)), (Some(21), Some(11), None));
    assert_eq!(ring.loads(105).proxies, 0, "silent for more than 3 s");
}

#[test]
fn every_second_is_counted_once_and_the_one_that_is_filling_later() {
    let mut ring = Ring::default();
    let failed = OfService { turned_away: 2, ..OfService::default() };
    ring.add(100, "p1", report(&[("a", 10, 0)]));
    ring.add(100, "p2", report(&[("a", 5, 0)]));
    ring.add(101, "p1", Report { services: vec![(service("shop/web"), failed)] });
    let answers = |from, at| {
        let of = ring.answers(from, at).get(&service("shop/web")).copied().unwrap_or_default();
        (of.answered, of.errors)
    };
    assert_eq!([answers(0, 100), answers(100, 101), answers(101, 102)], [(0, 0), (15, 0), (2, 2)]);
    assert_eq!([answers(0, 102), answers(102, 102), answers(103, 102)], [(17, 2), (0, 0), (0, 0)]);
}

#[test]
fn too_many_replicas_count_for_their_service_only() {
    let names: Vec<String> = (0..MAX_REPLICAS + 10).map(|at| format!("r{at}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 1)).collect();
    let mut ring = Ring::default();
    ring.add(100, "p1", report(&all));
    let windows = ring.window(101, 10);
    let web = &windows[&service("shop/web")];
    assert_eq!(web.replicas.len(), MAX_REPLICAS);
    let all = names.len() as u64;
    assert_eq!((u64::from(web.counts.classes[2]), web.in_flight), (all, all));
}
