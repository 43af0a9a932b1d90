//! What upstreams answer: what makes no sense becomes 502, and what ends too early ends early for the
//! client, too (RFC 9112 sections 6.3 and 8).

use crate::support::{Answer, Fixture, fields, get};

/// The status that a client gets, and what it gets after that, if an upstream answers `bytes` and ends.
fn answer(fixture: &Fixture, bytes: &[u8]) -> (u16, String, bool) {
    fixture.upstream.answer(Answer::Last(bytes.to_vec()));
    let mut client = fixture.client();
    // Not to be tried again: each answer is for one request.
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    let reply = client.reply();
    fixture.upstream.take();
    // Nor is the next one to meet the end of this connection.
    assert!(fixture.upstream.has_no_connections());
    reply.map_or((0, String::new(), false), |reply| (reply.status, reply.text(), reply.complete))
}

#[test]
fn answers_that_make_no_sense_become_502() {
    let fixture = Fixture::start();
    let with = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nhello");
    let many = fields(300, "y");
    let mut wrong = Vec::new();
    for (name, bytes) in [
        ("nothing", String::new()),
        ("no HTTP", "220 mail.example ESMTP\r\n".to_owned()),
        ("binary", "\u{0}\u{1}\u{2}\u{3}\r\n\r\n".to_owned()),
        ("half a status line", "HTTP/1.1 20".to_owned()),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Le".to_owned()),
        ("another protocol", "HTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("an unknown version", "HTTP/3.0 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("two digits of a status", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("four digits of a status", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("a status of zero", "HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("a negative status", "HTTP/1.1 -20 OK\r\nContent-Length: 0\r\n\r\n".to_owned()),
        ("length and coding", with("Content-Length: 5\r\nTransfer-Encoding: chunked")),
        ("coding and length", with("Transfer-Encoding: chunked\r\nContent-Length: 5")),
        ("two equal lengths", with("Content-Length: 5\r\nContent-Length: 5")),
        ("two lengths", with("Content-Length: 5\r\nContent-Length: 6")),
        ("a list of lengths", with("Content-Length: 5, 5")),
        ("a leading zero", with("Content-Length: 05")),
        ("a plus", with("Content-Length: +5")),
        ("a minus", with("Content-Length: -5")),
        ("hexadecimal", with("Content-Length: 0x5")),
        ("an empty length", with("Content-Length:")),
        ("more than 64 bits", with("Content-Length: 99999999999999999999999")),
        ("another coding", with("Transfer-Encoding: gzip")),
        ("a list of codings", with("Transfer-Encoding: gzip, chunked")),
        ("chunked twice", with("Transfer-Encoding: chunked, chunked")),
        ("two codings", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
        ("a space before the colon", with("Content-Length : 5")),
        ("no colon", with("Content-Length 5")),
        ("an empty name", with(": 5")),
        ("a NUL in a value", with("X: \u{0}\r\nContent-Length: 5")),
        ("too many headers", with(&format!("{many}Content-Length: 5"))),
        ("a head without end", with(&format!("X: {}\r\nContent-Length: 5", "y".repeat(300_000)))),
        (
            "a switch that nobody asked for",
            "HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_owned(),
        ),
        ("a switch to nothing", "HTTP/1.1 101 Yes\r\n\r\n".to_owned()),
        ("only something provisional", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".to_owned()),
    ] {
        let got = answer(&fixture, bytes.as_bytes());
        if got.0 != 502 || got.1.contains("hello") {
            wrong.push(format!("{name}: {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    fixture.finish();
}

#[test]
fn a_reset_or_a_switch_to_something_else_becomes_502() {
    let fixture = Fixture::start();
    fixture.upstream.answer(Answer::Reset);
    let mut client = fixture.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(client.reply().unwrap().status, 502);
    let other = "HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n";
    fixture.upstream.answer(Answer::Last(other.as_bytes().to_vec()));
    let mut client = fixture.client();
    client.send(&get("Connection: upgrade\r\nUpgrade: websocket\r\n"));
    assert_eq!(client.reply().unwrap().status, 502, "that is not what was asked for");
    fixture.upstream.take();
    fixture.finish();
}

#[test]
fn a_body_that_ends_too_early_ends_early_for_the_client_too() {
    let fixture = Fixture::start();
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (name, bytes) in [
        ("a length", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_owned()),
        ("no final chunk", format!("{chunked}5\r\nhello\r\n")),
        ("half a chunk", format!("{chunked}a\r\nhello")),
        ("half a size", format!("{chunked}5\r\nhello\r\n1")),
        ("no end behind the last chunk", format!("{chunked}5\r\nhello\r\n0\r\n")),
        ("a bad size", format!("{chunked}5\r\nhello\r\n-1\r\nx\r\n0\r\n\r\n")),
        ("a size with 0x", format!("{chunked}5\r\nhello\r\n0x1\r\nx\r\n0\r\n\r\n")),
        ("a size beyond 64 bits", format!("{chunked}5\r\nhello\r\n10000000000000001\r\nx\r\n0\r\n\r\n")),
        ("no end behind a chunk", format!("{chunked}5\r\nhelloX0\r\n\r\n")),
    ] {
        let (status, body, complete) = answer(&fixture, bytes.as_bytes());
        // With luck the proxy sees it before it has answered anything.
        assert!(status == 502 || (status == 200 && !complete), "{name}: {status} {body:?}");
    }
    fixture.finish();
}

#[test]
fn what_comes_behind_an_answer_is_nobody_elses_answer() {
    let fixture = Fixture::start();
    let more =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    for bytes in [
        more,
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: \
         6\r\n\r\npoison",
    ] {
        fixture.upstream.answer(Answer::Bytes(bytes.as_bytes().to_vec()));
        let mut client = fixture.client();
        client.send(&get(""));
        assert!(client.reply().is_some());
        for _ in 0..5 {
            assert_eq!(fixture.ask("/mine"), "GET /mine", "{bytes:?}");
        }
    }
    fixture.upstream.take();
    fixture.finish();
}

#[test]
fn answers_to_head_have_the_length_and_no_body() {
    let fixture = Fixture::start();
    let mut client = fixture.client();
    client.send(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n");
    let reply = client.reply_to_head().unwrap();
    assert_eq!((reply.status, reply.all("content-length")), (200, vec!["7"]), "HEAD /x");
    client.send(b"GET /y HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.reply().unwrap().text(), "GET /y", "no byte of a body came between");
    fixture.upstream.take();
    fixture.finish();
}

#[test]
fn provisional_answers_do_not_take_the_place_of_the_real_one() {
    let fixture = Fixture::start();
    for first in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"] {
        let bytes = format!("{first}{first}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let (status, body, complete) = answer(&fixture, bytes.as_bytes());
        assert_eq!((status, body.as_str(), complete), (200, "ok", true));
    }
    fixture.finish();
}

#[test]
fn a_body_that_ends_with_the_connection_arrives_whole() {
    let fixture = Fixture::start();
    for version in ["1.0", "1.1"] {
        fixture.upstream.answer(Answer::Last(format!("HTTP/{version} 200 OK\r\n\r\nhello").into_bytes()));
        let mut client = fixture.client();
        client.send(&get("Connection: close\r\n"));
        let reply = client.reply().unwrap();
        assert!(reply.status == 200 && reply.complete && reply.text().contains("hello"), "{reply:?}");
    }
    fixture.upstream.take();
    fixture.finish();
}

#[test]
fn a_large_body_arrives_as_it_was_sent() {
    let fixture = Fixture::start();
    let body = "0123456789abcdef".repeat(1 << 16);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    fixture.upstream.answer(Answer::Bytes(head.into_bytes()));
    let mut client = fixture.client();
    client.send(&get(""));
    let reply = client.reply().unwrap();
    assert!(reply.complete && reply.text() == body);
    let upload = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    fixture.upstream.take();
    client.send(upload.as_bytes());
    assert_eq!(client.reply().unwrap().status, 200);
    assert!(fixture.upstream.wait().body == body.as_bytes());
    fixture.finish();
}
