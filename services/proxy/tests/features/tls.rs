//! TLS towards clients.

use rustls::ProtocolVersion;
use rustls::version::TLS13;

use crate::support::tls::{Authority, VERSIONS, connect, exchange, get_http2, runtime};
use crate::support::{Answer, LISTEN, Process, Upstream, backend, eventually};

struct Site {
    authority: Authority,
    upstream: Upstream,
    proxy: Process,
}

const REQUEST: &str = "GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

impl Site {
    /// With a certificate for each of these lists of names.
    fn start(names: &[&[&str]]) -> Self {
        let (authority, upstream, folder) =
            (Authority::new(), Upstream::start(), tempfile::tempdir().unwrap());
        let mut file = format!("workers = 2\n{LISTEN}backend = \"web\"\ntls = true\n");
        for (at, names) in names.iter().enumerate() {
            authority.sign(names).write(folder.path(), &at.to_string());
            file += &format!("[[certificate]]\ncert = \"{at}.pem\"\nkey = \"{at}.key\"\n");
        }
        file += &backend("web", &[upstream.address], "");
        Self { authority, upstream, proxy: Process::start_in(folder, &file) }
    }
}

#[test]
fn clients_may_speak_both_versions_that_are_safe() {
    let site = Site::start(&[&["a.example"]]);
    runtime().block_on(async {
        for version in VERSIONS {
            let address = site.proxy.at('a');
            let mut stream =
                connect(address, &site.authority, "a.example", version, &["http/1.1"]).await.unwrap();
            let spoken = stream.get_ref().1.protocol_version().unwrap();
            assert!(matches!(spoken, ProtocolVersion::TLSv1_2 | ProtocolVersion::TLSv1_3));
            let all = exchange(&mut stream, REQUEST).await;
            assert!(all.starts_with("HTTP/1.1 200 OK\r\n") && all.ends_with("GET /x"), "{all}");
        }
    });
    let request = site.upstream.wait();
    assert_eq!(request.one("x-forwarded-proto"), "https");
    assert!(request.one("forwarded").ends_with("proto=https"));
}

#[test]
fn http2_is_agreed_on_and_reaches_endpoints_of_http1() {
    let site = Site::start(&[&["a.example"]]);
    runtime().block_on(async {
        let offers = ["h2", "http/1.1"];
        let stream =
            connect(site.proxy.at('a'), &site.authority, "a.example", &TLS13, &offers).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(get_http2(stream, "a.example", "/x?y").await, (200, "GET /x?y".to_owned()));
        // Who offers nothing gets HTTP/1.1.
        let mut stream =
            connect(site.proxy.at('a'), &site.authority, "a.example", &TLS13, &[]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), None);
        assert!(exchange(&mut stream, REQUEST).await.ends_with("GET /x"));
    });
    let request = site.upstream.wait();
    assert_eq!((request.one("host").as_str(), request.target.as_str()), ("a.example", "/x?y"));
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let site = Site::start(&[&["a.example"], &["*.b.example", "b.example"]]);
    runtime().block_on(async {
        for (name, fine) in
            [("a.example", true), ("b.example", true), ("x.b.example", true), ("x.y.b.example", false)]
        {
            let shaken = connect(site.proxy.at('a'), &site.authority, name, &TLS13, &["http/1.1"]).await;
            // Who asks for another gets the first one, which is not for that name.
            assert_eq!(shaken.is_ok(), fine, "{name}");
        }
    });
}

#[test]
fn a_certificate_is_replaced_while_connections_go_on() {
    let site = Site::start(&[&["a.example"]]);
    runtime().block_on(async {
        let dial = || connect(site.proxy.at('a'), &site.authority, "a.example", &TLS13, &["http/1.1"]);
        let mut old = dial().await.unwrap();
        let leaf = |stream: &tokio_rustls::client::TlsStream<_>| {
            stream.get_ref().1.peer_certificates().unwrap()[0].clone()
        };
        let before = leaf(&old);
        site.authority.sign(&["a.example"]).write(site.proxy.path("").as_path(), "0");
        // A moment lies between the two files: a pair that does not fit changes nothing.
        let replaced = async {
            while leaf(&dial().await.unwrap()) == before {
                tokio::task::yield_now().await;
            }
        };
        let patience = std::time::Duration::from_secs(20);
        tokio::time::timeout(patience, replaced).await.expect("the new certificate is served");
        assert!(exchange(&mut old, REQUEST).await.ends_with("GET /x"), "the connection goes on");
    });
}

#[test]
fn an_upgrade_goes_through_tls() {
    let site = Site::start(&[&["a.example"]]);
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello";
    site.upstream.answer(Answer::Last(switch.as_bytes().to_vec()));
    runtime().block_on(async {
        let offers = ["h2", "http/1.1"];
        let mut stream =
            connect(site.proxy.at('a'), &site.authority, "a.example", &TLS13, &offers[1..]).await.unwrap();
        let request = "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
        let all = exchange(&mut stream, request).await;
        assert!(all.starts_with("HTTP/1.1 101 "), "{all}");
        assert!(all.ends_with("\r\n\r\nhello"), "{all}");
    });
    assert_eq!(site.upstream.wait().one("upgrade"), "echo");
}

#[test]
fn who_does_not_speak_tls_gets_nothing_and_disturbs_nobody() {
    let site = Site::start(&[&["a.example"]]);
    let mut client = site.proxy.client();
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let rest = client.rest();
    assert!(!rest.starts_with(b"HTTP"), "{}", rest.escape_ascii());
    drop(site.proxy.client());
    let fine = runtime().block_on(async {
        let mut stream =
            connect(site.proxy.at('a'), &site.authority, "a.example", &TLS13, &["http/1.1"]).await.unwrap();
        exchange(&mut stream, REQUEST).await.ends_with("GET /x")
    });
    assert!(fine && eventually(|| site.upstream.count() == 1));
}
