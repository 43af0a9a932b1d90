//! `x-gantry.health` and `x-gantry.heal`: what they become, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::fs;
use std::time::Duration;

use gantry_compose::{Options, Problems, Project, load};
use gantry_model::{Check, HealPolicy, HealthProbe, ServiceSpec};

fn load_text(text: &str) -> Result<Project, Problems> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("compose.yaml"), text).unwrap();
    load(&folder.path().join("compose.yaml"), &Options { name: Some("shop".into()), ..Options::default() })
}

/// The service `web`, whose only port is 5000, with this in its `x-gantry`.
fn text(gantry: &str) -> String {
    format!("services:\n  web:\n    image: a\n    ports: ['8000:5000']\n    x-gantry: {{{gantry}}}\n")
}

fn web(gantry: &str) -> ServiceSpec {
    let text = text(gantry);
    let project = load_text(&text).unwrap_or_else(|problems| panic!("{text}\n{}", problems.render(false)));
    assert_eq!(project.remarks.to_string(), "", "{text}");
    project.stack.services["web"].clone()
}

fn problems(text: &str) -> String {
    match load_text(text) {
        Ok(_) => panic!("it is fine: {text}"),
        Err(problems) => problems.render(false),
    }
}

#[test]
fn a_check_is_read_key_for_key() {
    let web = web(
        "health: {http: '/healthz?deep=1', port: 81, headers: {Host: shop.example.com}, status: 200-299, \
         body: ok, interval: 2s, timeout: 1s, retries: 5, start_period: 1m, start_interval: 100ms}",
    );
    let check = Check::Http {
        port: 81,
        path: "/healthz?deep=1".into(),
        headers: [("Host".to_owned(), "shop.example.com".to_owned())].into(),
        status: (200, 299),
        body: "ok".into(),
    };
    let probe = HealthProbe {
        check,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        retries: 5,
        start_period: Duration::from_mins(1),
        start_interval: Duration::from_millis(100),
    };
    assert_eq!((web.readiness.as_ref(), web.liveness.as_ref()), (None, Some(&probe)));
    let checks = web.checks();
    assert_eq!((checks.readiness, checks.liveness), (Some(probe.clone()), Some(probe)), "it serves as both");
    assert!(checks.published.is_empty());
}

#[test]
fn checks_are_of_four_kinds() {
    let check = |gantry: &str| web(&format!("health: {gantry}")).liveness.unwrap().check;
    let http = |status| Check::Http {
        port: 5000,
        path: "/".into(),
        headers: [].into(),
        status,
        body: String::new(),
    };
    assert_eq!(check("{http: /}"), http((200, 399)));
    assert_eq!(check("{http: /, status: 204}"), http((204, 204)));
    assert_eq!(check("{tcp: true}"), Check::Tcp { port: 5000 });
    assert_eq!(check("{tcp: 5432}"), Check::Tcp { port: 5432 });
    assert_eq!(check("{grpc: true}"), Check::Grpc { port: 5000, service: String::new() });
    let named = Check::Grpc { port: 9, service: "shop.v1.Cart".into() };
    assert_eq!(check("{grpc: shop.v1.Cart, port: 9}"), named);
    let words = Check::Exec { command: vec!["pg_isready".into(), "-U".into(), "a b".into()] };
    assert_eq!(check("{exec: [pg_isready, -U, a b]}"), words);
    assert_eq!(check("{exec: \"pg_isready -U 'a b'\"}"), words);
}

#[test]
fn readiness_and_liveness_are_told_apart() {
    let both = web("health: {readiness: {http: /ready}, liveness: {tcp: true, retries: 9}}").checks();
    assert!(matches!(both.readiness.unwrap().check, Check::Http { .. }));
    assert_eq!(both.liveness.unwrap().retries, 9);
    let traffic = web("health: {readiness: {http: /ready}}").checks();
    assert!(traffic.readiness.is_some() && traffic.liveness.is_none());
}

#[test]
fn a_service_without_any_check_is_known_by_its_published_ports() {
    let published = |text: &str| load_text(text).unwrap().stack.services["web"].checks().published;
    let ports =
        "ports: ['80:8080', '81:8080', '53:53/udp', '443:8443', {target: 9, published: 9, mode: host}]";
    assert_eq!(published(&format!("services: {{web: {{image: a, {ports}}}}}")), [8080, 8443]);
    let off = "healthcheck: {disable: true}";
    assert!(published(&format!("services: {{web: {{image: a, {off}, {ports}}}}}")).is_empty());
    assert!(published("services: {web: {image: a, expose: [80]}}").is_empty());
}

#[test]
fn what_is_done_about_unhealthy_replicas_is_read() {
    assert_eq!(web("health: {tcp: true}").heal, HealPolicy::default());
    let heal = HealPolicy { restart_limit: 5, window: Duration::from_mins(2), disabled: false };
    assert_eq!(web("heal: {restart_limit: 5, window: 2m}").heal, heal);
    assert!(web("heal: {off: true}").heal.disabled);
}

#[test]
fn what_is_wrong_is_told_with_its_line_and_what_was_expected() {
    for (gantry, message) in [
        ("health: {}", "says no check"),
        ("health: {interval: 2s}", "says no check"),
        ("health: {http: /, tcp: true}", "a check is one of them"),
        ("health: {http: healthz}", "http must be a path such as /healthz, and this is \"healthz\""),
        ("health: {http: 'http://localhost/'}", "the port goes into port: NUMBER"),
        ("health: {http: /, port: 0}", "0 is no port"),
        ("health: {http: /, port: 70000}", "port must be a whole number"),
        ("health: {http: /, status: 20}", "status must be a code such as 204 or a range such as 200-299"),
        ("health: {http: /, status: 299-200}", "this is \"299-200\""),
        ("health: {http: /, headers: {'a b': c}}", "\"a b\" is no header"),
        ("health: {http: /, headers: {Content-Length: '5'}}", "\"Content-Length\" is no header"),
        ("health: {tcp: true, body: ok}", "body goes with http only"),
        ("health: {tcp: false}", "tcp must be true or a port"),
        ("health: {tcp: 80, port: 80}", "tcp names the port already"),
        ("health: {grpc: false}", "grpc must be true or the name of a gRPC service"),
        ("health: {exec: []}", "exec has no command"),
        ("health: {exec: \"a 'b\"}", "a quote that is never closed"),
        ("health: {exec: a, port: 1}", "port does not go with exec"),
        ("health: {tcp: true, interval: 50ms}", "interval must be 100ms to 24h"),
        ("health: {tcp: true, timeout: soon}", "timeout must be a time such as 30s"),
        ("health: {tcp: true, start_period: 25h}", "start_period must be 0s to 24h"),
        ("health: {tcp: true, retries: 0}", "retries must be at least 1"),
        ("health: {tcp: true, retrys: 2}", "did you mean retries?"),
        ("health: {tcp: true, path: /}", "has no key path"),
        ("health: {readiness: {tcp: true}, interval: 2s}", "interval stands beside readiness and liveness"),
        ("health: {readiness: {liveness: {tcp: true}}}", "liveness does not go inside readiness"),
        ("health: [tcp]", "must be a map"),
        ("heal: {restart_limit: 0}", "restart_limit must be at least 1"),
        ("heal: {window: 1ms}", "window must be 1s to 24h"),
        ("heal: {off: maybe}", "off must be true or false"),
        ("heal: {limit: 3}", "has no key limit"),
    ] {
        let problems = problems(&text(gantry));
        assert!(problems.contains(message), "{gantry}:\n{problems}");
        assert!(problems.contains("compose.yaml:5:"), "{gantry}: without its line\n{problems}");
        assert!(!problems.contains("not honoured"), "{gantry}:\n{problems}");
    }
}

#[test]
fn without_a_port_the_service_must_have_just_one() {
    for ports in ["", "ports: ['80:80', '81:81'],", "expose: [80, 81],", "expose: ['80-90'],"] {
        let problems = problems(&format!(
            "services: {{web: {{image: a, {ports} x-gantry: {{health: {{tcp: true}}}}}}}}"
        ));
        assert!(problems.contains("the service does not have just one"), "{problems}");
        assert!(problems.contains("set port: NUMBER"), "{problems}");
    }
    let host = "services: {web: {image: a, network_mode: none, x-gantry: {health: {tcp: 80}}}}";
    assert!(load_text(host).is_err(), "nobody reaches it");
}
