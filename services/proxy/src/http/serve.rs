//! Serves one connection to its end.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use hyper::server::conn;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::client::Client;
use super::guard::Guard;
use super::silent::{Silent, first_bytes};
use super::{stack, tunnel};
use crate::local::Local;

/// Streams of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 128;
const H2_MAX_HEAD: u32 = 32 << 10;
const H2_STREAM_WINDOW: u32 = 1 << 18;
const H2_CONNECTION_WINDOW: u32 = 1 << 20;
const H2_SEND_BUFFER: usize = 256 << 10;
/// A silent HTTP/2 client is asked whether it is still there.
const H2_PING: Duration = Duration::from_secs(30);
/// What a client may still send after it was refused, so that it gets to read the answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 << 10;

/// How a busy time of a connection ends.
enum Ended<S> {
    /// It is over.
    Over,
    /// The client is silent: nothing needs to be kept but the connection.
    Silent(S),
}

/// Serves HTTP/1.1. `first` was read already.
pub async fn http1<S>(mut client: Rc<Client>, mut io: S, mut first: BytesMut)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    loop {
        // In a box of its own: the room for it is not needed before there is something to serve.
        match Box::pin(busy(&client, io, first)).await {
            Ended::Over => return,
            Ended::Silent(back) => io = back,
        }
        match Rc::try_unwrap(client) {
            Ok(left) => {
                // A task of its own, since this one is large.
                let (seat, entry) = left.leave();
                tokio::task::spawn_local(Silent::new(seat, entry, io));
                return;
            }
            Err(kept) => client = kept,
        }
        let limit = client.core.limits.keep_alive_timeout;
        let Some(bytes) = first_bytes(&client.core, &mut io, limit).await else { return };
        first = bytes;
    }
}

async fn busy<S>(client: &Rc<Client>, io: S, first: BytesMut) -> Ended<S>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let core = client.core.clone();
    let signals = client.signals.clone();
    signals.silent.set(false);
    let guard = Guard::new(io, first, core.limits, signals.clone(), core.pulse.alarm());
    let service = {
        let client = client.clone();
        service_fn(move |request| {
            let client = client.clone();
            async move { Ok::<_, Infallible>(stack::handle(&client, request).await) }
        })
    };
    let mut builder = conn::http1::Builder::new();
    // The guard has limits and timeouts of its own; the library's are behind them.
    builder
        .half_close(true)
        .header_read_timeout(None)
        .max_headers(core.limits.head.fields + 8)
        .max_header_size(core.limits.head.bytes + 1024);
    let mut connection = builder.serve_connection(TokioIo::new(guard), service);
    // When the process ends, nothing is hung up on here: the next answer says that it is the last. A
    // client whose request crosses the end of its connection could not tell whether it was taken.
    let ended = poll_fn(|context| match Pin::new(&mut connection).poll(context) {
        Poll::Ready(ended) => Poll::Ready(Some(ended)),
        Poll::Pending if signals.silent.get() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await;
    let parts = connection.into_parts();
    let (mut io, rest) = parts.io.into_inner().into_parts();
    let Some(ended) = ended else { return Ended::Silent(io) };
    let upgrade = client.upgrade.take();
    if let Some(upgrade) = upgrade {
        let mut early = BytesMut::from(&parts.read_buf[..]);
        early.extend_from_slice(&rest);
        if ended.is_ok() {
            tunnel::switched(&core, io, early, upgrade).await;
        }
    } else if signals.refused.get() {
        let _ = linger(client, &mut io).await;
    }
    Ended::Over
}

/// Lets a client that was refused read the answer: to close with bytes unread would make the kernel
/// reset the connection, and the answer would be lost.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(client: &Client, io: &mut S) -> io::Result<()> {
    io.shutdown().await?;
    let mut left = LINGER_BYTES;
    let mut scrap = [0; 4096];
    let reading = pin!(async {
        while left > 0 {
            match io.read(&mut scrap).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok(())
    });
    client.core.pulse.within(LINGER, reading).await.unwrap_or(Ok(()))
}

/// Serves HTTP/2.
pub async fn http2<S>(client: Rc<Client>, io: S)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let core = client.core.clone();
    let streams = Rc::new(Cell::new(0_u32));
    let service = {
        let (client, streams) = (client.clone(), streams.clone());
        service_fn(move |request| {
            let client = client.clone();
            let stream = Stream::open(&streams);
            async move {
                let response = stack::handle(&client, request).await;
                drop(stream);
                Ok::<_, Infallible>(response)
            }
        })
    };
    let mut builder = conn::http2::Builder::new(Local);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(H2_MAX_HEAD)
        .initial_stream_window_size(H2_STREAM_WINDOW)
        .initial_connection_window_size(H2_CONNECTION_WINDOW)
        .max_send_buf_size(H2_SEND_BUFFER)
        .keep_alive_interval(H2_PING)
        .keep_alive_timeout(H2_PING);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let idle = core.pulse.alarm();
    let mut resting = false;
    let mut asked_to_end = false;
    let _ = poll_fn(|context| {
        let busy = streams.get() > 0;
        if busy {
            idle.clear();
        } else if !resting {
            idle.set(core.limits.keep_alive_timeout);
        }
        resting = !busy;
        if (idle.poll(context) || core.closing.get()) && !asked_to_end {
            asked_to_end = true;
            connection.as_mut().graceful_shutdown();
        }
        match connection.as_mut().poll(context) {
            Poll::Ready(ended) => Poll::Ready(ended),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
}

/// A stream that is being answered.
struct Stream(Rc<Cell<u32>>);

impl Stream {
    fn open(count: &Rc<Cell<u32>>) -> Self {
        count.set(count.get() + 1);
        Self(count.clone())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
