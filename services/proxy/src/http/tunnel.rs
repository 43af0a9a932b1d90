//! What comes after an upgrade, such as WebSocket: bytes in both directions until both sides are done.

use bytes::BytesMut;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::client::Upgrade;
use crate::balance::InFlight;
use crate::core::Core;
use crate::l4;
use crate::upstream::Switched;

/// Joins a client to the endpoint that has switched its protocol. `early` are bytes that the client has
/// sent already.
pub async fn switched<S>(core: &Rc<Core>, client: S, early: BytesMut, upgrade: Upgrade)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Upgrade { stream, place, finished } = upgrade;
    let sent = match stream.await {
        Ok(switched) => pass(core, client, &early, switched, &place).await,
        Err(_) => 0,
    };
    if let Some(finished) = finished {
        finished.write(sent);
    }
}

/// Answers how many bytes the client was sent.
async fn pass<S>(core: &Rc<Core>, mut client: S, early: &[u8], switched: Switched, place: &InFlight) -> u64
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut endpoint, first) = switched;
    if endpoint.write_all(early).await.is_err() || client.write_all(&first).await.is_err() {
        return 0;
    }
    first.len() as u64 + l4::join(core, client, endpoint, place).await
}
