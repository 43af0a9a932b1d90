//! HTTP/2 on its way to an upstream of HTTP/1: what has no one meaning there is refused (RFC 9113
//! sections 8.2 and 8.3).

use crate::support::Fixture;
use crate::support::frames::{CONTINUATION, END_HEADERS, END_STREAM, HEADERS, Outcome, block, frame};

type Headers<'a> = Vec<(&'a str, &'a [u8])>;

/// A good request, without those of `without`, and then these.
fn request<'a>(without: &[&str], more: &[(&'a str, &'a str)]) -> Headers<'a> {
    let usual: [(&str, &[u8]); 4] =
        [(":method", b"GET"), (":scheme", b"http"), (":path", b"/"), (":authority", b"a")];
    let mut headers: Headers = usual.into_iter().filter(|(name, _)| !without.contains(name)).collect();
    // Pseudo-headers come first.
    let (pseudo, fields): (Vec<_>, Vec<_>) =
        more.iter().copied().partition(|(name, _)| name.starts_with(':'));
    headers.extend(pseudo.into_iter().chain(fields).map(|(name, value)| (name, value.as_bytes())));
    headers
}

fn outcome(fixture: &Fixture, headers: &Headers<'_>, body: Option<&[u8]>) -> Outcome {
    let mut client = fixture.client();
    client.begin_http2();
    client.open(1, headers, body);
    client.outcome(1)
}

#[test]
fn a_good_request_reaches_an_upstream_of_http1_in_its_words() {
    let fixture = Fixture::start();
    let headers = request(
        &[":path", ":authority"],
        &[
            (":path", "/x?y=1"),
            (":authority", "shop:81"),
            ("cookie", "a=b"),
            ("cookie", "c=d"),
            ("te", "trailers"),
        ],
    );
    assert_eq!(outcome(&fixture, &headers, None), Outcome::Status(200));
    let got = fixture.upstream.wait();
    assert_eq!((got.target.as_str(), got.one("host").as_str()), ("/x?y=1", "shop:81"));
    assert_eq!(got.one("x-forwarded-host"), "shop:81");
    assert_eq!(got.one("cookie"), "a=b; c=d", "HTTP/1 has one Cookie (RFC 9113 section 8.2.3)");
    assert!(!got.has("te"));

    let headers = request(&[":method"], &[(":method", "POST"), ("content-length", "5"), ("host", "a")]);
    assert_eq!(outcome(&fixture, &headers, Some(b"hello")), Outcome::Status(200));
    assert_eq!(fixture.upstream.wait().body, b"hello");
    let headers = request(&[":method"], &[(":method", "POST")]);
    assert_eq!(outcome(&fixture, &headers, Some(b"hello")), Outcome::Status(200));
    assert_eq!(fixture.upstream.wait().body, b"hello", "without a length it is chunked");
    fixture.finish();
}

#[test]
fn requests_that_mean_two_things_in_http1_are_refused() {
    let fixture = Fixture::start();
    let path = |path: &'static str| request(&[":path"], &[(":path", path)]);
    let authority = |host: &'static str| request(&[":authority"], &[(":authority", host)]);
    let field = |name: &'static str, value: &'static str| request(&[], &[(name, value)]);
    let cases = [
        ("a Host that differs", field("host", "b")),
        ("a Host with another port", field("host", "a:80")),
        ("two Hosts", request(&[], &[("host", "a"), ("host", "a")])),
        ("two Hosts and no authority", request(&[":authority"], &[("host", "a"), ("host", "b")])),
        ("neither Host nor authority", request(&[":authority"], &[])),
        ("an empty authority", authority("")),
        ("a user", authority("user@a")),
        ("a path in the authority", authority("a/b")),
        ("a list in the authority", authority("a,b")),
        ("a space in the authority", authority("a b")),
        ("a port that is no number", authority("a:b")),
        ("a bad Host alone", request(&[":authority"], &[("host", "user@a")])),
        ("a backslash", path("/a\\b")),
        ("a byte above ASCII", path("/\u{e4}")),
        ("a space", path("/a b")),
        ("a line", path("/a HTTP/1.1\r\nX: b")),
        ("a NUL", path("/a\0b")),
        ("a quote", path("/a\"b")),
        ("an empty path", path("")),
        ("no slash", path("a")),
        ("a star", path("*")),
        ("a URL", path("http://b/")),
        ("no path", request(&[":path"], &[])),
        ("two paths", request(&[], &[(":path", "/b")])),
        ("no method", request(&[":method"], &[])),
        ("a method with a space", request(&[":method"], &[(":method", "GET /x")])),
        ("a method with a line", request(&[":method"], &[(":method", "GET\r\n")])),
        ("no scheme", request(&[":scheme"], &[])),
        ("an unknown pseudo-header", field(":x", "y")),
        ("a status in a request", field(":status", "200")),
        ("a leading zero in a length", field("content-length", "005")),
        ("a plus in a length", field("content-length", "+5")),
        ("a list of lengths", field("content-length", "5, 5")),
        ("two lengths", request(&[], &[("content-length", "0"), ("content-length", "0")])),
        ("a look-alike of Content-Length", field("content_length", "5")),
        ("a look-alike of Transfer-Encoding", field("transfer_encoding", "chunked")),
        ("Transfer-Encoding", field("transfer-encoding", "chunked")),
        ("Connection", field("connection", "close")),
        ("Connection that names a header", field("connection", "x-forwarded-for")),
        ("Keep-Alive", field("keep-alive", "timeout=5")),
        ("Proxy-Connection", field("proxy-connection", "keep-alive")),
        ("Upgrade", field("upgrade", "websocket")),
        ("another TE", field("te", "chunked")),
        ("a space before a value", field("x", " a")),
        ("a space behind a value", field("x", "a ")),
        ("a tab before a value", field("x", "\ta")),
        ("a line in a value", field("x", "a\r\ny: b")),
        ("a bare LF in a value", field("x", "a\nb")),
        ("a bare CR in a value", field("x", "a\rb")),
        ("a NUL in a value", field("x", "a\0b")),
        ("capitals in a name", field("X-Y", "a")),
        ("a space in a name", field("x y", "a")),
        ("a colon in a name", field("x:y", "a")),
        ("a line in a name", field("x\r\ny", "a")),
        ("an empty name", field("", "a")),
    ];
    let mut wrong = Vec::new();
    for (name, headers) in cases {
        let got = outcome(&fixture, &headers, None);
        let refused = matches!(got, Outcome::Status(400) | Outcome::Reset(_) | Outcome::Goaway(_));
        let reached = fixture.upstream.take();
        if !refused || !reached.is_empty() {
            wrong.push(format!("{name}: {got:?}, and {} reached the upstream", reached.len()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    fixture.finish();
}

#[test]
fn a_fragment_does_not_go_on() {
    let fixture = Fixture::start();
    // Refused or cut off, as browsers do: the library below may not even show it.
    let got = outcome(&fixture, &request(&[":path"], &[(":path", "/a#b")]), None);
    let reached: Vec<_> = fixture.upstream.take().into_iter().map(|request| request.target).collect();
    match got {
        Outcome::Status(200) => assert_eq!(reached, ["/a"]),
        refused => assert!(reached.is_empty() && refused != Outcome::Ended, "{refused:?}: {reached:?}"),
    }
    fixture.finish();
}

#[test]
fn a_length_that_is_not_the_bodys_makes_no_whole_request() {
    let fixture = Fixture::start();
    for length in ["4", "6", "0"] {
        let headers = request(&[":method"], &[(":method", "POST"), ("content-length", length)]);
        let got = outcome(&fixture, &headers, Some(b"hello"));
        assert!(!matches!(got, Outcome::Status(200..=299)), "{length}: {got:?}");
        assert!(fixture.upstream.take().is_empty(), "{length}");
    }
    fixture.finish();
}

#[test]
fn other_refusals_have_the_status_that_http1_has_for_them() {
    let fixture = Fixture::start();
    let long = format!("/{}", "a".repeat(9000));
    for (headers, status) in [
        (request(&[":method"], &[(":method", "TRACE")]), 405),
        (request(&[], &[("expect", "x")]), 417),
        (request(&[":path"], &[(":path", &long)]), 414),
    ] {
        assert_eq!(outcome(&fixture, &headers, None), Outcome::Status(status));
    }
    let connect: Headers = vec![(":method", b"CONNECT"), (":authority", b"a:443")];
    let got = outcome(&fixture, &connect, None);
    assert!(matches!(got, Outcome::Status(405 | 400) | Outcome::Reset(_)), "{got:?}");
    let large = "y".repeat(15_000);
    let got = outcome(&fixture, &request(&[], &[("x", &large)]), None);
    assert_eq!(got, Outcome::Status(200), "inside the limit");
    fixture.upstream.take();

    let mut client = fixture.client();
    client.begin_http2();
    client.send(&frame(HEADERS, END_STREAM, 1, &block(&request(&[], &[("x", &large)]))));
    for name in ["y", "z"] {
        client.send(&frame(CONTINUATION, 0, 1, &block(&[(name, large.as_bytes())])));
    }
    client.send(&frame(CONTINUATION, END_HEADERS, 1, &[]));
    let got = client.outcome(1);
    assert!(matches!(got, Outcome::Status(431) | Outcome::Reset(_) | Outcome::Goaway(_)), "{got:?}");
    assert!(fixture.upstream.take().is_empty());
    fixture.finish();
}
