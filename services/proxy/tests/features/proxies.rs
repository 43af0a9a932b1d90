//! Other proxies on the way: the PROXY protocol in and out, and those whose headers are believed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};

use crate::support::tls::Server;
use crate::support::{LISTEN, Process, Upstream, backend};

fn start(upstream: &Upstream, listen: &str) -> Process {
    let backend = backend("web", &[upstream.address], "");
    Process::start(&format!("{LISTEN}backend = \"web\"\n{listen}\n{backend}"))
}

/// A header of version 2 for TCP over IPv4, with something more behind the addresses.
fn version_2(client: [u8; 4], port: u16, more: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
    bytes.extend(u16::try_from(12 + more.len()).unwrap().to_be_bytes());
    bytes.extend(client);
    bytes.extend([10, 0, 0, 9]);
    bytes.extend(port.to_be_bytes());
    bytes.extend(80_u16.to_be_bytes());
    bytes.extend(more);
    bytes
}

#[test]
fn a_proxy_in_front_says_for_whom_it_connects() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "proxy_protocol_from = [\"127.0.0.1\"]");
    for (header, address) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.9 4711 80\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::9 4711 80\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (version_2([192, 0, 2, 8], 4711, b""), "192.0.2.8"),
        (version_2([192, 0, 2, 9], 4711, b"\x04\0\x02\0\0"), "192.0.2.9"),
        // LOCAL: the proxy in front speaks for itself.
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), "127.0.0.1"),
    ] {
        let mut client = proxy.client();
        client.send(&header);
        for _ in 0..2 {
            assert_eq!(client.get("/", "").status, 200);
            assert_eq!(upstream.wait().one("x-forwarded-for"), address);
        }
    }
}

#[test]
fn a_header_may_come_in_pieces() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "proxy_protocol_from = [\"127.0.0.1\"]");
    for header in [b"PROXY TCP4 192.0.2.7 10.0.0.9 4711 80\r\n".to_vec(), version_2([192, 0, 2, 7], 1, b"")] {
        let mut client = proxy.client();
        header.chunks(1).for_each(|byte| client.send(byte));
        assert_eq!(client.get("/", "").status, 200);
        assert_eq!(upstream.wait().one("x-forwarded-for"), "192.0.2.7");
    }
}

#[test]
fn who_has_to_send_a_header_and_does_not_is_refused() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "proxy_protocol_from = [\"127.0.0.0/8\"]");
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"PROXY TCP4 nobody 10.0.0.9 4711 80\r\n",
        b"PROXY TCP4 192.0.2.7 10.0.0.9 99999 80\r\n",
        b"PROXY TCP4\r\n",
        b"proxy TCP4 192.0.2.7 10.0.0.9 4711 80\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c............",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x02..",
    ] {
        let mut client = proxy.client();
        client.send(bytes);
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(client.rest().is_empty(), "{}", bytes.escape_ascii());
    }
    assert_eq!(upstream.count(), 0);
}

#[test]
fn who_is_not_listed_cannot_speak_for_others() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "proxy_protocol_from = [\"10.0.0.0/8\"]");
    assert_eq!(proxy.get("/", "").status, 200);
    assert_eq!(upstream.wait().one("x-forwarded-for"), "127.0.0.1");
    let mut client = proxy.client();
    client.send(b"PROXY TCP4 192.0.2.7 10.0.0.9 4711 80\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.reply().unwrap().status, 400);
    assert_eq!(upstream.count(), 0);
}

/// What comes first on each connection, up to the end of the request; each request is answered.
fn first_bytes() -> (SocketAddr, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let sender = sender.clone();
            std::thread::spawn(move || {
                let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
                while let Ok(count @ 1..) = stream.read(&mut part) {
                    bytes.extend_from_slice(&part[..count]);
                    if bytes.ends_with(b"\r\n\r\n") && bytes.len() > 40 {
                        let _ = sender.send(std::mem::take(&mut bytes));
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
                    }
                }
            });
        }
    });
    (address, receiver)
}

#[test]
fn endpoints_are_told_for_whom_a_connection_is() {
    for version in [1, 2] {
        let (address, seen) = first_bytes();
        let backend = backend("web", &[address], &format!("send_proxy_protocol = {version}"));
        let proxy = Process::start(&format!("{LISTEN}backend = \"web\"\n{backend}"));
        for _ in 0..2 {
            let mut client = proxy.client();
            let from = client.stream.local_addr().unwrap();
            for _ in 0..2 {
                assert_eq!(client.get("/x", "").status, 200);
                let bytes = seen.recv().unwrap();
                let at = bytes.windows(6).position(|six| six == b"GET /x").unwrap();
                let header = &bytes[..at];
                let port = proxy.at('a').port();
                if version == 1 {
                    let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {port}\r\n", from.port());
                    assert_eq!(header, line.as_bytes());
                } else {
                    let (addresses, ports) = ([127, 0, 0, 1, 127, 0, 0, 1], [from.port(), port]);
                    let ports = ports.map(u16::to_be_bytes).concat();
                    let head = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
                    assert_eq!(header, [&head[..], &addresses, &ports].concat());
                }
            }
        }
    }
}

#[test]
fn a_connection_that_is_for_one_client_is_not_used_for_another() {
    // A connection of HTTP/2 could carry the requests of all clients at once.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, seen) = channel();
    let server = Server::start(true, None);
    let to = server.address;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, sender) = (stream.unwrap(), sender.clone());
            std::thread::spawn(move || {
                let mut line = Vec::new();
                let mut byte = [0];
                while !line.ends_with(b"\r\n") && stream.read_exact(&mut byte).is_ok() {
                    line.push(byte[0]);
                }
                let _ = sender.send(String::from_utf8(line).unwrap());
                let upstream = std::net::TcpStream::connect(to).unwrap();
                let (mut from, mut into) = (stream.try_clone().unwrap(), upstream.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut from, &mut into));
                let (mut from, mut into) = (upstream, stream);
                let _ = std::io::copy(&mut from, &mut into);
            });
        }
    });
    let keys = "send_proxy_protocol = 1\nprotocol = \"http2\"";
    let proxy = Process::start(&format!("{LISTEN}backend = \"web\"\n{}", backend("web", &[address], keys)));
    let (mut one, mut other) = (proxy.client(), proxy.client());
    for client in [&mut one, &mut other] {
        let port = client.stream.local_addr().unwrap().port();
        assert_eq!(client.get("/", "").content(), "HTTP/2.0 GET /");
        let line = seen.recv_timeout(crate::support::DEADLINE).expect("a connection of its own");
        assert!(line.starts_with(&format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} ")), "{line}");
    }
}

#[test]
fn what_a_trusted_proxy_says_is_kept_and_added_to() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "trusted_proxies = [\"127.0.0.0/8\"]");
    let fields = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: \
                  https\r\nX-Forwarded-Host: shop.example.com\r\nForwarded: for=192.0.2.7;proto=https\r\nX-Request-Id: \
                  abc\r\n";
    proxy.get("/", fields);
    let request = upstream.wait();
    assert_eq!(request.one("x-forwarded-for"), "192.0.2.7, 10.0.0.9, 127.0.0.1");
    assert_eq!(request.one("x-forwarded-proto"), "https");
    assert_eq!(request.one("x-forwarded-host"), "shop.example.com");
    assert_eq!(request.one("x-request-id"), "abc");
    let forwarded = request.one("forwarded");
    assert_eq!(forwarded, "for=192.0.2.7;proto=https, for=127.0.0.1;host=\"a\";proto=http");
    // What it does not say is said by this one.
    proxy.get("/", "");
    let request = upstream.wait();
    assert_eq!(request.one("x-forwarded-for"), "127.0.0.1");
    assert_eq!(request.one("x-forwarded-proto"), "http");
    assert_eq!(request.one("x-forwarded-host"), "a");
    assert_eq!(request.one("x-request-id").len(), 32);
}

#[test]
fn only_listed_proxies_are_trusted() {
    let upstream = Upstream::start();
    let proxy = start(&upstream, "trusted_proxies = [\"10.0.0.0/8\", \"127.0.0.2\"]");
    proxy.get("/", "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Request-Id: abc\r\n");
    let request = upstream.wait();
    assert_eq!(request.one("x-forwarded-for"), "127.0.0.1");
    assert_eq!(request.one("x-forwarded-proto"), "http");
    assert_ne!(request.one("x-request-id"), "abc");
}
