//! Random first bytes: nothing panics, and what they are does not depend on how they arrive.

use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::proxy_header::{parse, write};
use super::sniff;
use crate::fuzz::{changed, changes, check, words};

const FIRST: &[&str] = &[
    "PROXY ",
    "TCP4 ",
    "TCP6 ",
    "UNKNOWN",
    "192.0.2.1 ",
    "::1 ",
    "2001:db8::1 ",
    "80 ",
    "65536",
    "+5",
    "\r\n",
    "\r",
    " ",
    "GET ",
    "POST",
    "PRI * HTTP/2.0\r\n\r\n",
    "SM\r\n\r\n",
    "P",
    "HEAD / HTTP/1.1\r\n",
    "\r\n\r\n\0\r\nQUIT\n",
    "\x21\x11\0\x0c",
    "\x21\x21\0\x24",
    "\x20\0\0\0",
    "\x21\x11\x0f\x7f",
    "\x31",
];

fn headers() -> impl Strategy<Value = Vec<u8>> {
    let address = any::<(bool, u32, u128, u16)>().prop_map(|(v4, short, long, port)| {
        let ip = if v4 { std::net::IpAddr::from(short.to_be_bytes()) } else { long.to_be_bytes().into() };
        SocketAddr::from((ip, port))
    });
    let good = (select(&[1_u8, 2][..]), address.clone(), address, words(FIRST))
        .prop_map(|(version, client, local, more)| [write(version, client, local), more].concat())
        .boxed();
    let near = (good.clone(), changes(FIRST)).prop_map(|(good, changes)| changed(&good, &changes));
    prop_oneof![good, near, words(FIRST), vec(any::<u8>(), 0..120)]
}

#[test]
fn a_proxy_header_is_the_same_however_it_arrives() {
    check(headers(), |bytes| {
        let whole = parse(&bytes);
        // The first length at which something is known.
        let known = (0..=bytes.len()).map(|length| parse(&bytes[..length])).find(|known| *known != Ok(None));
        prop_assert_eq!(known.unwrap_or(Ok(None)), whole);
        if let Ok(Some((length, _))) = whole {
            prop_assert!((15..=bytes.len()).contains(&length));
            prop_assert_eq!(parse(&bytes[..length]), whole, "what follows it changes nothing");
        }
        Ok(())
    });
}

#[test]
fn every_address_is_read_as_it_was_written() {
    let cases = any::<(bool, u32, u128, u16, bool)>();
    check(cases, |(v4, short, long, port, first)| {
        let ip = if v4 { std::net::IpAddr::from(short.to_be_bytes()) } else { long.to_be_bytes().into() };
        let client = SocketAddr::from((ip, port));
        for local in ["192.0.2.9:80", "[2001:db8::9]:80"] {
            let header = write(if first { 1 } else { 2 }, client, local.parse().unwrap());
            let Ok(Some((length, Some(read)))) = parse(&header) else {
                return Err(TestCaseError::fail("it was not read"));
            };
            prop_assert_eq!(length, header.len());
            prop_assert_eq!((read.ip().to_canonical(), read.port()), (ip.to_canonical(), port));
        }
        Ok(())
    });
}

#[test]
fn what_is_known_of_first_bytes_stays_true() {
    check(prop_oneof![words(FIRST), vec(any::<u8>(), 0..60)], |bytes| {
        let mut known = None;
        for length in 0..=bytes.len() {
            let now = sniff(&bytes[..length]);
            prop_assert!(known.is_none() || known == now, "{length}: {now:?} after {known:?}");
            known = now;
        }
        Ok(())
    });
}
