//! Connections of clients: how long they last, what comes over one, and how they end.

use std::net::Shutdown;

use crate::support::process::reset;
use crate::support::{Answer, Fixture, get, passed};

#[test]
fn requests_in_one_segment_are_answered_in_order() {
    let fixture = Fixture::start();
    let mut client = fixture.client();
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let post = "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    let chunked = "PUT /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    client.send(format!("{}{post}{chunked}{}", request("/1"), request("/4")).as_bytes());
    for answer in ["GET /1", "POST /2", "PUT /3", "GET /4"] {
        assert_eq!(client.reply().unwrap().text(), answer);
    }
    let targets: Vec<_> = fixture.upstream.take().into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/1", "/2", "/3", "/4"]);
    fixture.finish();
}

#[test]
fn a_good_request_is_answered_before_the_bad_one_behind_it_is_refused() {
    let fixture = Fixture::start();
    let mut client = fixture.client();
    client.send(b"GET /good HTTP/1.1\r\nHost: a\r\n\r\nGET /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(client.reply().unwrap().text(), "GET /good");
    let (refusal, rest) = client.only_reply();
    assert_eq!((refusal.unwrap().status, rest.len()), (400, 0));
    assert_eq!(fixture.upstream.take().len(), 1);
    fixture.finish();
}

#[test]
fn a_request_may_come_in_single_bytes() {
    let fixture = Fixture::start();
    let mut client = fixture.client();
    let bytes =
        b"POST /slow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for byte in bytes.chunks(1) {
        client.send(byte);
    }
    assert_eq!(client.reply().unwrap().text(), "POST /slow");
    assert_eq!(fixture.upstream.wait().body, b"hello");
    let mut client = fixture.client();
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 05\r\n\r\n".chunks(1) {
        client.send(byte);
    }
    assert_eq!(client.reply().unwrap().status, 400);
    fixture.finish();
}

#[test]
fn http_1_0_ends_its_connection_unless_it_asks_otherwise() {
    let fixture = Fixture::start();
    let mut client = fixture.client();
    client.send(b"GET /old HTTP/1.0\r\n\r\n");
    let (reply, rest) = client.only_reply();
    let reply = reply.unwrap();
    assert!(reply.text() == "GET /old" && rest.is_empty(), "{reply:?}");
    assert!(fixture.upstream.wait().has("host"), "an upstream of HTTP/1.1 gets one");

    let mut client = fixture.client();
    for path in ["/1", "/2"] {
        client.send(format!("GET {path} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n").as_bytes());
        let reply = client.reply().unwrap();
        assert_eq!(reply.text(), format!("GET {path}"));
        assert!(reply.all("connection").iter().any(|value| value.eq_ignore_ascii_case("keep-alive")));
    }
    // HTTP/1.0 knows no chunks: such a body ends with the connection.
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    fixture.upstream.answer(Answer::Bytes(chunked.as_bytes().to_vec()));
    let mut client = fixture.client();
    client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let (reply, _) = client.only_reply();
    let reply = reply.unwrap();
    assert!(reply.all("transfer-encoding").is_empty() && reply.text() == "hello", "{reply:?}");
    fixture.upstream.take();
    fixture.finish();
}

#[test]
fn a_client_that_asks_for_it_is_left_after_its_answer() {
    let fixture = Fixture::start();
    let mut client = fixture.client();
    client.send(&get("Connection: close\r\n"));
    client.send(&get(""));
    let (reply, rest) = client.only_reply();
    let reply = reply.unwrap();
    assert_eq!((reply.status, rest.len()), (200, 0));
    assert!(reply.all("connection").iter().any(|value| value.eq_ignore_ascii_case("close")));
    assert_eq!(fixture.upstream.take().len(), 1, "nothing is done after the end was agreed on");
    fixture.finish();
}

#[test]
fn a_client_that_has_said_everything_still_gets_its_answer() {
    let fixture = Fixture::start();
    for bytes in [get(""), b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi".to_vec()] {
        let mut client = fixture.client();
        client.send(&bytes);
        client.half_close();
        let (reply, rest) = client.only_reply();
        assert_eq!((reply.unwrap().status, rest.len()), (200, 0));
    }
    fixture.upstream.take();
    fixture.finish();
}

#[test]
fn a_request_that_ends_in_the_middle_is_none() {
    let fixture = Fixture::start();
    for bytes in [
        "GET",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let mut client = fixture.client();
        client.send(bytes.as_bytes());
        client.half_close();
        let (reply, rest) = client.only_reply();
        // To end without a word is as good: nobody waits for it.
        assert!(reply.is_none_or(|reply| reply.status == 400), "{bytes:?}");
        assert!(rest.is_empty() || reply_is_partial(&rest), "{bytes:?}: {}", rest.escape_ascii());
        assert!(fixture.upstream.take().is_empty(), "{bytes:?}");
    }
    let mut silent = fixture.client();
    silent.half_close();
    assert!(silent.only_reply().0.is_none());
    fixture.finish();
}

/// A connection that ends inside of its last answer leaves that here.
fn reply_is_partial(rest: &[u8]) -> bool {
    rest.starts_with(b"HTTP/1.1 4")
}

#[test]
fn a_head_without_an_end_is_given_up_on() {
    let fixture = Fixture::with("header_timeout = \"1s\"");
    for bytes in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: "] {
        let mut client = fixture.client();
        client.send(bytes.as_bytes());
        let (reply, _) = client.only_reply();
        assert!(reply.is_none_or(|reply| reply.status == 408), "{bytes:?}");
    }
    // One that drips does not start its time anew with each byte.
    let mut client = fixture.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ");
    let mut dripping = client.stream.try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        use std::io::Write as _;
        let drop = |_| {
            std::thread::park_timeout(std::time::Duration::from_millis(50));
            dripping.write_all(b"y").is_err()
        };
        (0..2000).any(drop)
    });
    assert!(client.only_reply().0.is_none_or(|reply| reply.status == 408));
    drop(client);
    assert!(drip.join().unwrap(), "the connection has ended");
    fixture.finish();
}

#[test]
fn a_body_that_stops_is_given_up_on() {
    let fixture = Fixture::with("body_timeout = \"1s\"");
    for bytes in [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ] {
        let mut client = fixture.client();
        client.send(bytes.as_bytes());
        let (reply, _) = client.only_reply();
        assert!(reply.is_none_or(|reply| matches!(reply.status, 400 | 408)), "{bytes:?}");
        assert!(fixture.upstream.take().is_empty());
    }
    fixture.finish();
}

#[test]
fn a_client_that_does_not_read_its_answer_is_given_up_on() {
    let fixture = Fixture::with("body_timeout = \"1s\"");
    // More than fits into the buffers on the way.
    let size = 64 << 20;
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{}", "x".repeat(size));
    fixture.upstream.answer(Answer::Last(large.into_bytes()));
    let mut client = fixture.client();
    client.send(&get(""));
    fixture.upstream.wait();
    assert!(fixture.upstream.is_left(), "the proxy holds no connection for a client that is gone");
    let reply = client.reply();
    assert!(reply.is_none_or(|reply| !reply.complete));
    drop(client);
    fixture.finish();
}

#[test]
fn a_connection_that_is_idle_is_ended() {
    let fixture = Fixture::with("keep_alive_timeout = \"2s\"");
    let mut client = fixture.client();
    client.send(&get(""));
    assert_eq!(client.reply().unwrap().status, 200);
    assert!(client.rest().is_empty(), "it ends, and without a word");
    fixture.upstream.take();
    fixture.finish();
}

#[test]
fn resets_at_any_moment_hurt_nobody_else() {
    let fixture = Fixture::start();
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", 4 << 20, "x".repeat(4 << 20));
    for _ in 0..20 {
        for bytes in [
            "",
            "G",
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        ] {
            let mut client = fixture.client();
            client.send(bytes.as_bytes());
            reset(client.stream);
        }
        // While the upstream thinks.
        fixture.upstream.answer(Answer::Silence);
        let mut client = fixture.client();
        client.send(&get(""));
        fixture.upstream.wait();
        reset(client.stream);
        // In the middle of an answer.
        fixture.upstream.answer(Answer::Bytes(large.clone().into_bytes()));
        let mut client = fixture.client();
        client.send(&get(""));
        assert!(client.more());
        reset(client.stream);
        fixture.upstream.wait();
        // In both directions at once, without a reset.
        let client = fixture.client();
        let _ = client.stream.shutdown(Shutdown::Both);
        passed(&fixture, &get(""));
    }
    fixture.finish();
}
