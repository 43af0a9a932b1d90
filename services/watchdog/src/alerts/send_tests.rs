use std::collections::BTreeMap;
use std::time::SystemTime;

use gantry_identity::{Authority, Grant, Identity, Role};
use gantry_model::{ClusterId, Secret};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::*;

const FAST: Tries = Tries {
    most: 3,
    patience: Duration::from_secs(10),
    first_pause: Duration::from_millis(1),
    longest_pause: Duration::from_millis(2),
};

fn receiver(kind: ReceiverKind, url: String) -> Receiver {
    Receiver {
        name: "ops".into(),
        kind,
        url: Secret(url),
        headers: [("X-Key".to_owned(), Secret("hunter2".into()))].into(),
        severities: Vec::new(),
        rules: Vec::new(),
        send_resolved: true,
        ca: String::new(),
    }
}

/// Reads one request, and answers it.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, with: &str) -> String {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        bytes.extend(&piece[..count]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                stream.write_all(with.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                return text;
            }
        }
        assert!(count > 0, "the request ends too early: {text}");
    }
}

/// A server that gives these answers, one a connection, and what it was asked.
async fn server(
    answers: &[&'static str],
    tls: Option<TlsAcceptor>,
) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (asked, requests) = mpsc::unbounded_channel();
    let answers = answers.to_vec();
    tokio::spawn(async move {
        for with in answers {
            let (stream, _) = listener.accept().await.unwrap();
            let request = match &tls {
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => answer(stream, with).await,
                    Err(error) => format!("no TLS: {error}"),
                },
                None => answer(stream, with).await,
            };
            asked.send(request).unwrap();
        }
    });
    (port, requests)
}

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_notice_is_posted_to_the_whole_url_with_the_receivers_headers() {
    let (port, mut requests) = server(&[FINE], None).await;
    let to = receiver(ReceiverKind::Webhook, format!("http://127.0.0.1:{port}/in?a=b"));
    assert_eq!(deliver(&to, "{\"a\":1}", FAST).await, (1, None));
    let request = requests.recv().await.unwrap();
    assert!(request.starts_with("POST /in?a=b HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{request}");
    assert!(
        request.contains("x-key: hunter2\r\n") && request.contains("content-type: application/json"),
        "{request}"
    );
    assert!(request.ends_with("{\"a\":1}"), "{request}");
}

#[tokio::test]
async fn an_alertmanager_is_given_its_own_path() {
    for (given, path) in
        [("", "/api/v2/alerts"), ("/am/", "/am/api/v2/alerts"), ("/x/api/v2/alerts", "/x/api/v2/alerts")]
    {
        let (port, mut requests) = server(&[FINE], None).await;
        let to = receiver(ReceiverKind::Alertmanager, format!("http://127.0.0.1:{port}{given}"));
        assert_eq!(deliver(&to, "[]", FAST).await, (1, None));
        assert!(requests.recv().await.unwrap().starts_with(&format!("POST {path} HTTP/1.1")));
    }
}

#[tokio::test]
async fn a_receiver_that_is_busy_is_tried_again_and_one_that_refuses_is_not() {
    let busy = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
    let (port, mut requests) = server(&[busy, busy, FINE], None).await;
    let to = receiver(ReceiverKind::Slack, format!("http://127.0.0.1:{port}/"));
    assert_eq!(deliver(&to, "{}", FAST).await, (3, None));
    assert!(requests.recv().await.is_some());

    let refused = "HTTP/1.1 404 Not Found\r\ncontent-length: 21\r\n\r\nno such\r\n  channel\x07ab";
    let (port, _requests) = server(&[refused], None).await;
    let to = receiver(ReceiverKind::Slack, format!("http://127.0.0.1:{port}/"));
    let (attempts, fault) = deliver(&to, "{}", FAST).await;
    assert_eq!(attempts, 1);
    assert_eq!(fault.unwrap().text, "answered 404 Not Found: no such channelab");

    let (port, _requests) = server(&[busy, busy, busy], None).await;
    let to = receiver(ReceiverKind::Slack, format!("http://127.0.0.1:{port}/"));
    let (attempts, fault) = deliver(&to, "{}", FAST).await;
    assert_eq!((attempts, fault.unwrap().text.as_str()), (3, "answered 503 Service Unavailable"));
}

#[tokio::test]
async fn an_answer_that_repeats_the_path_or_a_header_is_kept_without_them() {
    let express = "HTTP/1.1 404 Not Found\r\n\r\nCannot POST /services/T000/B000/K7F2?k=swordfish";
    let header = "HTTP/1.1 403 Forbidden\r\n\r\nthe key HUNTER2 is not for\r\n\tK7F2";
    // Of the secret only a half is within what is read.
    let cut: &'static str = format!("HTTP/1.1 500 No\r\n\r\n{}K7F2 hunter2", " ".repeat(READ - 2)).leak();
    // The connection breaks in the middle of it.
    let broken = "HTTP/1.1 400 Bad Request\r\ncontent-length: 99\r\n\r\nno good: hunt";
    for (answer, expected) in [
        (express, "answered 404 Not Found: Cannot POST …"),
        (header, "answered 403 Forbidden: the key … is not for …"),
        (cut, "answered 500 Internal Server Error"),
        (broken, "answered 400 Bad Request"),
    ] {
        let (port, _requests) = server(&[answer], None).await;
        let url = format!("http://127.0.0.1:{port}/services/T000/B000/K7F2?k=swordfish");
        let to = receiver(ReceiverKind::Webhook, url);
        let (_, fault) = deliver(&to, "{}", Tries { most: 1, ..FAST }).await;
        assert_eq!(fault.unwrap().text, expected);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_does_not_show_the_path_that_it_names() {
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://198.51.100.1/hunter2\r\ncontent-length: 0\r\n\r\n";
    let (port, _requests) = server(&[moved], None).await;
    let to = receiver(ReceiverKind::Webhook, format!("http://127.0.0.1:{port}/"));
    let (attempts, fault) = deliver(&to, "{}", FAST).await;
    let fault = fault.unwrap();
    assert_eq!(attempts, 1);
    assert_eq!(fault.text, "answered 302 Found to http://198.51.100.1: redirects are not followed");
}

#[tokio::test]
async fn nobody_there_and_no_answer_are_said() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let to = receiver(ReceiverKind::Webhook, format!("http://{free}/hunter2"));
    let (attempts, fault) = deliver(&to, "{}", FAST).await;
    let text = fault.unwrap().text;
    assert!(attempts == 3 && text.starts_with("cannot connect: "), "{text}");
    assert!(!text.contains("hunter2"), "{text}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = receiver(ReceiverKind::Webhook, format!("http://{}/", silent.local_addr().unwrap()));
    let tries = Tries { most: 2, patience: Duration::from_millis(50), ..FAST };
    let (attempts, fault) = deliver(&to, "{}", tries).await;
    assert_eq!((attempts, fault.unwrap().text.as_str()), (2, "no answer within 50 ms"));
}

#[tokio::test]
async fn with_tls_only_a_receiver_whose_ca_is_believed_hears_anything() {
    gantry_boot::install_crypto();
    let cluster = ClusterId::new("c1").unwrap();
    let authority = Authority::create(&cluster, SystemTime::now()).unwrap();
    let bundle = authority
        .issue(&Grant {
            identity: Identity { cluster, role: Role::Proxy, name: "hook".into() },
            hosts: vec!["127.0.0.1".into(), "localhost".into()],
            from: SystemTime::now() - Duration::from_mins(1),
            lifetime: Duration::from_hours(1),
        })
        .unwrap();
    let certificate = CertificateDer::from_pem_slice(bundle.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(bundle.key.as_bytes()).unwrap();
    let config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    let (port, mut requests) = server(&[FINE, FINE], Some(tls)).await;
    let url = format!("https://localhost:{port}/in");

    let trusted = Receiver { ca: bundle.ca.clone(), ..receiver(ReceiverKind::Webhook, url.clone()) };
    assert_eq!(deliver(&trusted, "{}", FAST).await, (1, None));
    assert!(requests.recv().await.unwrap().starts_with("POST /in HTTP/1.1"));
    let stranger = receiver(ReceiverKind::Webhook, url);
    let (_, fault) = deliver(&stranger, "{}", Tries { most: 1, ..FAST }).await;
    assert!(fault.unwrap().text.starts_with("cannot agree on TLS: "));
    let heard = requests.recv().await.unwrap();
    assert!(heard.starts_with("no TLS"), "{heard}");
    let broken = Receiver { ca: "-----BEGIN CERTIFICATE-----".into(), ..trusted };
    let (attempts, fault) = deliver(&broken, "{}", FAST).await;
    assert!(attempts == 1 && fault.unwrap().lasting, "a person must mend it");
}

#[test]
fn a_url_that_cannot_be_read_is_not_shown() {
    let to =
        Receiver { headers: BTreeMap::new(), ..receiver(ReceiverKind::Webhook, "http://h h/hunter2".into()) };
    let ended = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(deliver(&to, "{}", FAST));
    assert_eq!(ended, (1, Some(Fault::lasting("its url cannot be used"))));
}
