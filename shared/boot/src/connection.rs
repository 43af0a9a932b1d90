//! A connection that ends when its holder may not speak any more.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use gantry_identity::Identity;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::{Connected, TcpConnectInfo, TlsConnectInfo};

use crate::deny::DenyList;

/// Longer than clients wait, who can say why they give up: one who is cut off cannot.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(15);
/// Handshakes at one time.
const HANDSHAKES: usize = 256;
/// Connections of those who have no certificate, at one time, and how long each may last.
const STRANGERS: usize = 32;
const STRANGERS_STAY: Duration = Duration::from_secs(30);
/// Calls of a holder who is refused are told so at once; then the connection is cut.
const LAST_WORDS: Duration = Duration::from_millis(300);
const AFTER_FAILURE: Duration = Duration::from_millis(50);

type Until = Pin<Box<dyn Future<Output = &'static str> + Send>>;

/// An accepted connection.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    until: Until,
    over: Option<&'static str>,
    _stranger: Option<OwnedSemaphorePermit>,
}

/// Accepts connections until its task is aborted.
pub async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    deny: DenyList,
    accepted: mpsc::Sender<io::Result<Connection>>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let strangers = Arc::new(Semaphore::new(STRANGERS));
    loop {
        let Ok(handshake) = handshakes.clone().acquire_owned().await else { return };
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // No more descriptors, mostly: others end meanwhile.
                tracing::debug!(%error, "cannot accept a connection");
                sleep(AFTER_FAILURE).await;
                continue;
            }
        };
        let (tls, deny, strangers, accepted) =
            (tls.clone(), deny.clone(), strangers.clone(), accepted.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let stream = match timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::debug!(%from, %error, "a handshake failed"),
                Err(_) => return tracing::debug!(%from, "a handshake took too long"),
            };
            drop(handshake);
            let Some(connection) = Connection::of(stream, &deny, &strangers) else {
                return tracing::debug!(%from, "too many connections without a certificate");
            };
            // Nobody takes connections any more when the server ends.
            let _ = accepted.send(Ok(connection)).await;
        });
    }
}

impl Connection {
    /// `None` if there are too many of its kind.
    fn of(stream: TlsStream<TcpStream>, deny: &DenyList, strangers: &Arc<Semaphore>) -> Option<Self> {
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        // One that names nobody is answered call by call.
        let holder =
            leaf.and_then(|leaf| Identity::of_certificate(leaf).ok()).map(|identity| identity.holder());
        let (until, stranger): (Until, _) = match holder {
            Some(holder) => {
                let deny = deny.clone();
                let revoked = async move {
                    deny.wait_for(&holder).await;
                    sleep(LAST_WORDS).await;
                    "its certificate was revoked"
                };
                (Box::pin(revoked), None)
            }
            None => {
                let over = async {
                    sleep(STRANGERS_STAY).await;
                    "it stayed too long without a certificate"
                };
                (Box::pin(over), Some(strangers.clone().try_acquire_owned().ok()?))
            }
        };
        Some(Self { stream, until, over: None, _stranger: stranger })
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.over.is_none()
            && let Poll::Ready(why) = self.until.as_mut().poll(context)
        {
            self.over = Some(why);
        }
        match self.over {
            Some(why) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, why)),
            None => Ok(()),
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = TlsConnectInfo<TcpConnectInfo>;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Err(over) = self.check(context) {
            return Poll::Ready(Err(over));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
