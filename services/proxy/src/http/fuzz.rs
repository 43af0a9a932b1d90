//! Random heads and bodies: nothing panics, and what is taken does not depend on how it arrives.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::chunks::Chunks;
use super::head::{Framing, Head, HeadLimits, Progress};
use super::rules;
use crate::fuzz::{changed, changes, check, cuts, words};

const HEADS: &[&str] = &[
    "GET ",
    "POST ",
    "GET / HTTP/1.1\r\n",
    "/",
    " ",
    "\t",
    "*",
    "http://a/",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    "\r\n",
    "\r",
    "\n",
    "\0",
    ":",
    ",",
    "Host: a\r\n",
    "host:b:80\r\n",
    "Content-Length: 5\r\n",
    "content-length:0\r\n",
    "Content_Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Expect: 100-continue\r\n",
    "X: y\r\n",
];

const GOOD: &[&str] = &[
    "GET /a?b HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a:80\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: [::1]\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
];

const LIMITS: HeadLimits = HeadLimits { bytes: 200, fields: 5 };

/// What becomes of a head that arrives in pieces, and its length.
fn head(bytes: &[u8], cuts: &[usize]) -> Option<(Progress, usize)> {
    let mut head = Head::default();
    let mut last = Some(Progress::Partial);
    for cut in cuts {
        last = head.advance(&bytes[..*cut], LIMITS).ok();
        if last != Some(Progress::Partial) {
            break;
        }
    }
    last.map(|progress| (progress, head.seen))
}

fn heads() -> impl Strategy<Value = Vec<u8>> {
    let near = (select(GOOD), changes(HEADS)).prop_map(|(good, changes)| changed(good.as_bytes(), &changes));
    prop_oneof![words(HEADS), near, vec(any::<u8>(), 0..300)]
}

#[test]
fn a_head_is_the_same_however_it_arrives() {
    check((heads(), vec(any::<Index>(), 0..8)), |(bytes, places)| {
        let at_once = head(&bytes, &[bytes.len()]);
        prop_assert_eq!(&head(&bytes, &cuts(&places, bytes.len())), &at_once);
        let single: Vec<_> = (0..=bytes.len()).collect();
        prop_assert_eq!(&head(&bytes, &single), &at_once);
        Ok(())
    });
}

#[test]
fn a_head_that_is_taken_can_be_read_in_one_way_only() {
    check(heads(), |bytes| {
        let Some((Progress::Complete(framing), length)) = head(&bytes, &[bytes.len()]) else { return Ok(()) };
        let text = &bytes[..length];
        prop_assert!(text.ends_with(b"\r\n\r\n") && text.len() <= LIMITS.bytes);
        for (at, byte) in text.iter().enumerate() {
            prop_assert!(*byte != 0);
            prop_assert!(*byte != b'\r' || text.get(at + 1) == Some(&b'\n'));
            prop_assert!(*byte != b'\n' || text[at - 1] == b'\r');
        }
        let text = String::from_utf8_lossy(text).to_lowercase();
        let count = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        prop_assert!(count("host:") == 1 || (count("host:") == 0 && text.contains("http/1.0\r\n")));
        prop_assert!(count("content-length:") + count("transfer-encoding:") <= 1);
        prop_assert_eq!(framing == Framing::Chunked, count("transfer-encoding:") == 1);
        // What the library reads is what the guard has read.
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut parsed = httparse::Request::new(&mut fields);
        prop_assert_eq!(parsed.parse(&bytes), Ok(httparse::Status::Complete(length)));
        Ok(())
    });
}

const VALUES: &[&str] =
    &["a", ":", "80", "[", "]", "::1", "@", "/", "http://", "https://", "chunked", ",", "0", "9", "+"];

#[test]
fn no_value_of_a_field_makes_a_rule_panic() {
    check(words(VALUES), |bytes| {
        let _ = (rules::value(&bytes), rules::transfer_encoding(&bytes), rules::expect(&bytes));
        let _ = rules::method(&bytes);
        if let Ok(length) = rules::length(&bytes) {
            prop_assert_eq!(length.to_string().into_bytes(), bytes.clone());
        }
        if rules::host(&bytes).is_ok() {
            let text = String::from_utf8(bytes.clone()).unwrap();
            prop_assert!(
                !text.contains(['@', '/', ',', ' ']) && text.parse::<http::uri::Authority>().is_ok()
            );
        }
        if rules::target(b"GET", &bytes).is_ok() {
            prop_assert!(bytes.starts_with(b"/") || bytes.to_ascii_lowercase().starts_with(b"http"));
            prop_assert!(http::Uri::try_from(bytes.as_slice()).is_ok());
        }
        Ok(())
    });
}

const BODIES: &[&str] = &[
    "0",
    "5",
    "a",
    "F",
    "00",
    "10",
    "\r\n",
    "\r\n",
    "\r",
    "\n",
    ";",
    ";x=y",
    " ",
    "\t",
    "hello",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    "1\r\nx\r\n",
    "x: y\r\n",
    "ffffffffffffffff",
    "-",
];

const GOOD_BODIES: &[&str] =
    &["5\r\nhello\r\n0\r\n\r\n", "a;x=\"y\"\r\n0123456789\r\n1\r\nx\r\n0\r\nx: y\r\n\r\nGET", "0\r\n\r\n"];

/// How many bytes belong to a body that arrives in pieces, and whether it is over then.
fn body(bytes: &[u8], cuts: &[usize]) -> Option<(usize, bool)> {
    let (mut chunks, mut from) = (Chunks::new(), 0);
    for cut in cuts {
        let cut = (*cut).max(from);
        from += chunks.advance(&bytes[from..cut]).ok()?;
        if chunks.is_done() {
            break;
        }
    }
    Some((from, chunks.is_done()))
}

/// The length of a chunked body, read in the plainest way.
fn plainly(bytes: &[u8]) -> Option<usize> {
    let line = |from: usize| bytes[from..].windows(2).position(|pair| pair == b"\r\n").map(|at| from + at);
    let mut at = 0;
    loop {
        let end = line(at)?;
        let size = std::str::from_utf8(bytes[at..end].split(|byte| *byte == b';').next()?).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        at = end + 2;
        if size == 0 {
            break;
        }
        at += size + 2;
    }
    loop {
        let end = line(at)?;
        if end == at {
            return Some(end + 2);
        }
        at = end + 2;
    }
}

#[test]
fn a_chunked_body_ends_at_the_same_byte_however_it_arrives() {
    let near =
        (select(GOOD_BODIES), changes(BODIES)).prop_map(|(good, changes)| changed(good.as_bytes(), &changes));
    let bodies = prop_oneof![words(BODIES), near, vec(any::<u8>(), 0..100)];
    check((bodies, vec(any::<Index>(), 0..8)), |(bytes, places)| {
        let at_once = body(&bytes, &[bytes.len()]);
        prop_assert_eq!(body(&bytes, &cuts(&places, bytes.len())), at_once);
        let single: Vec<_> = (0..=bytes.len()).collect();
        prop_assert_eq!(body(&bytes, &single), at_once);
        if let Some((length, true)) = at_once {
            prop_assert_eq!(plainly(&bytes), Some(length));
        }
        Ok(())
    });
}
