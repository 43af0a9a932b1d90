//! Endpoints that fail, and what clients notice of it.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::client::Reply;
use crate::support::{Answer, LISTEN, Process, Refusing, Upstream, backend, eventually};

fn start(endpoints: &[SocketAddr], keys: &str) -> Process {
    Process::start(&format!("{LISTEN}backend = \"web\"\n{}", backend("web", endpoints, keys)))
}

const IN_TURN: &str = "balance = \"round_robin\"\neject_after = 0";
const CLOSED: Answer = Answer::Last(Vec::new());

fn send(proxy: &Process, bytes: &str) -> Reply {
    let mut client = proxy.client();
    client.send(bytes.as_bytes());
    client.reply().unwrap()
}

#[test]
fn nobody_notices_an_endpoint_that_refuses_connections() {
    let (refusing, upstream) = (Refusing::start(), Upstream::start());
    let proxy = start(&[refusing.address(), upstream.address], IN_TURN);
    for _ in 0..20 {
        assert_eq!(proxy.get("/", "").status, 200);
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(send(&proxy, post).status, 200, "nothing of it was sent: that is safe");
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
        assert_eq!(send(&proxy, chunked).status, 200);
    }
    assert!(upstream.take().iter().all(|request| request.method == "GET" || request.body == b"hi"));
}

#[test]
fn if_all_refuse_the_answer_is_502() {
    let refusing = [Refusing::start(), Refusing::start()];
    let proxy = start(&[refusing[0].address(), refusing[1].address()], "");
    let reply = proxy.get("/", "");
    assert_eq!((reply.status, reply.one("x-gantry-reason")), (502, "no endpoint of this service answers"));
}

#[test]
fn a_request_waits_a_moment_for_an_endpoint_that_restarts() {
    for post in [false, true] {
        let refusing = Refusing::start();
        let proxy = start(&[refusing.address()], IN_TURN);
        let mut client = proxy.client();
        let method = if post { "POST" } else { "GET" };
        client.send(format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").as_bytes());
        // Long enough for some tries, and much less than it waits.
        std::thread::park_timeout(Duration::from_millis(150));
        let upstream = Upstream::on(refusing.listen());
        assert_eq!(client.reply().unwrap().status, 200, "{method}");
        assert_eq!(upstream.count(), 1);
    }
}

#[test]
fn what_is_safe_to_send_twice_is_sent_again_and_nothing_else() {
    let upstreams = [Upstream::start(), Upstream::start()];
    let proxy = start(&[upstreams[0].address, upstreams[1].address], IN_TURN);
    let seen = || upstreams[0].count() + upstreams[1].count();
    for (request, tries) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 2),
        ("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 2),
        ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 2),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 1),
        ("PATCH / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 1),
        // Its body is gone once it was sent.
        ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", 1),
    ] {
        upstreams.iter().for_each(|upstream| upstream.answer(CLOSED));
        let reply = send(&proxy, request);
        assert_eq!((reply.status, seen()), (502, tries), "{request:?}");
        assert_eq!(reply.one("x-gantry-reason"), "the endpoint ended the connection, or sent no HTTP");
        upstreams.iter().for_each(Upstream::forget_answers);
    }
    for at in [0, 1, 0, 1] {
        upstreams[at].answer(CLOSED);
        assert_eq!((0..2).map(|_| proxy.get("/", "").status).collect::<Vec<_>>(), [200, 200]);
        assert_eq!(seen(), 3);
    }
}

#[test]
fn a_connection_that_ended_while_it_was_idle_costs_no_request() {
    let upstream = Upstream::start();
    let proxy = start(&[upstream.address], IN_TURN);
    for _ in 0..20 {
        // The answer is complete, and the connection is gone when it is to be used again.
        let last = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
        upstream.answer(Answer::Last(last));
        let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(send(&proxy, post).status, 200);
        assert!(upstream.has_no_connections());
    }
    assert_eq!(upstream.count(), 20);
}

#[test]
fn a_connection_that_ends_instead_of_answering_may_only_have_been_idle_for_too_long() {
    let upstream = Upstream::start();
    let proxy = start(&[upstream.address], IN_TURN);
    for (method, status, tries) in [("GET", 200, 2), ("POST", 502, 1)] {
        // From here on there is a connection that had served another.
        assert_eq!(proxy.get("/", "").status, 200);
        upstream.take();
        upstream.answer(CLOSED);
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        assert_eq!((send(&proxy, &request).status, upstream.count()), (status, tries), "{method}");
    }
    // Once: an endpoint that does so on a new connection has another trouble.
    assert_eq!(proxy.get("/", "").status, 200);
    upstream.take();
    (0..3).for_each(|_| upstream.answer(CLOSED));
    assert_eq!((proxy.get("/", "").status, upstream.count()), (502, 2));
}

#[test]
fn retries_have_a_budget() {
    for (percent, all_answered) in [(100, true), (0, false)] {
        let (bad, good) = (Upstream::start(), Upstream::start());
        for _ in 0..500 {
            bad.answer(CLOSED);
        }
        let proxy = start(&[bad.address, good.address], &format!("{IN_TURN}\nretry_percent = {percent}"));
        let mut client = proxy.client();
        let statuses: Vec<_> = (0..500).map(|_| client.get("/", "").status).collect();
        let failed = statuses.iter().filter(|status| **status == 502).count();
        assert_eq!(failed == 0, all_answered, "{percent}: {failed}");
        assert!(statuses[..10].iter().all(|status| *status == 200), "a few are always allowed");
    }
}

const BUSY: &[u8] = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";

#[test]
fn an_endpoint_that_keeps_failing_is_left_out_for_a_while_and_comes_back() {
    let (bad, good) = (Upstream::start(), Upstream::start());
    let keys = "balance = \"round_robin\"\neject_after = 3\neject_for = \"1s\"";
    let proxy = start(&[bad.address, good.address], keys);
    for _ in 0..3 {
        bad.answer(Answer::Bytes(BUSY.to_vec()));
    }
    let mut client = proxy.client();
    let failed = (0..40).filter(|_| client.get("/", "").status == 503).count();
    assert_eq!(failed, 3);
    assert!(proxy.output().contains("left out after 3 failures in a row"), "{}", proxy.output());
    assert_eq!(bad.count(), 3, "and then nothing");
    assert!(eventually(|| client.get("/", "").status == 200 && bad.count() > 0), "it comes back");
    // Healthy again: it has its full share.
    good.take();
    (0..20).for_each(|_| assert_eq!(client.get("/", "").status, 200));
    assert_eq!((bad.count(), good.count()), (10, 10));
}

#[test]
fn an_answer_in_between_starts_the_count_anew_and_other_statuses_do_not_count() {
    let upstreams = [Upstream::start(), Upstream::start()];
    let endpoints = [upstreams[0].address, upstreams[1].address];
    let proxy = start(&endpoints, "balance = \"round_robin\"\neject_after = 2\neject_for = \"1h\"");
    let mut client = proxy.client();
    for _ in 0..5 {
        upstreams[0].answer(Answer::Bytes(BUSY.to_vec()));
        upstreams[0].answer(Answer::Bytes(b"HTTP/1.1 500 Error\r\nContent-Length: 0\r\n\r\n".to_vec()));
        (0..4).for_each(|_| drop(client.get("/", "")));
    }
    assert_eq!((upstreams[0].count(), upstreams[1].count()), (10, 10));
}

#[test]
fn the_last_endpoint_is_never_left_out() {
    let upstreams = [Upstream::start(), Upstream::start()];
    let endpoints = [upstreams[0].address, upstreams[1].address];
    let proxy = start(&endpoints, "eject_after = 1\neject_for = \"1h\"");
    for upstream in &upstreams {
        for _ in 0..50 {
            upstream.answer(Answer::Bytes(BUSY.to_vec()));
        }
    }
    let statuses: Vec<_> = (0..40).map(|_| proxy.get("/", "").status).collect();
    assert_eq!(statuses, [503; 40], "somebody is always asked");
    assert_eq!(upstreams[0].count() + upstreams[1].count(), 40);
}
