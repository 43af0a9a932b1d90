//! The lines of a head (RFC 9112 sections 2 to 5): how they end, what stands in them, how many there are.

use crate::support::{Case, Fixture, assert_refused, fields, get, passed};

fn case(name: &'static str, head: &str, status: u16) -> Case {
    (name, head.as_bytes().to_vec(), status)
}

#[test]
fn lines_that_do_not_end_in_cr_and_lf_are_refused() {
    let fixture = Fixture::start();
    assert_refused(
        &fixture,
        vec![
            case("bare LF everywhere", "GET / HTTP/1.1\nHost: a\n\n", 400),
            case("bare LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
            case("bare LF behind a header", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
            case("bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
            case(
                "bare LF hides a header",
                "GET / HTTP/1.1\r\nHost: a\r\nX: b\nTransfer-Encoding: chunked\r\n\r\n",
                400,
            ),
            case("bare CR behind the request line", "GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
            case("bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: b\rY: c\r\n\r\n", 400),
            case("bare CR in a name", "GET / HTTP/1.1\r\nHost: a\r\nX\rY: c\r\n\r\n", 400),
            case("two CRs", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400),
            case("two CRs behind a header", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
        ],
    );
    fixture.finish();
}

#[test]
fn header_lines_that_are_not_a_name_and_a_value_are_refused() {
    let fixture = Fixture::start();
    let lines = [
        ("a folded value", "X: a\r\n b"),
        ("a folded value with a tab", "X: a\r\n\tb"),
        ("a first line that is folded", " X: a"),
        ("a space before the colon", "X : a"),
        ("a tab before the colon", "X\t: a"),
        ("a space in the name", "X Y: a"),
        ("an empty name", ": a"),
        ("no colon", "X"),
        ("a NUL in the name", "X\0: a"),
        ("a slash in the name", "X/Y: a"),
        ("quotes in the name", "\"X\": a"),
        ("an at sign in the name", "X@Y: a"),
        ("brackets in the name", "X[Y]: a"),
        ("a byte above ASCII in the name", "X\u{e4}: a"),
        ("a control byte in the name", "X\u{1}: a"),
        ("a NUL in the value", "X: \0"),
        ("a NUL inside the value", "X: a\0b"),
        ("a control byte in the value", "X: a\u{1}b"),
        ("a bell in the value", "X: \u{7}"),
        ("an escape in the value", "X: \u{1b}[2J"),
        ("a vertical tab in the value", "X: a\u{b}b"),
        ("a DEL in the value", "X: \u{7f}"),
        ("a look-alike of Content-Length", "content_length: 5"),
        ("a look-alike of Transfer-Encoding", "Transfer_Encoding: chunked"),
    ];
    let cases = lines.into_iter().map(|(name, line)| (name, get(&format!("{line}\r\n")), 400));
    assert_refused(&fixture, cases.collect());
    fixture.finish();
}

#[test]
fn values_may_have_tabs_and_bytes_above_ascii() {
    let fixture = Fixture::start();
    let mut bytes =
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Tab: a\tb\r\nX-Empty:\r\nX-Outer: \t c \t\r\nX-Odd: ".to_vec();
    bytes.extend_from_slice(b"\xe4\xff\x80\r\n\r\n");
    let request = passed(&fixture, &bytes);
    let odd = request.headers.iter().find(|(name, _)| name == "x-odd").map(|(_, value)| value.as_slice());
    assert_eq!(odd, Some(b"\xe4\xff\x80".as_slice()));
    assert_eq!((request.one("x-tab"), request.one("x-empty")), ("a\tb".into(), String::new()));
    assert_eq!(request.one("x-outer"), "c");
    fixture.finish();
}

#[test]
fn heads_that_are_too_large_are_refused_with_the_status_for_it() {
    let fixture = Fixture::start();
    let head = |line: &str, fields: &str| format!("GET {line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let many = "X: y\r\n".repeat(150);
    let cookies = format!("Cookie: {}\r\n", "a=b; ".repeat(10_000));
    let several = fields(40, &"y".repeat(1000));
    assert_refused(
        &fixture,
        vec![
            case("a long path", &head(&format!("/{}", "a".repeat(9000)), ""), 414),
            case("a very long path", &head(&format!("/{}", "a".repeat(200_000)), ""), 414),
            case("a long query", &head(&format!("/?{}", "a".repeat(9000)), ""), 414),
            case("one long header", &head("/", &format!("X: {}\r\n", "y".repeat(40_000))), 431),
            case("one long name", &head("/", &format!("{}: y\r\n", "x".repeat(40_000))), 431),
            case("many long headers", &head("/", &several), 431),
            case("a flood of cookies", &head("/", &cookies), 431),
            case("too many headers", &head("/", &many), 431),
            case(
                "a method that is too long",
                &format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "M".repeat(65)),
                400,
            ),
        ],
    );
    // Just inside the limits.
    let request = passed(&fixture, head(&format!("/{}", "a".repeat(8000)), "").as_bytes());
    assert_eq!(request.target.len(), 8001);
    assert!(passed(&fixture, head("/", &fields(95, "y")).as_bytes()).has("x-94"));
    let large = format!("X: {}\r\n", "y".repeat(30_000));
    assert_eq!(passed(&fixture, head("/", &large).as_bytes()).one("x").len(), 30_000);
    fixture.finish();
}

#[test]
fn limits_of_the_file_are_kept() {
    let fixture = Fixture::with("max_header_bytes = 1000\nmax_headers = 5\n");
    let many = "X: y\r\n".repeat(6);
    assert_refused(
        &fixture,
        vec![
            ("too many headers", get(&many), 431),
            ("a long header", get(&format!("X: {}\r\n", "y".repeat(1000))), 431),
        ],
    );
    passed(&fixture, &get("X: y\r\n"));
    fixture.finish();
}

#[test]
fn request_lines_that_are_not_three_words_are_refused() {
    let fixture = Fixture::start();
    let lines = [
        ("HTTP/0.9", "GET /"),
        ("only a method", "GET"),
        ("two spaces", "GET  / HTTP/1.1"),
        ("two spaces before the version", "GET /  HTTP/1.1"),
        ("a space behind", "GET / HTTP/1.1 "),
        ("a space before", " GET / HTTP/1.1"),
        ("a tab for a space", "GET\t/ HTTP/1.1"),
        ("a fourth word", "GET / HTTP/1.1 HTTP/1.1"),
        ("a space in the path", "GET /a b HTTP/1.1"),
        ("an empty method", " / HTTP/1.1"),
        ("a method that is no token", "GE(T / HTTP/1.1"),
        ("a method with a NUL", "GET\0 / HTTP/1.1"),
        ("a method with a byte above ASCII", "G\u{cb}T / HTTP/1.1"),
        ("a lower-case version", "GET / http/1.1"),
        ("another protocol", "GET / FTP/1.1"),
        ("no minor version", "GET / HTTP/1"),
        ("two digits of a version", "GET / HTTP/1.10"),
        ("a zero before the version", "GET / HTTP/01.1"),
        ("a comma in the version", "GET / HTTP/1,1"),
        ("a letter in the version", "GET / HTTP/1.x"),
        ("a NUL behind the version", "GET / HTTP/1.1\0"),
    ];
    let whole = |line: &str| format!("{line}\r\nHost: a\r\n\r\n").into_bytes();
    assert_refused(&fixture, lines.into_iter().map(|(name, line)| (name, whole(line), 400)).collect());
    let versions = [
        ("HTTP/1.2", "GET / HTTP/1.2"),
        ("HTTP/2.0 in a line of HTTP/1", "GET / HTTP/2.0"),
        ("HTTP/3.0", "GET / HTTP/3.0"),
        ("HTTP/0.9 that names itself", "GET / HTTP/0.9"),
        ("HTTP/9.9", "GET / HTTP/9.9"),
    ];
    assert_refused(&fixture, versions.into_iter().map(|(name, line)| (name, whole(line), 505)).collect());
    fixture.finish();
}

#[test]
fn any_method_that_is_a_token_is_passed_on_as_it_is() {
    let fixture = Fixture::start();
    let longest = "M".repeat(64);
    for method in ["get", "Get", "PROPFIND", "M-SEARCH", "X_Y", "$%&'*+", longest.as_str()] {
        let request = passed(&fixture, format!("{method} /x HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        assert_eq!((request.method.as_str(), request.target.as_str()), (method, "/x"));
    }
    fixture.finish();
}

#[test]
fn one_empty_line_before_a_request_is_forgiven() {
    let fixture = Fixture::start();
    passed(&fixture, b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_refused(
        &fixture,
        vec![case("an empty line that is bare", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400)],
    );
    fixture.finish();
}
