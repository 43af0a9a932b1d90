//! Where a request ends (RFC 9112 section 6): one way to read it, or none.

use crate::support::{Case, Fixture, assert_refused, passed, post};

#[test]
fn lengths_that_can_be_read_in_two_ways_are_refused() {
    let fixture = Fixture::start();
    let values = [
        ("empty", ""),
        ("a leading zero", "05"),
        ("only zeros", "00"),
        ("a plus", "+5"),
        ("a minus", "-5"),
        ("minus zero", "-0"),
        ("hexadecimal", "0x5"),
        ("a list of the same", "5, 5"),
        ("a list of different ones", "5, 6"),
        ("a list without a space", "5,5"),
        ("an empty element", "5,"),
        ("a fraction", "5.0"),
        ("an exponent", "5e0"),
        ("a space inside", "1 0"),
        ("letters behind", "5a"),
        ("a parameter", "5;a=b"),
        ("quotes", "\"5\""),
        ("more than 64 bits", "18446744073709551621"),
        ("very many digits", "99999999999999999999999999999999999999"),
        ("a full-width digit", "\u{ff15}"),
    ];
    let mut cases: Vec<Case> = values
        .into_iter()
        .map(|(name, value)| (name, post(&format!("Content-Length: {value}\r\n"), "hello"), 400))
        .collect();
    cases.extend([
        ("twice the same", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), 400),
        ("twice, different", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), 400),
        ("twice, zero first", post("Content-Length: 0\r\nContent-Length: 5\r\n", "hello"), 400),
        ("twice, other case", post("Content-Length: 5\r\ncontent-length: 5\r\n", "hello"), 400),
        ("a space before the colon", post("Content-Length : 5\r\n", "hello"), 400),
        ("a look-alike", post("Content_Length: 5\r\n", "hello"), 400),
        (
            "a look-alike beside the real one",
            post("Content-Length: 5\r\nContent_Length: 6\r\n", "hello"),
            400,
        ),
        ("folded", post("Content-Length:\r\n 5\r\n", "hello"), 400),
    ]);
    assert_refused(&fixture, cases);
    fixture.finish();
}

#[test]
fn a_length_beside_a_transfer_coding_is_refused() {
    let fixture = Fixture::start();
    let body = "0\r\n\r\n";
    assert_refused(
        &fixture,
        vec![
            ("length first", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", body), 400),
            ("coding first", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", body), 400),
            ("a length of zero", post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", body), 400),
            ("an unknown coding", post("Content-Length: 5\r\nTransfer-Encoding: x\r\n", body), 501),
        ],
    );
    fixture.finish();
}

#[test]
fn transfer_codings_other_than_chunked_alone_are_refused() {
    let fixture = Fixture::start();
    let values = [
        ("a list", "foo, chunked", 400),
        ("a list that ends in another", "chunked, foo", 400),
        ("identity before", "identity, chunked", 400),
        ("gzip before", "gzip, chunked", 400),
        ("chunked twice", "chunked, chunked", 400),
        ("an empty element before", ", chunked", 400),
        ("an empty element behind", "chunked,", 400),
        ("nothing", "", 400),
        ("another one", "xchunked", 501),
        ("a longer one", "chunkedx", 501),
        ("gzip", "gzip", 501),
        ("identity", "identity", 501),
        ("a parameter", "chunked;q=1", 400),
        ("quotes", "\"chunked\"", 400),
        ("two words", "chunked chunked", 400),
        ("a vertical tab before", "\u{b}chunked", 400),
        ("a form feed behind", "chunked\u{c}", 400),
        ("a NUL behind", "chunked\0", 400),
        ("a letter that looks like k", "chun\u{212a}ed", 400),
    ];
    let body = "0\r\n\r\n";
    let mut cases: Vec<Case> = values
        .into_iter()
        .map(|(name, value, status)| (name, post(&format!("Transfer-Encoding: {value}\r\n"), body), status))
        .collect();
    let chunked = "Transfer-Encoding: chunked\r\n";
    cases.extend([
        ("two headers", post(&format!("{chunked}{chunked}"), body), 400),
        ("another one above", post(&format!("Transfer-Encoding: x\r\n{chunked}"), body), 501),
        ("another one below", post(&format!("{chunked}Transfer-Encoding: x\r\n"), body), 501),
        ("folded", post("Transfer-Encoding:\r\n chunked\r\n", body), 400),
        ("folded with a tab", post("Transfer-Encoding: x,\r\n\tchunked\r\n", body), 400),
        ("a space before the colon", post("Transfer-Encoding : chunked\r\n", body), 400),
        ("a tab before the colon", post("Transfer-Encoding\t: chunked\r\n", body), 400),
        ("a space before the name", post(" Transfer-Encoding: chunked\r\n", body), 400),
        ("a look-alike", post("Transfer_Encoding: chunked\r\n", body), 400),
        ("a look-alike in capitals", post("TRANSFER_ENCODING: chunked\r\n", body), 400),
        (
            "in HTTP/1.0",
            b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_vec(),
            400,
        ),
    ]);
    assert_refused(&fixture, cases);
    fixture.finish();
}

#[test]
fn chunked_is_chunked_in_any_case_and_with_white_space_around_it() {
    let fixture = Fixture::start();
    for value in ["chunked", "Chunked", "CHUNKED", " chunked", "\tchunked", "chunked\t", "  chunked \t "] {
        let fields = format!("Transfer-Encoding:{value}\r\n");
        let request = passed(&fixture, &post(&fields, "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"));
        assert_eq!(request.body, b"hello world", "{value:?}");
    }
    fixture.finish();
}

#[test]
fn lawful_chunks_arrive_whole_and_without_their_extensions() {
    let fixture = Fixture::start();
    for body in [
        "5\r\nhello\r\n0\r\n\r\n",
        "00005\r\nhello\r\n000\r\n\r\n",
        "5;name=value\r\nhello\r\n0;last\r\n\r\n",
        "5;a=\"b\"\r\nhello\r\n0\r\n\r\n",
        "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n",
    ] {
        // The strict reader at the upstream takes no extension: that none is there is checked by it.
        let request = passed(&fixture, &post("Transfer-Encoding: chunked\r\n", body));
        assert_eq!(request.body, b"hello", "{body:?}");
    }
    let request = passed(&fixture, &post("Transfer-Encoding: chunked\r\n", "A\r\n0123456789\r\n0\r\n\r\n"));
    assert_eq!(request.body, b"0123456789");
    fixture.finish();
}

#[test]
fn chunks_that_can_be_read_in_two_ways_end_the_request() {
    let fixture = Fixture::start();
    let bodies = [
        ("a negative size", "-1\r\nhello\r\n0\r\n\r\n"),
        ("a plus", "+5\r\nhello\r\n0\r\n\r\n"),
        ("0x before", "0x5\r\nhello\r\n0\r\n\r\n"),
        ("an x inside", "0x\r\nhello\r\n0\r\n\r\n"),
        ("no size", "\r\nhello\r\n0\r\n\r\n"),
        ("a letter that is no digit", "g\r\nhello\r\n0\r\n\r\n"),
        ("an underscore", "0_5\r\nhello\r\n0\r\n\r\n"),
        ("more than 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("very many zeros", "00000000000000000000000000005\r\nhello\r\n0\r\n\r\n"),
        ("a space before", " 5\r\nhello\r\n0\r\n\r\n"),
        ("a space behind", "5 \r\nhello\r\n0\r\n\r\n"),
        ("a tab behind", "5\t\r\nhello\r\n0\r\n\r\n"),
        ("a space before an extension", "5 ;a\r\nhello\r\n0\r\n\r\n"),
        ("a comma", "5,5\r\nhello\r\n0\r\n\r\n"),
        ("a bare LF behind the size", "5\nhello\r\n0\r\n\r\n"),
        ("a bare CR behind the size", "5\rhello\r\n0\r\n\r\n"),
        ("a bare LF in an extension", "5;a\nhello\r\n0\r\n\r\n"),
        ("a bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
        ("a NUL in an extension", "5;\0\r\nhello\r\n0\r\n\r\n"),
        ("a bare LF behind the data", "5\r\nhello\n0\r\n\r\n"),
        ("nothing behind the data", "5\r\nhello0\r\n\r\n"),
        ("more data than announced", "4\r\nhello\r\n0\r\n\r\n"),
        ("other bytes behind the data", "5\r\nhelloXX0\r\n\r\n"),
        ("a bare LF at the end", "5\r\nhello\r\n0\n\n"),
        ("a bare LF behind the last chunk", "5\r\nhello\r\n0\r\n\n"),
        ("a folded trailer", "5\r\nhello\r\n0\r\nX: 1\r\n 2\r\n\r\n"),
        ("a NUL in a trailer", "5\r\nhello\r\n0\r\nX: \0\r\n\r\n"),
        ("a bare LF in a trailer", "5\r\nhello\r\n0\r\nX: 1\nY: 2\r\n\r\n"),
    ];
    let case = |(name, body): (&'static str, &str)| (name, post("Transfer-Encoding: chunked\r\n", body), 400);
    assert_refused(&fixture, bodies.into_iter().map(case).collect());
    let mut long = format!("5;{}\r\n", "x".repeat(100_000));
    long.push_str("hello\r\n0\r\n\r\n");
    let trailers = format!("5\r\nhello\r\n0\r\n{}\r\n", "X: y\r\n".repeat(100_000));
    assert_refused(
        &fixture,
        vec![case(("an endless extension", &long)), case(("endless trailers", &trailers))],
    );
    fixture.finish();
}

#[test]
fn bodies_of_get_and_head_are_passed_on_with_their_framing() {
    let fixture = Fixture::start();
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH"] {
        let start = format!("{method} / HTTP/1.1\r\nHost: a\r\n");
        let request = passed(&fixture, format!("{start}Content-Length: 5\r\n\r\nhello").as_bytes());
        assert_eq!((request.method.as_str(), request.body.as_slice()), (method, b"hello".as_slice()));
        let chunked = format!("{start}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        let request = passed(&fixture, chunked.as_bytes());
        assert_eq!((request.method.as_str(), request.body.as_slice()), (method, b"hello".as_slice()));
    }
    let request = passed(&fixture, &post("Content-Length: 0\r\n", ""));
    assert_eq!(request.body, b"");
    fixture.finish();
}
