//! Gives back what it gets: over WebSocket, UDP and gRPC.

use std::convert::Infallible;
use std::net::{TcpStream, UdpSocket};
use std::pin::Pin;
use std::process::exit;
use std::task::{Context, Poll, ready};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::{Role, WebSocket};

/// Answers a WebSocket handshake, and echoes every message.
pub fn web_socket(headers: &str, mut stream: TcpStream) {
    use std::io::Write as _;
    let accept = derive_accept_key(super::header(headers, "sec-websocket-key").as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n"
    );
    if stream.write_all(head.as_bytes()).is_err() {
        return;
    }
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
    while let Ok(message) = socket.read() {
        let echoed = !(message.is_text() || message.is_binary()) || socket.send(message).is_ok();
        if !echoed {
            return;
        }
    }
}

/// Echoes UDP packets at `port` and gRPC messages at the next one.
pub fn serve(port: u16) {
    let packets = match UdpSocket::bind(("0.0.0.0", port)) {
        Ok(socket) => socket,
        Err(error) => {
            eprintln!("probe: cannot listen on {port}: {error}");
            exit(1);
        }
    };
    thread::spawn(move || {
        let mut packet = vec![0; 65_536];
        while let Ok((size, from)) = packets.recv_from(&mut packet) {
            let _ = packets.send_to(&packet[..size], from);
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map(|runtime| runtime.block_on(grpc(port + 1)));
    eprintln!("probe: the echo has ended: {ended:?}");
    exit(1);
}

async fn grpc(port: u16) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(("0.0.0.0", port)).await?;
    println!("echoing on {port}");
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| async {
                let mut response = Response::new(Echo { body: request.into_body(), ended: false });
                let kind = HeaderValue::from_static("application/grpc");
                response.headers_mut().insert("content-type", kind);
                Ok::<_, Infallible>(response)
            });
            let server = http2::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A request's body as a response, with the trailers of a call that went well. Messages keep their frames,
/// so nothing has to be known of them.
struct Echo {
    body: Incoming,
    ended: bool,
}

impl Body for Echo {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        if let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(context)) {
            return Poll::Ready(Some(frame));
        }
        this.ended = true;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}
