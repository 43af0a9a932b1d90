//! Limits of endpoints, the wait for a place on one, and endpoints that have just come.

use crate::support::client::Client;
use crate::support::{Answer, Gate, LISTEN, Process, Upstream, backend, eventually};

fn start(upstream: &Upstream, keys: &str) -> Process {
    let admin = "admin = \"127.0.0.1:@z\"\n";
    Process::start(&format!(
        "{admin}{LISTEN}backend = \"web\"\n{}",
        backend("web", &[upstream.address], keys)
    ))
}

/// A client that has asked.
fn asking(proxy: &Process, path: &str) -> Client {
    let mut client = proxy.client();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    client
}

/// A client that has asked for /1 and has the only place, until the gate is opened.
fn held(proxy: &Process, upstream: &Upstream) -> (Client, Gate) {
    let gate = Gate::default();
    upstream.answer(Answer::Held(gate.clone()));
    let first = asking(proxy, "/1");
    upstream.wait();
    (first, gate)
}

fn waiting(proxy: &Process, count: usize) -> bool {
    eventually(|| {
        proxy
            .page("/metrics")
            .contains(&format!("gantry_proxy_waiting{{service=\"web\",port=\"\"}} {count}\n"))
    })
}

const FULL: &str = "every endpoint of this service is at its limit";

#[test]
fn an_endpoint_never_has_more_than_its_limit_and_the_others_wait() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "max_concurrency = 2");
    let gates: Vec<_> = (0..6).map(|_| Gate::default()).collect();
    gates.iter().for_each(|gate| upstream.answer(Answer::Held(gate.clone())));
    let mut clients: Vec<_> = (0..6).map(|_| asking(&proxy, "/")).collect();
    assert!(waiting(&proxy, 4));
    let mut seen = 0;
    for (at, gate) in gates.iter().enumerate() {
        let most = (at + 2).min(6);
        assert!(eventually(|| {
            seen += upstream.count();
            seen == most
        }));
        gate.open();
    }
    assert!(clients.iter_mut().all(|client| client.reply().unwrap().status == 200));
    assert!(waiting(&proxy, 0));
}

#[test]
fn the_queue_has_an_end() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "max_concurrency = 1\nqueue_length = 1");
    let (mut first, gate) = held(&proxy, &upstream);
    let mut second = asking(&proxy, "/2");
    assert!(waiting(&proxy, 1));
    let reply = proxy.get("/3", "");
    assert_eq!((reply.status, reply.one("x-gantry-reason")), (503, FULL));
    assert_eq!(reply.one("retry-after"), "5");
    gate.open();
    assert_eq!(first.reply().unwrap().text(), "GET /1");
    assert_eq!(second.reply().unwrap().text(), "GET /2");
    assert!(proxy.page("/metrics").contains("gantry_proxy_turned_away_total{service=\"web\",port=\"\"} 1\n"));
}

#[test]
fn nobody_waits_for_ever() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "max_concurrency = 1\nqueue_timeout = \"300ms\"");
    let (mut first, gate) = held(&proxy, &upstream);
    let reply = proxy.get("/2", "");
    assert_eq!((reply.status, reply.one("x-gantry-reason")), (503, FULL));
    gate.open();
    assert_eq!(first.reply().unwrap().status, 200);
    assert_eq!(upstream.count(), 0, "what was given up on is not asked for later");
}

#[test]
fn a_client_that_leaves_the_queue_leaves_its_place() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "max_concurrency = 1\nqueue_length = 1\nqueue_timeout = \"1s\"");
    let (mut first, gate) = held(&proxy, &upstream);
    let gone = asking(&proxy, "/gone");
    assert!(waiting(&proxy, 1));
    drop(gone);
    assert!(waiting(&proxy, 0), "at the latest when its time is over");
    let mut next = asking(&proxy, "/2");
    assert!(waiting(&proxy, 1));
    gate.open();
    assert_eq!(first.reply().unwrap().status, 200);
    assert_eq!(next.reply().unwrap().text(), "GET /2");
}

#[test]
fn the_limit_counts_until_the_last_byte_of_an_answer() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "max_concurrency = 1\nqueue_timeout = \"300ms\"");
    upstream.answer(Answer::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel".to_vec()));
    let mut client = asking(&proxy, "/half");
    assert!(client.more());
    assert_eq!(proxy.get("/", "").status, 503);
    upstream.stop();
    assert!(!client.reply().unwrap().complete);
    assert_ne!(proxy.get("/", "").status, 503, "the place is free, though nobody is there any more");
}

#[test]
fn an_endpoint_that_has_just_come_gets_little_at_first() {
    let (old, new) = (Upstream::start(), Upstream::start());
    let keys = "balance = \"round_robin\"\nslow_start = \"1h\"";
    let file = |endpoints: &[std::net::SocketAddr]| {
        format!("admin = \"127.0.0.1:@z\"\n{LISTEN}backend = \"web\"\n{}", backend("web", endpoints, keys))
    };
    let proxy = Process::start(&file(&[old.address]));
    assert_eq!(proxy.get("/", "").status, 200);
    proxy.change(&file(&[old.address, new.address]));
    assert!(eventually(|| proxy.page("/endpoints").contains(&new.address.to_string())));
    old.take();
    let mut client = proxy.client();
    (0..200).for_each(|_| assert_eq!(client.get("/", "").status, 200));
    // A tenth of its turns are its own.
    let (old, new) = (old.count(), new.count());
    assert!(old + new == 200 && (1..=60).contains(&new), "{old} {new}");
}

#[test]
fn those_that_were_there_from_the_start_are_not_slow() {
    let upstreams = [Upstream::start(), Upstream::start()];
    let endpoints = [upstreams[0].address, upstreams[1].address];
    let keys = "balance = \"round_robin\"\nslow_start = \"1h\"";
    let proxy = Process::start(&format!("{LISTEN}backend = \"web\"\n{}", backend("web", &endpoints, keys)));
    let mut client = proxy.client();
    (0..100).for_each(|_| assert_eq!(client.get("/", "").status, 200));
    assert_eq!((upstreams[0].count(), upstreams[1].count()), (50, 50));
}

#[test]
fn who_waits_where_no_route_leads_any_more_is_told_at_once() {
    let upstream = Upstream::start();
    let keys = "max_concurrency = 1\nqueue_timeout = \"1h\"";
    let web = backend("web", &[upstream.address], keys);
    let file = |path: &str| {
        format!(
            "admin = \"127.0.0.1:@z\"\n{LISTEN}routed = true\n[[route]]\npath = \"{path}\"\nbackend = \"web\"\n{web}"
        )
    };
    let proxy = Process::start(&file("/"));
    let (mut first, gate) = held(&proxy, &upstream);
    let mut second = asking(&proxy, "/2");
    assert!(waiting(&proxy, 1));
    proxy.change(&file("/other"));
    assert_eq!(second.reply().unwrap().status, 404);
    gate.open();
    assert_eq!(first.reply().unwrap().text(), "GET /1", "what was in flight ends where it was");
}

#[test]
fn who_waits_is_answered_by_the_file_of_that_moment() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "max_concurrency = 1\nqueue_timeout = \"20s\"");
    let (mut first, gate) = held(&proxy, &upstream);
    let mut second = asking(&proxy, "/2");
    assert!(waiting(&proxy, 1));
    // Another file: who waits is answered by it.
    let other = Upstream::start();
    let keys = "max_concurrency = 1\nqueue_timeout = \"20s\"";
    let listen = format!("admin = \"127.0.0.1:@z\"\n{LISTEN}backend = \"web\"\n");
    proxy.change(&format!("{listen}{}", backend("web", &[other.address], keys)));
    assert_eq!(second.reply().unwrap().text(), "GET /2");
    assert_eq!(other.count(), 1);
    gate.open();
    assert_eq!(first.reply().unwrap().text(), "GET /1", "what was in flight ends where it was");
}
