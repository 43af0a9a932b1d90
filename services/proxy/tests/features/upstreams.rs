//! What is spoken to endpoints: TLS, and HTTP/2.

use std::fs;

use crate::support::frames::Outcome;
use crate::support::tls::{Authority, Server};
use crate::support::{LISTEN, Process, backend};

struct Site {
    authority: Authority,
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
        Self { authority, folder }
    }

    /// The answer to a request through a proxy whose backend is `server`.
    fn get(self, server: &Server, keys: &str) -> (u16, String) {
        let backend = backend("web", &[server.address], keys);
        let file = format!("workers = 1\n{LISTEN}backend = \"web\"\n{backend}");
        let proxy = Process::start_in(self.folder, &file);
        let replies = [proxy.get("/x", ""), proxy.get("/x", "")];
        assert_eq!(replies[0].content(), replies[1].content(), "the same on a connection that was kept");
        (replies[0].status, replies[0].content())
    }
}

#[test]
fn the_certificate_of_an_endpoint_is_checked() {
    let site = Site::new();
    let server = Server::start(false, Some(site.authority.sign(&["web.internal"]).server(None, "http/1.1")));
    let answer = site.get(&server, "tls = { server_name = \"web.internal\", ca = \"ca.pem\" }");
    assert_eq!(answer, (200, "HTTP/1.1 GET /x".to_owned()));
}

#[test]
fn an_endpoint_with_the_name_of_another_is_not_asked() {
    let site = Site::new();
    let server =
        Server::start(false, Some(site.authority.sign(&["other.internal"]).server(None, "http/1.1")));
    let (status, _) = site.get(&server, "tls = { server_name = \"web.internal\", ca = \"ca.pem\" }");
    assert_eq!((status, server.take()), (502, Vec::new()));
}

#[test]
fn an_endpoint_that_another_authority_has_signed_is_not_asked() {
    let identity = Authority::new().sign(&["web.internal"]);
    let server = Server::start(false, Some(identity.server(None, "http/1.1")));
    let keys = "tls = { server_name = \"web.internal\", ca = \"ca.pem\" }";
    assert_eq!(Site::new().get(&server, keys).0, 502);
    assert!(server.take().is_empty());
    // Unless nobody is to be checked.
    let keys = "tls = { server_name = \"web.internal\", insecure = true }";
    assert_eq!(Site::new().get(&server, keys), (200, "HTTP/1.1 GET /x".to_owned()));
}

#[test]
fn an_endpoint_without_tls_is_not_asked_in_the_clear() {
    let server = Server::start(false, None);
    let keys = "tls = { server_name = \"web.internal\", ca = \"ca.pem\" }";
    assert_eq!(Site::new().get(&server, keys).0, 502);
    assert!(server.take().is_empty());
}

#[test]
fn an_endpoint_may_ask_the_proxy_for_its_certificate() {
    for known in [true, false] {
        let site = Site::new();
        let tls = site.authority.sign(&["web.internal"]).server(Some(&site.authority), "http/1.1");
        let server = Server::start(false, Some(tls));
        site.authority.sign(&["proxy"]).write(site.folder.path(), "client");
        let own = if known { ", cert = \"client.pem\", key = \"client.key\"" } else { "" };
        let keys = format!("tls = {{ server_name = \"web.internal\", ca = \"ca.pem\"{own} }}");
        assert_eq!(site.get(&server, &keys).0, if known { 200 } else { 502 });
        assert_eq!(server.take().len(), if known { 2 } else { 0 });
    }
}

#[test]
fn endpoints_may_speak_http2_in_the_clear_and_over_tls() {
    let server = Server::start(true, None);
    let answer = Site::new().get(&server, "protocol = \"http2\"");
    assert_eq!(answer, (200, "HTTP/2.0 GET /x".to_owned()));
    let site = Site::new();
    let server = Server::start(true, Some(site.authority.sign(&["web.internal"]).server(None, "h2")));
    let keys = "protocol = \"http2\"\ntls = { server_name = \"web.internal\", ca = \"ca.pem\" }";
    assert_eq!(site.get(&server, keys), (200, "HTTP/2.0 GET /x".to_owned()));
}

#[test]
fn bodies_reach_endpoints_of_http2() {
    let server = Server::start(true, None);
    let backend = backend("web", &[server.address], "protocol = \"http2\"");
    let proxy = Process::start(&format!("{LISTEN}backend = \"web\"\n{backend}"));
    let large = "x".repeat(300_000);
    for (fields, body) in [
        ("Content-Length: 5".to_owned(), "hello".to_owned()),
        ("Transfer-Encoding: chunked".to_owned(), "5\r\nhello\r\n0\r\n\r\n".to_owned()),
        (format!("Content-Length: {}", large.len()), large.clone()),
    ] {
        let mut client = proxy.client();
        client.send(format!("POST /y HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}").as_bytes());
        let reply = client.reply().unwrap();
        let sent = if body.len() > 100 { large.as_str() } else { "hello" };
        assert!(reply.content() == format!("HTTP/2.0 POST /y{sent}"), "{fields}");
    }
}

#[test]
fn a_client_of_http2_gets_what_an_endpoint_of_http1_says_and_the_other_way_round() {
    for (keys, http2) in [("protocol = \"http1\"", false), ("protocol = \"http2\"", true), ("", true)] {
        let server = Server::start(http2, None);
        let backend = backend("web", &[server.address], keys);
        let proxy = Process::start(&format!("{LISTEN}backend = \"web\"\n{backend}"));
        let mut client = proxy.client();
        client.begin_http2();
        let headers: [(&str, &[u8]); 4] =
            [(":method", b"GET"), (":scheme", b"http"), (":path", b"/z"), (":authority", b"a")];
        client.open(1, &headers, None);
        assert_eq!(client.outcome(1), Outcome::Status(200), "{keys}");
        let version = if http2 { "HTTP/2.0" } else { "HTTP/1.1" };
        assert_eq!(server.take(), [format!("{version} GET /z 127.0.0.1")], "{keys}");
    }
}
