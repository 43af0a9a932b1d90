//! What comes after an upgrade, such as WebSocket: bytes in both directions until both sides are done.

use bytes::BytesMut;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::client::Upgrade;
use crate::core::Core;
use crate::l4;

/// Joins a client to the endpoint that has switched its protocol. `early` are bytes that the client has
/// sent already.
pub async fn switched<S>(core: &Rc<Core>, mut client: S, early: BytesMut, upgrade: Upgrade)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Ok((mut endpoint, first)) = upgrade.stream.await else { return };
    if endpoint.write_all(&early).await.is_err() || client.write_all(&first).await.is_err() {
        return;
    }
    l4::join(core, client, endpoint, &upgrade.place).await;
}
