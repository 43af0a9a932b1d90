//! `x-gantry.route`, `endpoint_mode` and the modes of ports: what they become, and what is refused.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::fs;
use std::path::Path;
use std::time::Duration;

use gantry_compose::{Options, Problems, Project, load};
use gantry_model::{
    AppProtocol, Balance, EndpointMode, HashOn, Policy, PublishMode, ServiceSpec, UpstreamProtocol,
};

fn load_in(text: &str, prepare: impl FnOnce(&Path)) -> Result<Project, Problems> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("compose.yaml"), text).unwrap();
    prepare(folder.path());
    load(&folder.path().join("compose.yaml"), &Options { name: Some("shop".into()), ..Options::default() })
}

fn web(text: &str) -> ServiceSpec {
    let project =
        load_in(text, |_| {}).unwrap_or_else(|problems| panic!("{text}\n{}", problems.render(false)));
    assert_eq!(project.remarks.to_string(), "", "{text}");
    project.stack.services["web"].clone()
}

/// The service `web` with this route.
fn routed(route: &str) -> String {
    format!("services: {{web: {{image: a, ports: ['8000:5000'], x-gantry: {{route: {route}}}}}}}")
}

fn problems(text: &str) -> String {
    match load_in(text, |_| {}) {
        Ok(_) => panic!("it is fine: {text}"),
        Err(problems) => problems.render(false),
    }
}

#[test]
fn a_route_is_read_key_for_key() {
    let web = web("services:
  web:
    image: a
    x-gantry:
      route:
        host: Shop.example.com
        path: /api/
        port: 5000
        protocol: http
        headers: {X-Beta: '1'}
        strip_prefix: true
        redirect_https: true
        request_headers: {X-From: edge, Cookie: ''}
        response_headers: {Server: ''}
        max_body: 10m
        timeout: 5s
        allow: [10.0.0.0/8, 192.0.2.7]
        deny: 10.1.0.0/16
        basic_auth: ['ada:$$2y$$05$$abc']
        rate: 2.5
        burst: 10
        compress: true
        balance: hash
        hash_on: cookie:user
        affinity: cookie
        max_concurrency: 100
        queue: 50
        queue_timeout: 3s
        connect_timeout: 500ms
        idle_timeout: 1m
        slow_start: 10s
        drain_timeout: 20s
        retry_percent: 10
        eject_after: 3
        eject_for: 30s
        upstream_protocol: http2
");
    let route = &web.routes[0];
    assert_eq!((route.host.as_str(), route.path.as_str(), route.target), ("shop.example.com", "/api", 5000));
    assert_eq!(route.headers["x-beta"], "1");
    let filters = &route.filters;
    assert!(filters.strip_prefix && filters.redirect_https && filters.compress);
    assert_eq!(filters.request_headers["Cookie"], "");
    assert_eq!(
        (filters.max_body, filters.burst, filters.timeout),
        (10 << 20, 10, Some(Duration::from_secs(5)))
    );
    assert!((filters.rate - 2.5).abs() < f64::EPSILON);
    let shown = |ranges: &[ipnet::IpNet]| ranges.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&filters.allow), ["10.0.0.0/8", "192.0.2.7/32"]);
    assert_eq!(shown(&filters.deny), ["10.1.0.0/16"]);
    assert_eq!(filters.basic_auth, ["ada:$2y$05$abc"]);
    assert_eq!(
        web.policy,
        Policy {
            balance: Some(Balance::Hash),
            hash_on: Some(HashOn::Cookie("user".into())),
            sticky_cookie: Some("gantry-web".into()),
            connect_timeout: Some(Duration::from_millis(500)),
            idle_timeout: Some(Duration::from_mins(1)),
            max_concurrency: Some(100),
            queue_length: Some(50),
            queue_timeout: Some(Duration::from_secs(3)),
            retry_percent: Some(10),
            slow_start: Some(Duration::from_secs(10)),
            eject_after: Some(3),
            eject_for: Some(Duration::from_secs(30)),
            protocol: Some(UpstreamProtocol::Http2),
            drain_timeout: Some(Duration::from_secs(20)),
        }
    );
}

#[test]
fn a_route_leads_to_the_first_port_that_is_known() {
    let target = |text: &str| web(text).routes[0].target;
    assert_eq!(target(&routed("{}")), 5000);
    assert_eq!(target(&routed("{port: 81}")), 81);
    let exposed = "services: {web: {image: a, expose: ['53/udp', 3000], x-gantry: {route: {host: a.b}}}}";
    assert_eq!(target(exposed), 3000);
    let shown = problems("services: {web: {image: a, x-gantry: {route: {host: a.b}}}}");
    assert!(shown.contains("not clear to which port") && shown.contains("set port: NUMBER"), "{shown}");
}

#[test]
fn a_service_may_have_several_routes_and_one_policy() {
    let two = web(&routed("[{host: a.b, balance: random}, {host: a.b, path: /x, queue: 5}]"));
    assert_eq!(two.routes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a.b/", "a.b/x"]);
    assert_eq!((two.policy.balance, two.policy.queue_length), (Some(Balance::Random), Some(5)));
    let shown = problems(&routed("[{host: a.b, queue: 4}, {host: c.d, queue: 5}]"));
    assert!(shown.contains("another route of this service says queue differently"), "{shown}");
}

#[test]
fn a_certificate_travels_with_the_route_and_is_never_printed() {
    let prepare = |folder: &Path| {
        let pem = |label: &str| format!("-----BEGIN {label}-----\nc2VjcmV0\n-----END {label}-----\n");
        fs::write(folder.join("cert.pem"), pem("CERTIFICATE")).unwrap();
        fs::write(folder.join("key.pem"), pem("EC PRIVATE KEY")).unwrap();
    };
    let project = load_in(&routed("{tls: {cert: ./cert.pem, key: key.pem}}"), prepare).unwrap();
    let certificate = project.stack.services["web"].routes[0].certificate.clone().unwrap();
    assert_eq!(certificate.name, "./cert.pem");
    assert!(certificate.key_pem.contains("EC PRIVATE KEY"));
    assert!(!format!("{project:?}").contains("c2VjcmV0"));
    let swapped = load_in(&routed("{tls: {cert: key.pem, key: key.pem}}"), prepare).unwrap_err();
    assert!(swapped.to_string().contains("key.pem holds no certificate in PEM"), "{swapped}");
}

#[test]
fn how_a_service_is_reached_and_who_listens_is_read() {
    let read = web(
        "services: {web: {image: a, deploy: {endpoint_mode: dnsrr}, ports: [{target: 80, published: 81, mode: host}, {target: 80, app_protocol: grpc}]}}",
    );
    assert_eq!(read.endpoint_mode, Some(EndpointMode::Dnsrr));
    assert_eq!(read.ports[0].mode, PublishMode::Host);
    assert_eq!(
        (read.ports[1].mode, read.ports[1].app_protocol),
        (PublishMode::Ingress, Some(AppProtocol::Grpc))
    );
}

#[test]
fn a_virtual_address_is_honoured_on_an_internal_network_too() {
    let text = "services: {a: {image: x, networks: [n], deploy: {endpoint_mode: vip}}}\nnetworks: {n: {internal: true}}";
    let project = load_in(text, |_| {}).unwrap();
    assert_eq!(project.remarks.to_string(), "");
}

#[test]
fn every_mistake_in_a_route_says_what_is_expected() {
    for (route, wanted) in [
        (
            "{hots: a}",
            &["a route of service web has no key hots", "did you mean host?", "compose.yaml:1"][..],
        ),
        ("[a]", &["a route of service web must be a map"]),
        ("{host: 'a.b:80'}", &["\"a.b:80\" is no host", "without a port"]),
        ("{path: api}", &["path must be a prefix such as /api"]),
        ("{port: 0}", &["0 is no port"]),
        ("{port: 70000}", &["port must be a whole number"]),
        ("{protocol: ftp}", &["there is no protocol \"ftp\": use http"]),
        ("{balance: round-robin}", &["there is no balance", "did you mean round_robin?"]),
        ("{balance: random, hash_on: source}", &["with balance: hash only"]),
        ("{hash_on: 'query:x'}", &["source, header:NAME or cookie:NAME"]),
        ("{affinity: 'cookie:a b'}", &["none, cookie or cookie:NAME"]),
        ("{rate: -1}", &["rate must be a number such as 10 or 2.5"]),
        ("{max_body: lots}", &["must be a size such as 64M"]),
        ("{timeout: soon}", &["must be a time such as 30s"]),
        ("{allow: [everybody]}", &["neither an address nor a range"]),
        ("{basic_auth: [hunter2]}", &["USER:HASH", "htpasswd"]),
        ("{retry_percent: 200}", &["goes up to 100"]),
        ("{headers: {'a b': c}}", &["\"a b\" is no header"]),
        ("{upstream_protocol: http3}", &["there is no upstream_protocol \"http3\""]),
        ("{tls: {cert: gone.pem}}", &["cannot read", "gone.pem", "tls needs key: FILE"]),
        ("[{host: a.b}, {host: A.b}]", &["has the route a.b/ twice"]),
    ] {
        let shown = problems(&routed(route));
        for part in wanted {
            assert!(shown.contains(part), "{route}\nshould say {part:?}:\n{shown}");
        }
    }
    let both = "services: {a: {image: x, x-gantry: {route: {port: 1}}}, b: {image: x, x-gantry: {route: {port: 1}}}}";
    assert!(problems(both).contains("the route */ is taken: the service a has it already"));
    let mode = "services: {a: {image: x, deploy: {endpoint_mode: vpi}}}";
    assert!(problems(mode).contains("did you mean vip?"));
}
