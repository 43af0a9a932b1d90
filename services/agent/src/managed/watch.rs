//! Keeps what is seen up to date: subscribes to the engine's events, then lists everything, and does
//! both again whenever the stream is lost.

use std::time::Duration;

use futures_util::StreamExt as _;
use gantry_boot::Backoff;
use prost_types::Timestamp as WireTime;
use tokio::sync::watch as channel;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::fleet::Fleet;
use super::runtime::Runtime;
use crate::engine::Error;

/// Even without any event everything is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Watches until `stop`. `problem` says why the engine cannot be used; nothing while it can.
pub async fn watch<R: Runtime>(
    fleet: Fleet<R>,
    runtime: R,
    problem: channel::Sender<Option<String>>,
    stop: CancellationToken,
) {
    let mut last: Option<WireTime> = None;
    let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2));
    loop {
        let watching = watch_once(&fleet, &runtime, &problem, &mut last, &mut backoff);
        let error = tokio::select! {
            () = stop.cancelled() => return,
            error = watching => error,
        };
        problem.send_if_modified(|known| {
            if known.is_none() {
                tracing::warn!(%error, "the engine cannot be used; trying again");
            }
            known.replace(error.message.clone()) != Some(error.message)
        });
        sleep(backoff.pause()).await;
    }
}

/// Watches until the engine fails, and says how.
async fn watch_once<R: Runtime>(
    fleet: &Fleet<R>,
    runtime: &R,
    problem: &channel::Sender<Option<String>>,
    last: &mut Option<WireTime>,
    backoff: &mut Backoff,
) -> Error {
    let mut changes = runtime.changes(*last);
    loop {
        match runtime.list().await {
            Ok(containers) => fleet.see_all(containers).await,
            Err(error) => return error,
        }
        problem.send_if_modified(|known| {
            let recovered = known.take().is_some();
            if recovered {
                tracing::info!("the engine can be used again");
            }
            recovered
        });
        backoff.reset();
        let look_again = sleep(LOOK_AGAIN);
        tokio::pin!(look_again);
        loop {
            let next = tokio::select! {
                () = &mut look_again => break,
                next = changes.next() => next,
            };
            let changed = match next {
                Some(Ok(changed)) => changed,
                Some(Err(error)) => return error,
                None => return Error::new(crate::engine::Kind::Unavailable, "the Docker Engine hung up"),
            };
            *last = Some(changed.time);
            let seen = if changed.gone {
                None
            } else {
                match timeout(LOOK_AGAIN, runtime.observe(&changed.id)).await {
                    Ok(Ok(seen)) => seen,
                    Ok(Err(error)) => return error,
                    Err(_) => {
                        return Error::new(crate::engine::Kind::Timeout, "the Docker Engine does not answer");
                    }
                }
            };
            fleet.see(&changed.replica, seen).await;
        }
    }
}
