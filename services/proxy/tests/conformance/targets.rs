//! What is asked for, and of whom (RFC 9110 section 7.2, RFC 9112 section 3.2).

use crate::support::{Case, Fixture, assert_refused, get, passed};

#[test]
fn requests_without_exactly_one_good_host_are_refused() {
    let fixture = Fixture::start();
    let with = |fields: &str| format!("GET / HTTP/1.1\r\n{fields}\r\n").into_bytes();
    let mut cases: Vec<Case> = vec![
        ("no Host", with(""), 400),
        ("two Hosts", with("Host: a\r\nHost: b\r\n"), 400),
        ("two equal Hosts", with("Host: a\r\nHost: a\r\n"), 400),
        ("two Hosts in other case", with("Host: a\r\nHOST: a\r\n"), 400),
        ("two Hosts in HTTP/1.0", b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n".to_vec(), 400),
        ("no Host with a whole URL", b"GET http://a/ HTTP/1.1\r\n\r\n".to_vec(), 400),
        ("two Hosts with a whole URL", b"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_vec(), 400),
    ];
    for (name, value) in [
        ("an empty Host", ""),
        ("a user", "user@a"),
        ("a user with a password", "user:pass@a"),
        ("a path", "a/b"),
        ("a query", "a?b"),
        ("a fragment", "a#b"),
        ("a list", "a, b"),
        ("a list without a space", "a,b"),
        ("a space", "a b"),
        ("a tab", "a\tb"),
        ("a scheme", "http://a"),
        ("a port that is no number", "a:b"),
        ("a port with letters", "a:80b"),
        ("a negative port", "a:-1"),
        ("a port with a plus", "a:+80"),
        ("a port that is too long", "a:123456"),
        ("only a port", ":80"),
        ("two ports", "a:80:81"),
        ("a backslash", "a\\b"),
        ("a quote", "a\"b"),
        ("an angle bracket", "a<b"),
        ("a NUL", "a\0b"),
        ("a byte above ASCII", "\u{e4}"),
        ("a bracket that is not closed", "[::1"),
        ("letters in brackets", "[x]"),
        ("something behind brackets", "[::1]x"),
        ("an address of IPv6 without brackets", "::1"),
    ] {
        cases.push((name, with(&format!("Host: {value}\r\n")), 400));
    }
    assert_refused(&fixture, cases);
    fixture.finish();
}

#[test]
fn hosts_that_are_a_name_or_an_address_are_passed_on() {
    let fixture = Fixture::start();
    for host in
        ["a", "A.Example.COM", "a.example:8080", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:80", "a_b"]
    {
        let request = passed(&fixture, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(request.one("host"), host);
        assert_eq!(request.one("x-forwarded-host"), host);
    }
    fixture.finish();
}

#[test]
fn a_whole_url_becomes_a_path_and_its_authority_the_host() {
    let fixture = Fixture::start();
    for (target, host, path) in [
        ("http://b.example/x?y=1", "b.example", "/x?y=1"),
        ("http://b.example:81/", "b.example:81", "/"),
        ("http://b.example", "b.example", "/"),
        ("HTTP://b.example/x", "b.example", "/x"),
        ("http://b.example?y=1", "b.example", "/?y=1"),
        ("https://b.example/x", "b.example", "/x"),
    ] {
        let request = passed(&fixture, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!((request.one("host").as_str(), request.target.as_str()), (host, path), "{target}");
        assert_eq!(request.one("x-forwarded-host"), host, "{target}");
    }
    fixture.finish();
}

#[test]
fn targets_that_are_no_path_are_refused() {
    let fixture = Fixture::start();
    let targets = [
        ("no slash", "a"),
        ("an authority", "a.example:80"),
        ("a star without OPTIONS", "*"),
        ("a question mark first", "?a"),
        ("a user in a URL", "http://user@a/"),
        ("a URL without a host", "http:///a"),
        ("a URL with only a port", "http://:80/"),
        ("a URL with a bad port", "http://a:b/"),
        ("another scheme", "ftp://a/"),
        ("a scheme without slashes", "http:a"),
        ("a fragment", "/a#b"),
        ("a fragment in a URL", "http://a/#b"),
        ("a backslash", "/a\\b"),
        ("a quote", "/a\"b"),
        ("angle brackets", "/<script>"),
        ("braces", "/{a}"),
        ("a bar", "/a|b"),
        ("a caret", "/a^b"),
        ("a back quote", "/a`b"),
        ("a NUL", "/a\0b"),
        ("a DEL", "/\u{7f}"),
        ("a control byte", "/a\u{1}b"),
        ("a tab", "/a\tb"),
        ("a byte above ASCII", "/\u{e4}"),
        ("a CR in the path", "/a\rX: b"),
        ("a line in the path", "/a HTTP/1.1\nX: b"),
    ];
    let case = |(name, target): (&'static str, &str)| {
        (name, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(), 400)
    };
    assert_refused(&fixture, targets.into_iter().map(case).collect());
    fixture.finish();
}

#[test]
fn a_path_goes_on_as_it_was_written() {
    let fixture = Fixture::start();
    for path in [
        "/%0d%0aX-Injected:%201",
        "/%0D%0A%0D%0AGET%20/%20HTTP/1.1",
        "/%00",
        "/a/../b",
        "/a/%2e%2e/b",
        "//a//b",
        "//evil.example/",
        "/a;b=c?d=e&f=%26",
        "/?",
        "/%",
        "/%zz",
        "/a@b:c",
        "/http://x/",
        "/[a]",
    ] {
        let request = passed(&fixture, format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!(request.target, path);
        assert!(!request.has("x-injected"));
    }
    fixture.finish();
}

#[test]
fn methods_that_are_not_for_a_reverse_proxy_are_refused() {
    let fixture = Fixture::start();
    let line = |line: &str| format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    assert_refused(
        &fixture,
        vec![
            ("CONNECT", line("CONNECT a:443"), 405),
            ("CONNECT with a path", line("CONNECT /"), 405),
            ("CONNECT with a URL", line("CONNECT http://a/"), 405),
            ("TRACE", line("TRACE /"), 405),
        ],
    );
    let mut client = fixture.client();
    client.send(&line("TRACE /"));
    let allow = client.reply().unwrap();
    assert!(allow.all("allow")[0].contains("GET"), "405 says what is allowed");
    fixture.finish();
}

#[test]
fn options_of_the_server_itself_are_answered_by_the_proxy() {
    let fixture = Fixture::start();
    let mut client = fixture.client();
    client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    let reply = client.reply().unwrap();
    assert!((200..300).contains(&reply.status), "{}", reply.status);
    assert!(reply.all("allow")[0].contains("GET"));
    assert!(fixture.upstream.take().is_empty());
    let request = passed(&fixture, b"OPTIONS /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(request.method, "OPTIONS");
    fixture.finish();
}

#[test]
fn only_the_expectation_that_exists_is_taken() {
    let fixture = Fixture::start();
    assert_refused(
        &fixture,
        vec![
            ("another one", get("Expect: the-unexpected\r\n"), 417),
            ("two", get("Expect: 100-continue, x\r\n"), 417),
            ("an empty one", get("Expect:\r\n"), 417),
        ],
    );
    let fields = "Expect: 100-Continue\r\nContent-Length: 5\r\n";
    let mut client = fixture.client();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
    // The client waits to be asked for its body.
    assert!(client.interim(), "100 comes before the body");
    client.send(b"hello");
    assert_eq!(client.reply().unwrap().status, 200);
    let request = fixture.upstream.wait();
    assert_eq!(request.body, b"hello");
    assert!(!request.has("expect"), "the proxy asked for the body itself");
    fixture.finish();
}
