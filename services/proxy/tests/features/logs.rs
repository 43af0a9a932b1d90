//! The access log.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::support::frames::{Outcome, RST_STREAM, frame};
use crate::support::{Answer, LISTEN, Process, Upstream, backend, eventually};

fn start(upstream: &Upstream, format: &str) -> Process {
    Process::start(&format!(
        "[access_log]\npath = \"access.log\"\n{format}\n{LISTEN}routed = true\n[[route]]\nhost = \"a\"\nbackend = \
         \"web\"\n[[route]]\nhost = \"a\"\npath = \"/denied\"\nbackend = \"web\"\ndeny = [\"127.0.0.1\"]\n{}",
        backend("web", &[upstream.address], "protocol = \"http1\""),
    ))
}

/// So many lines, once they are there.
fn lines(proxy: &Process, count: usize) -> Vec<String> {
    let read = || fs::read_to_string(proxy.path("access.log")).unwrap_or_default();
    assert!(eventually(|| read().lines().count() >= count), "{}", read());
    assert_eq!(read().lines().count(), count, "{}", read());
    read().lines().map(str::to_owned).collect()
}

fn parse(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

#[test]
fn every_request_has_a_line_of_json() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "");
    let reply = proxy.get("/x?y=1", "User-Agent: test/1\r\nReferer: http://b/\"\r\n");
    assert_eq!(reply.status, 200);
    let line = parse(&lines(&proxy, 1)[0]);
    let request = upstream.wait();
    for (key, value) in [
        ("client", "127.0.0.1"),
        ("method", "GET"),
        ("target", "/x?y=1"),
        ("protocol", "HTTP/1.1"),
        ("host", "a"),
        ("backend", "web"),
        ("endpoint", &upstream.address.to_string()),
        ("user_agent", "test/1"),
        ("referer", "http://b/\""),
        ("request_id", &request.one("x-request-id")),
        ("reason", ""),
    ] {
        assert_eq!(line[key], value, "{key}");
    }
    assert_eq!((&line["status"], &line["bytes"], &line["retries"]), (&200.into(), &10.into(), &0.into()));
    assert!(line["took_ms"].as_f64().unwrap() > 0.0);
    assert!(line["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn answers_of_the_proxy_itself_are_in_the_log_with_their_reason() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "");
    proxy.get("/denied", "");
    let mut client = proxy.client();
    client.send(b"GET / HTTP/1.1\r\nHost: nobody\r\n\r\n");
    assert_eq!(client.reply().unwrap().status, 404);
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(client.reply().unwrap().status, 400);
    upstream.answer(Answer::Last(Vec::new()));
    let mut client = proxy.client();
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(client.reply().unwrap().status, 502);
    let seen: Vec<_> = lines(&proxy, 4)
        .iter()
        .map(|line| {
            let line = parse(line);
            (line["status"].as_u64().unwrap(), line["reason"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(
        seen,
        [
            (403, "this address may not come in".to_owned()),
            (404, "no route leads anywhere for this host and path".to_owned()),
            (400, "two Hosts".to_owned()),
            (502, "the endpoint ended the connection, or sent no HTTP".to_owned()),
        ]
        .map(|(status, reason)| (status, if status == 400 { seen[2].1.clone() } else { reason }))
    );
    assert!(!seen[2].1.is_empty());
}

#[test]
fn combined_lines_are_those_of_apache_and_nginx() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "format = \"combined\"");
    proxy.get("/x?y=%22", "User-Agent: a \"b\" \\c\r\nReferer: http://b/\r\n");
    proxy.get("/denied", "");
    let lines = lines(&proxy, 2);
    let (start, rest) = lines[0].split_once(" [").unwrap();
    let (time, rest) = rest.split_once("] ").unwrap();
    assert_eq!(start, "127.0.0.1 - -");
    assert_eq!((time.len(), &time[time.len() - 6..]), (26, " +0000"), "{time}");
    assert_eq!(rest, "\"GET /x?y=%22 HTTP/1.1\" 200 12 \"http://b/\" \"a \\\"b\\\" \\\\c\"");
    assert!(lines[1].contains("\"GET /denied HTTP/1.1\" 403 "), "{}", lines[1]);
}

#[test]
fn http2_is_written_down_as_it_was_asked_for() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "");
    let mut client = proxy.client();
    client.begin_http2();
    let headers: [(&str, &[u8]); 4] =
        [(":method", b"GET"), (":scheme", b"http"), (":path", b"/x?y"), (":authority", b"a:81")];
    client.open(1, &headers, None);
    assert_eq!(client.outcome(1), Outcome::Status(200));
    let line = parse(&lines(&proxy, 1)[0]);
    assert_eq!(
        (&line["host"], &line["target"], &line["protocol"]),
        (&"a:81".into(), &"/x?y".into(), &"HTTP/2.0".into())
    );
}

#[test]
fn upgrades_and_answers_that_were_cut_off_are_in_the_log() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "");
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello";
    upstream.answer(Answer::Last(switch.as_bytes().to_vec()));
    let mut client = proxy.client();
    client.send(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    assert!(client.rest().ends_with(b"\r\n\r\nhello"));
    drop(client);
    let line = parse(&lines(&proxy, 1)[0]);
    assert_eq!((&line["status"], &line["target"], &line["bytes"]), (&101.into(), &"/ws".into(), &5.into()));
    upstream.answer(Answer::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello".to_vec()));
    assert!(!proxy.get("/half", "").complete);
    let line = parse(&lines(&proxy, 2)[1]);
    assert_eq!((&line["status"], &line["bytes"]), (&200.into(), &5.into()));
}

#[test]
fn a_client_that_leaves_before_its_answer_is_in_the_log() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "");
    upstream.answer(Answer::Silence);
    let mut client = proxy.client();
    client.begin_http2();
    let headers: [(&str, &[u8]); 4] =
        [(":method", b"GET"), (":scheme", b"http"), (":path", b"/left"), (":authority", b"a")];
    client.open(1, &headers, None);
    upstream.wait();
    client.send(&frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes()));
    let line = parse(&lines(&proxy, 1)[0]);
    // As nginx says it.
    assert_eq!((&line["status"], &line["target"]), (&499.into(), &"/left".into()));
}

#[test]
fn lines_come_soon_also_if_there_are_always_more() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "");
    let mut client = proxy.client();
    // Fewer than fill a buffer, and none so late that the log has nothing to do.
    let came = (0..20).any(|_| {
        client.get("/", "");
        std::thread::park_timeout(Duration::from_millis(100));
        !fs::read_to_string(proxy.path("access.log")).unwrap_or_default().is_empty()
    });
    assert!(came, "who watches the log does not wait for a whole buffer");
}
