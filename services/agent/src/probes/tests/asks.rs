//! Single checks against real servers on ports of their own.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use gantry_model::Check;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic_health::ServingStatus;

use crate::managed::simulated::Simulated;
use crate::probes::ask::{Process, ask};
use crate::probes::plan::Ask;

const HERE: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// A server that answers one connection with these bytes after a request, and tells what it was asked.
async fn server(answer: Vec<u8>) -> (u16, oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, asked) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let _ = tell.send(String::from_utf8(request).unwrap());
        let _ = stream.write_all(&answer).await;
    });
    (port, asked)
}

/// A port on which nobody listens.
async fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

fn http(port: u16, status: (u16, u16), body: &str) -> Ask {
    Ask::One(Check::Http {
        port,
        path: "/healthz?deep=1".into(),
        headers: [].into(),
        status,
        body: body.into(),
    })
}

fn answer(head: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

async fn problem(what: &Ask) -> String {
    ask(what, HERE).await.unwrap_err()
}

#[tokio::test]
async fn an_answer_with_the_right_status_and_text_passes() {
    let (port, asked) = server(answer("200 OK", "all is fine")).await;
    assert_eq!(ask(&http(port, (200, 399), "fine"), HERE).await, Ok(()));
    let asked = asked.await.unwrap();
    assert!(asked.starts_with("GET /healthz?deep=1 HTTP/1.1\r\n"), "{asked}");
    for line in
        [format!("host: 127.0.0.1:{port}"), "connection: close".into(), "user-agent: gantry-probe/".into()]
    {
        assert!(asked.contains(&format!("\r\n{line}")), "{asked}");
    }
}

#[tokio::test]
async fn headers_of_the_file_replace_gantrys() {
    let (port, asked) = server(answer("200 OK", "")).await;
    let headers =
        [("Host".to_owned(), "shop.example.com".to_owned()), ("X-Probe".to_owned(), "1".to_owned())];
    let check = Check::Http {
        port,
        path: "/".into(),
        headers: headers.into(),
        status: (200, 200),
        body: String::new(),
    };
    assert_eq!(ask(&Ask::One(check), HERE).await, Ok(()));
    let asked = asked.await.unwrap();
    assert!(asked.contains("shop.example.com") && asked.contains("x-probe: 1"), "{asked}");
    assert!(!asked.contains("127.0.0.1"), "{asked}");
}

#[tokio::test]
async fn a_wrong_status_fails_and_a_redirect_is_not_followed() {
    let (port, _asked) = server(answer("503 Busy", "")).await;
    assert_eq!(problem(&http(port, (200, 299), "")).await, "answered 503, and 200-299 was expected");
    let (port, _asked) = server(answer("302 Found\r\nlocation: http://192.0.2.1/", "")).await;
    assert_eq!(problem(&http(port, (200, 200), "")).await, "answered 302, and 200 was expected");
    let (port, _asked) = server(answer("302 Found\r\nlocation: http://192.0.2.1/", "")).await;
    assert_eq!(ask(&http(port, (200, 399), ""), HERE).await, Ok(()));
}

#[tokio::test]
async fn a_wrong_text_fails() {
    let (port, _asked) = server(answer("200 OK", "database is gone")).await;
    assert_eq!(
        problem(&http(port, (200, 399), "fine")).await,
        "answered 200 without the text that was expected"
    );
}

#[tokio::test]
async fn of_a_huge_answer_only_the_first_part_is_read() {
    let early = format!("{}fine{}", "x".repeat(60 << 10), "x".repeat(1 << 20));
    let (port, _asked) = server(answer("200 OK", &early)).await;
    assert_eq!(ask(&http(port, (200, 399), "fine"), HERE).await, Ok(()));
    let late = format!("{}fine", "x".repeat(64 << 10));
    let (port, _asked) = server(answer("200 OK", &late)).await;
    assert_eq!(
        problem(&http(port, (200, 399), "fine")).await,
        "answered 200 without the text that was expected"
    );
    // Without an end, and without a text to look for, its head is enough.
    let (port, _asked) = server(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\nx".to_vec()).await;
    assert_eq!(ask(&http(port, (200, 399), ""), HERE).await, Ok(()));
    let (port, _asked) =
        server(format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(1 << 20)).into_bytes()).await;
    assert_eq!(problem(&http(port, (200, 399), "")).await, "what it answered is not HTTP/1");
}

#[tokio::test]
async fn what_is_not_http_fails() {
    let (port, _asked) = server(b"+PONG\r\n".to_vec()).await;
    assert_eq!(problem(&http(port, (200, 399), "")).await, "what it answered is not HTTP/1");
    let (port, _asked) = server(Vec::new()).await;
    assert_eq!(problem(&http(port, (200, 399), "")).await, "it closed the connection without an answer");
}

#[tokio::test]
async fn who_accepts_and_says_nothing_keeps_an_http_check_waiting_and_passes_a_tcp_check() {
    // As a frozen process does: the kernel accepts for it.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let waited = timeout(Duration::from_millis(200), ask(&http(port, (200, 399), ""), HERE)).await;
    assert!(waited.is_err(), "{waited:?}");
    assert_eq!(ask(&Ask::One(Check::Tcp { port }), HERE).await, Ok(()));
}

#[tokio::test]
async fn who_does_not_listen_refuses_every_check() {
    let port = nobody().await;
    let grpc = Ask::One(Check::Grpc { port, service: String::new() });
    for check in [http(port, (200, 399), ""), Ask::One(Check::Tcp { port }), grpc, Ask::AnyPort(vec![port])] {
        assert_eq!(problem(&check).await, "connection refused", "{check}");
    }
    assert_eq!(ask(&Ask::One(Check::Tcp { port }), None).await, Err("it has no network".into()));
}

#[tokio::test]
async fn one_of_several_published_ports_is_enough() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(ask(&Ask::AnyPort(vec![nobody().await, port]), HERE).await, Ok(()));
}

#[tokio::test]
async fn a_grpc_service_must_be_serving() {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("shop.Cart", ServingStatus::NotServing).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
    let check = |service: &str| Ask::One(Check::Grpc { port, service: service.into() });
    assert_eq!(ask(&check(""), HERE).await, Ok(()));
    assert_eq!(problem(&check("shop.Cart")).await, "answered NOT_SERVING");
    assert_eq!(problem(&check("shop.Nobody")).await, "it does not know the service");
    reporter.set_service_status("shop.Cart", ServingStatus::Serving).await;
    assert_eq!(ask(&check("shop.Cart"), HERE).await, Ok(()));
}

#[tokio::test]
async fn who_speaks_no_grpc_fails_a_grpc_check() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let problem = problem(&Ask::One(Check::Grpc { port, service: String::new() })).await;
    assert!(problem == "it does not speak gRPC" || problem == "it speaks no HTTP/2", "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_process_must_end_with_0_in_time_and_is_not_begun_twice() {
    let (engine, mut process) = (Simulated::default(), Process::default());
    let command = ["pg_isready".to_owned()];
    let limit = Duration::from_secs(1);
    assert_eq!(process.run(&engine, "c1", &command, limit).await, Ok(()));
    engine.processes_end(Some((2, "a line\nno response\n\n")));
    let failed = process.run(&engine, "c1", &command, limit).await;
    assert_eq!(failed, Err("ended with exit code 2: no response".into()));
    engine.processes_end(None);
    assert_eq!(process.run(&engine, "c1", &command, limit).await, Err("has not ended within 1s".into()));
    let again = process.run(&engine, "c1", &command, limit).await;
    assert_eq!(again, Err("the one before has not ended yet".into()));
    assert_eq!(engine.processes().len(), 3, "the last one was not begun");
}
