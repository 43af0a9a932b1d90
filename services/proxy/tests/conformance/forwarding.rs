//! What is added to requests, and what is taken off (RFC 9110 section 7.6, RFC 7239).

use crate::support::strict::Request;
use crate::support::{Answer, Fixture, get, passed};

fn names(request: &Request) -> Vec<&str> {
    request.headers.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn what_is_meant_for_the_next_hop_goes_no_further() {
    let fixture = Fixture::start();
    let fields = "Connection: keep-alive, X-Foo\r\nConnection: x-bar\r\nX-Foo: 1\r\nX-Bar: 1\r\nX-Baz: \
                  1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\n";
    let request = passed(&fixture, &get(fields));
    for gone in ["connection", "x-foo", "x-bar", "keep-alive", "proxy-connection", "te", "upgrade"] {
        assert!(!request.has(gone), "{gone}: {:?}", names(&request));
    }
    assert_eq!(request.one("x-baz"), "1");
    fixture.finish();
}

#[test]
fn connection_cannot_talk_away_what_the_proxy_needs() {
    let fixture = Fixture::start();
    let fields = "Connection: close, Host, Content-Length, X-Forwarded-For, X-Forwarded-Proto, \
                  Forwarded\r\nContent-Length: 5\r\n";
    let request = passed(&fixture, format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\nhello").as_bytes());
    assert_eq!((request.one("host").as_str(), request.body.as_slice()), ("a", b"hello".as_slice()));
    assert_eq!(request.one("x-forwarded-for"), "127.0.0.1");
    assert_eq!(request.one("x-forwarded-proto"), "http");
    assert!(request.has("forwarded"));
    fixture.finish();
}

#[test]
fn the_proxy_says_for_whom_it_asks_and_does_not_believe_the_client() {
    let fixture = Fixture::start();
    let fields = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-Forwarded-Proto: \
                  https\r\nX-Forwarded-Host: evil.example\r\nForwarded: for=1.2.3.4;proto=https\r\n";
    let request = passed(&fixture, format!("GET / HTTP/1.1\r\nHost: shop:81\r\n{fields}\r\n").as_bytes());
    assert_eq!(request.one("x-forwarded-for"), "127.0.0.1");
    assert_eq!(request.one("x-forwarded-proto"), "http");
    assert_eq!(request.one("x-forwarded-host"), "shop:81");
    let forwarded = request.one("forwarded");
    assert!(forwarded.contains("for=127.0.0.1") && forwarded.contains("proto=http"), "{forwarded}");
    assert!(forwarded.contains("host=\"shop:81\"") && !forwarded.contains("1.2.3.4"), "{forwarded}");
    fixture.finish();
}

#[test]
fn every_request_has_an_id_and_keeps_its_trace() {
    let fixture = Fixture::start();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let fields = format!("traceparent: {trace}\r\ntracestate: a=b\r\n");
    let (first, second) = (passed(&fixture, &get(&fields)), passed(&fixture, &get(&fields)));
    assert_eq!(first.one("traceparent").split('-').nth(1), trace.split('-').nth(1), "the trace is the same");
    assert_eq!(first.one("tracestate"), "a=b");
    assert!(first.one("x-request-id").len() >= 16);
    assert_ne!(first.one("x-request-id"), second.one("x-request-id"));
    let taken = passed(&fixture, &get("X-Request-Id: mine\r\n"));
    assert_ne!(taken.one("x-request-id"), "mine", "an unknown client does not name requests");
    fixture.finish();
}

#[test]
fn other_headers_go_on_as_they_are() {
    let fixture = Fixture::start();
    let fields = "Cookie: a=b; c=d\r\nX-Twice: 1\r\nX-Twice: 2\r\nAccept-Encoding: gzip\r\nIf-None-Match: \
                  \"x\"\r\nAuthorization: Basic YTpi\r\nUser-Agent: test/1 (a, b)\r\n";
    let request = passed(&fixture, &get(fields));
    assert_eq!(request.one("cookie"), "a=b; c=d");
    assert_eq!(request.all("x-twice"), ["1", "2"]);
    assert_eq!(request.one("user-agent"), "test/1 (a, b)");
    assert_eq!(request.one("authorization"), "Basic YTpi");
    assert_eq!(request.one("if-none-match"), "\"x\"");
    fixture.finish();
}

#[test]
fn what_an_upstream_means_for_the_proxy_does_not_reach_the_client() {
    let fixture = Fixture::start();
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-secret, keep-alive\r\nX-Secret: \
                1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nX-Public: \
                1\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\nok";
    fixture.upstream.answer(Answer::Bytes(head.as_bytes().to_vec()));
    let mut client = fixture.client();
    client.send(&get(""));
    let reply = client.reply().unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
    for gone in ["x-secret", "keep-alive", "proxy-connection", "upgrade"] {
        assert!(reply.all(gone).is_empty(), "{gone}: {:?}", reply.headers);
    }
    assert_eq!(reply.all("x-public"), ["1"]);
    assert_eq!(reply.all("set-cookie"), ["a=b", "c=d"]);
    fixture.upstream.take();
    fixture.finish();
}

#[test]
fn an_upgrade_that_was_asked_for_becomes_a_tunnel() {
    let fixture = Fixture::start();
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello";
    fixture.upstream.answer(Answer::Last(switch.as_bytes().to_vec()));
    let mut client = fixture.client();
    client.send(&get("Connection: Upgrade\r\nUpgrade: echo\r\n"));
    let (reply, rest) = client.only_reply();
    let reply = reply.unwrap();
    assert_eq!((reply.status, reply.all("upgrade")), (101, vec!["echo"]));
    assert_eq!(rest, b"hello", "what came right behind the switch is not lost");
    let request = fixture.upstream.wait();
    assert_eq!(request.one("upgrade"), "echo");
    assert_eq!(request.one("connection").to_lowercase(), "upgrade");
    fixture.finish();
}
