//! Keeps what is seen up to date: subscribes to the engine's events, then lists everything, and does
//! both again whenever the stream is lost.

use std::time::Duration;

use futures_util::StreamExt as _;
use gantry_boot::Backoff;
use gantry_model::{Timestamp, wire};
use prost_types::Timestamp as WireTime;
use tokio::sync::watch as channel;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::fleet::Fleet;
use super::runtime::{Runtime, What};
use crate::engine::{Error, Kind};

/// Even without any event everything is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// The engine is asked this often whether it is there: one that hangs closes no connection.
const PULSE: Duration = Duration::from_secs(3);
/// It is busy at times; one that says nothing for this long hangs.
const HANGS: Duration = Duration::from_secs(10);

/// Watches until `stop`. `problem` says why the engine cannot be used; nothing while it can.
pub async fn watch<R: Runtime>(
    fleet: Fleet<R>,
    runtime: R,
    problem: channel::Sender<Option<String>>,
    stop: CancellationToken,
) {
    // What happened while this agent did not run, as far as the engine remembers it.
    let newest = fleet.newest_end().unwrap_or(Timestamp::from_millis(1_000));
    let mut last: Option<WireTime> = Some(wire::write_time(newest));
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
        match timeout(LOOK_AGAIN, runtime.list()).await {
            Ok(Ok(containers)) => fleet.see_all(containers).await,
            Ok(Err(error)) => return error,
            Err(_) => return hangs(),
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
        let pulse = pulse(runtime);
        tokio::pin!(pulse);
        loop {
            let next = tokio::select! {
                () = &mut look_again => break,
                error = &mut pulse => return error,
                next = changes.next() => next,
            };
            let changed = match next {
                Some(Ok(changed)) => changed,
                Some(Err(error)) => return error,
                None => return Error::new(Kind::Unavailable, "the Docker Engine hung up"),
            };
            *last = Some(changed.time);
            fleet.note(&changed).await;
            let seen = if changed.what == What::Gone {
                None
            } else {
                match timeout(LOOK_AGAIN, runtime.observe(&changed.id)).await {
                    Ok(Ok(seen)) => seen,
                    Ok(Err(error)) => return error,
                    Err(_) => return hangs(),
                }
            };
            fleet.see(&changed, seen).await;
        }
    }
}

/// Asks the engine again and again, until it does not answer.
async fn pulse<R: Runtime>(runtime: &R) -> Error {
    loop {
        sleep(PULSE).await;
        match timeout(HANGS, runtime.ping()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(_) => return hangs(),
        }
    }
}

fn hangs() -> Error {
    Error::new(Kind::Timeout, "the Docker Engine does not answer")
}
