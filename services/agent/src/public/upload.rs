use std::io;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tonic::Streaming;

/// The largest piece of an upload that is taken.
const MAX_CHUNK: usize = 1 << 20;

/// The bytes of an upload, for the engine. A message that is no piece of it, or a broken stream, is
/// an error there, so that the engine never takes half an archive for a whole one.
pub fn bytes<T: Send + 'static>(
    incoming: Streaming<T>,
    chunk: impl Fn(T) -> Option<Vec<u8>> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    incoming.map(move |message| {
        let message = message.map_err(|status| io::Error::other(status.message().to_owned()))?;
        match chunk(message) {
            Some(chunk) if chunk.len() <= MAX_CHUNK => Ok(Bytes::from(chunk)),
            Some(chunk) => Err(io::Error::other(format!(
                "a piece of {} bytes is too large: at most {MAX_CHUNK}",
                chunk.len()
            ))),
            None => Err(io::Error::other("a message of the upload is no piece of it")),
        }
    })
}
