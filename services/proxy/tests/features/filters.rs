//! What a route does to requests and to answers.

use std::fs;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::{Answer, LISTEN, Process, Upstream, backend, eventually};

fn start(upstream: &Upstream, route: &str) -> Process {
    let backend = backend("web", &[upstream.address], "");
    Process::start(&format!("{LISTEN}routed = true\n[[route]]\nbackend = \"web\"\n{route}\n{backend}"))
}

#[test]
fn headers_are_set_replaced_and_removed_in_both_directions() {
    let upstream = Upstream::start();
    let proxy = start(
        &upstream,
        "request_headers = { x-added = \"1\", x-replaced = \"new\", cookie = \"\" }\nresponse_headers = { \
         x-frame-options = \"DENY\", x-old = \"new\", server = \"\" }",
    );
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nServer: secret/1\r\nX-Old: 1\r\nX-Old: 2\r\n\r\nok";
    upstream.answer(Answer::Bytes(answer.as_bytes().to_vec()));
    let reply = proxy.get("/", "X-Replaced: 1\r\nX-Replaced: 2\r\nCookie: a=b\r\nX-Kept: 1\r\n");
    let request = upstream.wait();
    assert_eq!(request.one("x-added"), "1");
    assert_eq!(request.one("x-replaced"), "new");
    assert_eq!(request.one("x-kept"), "1");
    assert!(!request.has("cookie"));
    assert_eq!((reply.one("x-frame-options"), reply.one("x-old")), ("DENY", "new"));
    assert!(reply.all("server").is_empty());
}

#[test]
fn a_body_that_is_announced_too_large_is_refused_and_nothing_of_it_goes_on() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "max_body = \"1KiB\"");
    for (size, status) in [(1024, 200), (1025, 413)] {
        let mut client = proxy.client();
        let body = "x".repeat(size);
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n{body}").as_bytes());
        assert_eq!(client.reply().unwrap().status, status, "{size}");
    }
    assert_eq!(upstream.count(), 1);
}

#[test]
fn a_client_that_sends_far_too_much_still_reads_why_it_is_refused() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "max_body = 1024");
    for _ in 0..10 {
        let mut client = proxy.client();
        let mut bytes =
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 150 << 10).into_bytes();
        bytes.resize(bytes.len() + (150 << 10), b'x');
        client.send(&bytes);
        let (reply, rest) = client.only_reply();
        let reply = reply.expect("the refusal is not lost");
        assert_eq!((reply.status, reply.one("x-gantry-reason")), (413, "the body is too large"));
        assert!(rest.is_empty());
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn a_body_in_chunks_is_refused_once_it_is_too_large() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "max_body = 1000");
    for (chunks, status) in [(10, 200), (11, 413), (100, 413)] {
        let mut client = proxy.client();
        let body = format!("64\r\n{}\r\n", "x".repeat(100)).repeat(chunks);
        client.send(
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}0\r\n\r\n")
                .as_bytes(),
        );
        assert_eq!(client.reply().expect("an answer").status, status, "{chunks}");
    }
    assert_eq!(upstream.count(), 1, "what is too large never arrives in full");
}

#[test]
fn an_endpoint_that_does_not_answer_in_time_is_given_up_on() {
    let upstream = Upstream::start();
    let proxy = Process::start(&format!(
        "{LISTEN}routed = true\nbackend = \"web\"\n[[route]]\npath = \"/slow\"\nbackend = \
         \"web\"\nresponse_timeout = \"1m\"\n[[route]]\npath = \"/fast\"\nbackend = \"slow\"\nresponse_timeout = \
         \"300ms\"\n{}{}",
        backend("web", &[upstream.address], "response_timeout = \"300ms\""),
        backend("slow", &[upstream.address], ""),
    ));
    for path in ["/", "/fast"] {
        upstream.answer(Answer::Silence);
        let reply = proxy.get(path, "");
        assert_eq!(
            (reply.status, reply.one("x-gantry-reason")),
            (504, "the endpoint did not answer in time")
        );
        assert_eq!(upstream.count(), 1, "{path} is not tried again: somebody may be at work on it");
    }
    // A route may wait longer than its backend.
    let gate = crate::support::Gate::default();
    upstream.answer(Answer::Held(gate.clone()));
    let mut client = proxy.client();
    client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    upstream.wait();
    std::thread::park_timeout(Duration::from_millis(600));
    gate.open();
    assert_eq!(client.reply().unwrap().status, 200);
}

#[test]
fn a_long_upload_is_not_an_endpoint_that_is_late() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "response_timeout = \"500ms\"");
    let mut client = proxy.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
    for _ in 0..10 {
        // Longer in all than the endpoint may take once it has everything.
        std::thread::park_timeout(Duration::from_millis(150));
        client.send(&[b'x'; 10]);
    }
    assert_eq!(client.reply().unwrap().status, 200);
    assert_eq!(upstream.wait().body.len(), 100);
}

#[test]
fn addresses_that_are_not_allowed_or_are_denied_are_turned_away() {
    let upstream = Upstream::start();
    let routes: String = [
        ("allowed", "allow = [\"127.0.0.0/8\"]"),
        ("one", "allow = [\"127.0.0.1\"]"),
        ("other", "allow = [\"10.0.0.0/8\", \"192.0.2.1\"]"),
        ("denied", "deny = [\"127.0.0.1\"]"),
        ("both", "allow = [\"127.0.0.0/8\"]\ndeny = [\"127.0.0.1\"]"),
        ("elsewhere", "deny = [\"10.0.0.0/8\"]"),
    ]
    .iter()
    .map(|(path, keys)| format!("[[route]]\npath = \"/{path}\"\nbackend = \"web\"\n{keys}\n"))
    .collect();
    let backend = backend("web", &[upstream.address], "");
    let proxy = Process::start(&format!("{LISTEN}routed = true\n{routes}{backend}"));
    for (path, status) in
        [("allowed", 200), ("one", 200), ("other", 403), ("denied", 403), ("both", 403), ("elsewhere", 200)]
    {
        assert_eq!(proxy.get(&format!("/{path}"), "X-Forwarded-For: 10.0.0.1\r\n").status, status, "{path}");
    }
    assert_eq!(upstream.count(), 3);
}

#[test]
fn only_a_right_name_and_password_come_in() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    let user = |name: &str, password: &str| format!("{name}:{}\n", bcrypt::hash(password, 4).unwrap());
    fs::write(folder.path().join("htpasswd"), format!("# staff\n{}", user("ada", "secret"))).unwrap();
    let proxy = Process::start_in(
        folder,
        &format!(
            "{LISTEN}routed = true\n[[route]]\nbackend = \"web\"\nbasic_auth_file = \"htpasswd\"\nbasic_auth = \
             [\"{}\"]\n{}",
            user("eve", "a:b").trim(),
            backend("web", &[upstream.address], ""),
        ),
    );
    let with = |pair: &str| {
        let reply = proxy.get("/", &format!("Authorization: Basic {}\r\n", STANDARD.encode(pair)));
        (reply.status, reply.one("www-authenticate").to_owned())
    };
    let challenge = "Basic realm=\"Gantry\", charset=\"UTF-8\"".to_owned();
    for right in ["ada:secret", "ada:secret", "eve:a:b"] {
        assert_eq!(with(right), (200, String::new()), "{right}");
    }
    for wrong in ["ada:Secret", "ada:", "ada", ":secret", "bob:secret", "eve:secret", ""] {
        assert_eq!(with(wrong), (401, challenge.clone()), "{wrong}");
    }
    for fields in ["", "Authorization: Basic !!!\r\n", "Authorization: Bearer YWRhOnNlY3JldA==\r\n"] {
        assert_eq!(proxy.get("/", fields).status, 401, "{fields}");
    }
    assert_eq!(upstream.count(), 3);
    // The file is watched: who is new in it comes in without a restart, and who has left it does not.
    fs::write(proxy.path("htpasswd"), user("bob", "secret")).unwrap();
    assert!(eventually(|| with("bob:secret").0 == 200));
    assert_eq!(with("ada:secret").0, 401);
}

#[test]
fn a_client_that_asks_too_often_is_told_to_wait() {
    let upstream = Upstream::start();
    // So rare that none comes back in the time of this test.
    let proxy = start(&upstream, "rate = 0.001\nburst = 5");
    let mut client = proxy.client();
    let statuses: Vec<_> = (0..10).map(|_| client.get("/", "").status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429, 429, 429], "also on one connection");
    assert_eq!(upstream.count(), 5);
    // By address: another one has its own.
    let stream = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    stream.bind(&std::net::SocketAddr::from(([127, 0, 0, 2], 0)).into()).unwrap();
    stream.connect(&proxy.at('a').into()).unwrap();
    let mut other = crate::support::client::Client::over(stream.into());
    assert_eq!(other.get("/", "").status, 200);
}
