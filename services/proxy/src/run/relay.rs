//! One proxy relieves another: the way in, and the way out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::Error;
use crate::engine::Engine;
use crate::handover::{self, Inheritance};

/// Connections that are still there after this time are ended.
const DRAIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What the proxy that runs already leaves to this one.
pub async fn inherit(path: Option<&Path>) -> Result<Option<Inheritance>, Error> {
    let Some(path) = path else { return Ok(None) };
    let failed = |source| Error::Handover { path: path.to_owned(), source };
    let from = path.to_owned();
    let asked = tokio::task::spawn_blocking(move || handover::ask(&from)).await;
    asked.map_err(|error| failed(std::io::Error::other(error)))?.map_err(failed)
}

/// Tells the proxy that ran before that this one serves.
pub fn take_over(path: Option<&Path>, inheritance: Option<Inheritance>) -> Result<(), Error> {
    let (Some(path), Some(inheritance)) = (path, inheritance) else { return Ok(()) };
    inheritance.take_over().map_err(|source| Error::Handover { path: path.to_owned(), source })?;
    tracing::info!("took over from the proxy that ran before");
    Ok(())
}

/// Waits until a successor serves. Never returns where there is no place to meet.
pub async fn relieved(path: Option<&Path>, engine: &Arc<Mutex<Engine>>) -> Result<(), Error> {
    let Some(path) = path else { return std::future::pending().await };
    let failed = |source| Error::Handover { path: path.to_owned(), source };
    let listener = handover::listen(path).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = UnixListener::from_std(listener).map_err(failed)?;
    loop {
        let (stream, _) = listener.accept().await.map_err(failed)?;
        let sockets = engine.lock().await.copies().map_err(failed)?;
        let stream = stream.into_std().map_err(failed)?;
        stream.set_nonblocking(false).map_err(failed)?;
        let given = tokio::task::spawn_blocking(move || handover::give(&stream, &sockets)).await;
        match given {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => tracing::warn!(%error, "a successor did not take over; this proxy goes on"),
            Err(error) => tracing::warn!(%error, "a successor did not take over; this proxy goes on"),
        }
    }
}

/// Takes no new connections, and waits for those that are there, as long as that may take.
pub async fn drain(engine: &Arc<Mutex<Engine>>, patience: Option<Duration>) {
    engine.lock().await.close().await;
    let until = Instant::now() + patience.unwrap_or(DRAIN);
    loop {
        let left = engine.lock().await.connections();
        if left == 0 {
            return;
        }
        if Instant::now() >= until {
            tracing::warn!(left, "ended connections that were still there");
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}
