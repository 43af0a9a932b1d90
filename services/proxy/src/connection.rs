//! One connection, from the moment it was taken: whom it is for, whether it is secured, what it speaks.

use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use rustls::ServerConfig;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::core::{Core, Served};
use crate::http::{self, Client, Entry};
use crate::l4::{self, Kind, Rewind, proxy_header, sniff};
use crate::plan::Place;
use crate::spec::Protocol;

/// Where the protocol is not known, a client that speaks first does so within this time; after that the
/// endpoint is connected to as well, since it may be the one that speaks first.
const WHO_SPEAKS_FIRST: Duration = Duration::from_millis(200);

/// Serves a connection to its end.
pub async fn serve(core: Rc<Core>, place: Place, mut stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let Ok(local) = stream.local_addr() else { return };
    let Some(served) = core.site(place) else { return };
    let mut entry = Entry { place, peer, local, https: served.site.tls.is_some() };
    let mut first = BytesMut::new();
    if served.site.sends_proxy_header(peer.ip().to_canonical()) {
        let reading = pin!(proxy_header::read(&mut stream, &mut first));
        match core.pulse.within(core.limits.header_timeout, reading).await {
            Some(Ok(client)) => entry.peer = client.unwrap_or(peer),
            Some(Err(error)) => {
                tracing::debug!(%peer, %error, "refused a connection");
                return;
            }
            None => return,
        }
    }
    let protocol = served.site.protocol;
    match served.site.tls.clone() {
        None => speak(core, entry, protocol, served, stream, first).await,
        Some(config) => secured(core, entry, protocol, served, stream, first, config).await,
    }
}

async fn secured(
    core: Rc<Core>,
    entry: Entry,
    protocol: Protocol,
    served: Rc<Served>,
    stream: TcpStream,
    first: BytesMut,
    config: Arc<ServerConfig>,
) {
    let shaking = pin!(TlsAcceptor::from(config).accept(Rewind::new(first, stream)));
    let stream = match core.pulse.within(core.limits.header_timeout, shaking).await {
        Some(Ok(stream)) => stream,
        Some(Err(error)) => {
            tracing::debug!(peer = %entry.peer, %error, "a TLS handshake failed");
            return;
        }
        None => return,
    };
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    // In a box: most of a connection's life it is the one of the two that runs.
    let stream = Box::new(stream);
    if http2 {
        drop(served);
        http::http2(Client::new(&core, entry), stream).await;
    } else {
        speak(core, entry, protocol, served, stream, BytesMut::new()).await;
    }
}

async fn speak<S>(
    core: Rc<Core>,
    entry: Entry,
    protocol: Protocol,
    served: Rc<Served>,
    mut io: S,
    mut first: BytesMut,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    if protocol == Protocol::Tcp {
        return tcp(&core, &entry, &served, io, first).await;
    }
    let mut patient = protocol == Protocol::Http;
    loop {
        match (sniff(&first), protocol) {
            (Some(Kind::Other), Protocol::Detect) => return tcp(&core, &entry, &served, io, first).await,
            // The guard says what is wrong with it.
            (Some(Kind::Http1 | Kind::Other), _) => {
                drop(served);
                return http::http1(Client::new(&core, entry), io, first).await;
            }
            (Some(Kind::Http2), _) => {
                drop(served);
                return Box::pin(http::http2(Client::new(&core, entry), Rewind::new(first, io))).await;
            }
            (None, _) => {}
        }
        let limit = if patient || !first.is_empty() { core.limits.header_timeout } else { WHO_SPEAKS_FIRST };
        match http::first_bytes(&core, &mut io, limit).await {
            Some(more) => first.extend_from_slice(&more),
            None if patient || !first.is_empty() => return,
            None => {
                patient = true;
                match Box::pin(either(&core, &entry, &served, &mut io)).await {
                    Spoke::Client(bytes) => first = bytes,
                    Spoke::Endpoint(opening, bytes) => {
                        return answered(&core, io, *opening, bytes).await;
                    }
                    Spoke::Nobody => return,
                }
            }
        }
    }
}

/// Who spoke first.
enum Spoke {
    Client(BytesMut),
    Endpoint(Box<l4::Opening>, BytesMut),
    Nobody,
}

/// Waits for whoever speaks first, the client or the endpoint.
async fn either<S: AsyncRead + Unpin>(core: &Rc<Core>, entry: &Entry, served: &Served, io: &mut S) -> Spoke {
    let Some(rule) = served.site.router.fallback() else { return Spoke::Nobody };
    let backend = served.backend(rule).clone();
    let idle = backend.policy.idle_timeout;
    let mut said = BytesMut::new();
    let opened = l4::open(core, &backend, entry, io, &mut said).await;
    let Ok(mut opening) = opened else { return Spoke::Nobody };
    if !said.is_empty() {
        return Spoke::Client(said);
    }
    let mut greeting = BytesMut::new();
    tokio::select! {
        biased;
        said = http::first_bytes(core, io, idle) => said.map_or(Spoke::Nobody, Spoke::Client),
        read = opening.stream.read_buf(&mut greeting) => match read {
            Ok(count) if count > 0 => Spoke::Endpoint(Box::new(opening), greeting),
            _ => Spoke::Nobody,
        },
    }
}

/// The endpoint has greeted: pass that on, and then everything.
async fn answered<S>(core: &Rc<Core>, mut io: S, opening: l4::Opening, greeting: BytesMut)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    use tokio::io::AsyncWriteExt as _;
    if io.write_all(&greeting).await.is_ok() {
        l4::serve(core, io, BytesMut::new(), opening).await;
    }
}

async fn tcp<S>(core: &Rc<Core>, entry: &Entry, served: &Served, mut io: S, mut first: BytesMut)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Some(rule) = served.site.router.fallback() else { return };
    let backend = served.backend(rule).clone();
    match l4::open(core, &backend, entry, &mut io, &mut first).await {
        Ok(opening) => l4::serve(core, io, first, opening).await,
        Err(error) => tracing::debug!(backend = rule.target.backend, %error, "cannot pass a connection on"),
    }
}
