//! TCP: one endpoint for each connection.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::join;
use crate::balance::{Backend, InFlight, Key, State, Waiting, hash_of};
use crate::core::Core;
use crate::http::Entry;
use crate::upstream::{self, Stream};

/// What a client may say while it waits; the rest stays in its socket.
const MOST_SAID: usize = 16 << 10;
/// What is made room for at a time.
const PART: usize = 2 << 10;

/// A connection to an endpoint that is ready to be joined.
pub struct Opening {
    /// The endpoint's side.
    pub stream: Stream,
    /// The place that it holds.
    pub place: InFlight,
}

/// Connects to an endpoint of `backend`; to another one if the first does not answer. While there is
/// none it waits, as requests do: for as long as the client is there, and something is served where it came in.
/// What `client` says meanwhile is put behind what it has `said`.
pub async fn open<S: AsyncRead + Unpin>(
    core: &Rc<Core>,
    backend: &Rc<Backend>,
    entry: &Entry,
    client: &mut S,
    said: &mut BytesMut,
) -> io::Result<Opening> {
    let mut tried: Vec<Arc<State>> = Vec::new();
    let started = Instant::now();
    let mut waiting: Option<Waiting> = None;
    let hash = hash_of(entry.peer.ip().to_canonical().to_string().as_bytes());
    let mut last = io::Error::new(io::ErrorKind::NotConnected, "no endpoint is ready");
    let mut backend = backend.clone();
    loop {
        let state = backend.state.clone();
        // Whoever frees a place between the look and the wait must be heard.
        let mut notified = std::pin::pin!(state.room.notified());
        notified.as_mut().enable();
        let key = Key { hash, sticky: None, tried: &tried, now: core.pulse.now() };
        let Some(place) = backend.choose(&key, &mut || core.random()) else {
            if let Some(tried) = tried.last() {
                tried.cores[core.index].ended(0);
                return Err(last);
            }
            if waiting.is_none() {
                waiting = Waiting::begin(&backend, started);
            }
            let Some(waiting) = &waiting else { return Err(last) };
            let left = waiting.left();
            if left.is_zero() {
                waiting.turn_away();
                return Err(last);
            }
            tokio::select! {
                biased;
                _ = core.pulse.within(left, notified) => {}
                error = gone(client, said) => return Err(error),
            }
            // There may be another plan by now.
            let served = core.site(entry.place);
            let rule = served.as_ref().and_then(|served| Some((served, served.site.router.fallback()?)));
            let Some((served, rule)) = rule else {
                return Err(io::Error::new(io::ErrorKind::NotConnected, "nothing is served here any more"));
            };
            backend = served.backend(rule).clone();
            continue;
        };
        let ends = (entry.peer, entry.local);
        match upstream::connect(&core.pulse, &backend, &place.endpoint, ends, |secure| &secure.plain).await {
            Ok(stream) => {
                Backend::succeeded(&place.endpoint);
                return Ok(Opening { stream, place });
            }
            Err(error) => {
                backend.failed(&place.endpoint, core.pulse.now());
                tried.push(place.endpoint.state.clone());
                last = error;
            }
        }
    }
}

/// Comes back when a client that waits has gone. One that has said something and then nothing more may still wait
/// for the answer: it counts as there.
async fn gone<S: AsyncRead + Unpin>(client: &mut S, said: &mut BytesMut) -> io::Error {
    while said.len() < MOST_SAID {
        said.reserve(PART);
        match client.read_buf(said).await {
            Ok(0) if said.is_empty() => return io::ErrorKind::UnexpectedEof.into(),
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => return error,
        }
    }
    std::future::pending().await
}

/// Passes a connection on as it is. `first` was read of it already.
pub async fn serve<S>(core: &Rc<Core>, client: S, first: BytesMut, mut opening: Opening)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if opening.stream.write_all(&first).await.is_err() {
        return;
    }
    drop(first);
    join(core, client, opening.stream, &opening.place).await;
    // A connection that was passed through counts as one answer.
    opening.place.endpoint.counters().ended(2);
}
