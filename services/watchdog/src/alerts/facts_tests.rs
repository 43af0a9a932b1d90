use gantry_api::cluster::v1::{Autoscale, Node, Replica, Service, ServiceSpec};
use gantry_api::feed::v1::ServedCertificate;
use gantry_model::wire::write_time;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

#[test]
fn a_replica_that_ends_again_and_again_is_known_with_the_reason_of_its_last_end() {
    let mut mirror = Mirror::default();
    mirror.services.insert("shop/web".into(), Service { wanted: 1, ..Service::default() });
    let end = |seconds, exit_code, oom_killed| End {
        at: Some(write_time(at(seconds))),
        exit_code,
        oom_killed,
        ..End::default()
    };
    let case = |ends| Case {
        service: "shop/web".into(),
        slot: 2,
        wanted: true,
        reported: true,
        ends,
        ..Case::default()
    };
    let facts = |ends| {
        let cases = [("r1".to_owned(), case(ends))].into();
        let health = Health { cases: &cases, ..Health::NONE };
        Facts::gather(&mirror, health, None, at(1_000)).services["shop/web"].clone()
    };
    let looping =
        facts(vec![end(500, 1, false), end(600, 1, false), end(700, 139, false), end(800, 137, true)]);
    assert_eq!(looping.looping, [(2, 4, "out of memory".to_owned())]);
    assert_eq!(looping.crashes, 4);
    let signal = facts(vec![end(500, 1, false), end(600, 1, false), end(700, 139, false)]);
    assert_eq!(signal.looping[0].2, "killed by SIGSEGV");
    assert!(
        facts(vec![end(100, 1, false), end(300, 1, false), end(700, 1, false)]).looping.is_empty(),
        "one is too old"
    );
}

#[test]
fn what_was_asked_to_end_is_no_crash() {
    let mut mirror = Mirror::default();
    mirror.services.insert("shop/web".into(), Service { wanted: 1, ..Service::default() });
    let end = |exit_code, asked, oom_killed| End {
        at: Some(write_time(at(900))),
        exit_code,
        asked,
        oom_killed,
        ..End::default()
    };
    let facts = |ends| {
        let service = "shop/web".to_owned();
        let case = Case { service, slot: 1, wanted: true, reported: true, ends, ..Case::default() };
        let cases = [("r1".to_owned(), case)].into();
        let health = Health { cases: &cases, ..Health::NONE };
        Facts::gather(&mirror, health, None, at(1_000)).services["shop/web"].clone()
    };
    // Three times `gantry restart`, or three repairs.
    let asked = facts(vec![end(143, true, false); 3]);
    assert_eq!((asked.crashes, asked.looping.len()), (0, 0));
    let own = facts(vec![end(137, true, true), end(137, false, false), end(137, false, false)]);
    assert_eq!((own.crashes, own.looping), (3, vec![(1, 3, "out of memory".to_owned())]));
}

#[test]
fn a_replica_that_is_not_ready_is_missing_where_it_is_placed() {
    let mut mirror = Mirror::default();
    mirror.services.insert("shop/web".into(), Service { wanted: 3, ready: 1, ..Service::default() });
    let replica = |id: &str, node: &str, ready| {
        let replica = Replica {
            service: "shop/web".into(),
            node: node.into(),
            ready,
            goal: Goal::Run.into(),
            restarts: 2,
            ..Replica::default()
        };
        (id.to_owned(), replica)
    };
    mirror.replicas = [replica("a", "n1", false), replica("b", "n2", true), replica("c", "", false)].into();
    let facts = Facts::gather(&mirror, Health::NONE, None, at(1));
    let service = &facts.services["shop/web"];
    assert_eq!(service.missing_on, [String::new(), "n1".to_owned()].into());
    assert_eq!((service.restarts, service.wanted, service.ready), (6, 3, 1));
    assert!(!facts.traffic_known);
}

#[test]
fn a_replica_for_which_no_node_has_room_is_known_and_one_that_waits_for_anything_else_is_not() {
    let mut mirror = Mirror::default();
    mirror.services.insert("shop/web".into(), Service { wanted: 3, ready: 1, ..Service::default() });
    let replica = |message: &str, node: &str| Replica {
        service: "shop/web".into(),
        node: node.into(),
        message: message.into(),
        goal: Goal::Run.into(),
        ..Replica::default()
    };
    let full = "no node fits; 2 nodes: 2 have no room (it reserves 2.00 cores and 1.00 are free at most)";
    mirror.replicas = [
        ("a".to_owned(), replica("waits for db to be healthy", "")),
        ("b".to_owned(), replica(full, "")),
        ("c".to_owned(), replica("there is no room on its disk", "n1")),
    ]
    .into();
    let service = Facts::gather(&mirror, Health::NONE, None, at(1)).services["shop/web"].clone();
    assert_eq!((service.homeless, service.no_room.as_deref()), (1, Some(full)));
}

#[test]
fn a_node_is_lost_or_held_as_it_was_concluded_and_not_by_its_silence() {
    let mut mirror = Mirror::default();
    mirror.nodes.insert("1".into(), Node { name: "n1".into(), ready: true, ..Node::default() });
    let facts = |presence: Presence, held| {
        let silent_since = Some(write_time(at(1)));
        let hearing = Hearing { presence: presence.into(), silent_since, held, ..Hearing::default() };
        let hearings = [("1".to_owned(), hearing)].into();
        let health = Health { hearings: &hearings, ..Health::NONE };
        let node = Facts::gather(&mirror, health, None, at(100)).nodes["n1"].clone();
        (node.lost, node.held)
    };
    assert_eq!(facts(Presence::Suspect, true), (false, true));
    assert_eq!(facts(Presence::Suspect, false), (false, false));
    assert_eq!(facts(Presence::Lost, false), (true, false));
}

#[test]
fn a_change_of_a_service_is_recent_for_two_minutes() {
    let mut mirror = Mirror::default();
    let service = Service { wanted: 1, updated_at: Some(write_time(at(1_000))), ..Service::default() };
    mirror.services.insert("shop/web".into(), service);
    let course = Course { never_ready: true, ..Course::default() };
    let courses = [("shop/web".to_owned(), course)].into();
    let facts = |now| {
        let health = Health { courses: &courses, ..Health::NONE };
        Facts::gather(&mirror, health, None, at(now)).services["shop/web"].clone()
    };
    assert!(facts(1_119).changed && facts(1_119).never_ready);
    assert!(!facts(1_120).changed && facts(1_120).never_ready);
    let untold = Facts::gather(&mirror, Health::NONE, None, at(1_120)).services["shop/web"].clone();
    assert!(!untold.never_ready, "an older scheduler does not say");
}

#[test]
fn certificates_of_nodes_and_of_routes_are_known_by_their_holders() {
    let mut mirror = Mirror::default();
    mirror.nodes.insert("1".into(), Node { name: "n1".into(), ..Node::default() });
    let until = |seconds| Some(write_time(at(seconds)));
    let hearing = Hearing { certificate_expires_at: until(5), ..Hearing::default() };
    let certificate = ServedCertificate { name: "shop.pem".into(), expires_at: until(7) };
    let course = Course { certificates: vec![certificate], ..Course::default() };
    let (hearings, courses) = ([("1".into(), hearing)].into(), [("shop/web".into(), course)].into());
    let health = Health { hearings: &hearings, courses: &courses, ..Health::NONE };
    let facts = Facts::gather(&mirror, health, None, at(1));
    let expected = [("node:n1".to_owned(), at(5)), ("shop/web:shop.pem".to_owned(), at(7))];
    assert_eq!(facts.certificates, expected.into());
}

#[test]
fn traffic_that_no_proxy_has_reported_is_not_known() {
    let mut mirror = Mirror::default();
    mirror.services.insert("shop/web".into(), Service::default());
    let service = gantry_api::cluster::v1::ServiceTraffic {
        service: "shop/web".into(),
        traffic: Some(Traffic { error_rate: 0.5, ..Traffic::default() }),
        ..Default::default()
    };
    let report = |proxies| TrafficReport { services: vec![service.clone()], window: None, proxies };
    let gather = |report: &TrafficReport| Facts::gather(&mirror, Health::NONE, Some(report), at(1));
    assert!(!gather(&report(0)).traffic_known);
    let known = gather(&report(1));
    assert!(known.traffic_known && known.services["shop/web"].traffic.is_some());
}

#[test]
fn what_load_has_asked_for_is_on_its_way_for_a_while() {
    let mut mirror = Mirror::default();
    let spec = ServiceSpec { autoscale: Some(Autoscale::default()), ..ServiceSpec::default() };
    let web = Service { wanted: 2, ready: 1, spec: Some(spec), ..Service::default() };
    mirror.services.insert("shop/web".into(), web);
    let replica = |restarts| Replica {
        service: "shop/web".into(),
        goal: Goal::Run.into(),
        created_at: Some(write_time(at(1_000))),
        restarts,
        ..Replica::default()
    };
    let coming = |mirror: &Mirror, second| {
        Facts::gather(mirror, Health::NONE, None, at(second)).services["shop/web"].coming
    };
    mirror.replicas = [("a".to_owned(), replica(0))].into();
    assert_eq!((coming(&mirror, 1_060), coming(&mirror, 1_200)), (1, 0), "not for ever");
    mirror.replicas = [("a".to_owned(), replica(1))].into();
    assert_eq!(coming(&mirror, 1_060), 0, "it has failed");
}
