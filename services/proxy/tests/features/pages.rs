//! What the admin port shows.

use serde_json::{Value, json};

use crate::support::{Answer, LISTEN, Process, Upstream, backend, eventually};

fn start(upstreams: &[&Upstream]) -> Process {
    let endpoints: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
    Process::start(&format!(
        "admin = \"127.0.0.1:@z\"\n{LISTEN}routed = true\nbackend = \"web\"\n[[route]]\nhost = \
         \"shop.example.com\"\npath = \"/api/\"\nbackend = \"web\"\n{}",
        backend("web", &endpoints, "balance = \"round_robin\"\neject_after = 1\neject_for = \"1h\""),
    ))
}

fn read(proxy: &Process, page: &str) -> Value {
    serde_json::from_str(&proxy.page(page)).unwrap()
}

#[test]
fn the_routes_are_shown() {
    let upstream = Upstream::start();
    let proxy = start(&[&upstream]);
    let page = read(&proxy, "/routes");
    let rule = |name: &str, host: &str, path: &str| json!({"name": name, "host": host, "path": path, "backend": "web", "port": null});
    assert_eq!(
        page["listeners"],
        json!([{
            "listen": format!("{}/tcp", proxy.at('a')),
            "owner": "the file",
            "protocol": "http",
            "tls": false,
            "rules": [rule("web", "", "/"), rule("shop.example.com/api/", "shop.example.com", "/api")],
        }])
    );
    assert_eq!((&page["plan"], &page["service_addresses"]), (&json!(1), &json!([])));
}

#[test]
fn the_endpoints_are_shown_with_what_is_known_of_them() {
    let (good, bad) = (Upstream::start(), Upstream::start());
    let proxy = start(&[&good, &bad]);
    bad.answer(Answer::Bytes(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec()));
    good.answer(Answer::Bytes(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n".to_vec()));
    (0..10).for_each(|_| drop(proxy.get("/", "")));
    good.answer(Answer::Silence);
    let mut client = proxy.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let shown = |upstream: &Upstream| {
        let page = read(&proxy, "/endpoints");
        let address = upstream.address.to_string();
        page.as_array().unwrap().iter().find(|one| one["address"] == address.as_str()).unwrap().clone()
    };
    assert!(eventually(|| shown(&good)["in_flight"] == 1));
    let (good, bad) = (shown(&good), shown(&bad));
    assert_eq!(good["answers"], json!({"1xx": 0, "2xx": 8, "3xx": 0, "4xx": 1, "5xx": 0, "none": 0}));
    assert_eq!(bad["answers"], json!({"1xx": 0, "2xx": 0, "3xx": 0, "4xx": 0, "5xx": 1, "none": 0}));
    assert_eq!((&good["left_out"], &bad["left_out"]), (&json!(false), &json!(true)));
    assert_eq!((&good["service"], &good["leaving"]), (&json!("web"), &json!(false)));
}

#[test]
fn numbers_are_there_for_prometheus() {
    let upstream = Upstream::start();
    let proxy = start(&[&upstream]);
    (0..3).for_each(|_| drop(proxy.get("/", "")));
    let mut client = proxy.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
    client.reply().unwrap();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n");
    client.reply().unwrap();
    let page = proxy.page("/metrics");
    let address = upstream.address;
    let labels = format!("service=\"web\",endpoint=\"{address}\",address=\"{address}\"");
    for line in [
        format!("gantry_proxy_requests_total{{{labels},class=\"2xx\"}} 4"),
        format!("gantry_proxy_request_duration_seconds_count{{{labels}}} 4"),
        format!("gantry_proxy_request_bytes_total{{{labels}}} 5"),
        // `GET /` thrice and `POST /`.
        format!("gantry_proxy_response_bytes_total{{{labels}}} 21"),
        format!("gantry_proxy_in_flight{{{labels}}} 0"),
        format!("gantry_proxy_retries_total{{{labels}}} 0"),
        "gantry_proxy_own_answers_total 1".to_owned(),
        "gantry_proxy_accepted_total 4".to_owned(),
        "gantry_proxy_waiting{service=\"web\",port=\"\"} 0".to_owned(),
    ] {
        assert!(page.lines().any(|shown| shown == line), "{line} is not in\n{page}");
    }
    assert!(page.trim_end().ends_with("# EOF"));
}
