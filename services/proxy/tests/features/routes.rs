//! Which route a request takes.

use crate::support::{LISTEN, Process, Upstream, backend};

/// A route that names itself in its answers.
fn route(name: &str, keys: &str) -> String {
    format!("[[route]]\nbackend = \"web\"\nresponse_headers = {{ x-route = \"{name}\" }}\n{keys}\n")
}

fn start(upstream: &Upstream, listen: &str, routes: &[(&str, &str)]) -> Process {
    let routes: String = routes.iter().map(|(name, keys)| route(name, keys)).collect();
    Process::start(&format!("{LISTEN}{listen}\n{routes}{}", backend("web", &[upstream.address], "")))
}

/// The route that a request of this host takes, or its status if there is none.
fn taken(proxy: &Process, host: &str, path: &str, fields: &str) -> String {
    let mut client = proxy.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n").as_bytes());
    let reply = client.reply().unwrap();
    if reply.status == 200 { reply.one("x-route").to_owned() } else { reply.status.to_string() }
}

#[test]
fn an_exact_host_comes_before_a_wildcard_and_a_wildcard_before_none() {
    let upstream = Upstream::start();
    let routes = [
        ("any", "path = \"/any\""),
        ("wild", "host = \"*.example.com\""),
        ("deeper", "host = \"*.eu.example.com\""),
        ("shop", "host = \"Shop.example.com\""),
    ];
    let proxy = start(&upstream, "routed = true", &routes);
    for (host, path, route) in [
        ("shop.example.com", "/", "shop"),
        ("SHOP.example.COM:8080", "/", "shop"),
        ("other.example.com", "/", "wild"),
        ("a.b.example.com", "/", "wild"),
        ("a.eu.example.com", "/", "deeper"),
        ("example.com", "/", "404"),
        ("notexample.com", "/", "404"),
        ("example.org", "/any", "any"),
        ("127.0.0.1", "/any/x", "any"),
        ("[::1]:80", "/any", "any"),
        ("shop.example.com", "/any", "shop"),
        ("example.org", "/", "404"),
    ] {
        assert_eq!(taken(&proxy, host, path, ""), route, "{host}{path}");
    }
    assert!(upstream.count() > 0);
    assert_eq!(proxy.get("/", "").one("x-gantry-reason"), "no route leads anywhere for this host and path");
    assert_eq!(upstream.count(), 0, "what no route is for goes nowhere");
}

#[test]
fn the_longest_path_wins_by_whole_segments() {
    let upstream = Upstream::start();
    let routes = [
        ("root", "path = \"/\""),
        ("api", "path = \"/api\""),
        ("deep", "path = \"/api/v2/\""),
        ("new", "path = \"/api\"\nheaders = { x-version = \"2\" }"),
        ("beta", "path = \"/api\"\nheaders = { x-version = \"2\", x-beta = \"\" }"),
    ];
    let proxy = start(&upstream, "routed = true", &routes);
    for (path, fields, route) in [
        ("/", "", "root"),
        ("/apis", "", "root"),
        ("/x/api", "", "root"),
        ("/api", "", "api"),
        ("/api?x=/api/v2", "", "api"),
        ("/api/", "", "api"),
        ("/api/v1/x", "", "api"),
        ("/api/v2", "", "deep"),
        ("/api/v2/x", "X-Version: 2\r\n", "deep"),
        ("/api", "X-Version: 2\r\n", "new"),
        ("/api", "X-Version: 3\r\n", "api"),
        ("/api", "X-Version: 1\r\nX-Version: 2\r\n", "new"),
        ("/api", "X-Version: 2\r\nX-Beta: whatever\r\n", "beta"),
        ("/api", "X-Beta: whatever\r\n", "api"),
    ] {
        assert_eq!(taken(&proxy, "a", path, fields), route, "{path} {fields}");
    }
}

#[test]
fn what_no_route_wants_goes_to_the_backend_of_the_port() {
    let (routed, rest) = (Upstream::start(), Upstream::start());
    let proxy = Process::start(&format!(
        "{LISTEN}routed = true\nbackend = \"rest\"\n{}{}{}",
        route("api", "path = \"/api\""),
        backend("web", &[routed.address], ""),
        backend("rest", &[rest.address], ""),
    ));
    proxy.get("/api", "");
    proxy.get("/other", "");
    assert_eq!(routed.wait().target, "/api");
    assert_eq!(rest.wait().target, "/other");
}

#[test]
fn a_prefix_is_taken_off_and_what_follows_it_stays() {
    let upstream = Upstream::start();
    let routes = [
        ("api", "path = \"/api/\"\nstrip_prefix = true"),
        ("root", "path = \"/\"\nstrip_prefix = true"),
        ("kept", "path = \"/kept\""),
    ];
    let proxy = start(&upstream, "routed = true", &routes);
    for (asked, arrives) in [
        ("/api", "/"),
        ("/api/", "/"),
        ("/api?x=1", "/?x=1"),
        ("/api/v2/x?y=/api", "/v2/x?y=/api"),
        ("/api//x", "//x"),
        ("/api/api", "/api"),
        ("/api/%2F..%2fx", "/%2F..%2fx"),
        ("/apis", "/apis"),
        ("/kept/x", "/kept/x"),
    ] {
        assert_eq!(proxy.get(asked, "").status, 200);
        assert_eq!(upstream.wait().target, arrives, "{asked}");
    }
}

#[test]
fn plain_http_is_sent_to_https_with_all_that_was_asked_for() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "routed = true", &[("all", "redirect_https = true")]);
    for (host, location) in [
        ("shop.example.com", "https://shop.example.com/a/b?c=d"),
        ("shop.example.com:8080", "https://shop.example.com/a/b?c=d"),
        ("[::1]:8080", "https://[::1]/a/b?c=d"),
    ] {
        let mut client = proxy.client();
        client
            .send(format!("POST /a/b?c=d HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n").as_bytes());
        let reply = client.reply().unwrap();
        assert_eq!((reply.status, reply.one("location")), (308, location));
    }
    assert_eq!(upstream.count(), 0);
}
