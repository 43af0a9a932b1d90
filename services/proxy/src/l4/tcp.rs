//! TCP: one endpoint for each connection.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::join;
use crate::balance::{Backend, InFlight, Key, State, hash_of};
use crate::core::Core;
use crate::http::Entry;
use crate::upstream::{self, Stream};

/// A connection to an endpoint that is ready to be joined.
pub struct Opening {
    /// The endpoint's side.
    pub stream: Stream,
    /// The place that it holds.
    pub place: InFlight,
}

/// Connects to an endpoint of `backend`; to another one if the first does not answer. While there is
/// none it waits, as requests do.
pub async fn open(core: &Rc<Core>, backend: &Rc<Backend>, entry: &Entry) -> io::Result<Opening> {
    let mut tried: Vec<Arc<State>> = Vec::new();
    let until = Instant::now() + backend.policy.queue_timeout;
    let hash = hash_of(entry.peer.ip().to_canonical().to_string().as_bytes());
    let mut last = io::Error::new(io::ErrorKind::NotConnected, "no endpoint is ready");
    let mut backend = backend.clone();
    loop {
        let state = backend.state.clone();
        let notified = std::pin::pin!(state.room.notified());
        let key = Key { hash, sticky: None, tried: &tried, now: core.pulse.now() };
        let Some(place) = backend.choose(&key, &mut || core.random()) else {
            let left = until.saturating_duration_since(Instant::now());
            if let Some(tried) = tried.last() {
                tried.cores[core.index].ended(0);
                return Err(last);
            }
            if left.is_zero() {
                state.turned_away.fetch_add(1, Relaxed);
                return Err(last);
            }
            let _ = core.pulse.within(left, notified).await;
            // There may be another plan by now.
            if let Some(served) = core.site(entry.place)
                && let Some(rule) = served.site.router.fallback()
            {
                let current = served.backend(rule).clone();
                backend = current;
            }
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
