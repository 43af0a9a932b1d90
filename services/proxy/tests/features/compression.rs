//! Answers that are made smaller for clients that ask for it.

use std::io::Read as _;

use crate::support::client::Reply;
use crate::support::{Answer, LISTEN, Process, Upstream, backend};

struct Site {
    upstream: Upstream,
    proxy: Process,
}

impl Site {
    fn start() -> Self {
        let upstream = Upstream::start();
        let backend = backend("web", &[upstream.address], "");
        let proxy = Process::start(&format!(
            "{LISTEN}routed = true\nbackend = \"web\"\n[[route]]\npath = \"/\"\nhost = \"a\"\nbackend = \
             \"web\"\ncompress = true\n{backend}"
        ));
        Self { upstream, proxy }
    }

    /// The answer to a request with these fields, if the upstream answers with those and with a body.
    fn get(&self, asked: &str, answered: &str, body: &str) -> Reply {
        let head = format!("HTTP/1.1 200 OK\r\n{answered}Content-Length: {}\r\n\r\n{body}", body.len());
        self.upstream.answer(Answer::Bytes(head.into_bytes()));
        self.proxy.get("/", asked)
    }
}

fn text() -> String {
    "Many words are said more than once. ".repeat(100)
}

const HTML: &str = "Content-Type: text/html; charset=utf-8\r\n";

fn unpack(coding: &str, bytes: &[u8]) -> String {
    let mut text = String::new();
    match coding {
        "gzip" => drop(flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap()),
        "zstd" => text = String::from_utf8(zstd::decode_all(bytes).unwrap()).unwrap(),
        "br" => drop(brotli::Decompressor::new(bytes, 4096).read_to_string(&mut text).unwrap()),
        _ => text = String::from_utf8(bytes.to_vec()).unwrap(),
    }
    text
}

#[test]
fn a_client_gets_the_coding_that_it_asks_for() {
    let site = Site::start();
    for (accepted, coding) in [
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("zstd", "zstd"),
        ("br", "br"),
        ("GZIP, deflate", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=0.9, br;q=0.1", "gzip"),
        ("gzip;Q=0, br", "br"),
        ("gzip;q=0", ""),
        ("identity", ""),
        ("*", ""),
        ("deflate", ""),
    ] {
        let reply = site.get(&format!("Accept-Encoding: {accepted}\r\n"), HTML, &text());
        assert_eq!(reply.one("content-encoding"), coding, "{accepted}");
        assert_eq!(unpack(coding, &reply.bytes()), text(), "{accepted}");
        assert!(coding.is_empty() || reply.bytes().len() < text().len() / 4, "{accepted}");
    }
    assert_eq!(site.get("", HTML, &text()).one("content-encoding"), "", "who does not ask gets it as it is");
}

#[test]
fn what_is_changed_is_said_in_the_headers() {
    let site = Site::start();
    let fields = "ETag: \"abc\"\r\nAccept-Ranges: bytes\r\nVary: Origin\r\n";
    let reply = site.get("Accept-Encoding: gzip\r\n", &format!("{HTML}{fields}"), &text());
    assert_eq!(reply.one("etag"), "W/\"abc\"", "not the same bytes any more");
    assert_eq!(reply.all("vary"), ["Origin", "accept-encoding"]);
    assert!(reply.all("accept-ranges").is_empty() && reply.all("content-length").is_empty());
    let reply = site.get("Accept-Encoding: gzip\r\n", &format!("{HTML}ETag: W/\"abc\"\r\n"), &text());
    assert_eq!(reply.one("etag"), "W/\"abc\"");
    // A cache must know also of what it got as it is, that others may get something else.
    let reply = site.get("", &format!("{HTML}ETag: \"abc\"\r\n"), &text());
    assert_eq!((reply.one("etag"), reply.one("vary")), ("\"abc\"", "accept-encoding"));
}

#[test]
fn what_gains_nothing_or_must_not_change_stays_as_it_is() {
    let site = Site::start();
    let long = text();
    for (name, fields, body) in [
        ("small", HTML, "short"),
        ("an image", "Content-Type: image/png\r\n", long.as_str()),
        ("no type", "", &long),
        ("events", "Content-Type: text/event-stream\r\n", &long),
        ("events, in another spelling", "Content-Type: Text/Event-Stream; x=y\r\n", &long),
        ("compressed already", "Content-Type: text/html\r\nContent-Encoding: gzip\r\n", &long),
        ("not to be changed", "Content-Type: text/html\r\nCache-Control: no-transform\r\n", &long),
        (
            "not to be changed, in another line",
            "Content-Type: text/html\r\nCache-Control: public\r\nCache-Control: max-age=5, No-Transform\r\n",
            &long,
        ),
    ] {
        let reply = site.get("Accept-Encoding: gzip\r\n", fields, body);
        let before = if fields.contains("Content-Encoding") { "gzip" } else { "" };
        assert_eq!(reply.one("content-encoding"), before, "{name}");
        assert_eq!(reply.one("content-length"), body.len().to_string(), "{name}");
        assert_eq!(reply.text(), body, "{name}");
    }
    // On another route nobody asked for it.
    site.upstream.answer(Answer::Bytes(
        format!("HTTP/1.1 200 OK\r\n{HTML}Content-Length: {}\r\n\r\n{long}", long.len()).into_bytes(),
    ));
    let mut client = site.proxy.client();
    client.send(b"GET / HTTP/1.1\r\nHost: b\r\nAccept-Encoding: gzip\r\n\r\n");
    let reply = client.reply().unwrap();
    assert!(reply.all("content-encoding").is_empty() && reply.all("vary").is_empty());
}

#[test]
fn types_are_known_in_every_spelling() {
    let site = Site::start();
    for kind in
        ["TEXT/HTML", "Application/JSON", "application/ld+json", "image/svg+xml", "text/css;charset=utf-8"]
    {
        let reply = site.get("Accept-Encoding: gzip\r\n", &format!("Content-Type: {kind}\r\n"), &text());
        assert_eq!(reply.one("content-encoding"), "gzip", "{kind}");
    }
}

#[test]
fn answers_without_a_body_are_not_compressed() {
    let site = Site::start();
    let ask = |method: &str, answer: &str| {
        site.upstream.answer(Answer::Bytes(answer.as_bytes().to_vec()));
        let mut client = site.proxy.client();
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n");
        client.send(request.as_bytes());
        let reply = if method == "HEAD" { client.reply_to_head() } else { client.reply() };
        let reply = reply.unwrap();
        assert!(reply.all("content-encoding").is_empty(), "{method} {answer}");
        reply
    };
    let reply = ask("HEAD", &format!("HTTP/1.1 200 OK\r\n{HTML}Content-Length: 5000\r\n\r\n"));
    assert_eq!(reply.one("content-length"), "5000");
    assert_eq!(ask("GET", &format!("HTTP/1.1 304 Not Modified\r\n{HTML}ETag: \"x\"\r\n\r\n")).status, 304);
    assert_eq!(ask("GET", &format!("HTTP/1.1 204 No Content\r\n{HTML}\r\n")).status, 204);
    let part = format!(
        "HTTP/1.1 206 Partial Content\r\n{HTML}Content-Range: bytes 0-499/5000\r\nContent-Length: 500\r\n\r\n{}",
        "x".repeat(500)
    );
    assert_eq!(ask("GET", &part).text().len(), 500);
}

#[test]
fn what_is_compressed_does_not_wait_for_what_comes_after_it() {
    let site = Site::start();
    // The first half of an answer that never ends.
    let piece = text();
    let head = format!(
        "HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{piece}\r\n",
        piece.len()
    );
    for coding in ["gzip", "zstd", "br"] {
        site.upstream.answer(Answer::Bytes(head.clone().into_bytes()));
        let mut client = site.proxy.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n").as_bytes());
        let first = client.first_chunk();
        let mut text = vec![0; piece.len()];
        let read = match coding {
            "gzip" => flate2::read::GzDecoder::new(first.as_slice()).read_exact(&mut text),
            "zstd" => zstd::Decoder::new(first.as_slice()).unwrap().read_exact(&mut text),
            _ => brotli::Decompressor::new(first.as_slice(), 4096).read_exact(&mut text),
        };
        read.unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), piece, "{coding}");
    }
}
