//! New connections: TCP, perhaps a PROXY protocol header, perhaps TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::balance::{Backend, Endpoint};
use crate::l4::proxy_header;
use crate::pulse::Pulse;

/// How TLS to endpoints is spoken.
pub struct Secure {
    /// For HTTP/1.1.
    pub http1: Arc<rustls::ClientConfig>,
    /// For HTTP/2.
    pub http2: Arc<rustls::ClientConfig>,
    /// For bytes that are not looked at.
    pub plain: Arc<rustls::ClientConfig>,
    /// The name that certificates must have.
    pub name: ServerName<'static>,
}

/// A connection to an endpoint.
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// With.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A TCP connection to an endpoint, in the time that its backend allows. `clients` are the two ends of
/// the client's connection, for the PROXY protocol.
async fn dial(
    pulse: &Rc<Pulse>,
    backend: &Backend,
    endpoint: &Endpoint,
    clients: (SocketAddr, SocketAddr),
) -> io::Result<TcpStream> {
    let connecting = pin!(TcpStream::connect(endpoint.state.address));
    let mut stream = pulse
        .within(backend.policy.connect_timeout, connecting)
        .await
        .ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "it did not take the connection in time"))??;
    stream.set_nodelay(true)?;
    if backend.policy.send_proxy_protocol > 0 {
        let header = proxy_header::write(backend.policy.send_proxy_protocol, clients.0, clients.1);
        stream.write_all(&header).await?;
    }
    Ok(stream)
}

/// The same, with TLS where the backend asks for it.
pub async fn connect(
    pulse: &Rc<Pulse>,
    backend: &Backend,
    endpoint: &Endpoint,
    clients: (SocketAddr, SocketAddr),
    config: impl FnOnce(&Secure) -> &Arc<rustls::ClientConfig>,
) -> io::Result<Stream> {
    let stream = dial(pulse, backend, endpoint, clients).await?;
    let Some(secure) = &backend.tls else { return Ok(Stream::Plain(stream)) };
    let connector = TlsConnector::from(config(secure).clone());
    let shaking = pin!(connector.connect(secure.name.clone(), stream));
    let stream = pulse.within(backend.policy.connect_timeout, shaking).await.ok_or_else(|| {
        io::Error::new(io::ErrorKind::TimedOut, "it did not finish its TLS handshake in time")
    })??;
    Ok(Stream::Tls(Box::new(stream)))
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, out),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, out),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
