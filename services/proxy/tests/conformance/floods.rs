//! Clients that send much for little: the proxy lives on, serves others, and does not grow.

use crate::support::Fixture;
use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS, block, frame,
};

const GET: &[(&str, &[u8])] =
    &[(":method", b"GET"), (":scheme", b"http"), (":path", b"/"), (":authority", b"a")];
const POST: &[(&str, &[u8])] =
    &[(":method", b"POST"), (":scheme", b"http"), (":path", b"/"), (":authority", b"a")];

/// Sends `start` and then `flood` so many times, on several connections, and reads nothing meanwhile.
fn flood(fixture: &Fixture, start: &[u8], times: usize, mut flood: impl FnMut(usize) -> Vec<u8>) {
    for _ in 0..3 {
        let mut client = fixture.client();
        client.stream.set_write_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
        client.begin_http2();
        client.send(start);
        // In pieces of some size: it is to arrive fast.
        for first in (0..times).step_by(100) {
            let piece: Vec<u8> = (first..(first + 100).min(times)).flat_map(&mut flood).collect();
            if std::io::Write::write_all(&mut client.stream, &piece).is_err() {
                // It has ended the connection, or takes no more: both are fine.
                break;
            }
        }
        fixture.ask("/while");
    }
    fixture.ask("/after");
    fixture.upstream.take();
}

fn odd(at: usize) -> u32 {
    u32::try_from(at).unwrap() * 2 + 1
}

#[test]
fn streams_that_are_opened_and_reset_cost_little() {
    let fixture = Fixture::start();
    flood(&fixture, &[], 1000, |at| {
        let mut bytes = frame(HEADERS, END_HEADERS | END_STREAM, odd(at), &block(GET));
        bytes.extend(frame(RST_STREAM, 0, odd(at), &8_u32.to_be_bytes()));
        bytes
    });
    fixture.settle();
    fixture.finish();
}

#[test]
fn streams_that_are_opened_and_left_cost_little() {
    let fixture = Fixture::start();
    flood(&fixture, &[], 1000, |at| frame(HEADERS, END_HEADERS, odd(at), &block(POST)));
    fixture.settle();
    fixture.finish();
}

#[test]
fn floods_of_settings_and_pings_cost_little() {
    let fixture = Fixture::start();
    flood(&fixture, &[], 20_000, |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff]));
    flood(&fixture, &[], 20_000, |at| frame(PING, 0, 0, &(at as u64).to_be_bytes()));
    fixture.finish();
}

#[test]
fn headers_without_an_end_cost_little() {
    let fixture = Fixture::start();
    let start = frame(HEADERS, END_STREAM, 1, &block(GET));
    flood(&fixture, &start, 5000, |at| {
        frame(CONTINUATION, 0, 1, &block(&[(&format!("x{at}"), &[b'y'; 8000])]))
    });
    flood(&fixture, &start, 20_000, |_| frame(CONTINUATION, 0, 1, &[]));
    fixture.finish();
}

#[test]
fn data_without_data_costs_little() {
    let fixture = Fixture::start();
    let start = frame(HEADERS, END_HEADERS, 1, &block(POST));
    flood(&fixture, &start, 20_000, |_| frame(DATA, 0, 1, &[]));
    flood(&fixture, &start, 1000, |_| frame(DATA, 8, 1, &[255; 256]));
    fixture.settle();
    fixture.finish();
}

#[test]
fn frames_that_are_no_frames_end_their_connection_only() {
    let fixture = Fixture::start();
    flood(&fixture, &[0xff; 9], 1, |_| vec![0; 100_000]);
    flood(&fixture, &frame(0xee, 0xff, 1, &[1; 16_000]), 100, |_| frame(0xee, 0, 0, &[0; 16_000]));
    flood(&fixture, &frame(HEADERS, END_HEADERS, 2, &block(GET)), 1, |_| Vec::new());
    flood(&fixture, &frame(HEADERS, END_HEADERS, 1, &[0x80; 1000]), 1, |_| Vec::new());
    flood(&fixture, &frame(DATA, 0, 1, b"x"), 1, |_| Vec::new());
    fixture.finish();
}

#[test]
fn many_connections_that_say_nothing_leave_room_for_others() {
    let fixture = Fixture::start();
    let silent: Vec<_> = (0..400).map(|_| fixture.client()).collect();
    let half: Vec<_> = (0..400)
        .map(|_| {
            let mut client = fixture.client();
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ");
            client
        })
        .collect();
    assert_eq!(fixture.ask("/others"), "GET /others");
    fixture.upstream.take();
    drop((silent, half));
    fixture.finish();
}
