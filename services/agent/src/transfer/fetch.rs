//! Takes an archive from another agent.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use gantry_api::node::v1::Piece;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::pieces::{Check, Taken};
use crate::engine::{Error, Kind};

/// A transfer that brings nothing for this long has failed.
const STALLED: Duration = Duration::from_secs(30);
/// Pieces that wait for a slow engine.
const QUEUE: usize = 8;

/// How a transfer went, on the side that fetches. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Outcome(Arc<Mutex<Option<Error>>>);

impl Outcome {
    fn set(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// What was wrong with what came; `None` if it was whole as far as it was read.
    pub fn problem(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The bytes of an archive as its pieces come, for an engine to read. When the archive turns out to be
/// damaged or cut off the stream ends with an error before its last bytes, and `Outcome` says why.
/// `progress` hears how many bytes have come, and of about how many.
pub fn archive(
    mut pieces: impl Stream<Item = Result<Option<Piece>, Status>> + Send + Unpin + 'static,
    progress: impl Fn(u64, u64) + Send + Sync + 'static,
) -> (impl Stream<Item = io::Result<Bytes>> + Send + 'static, Outcome) {
    let outcome = Outcome::default();
    let (bytes, stream) = mpsc::channel(QUEUE);
    let told = outcome.clone();
    tokio::spawn(async move {
        let (mut check, mut about) = (Check::default(), 0);
        let broken = |error: Error| {
            let words = error.message.clone();
            told.set(error);
            Err(io::Error::other(words))
        };
        loop {
            let taken = match next(&mut pieces, &mut check).await {
                Ok(taken) => taken,
                Err(error) => {
                    let _ = bytes.send(broken(error)).await;
                    return;
                }
            };
            let (ready, last) = match taken {
                Taken::Begin(size) => {
                    about = size;
                    (Vec::new(), false)
                }
                Taken::Bytes(ready) => (ready, false),
                Taken::Last(ready) => (ready, true),
            };
            progress(check.bytes(), about);
            for piece in ready {
                if bytes.send(Ok(piece)).await.is_err() {
                    return;
                }
            }
            if last {
                return;
            }
        }
    });
    (ReceiverStream::new(stream), outcome)
}

async fn next(
    pieces: &mut (impl Stream<Item = Result<Option<Piece>, Status>> + Unpin),
    check: &mut Check,
) -> Result<Taken, Error> {
    let came = timeout(STALLED, pieces.next()).await;
    let damaged = |why: String| Error::new(Kind::Unavailable, why);
    match came {
        Err(_) => Err(damaged(format!("nothing came for {} s", STALLED.as_secs()))),
        Ok(None) => Err(damaged(check.cut().to_string())),
        Ok(Some(Err(status))) => Err(from_status(&status)),
        Ok(Some(Ok(piece))) => check.take(piece).map_err(|broken| damaged(broken.to_string())),
    }
}

/// What another agent answered.
pub fn from_status(status: &Status) -> Error {
    let kind = match status.code() {
        Code::NotFound => Kind::NotFound,
        Code::ResourceExhausted => Kind::State,
        _ => Kind::Unavailable,
    };
    Error::new(kind, status.message())
}
