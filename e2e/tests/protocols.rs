//! What else is spoken through the proxy: WebSocket, events, gRPC, UDP, TLS.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use gantry_e2e::{Cluster, Run, eventually};
use tungstenite::Message;

const HTTP: u16 = 18_110;
const ECHO: u16 = 18_112;

const STACK: &str = "
services:
  web: {image: gantry-e2e/probe, ports: ['18110:8080'], deploy: {replicas: 2}}
  echo: {image: gantry-e2e/probe, command: [echo, '9000'], ports: ['18112:9000/udp', '18113:9001'], deploy: {replicas: 2}}
";

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

#[test]
fn web_sockets_events_grpc_and_udp_go_through() {
    let cluster = Cluster::start();
    cluster.ok(["up", "-f", &cluster.file("talk", STACK)]);

    // WebSocket: a real client and a real server, messages both ways for as long as they like.
    let (mut socket, response) =
        tungstenite::client(format!("ws://127.0.0.1:{HTTP}/ws"), connect(HTTP)).unwrap();
    assert_eq!(response.status(), 101);
    for size in [1, 100, 100_000] {
        let text = "x".repeat(size);
        socket.send(Message::text(text.clone())).unwrap();
        assert_eq!(socket.read().unwrap().into_text().unwrap().as_str(), text);
    }
    socket.close(None).unwrap();

    // Server-sent events come one by one, not when the answer is complete: it never is.
    let mut stream = connect(HTTP);
    stream.write_all(b"GET /sse HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let mut lines =
        BufReader::new(stream).lines().map_while(Result::ok).filter(|line| line.starts_with("data: "));
    assert_eq!(lines.next().as_deref(), Some("data: 1"));
    assert_eq!(lines.next().as_deref(), Some("data: 2"));

    // UDP: a session stays with its endpoint.
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut packet = [0; 2048];
    eventually("UDP comes back", || {
        udp.send_to(b"hello", ("127.0.0.1", ECHO)).unwrap();
        udp.recv_from(&mut packet).ok()
    });
    for size in [1, 500, 1400] {
        udp.send_to(&vec![7; size], ("127.0.0.1", ECHO)).unwrap();
        assert_eq!(udp.recv_from(&mut packet).unwrap().0, size);
    }

    // gRPC, with Google's own client: a stream in both directions.
    let python = std::env::var_os("GANTRY_E2E_PYTHON").unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/stream.py");
    let said = Run::of(Command::new(python).arg(script).arg("127.0.0.1:18113")).ok();
    assert_eq!(said.trim(), "echoed 100 messages one by one, OK");
}

#[test]
fn what_is_no_http_goes_through_as_it_is() {
    let cluster = Cluster::start();
    let file = cluster.file("raw", "services: {web: {image: gantry-e2e/probe, ports: ['18114:8080']}}");
    cluster.ok(["up", "-f", &file]);
    // A client that says nothing for a while and then speaks HTTP is answered all the same.
    let mut stream = connect(18_114);
    gantry_e2e::after(Duration::from_millis(600));
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    // Bytes that are no HTTP reach the container, and so does the end of them.
    let mut stream = connect(18_114);
    stream.write_all(b"\x00\x01\x02\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK"), "the probe answers anything: {answer:?}");
}
