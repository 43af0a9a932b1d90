//! A proxy of its own for each test, between a client that sends what no client should and an upstream
//! that keeps what reached it.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of this")]

pub mod client;
pub mod frames;
pub mod process;
pub mod proxy;
pub mod strict;
pub mod tls;
pub mod upstream;

use std::time::{Duration, Instant};

pub use process::{LISTEN, Process, Refusing, backend};
pub use proxy::Fixture;
pub use upstream::{Answer, Gate, Upstream};

/// How long anything may take that should take no time at all. Generous: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits until `condition` holds; `false` if it does not in time.
pub fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    true
}

/// Sent after what is to be refused. If it ever arrives, the proxy has lost track of where a request ends.
pub const SMUGGLED: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// What a client sends, and the status that it gets; 0: the connection ends without an answer.
pub type Case = (&'static str, Vec<u8>, u16);

/// A request with these header lines beside Host, which has no body.
pub fn get(fields: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes()
}

/// A request with these header lines beside Host, and after them these bytes.
pub fn post(fields: &str, body: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}").into_bytes()
}

/// That each case is refused with its status, that the connection ends then, and that nothing of it, nor
/// what came after it, made a request at the upstream.
pub fn assert_refused(fixture: &Fixture, cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for (name, mut bytes, status) in cases {
        bytes.extend_from_slice(SMUGGLED);
        let mut client = fixture.client();
        client.send(&bytes);
        let (reply, rest) = client.only_reply();
        let got = reply.as_ref().map_or(0, |reply| reply.status);
        if got != status {
            wrong.push(format!("{name}: {got} and not {status}"));
        }
        if !rest.is_empty() {
            wrong.push(format!("{name}: more came after the refusal: {}", rest.escape_ascii()));
        }
        for request in fixture.upstream.take() {
            wrong.push(format!("{name}: reached the upstream as {}", request.raw.escape_ascii()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What reaches the upstream of one request, which is answered with 200.
pub fn passed(fixture: &Fixture, bytes: &[u8]) -> strict::Request {
    let mut client = fixture.client();
    client.send(bytes);
    let head = bytes.starts_with(b"HEAD ");
    let reply = if head { client.reply_to_head() } else { client.reply() };
    let reply = reply.unwrap_or_else(|| panic!("no answer to {}", bytes.escape_ascii()));
    assert_eq!(reply.status, 200, "{}: {}", bytes.escape_ascii(), reply.text());
    let mut requests = fixture.upstream.take();
    assert_eq!(requests.len(), 1, "{}: {requests:?}", bytes.escape_ascii());
    requests.remove(0)
}

/// So many header lines with names of their own.
pub fn fields(count: usize, value: &str) -> String {
    (0..count).fold(String::new(), |all, at| all + &format!("X-{at}: {value}\r\n"))
}
