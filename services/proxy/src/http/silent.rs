//! Connections on which nobody says anything. Most connections of a proxy are silent, so what one of them
//! takes is kept small.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::client::{Client, Entry, Seat};
use super::serve;
use crate::core::Core;
use crate::pulse::Alarm;

/// What is read at first.
const FIRST: usize = 2048;
/// How long a silent connection stays when the process ends.
const LAST_CALL: Duration = Duration::from_secs(4);

/// Waits for a client to say something. `None`: it did not in time, or has gone. One that is silent
/// while the process ends gets little time.
pub async fn first_bytes<S: AsyncRead + Unpin>(core: &Core, io: &mut S, limit: Duration) -> Option<BytesMut> {
    let mut wait = Wait::new(core, limit);
    poll_fn(|context| wait.poll(core, io, limit, context)).await
}

/// The time that a client has to say something.
struct Wait {
    alarm: Alarm,
    last_call: bool,
}

impl Wait {
    fn new(core: &Core, limit: Duration) -> Self {
        let alarm = core.pulse.alarm();
        let last_call = core.closing.get();
        alarm.set(if last_call { limit.min(LAST_CALL) } else { limit });
        Self { alarm, last_call }
    }

    fn poll<S: AsyncRead + Unpin>(
        &mut self,
        core: &Core,
        io: &mut S,
        limit: Duration,
        context: &mut Context<'_>,
    ) -> Poll<Option<BytesMut>> {
        if core.closing.get() && !self.last_call {
            self.last_call = true;
            self.alarm.set(limit.min(LAST_CALL));
        }
        let mut bytes = [0; FIRST];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(io).poll_read(context, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                Poll::Ready(Some(BytesMut::from(buffer.filled())))
            }
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending if self.alarm.poll(context) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// A connection between two requests. Written by hand, since the compiler would make it twice as large.
pub struct Silent<S> {
    left: Option<(Seat, Entry, S)>,
    wait: Wait,
}

impl<S> Silent<S> {
    /// What was left of a connection when it fell silent.
    pub fn new(seat: Seat, entry: Entry, io: S) -> Self {
        let core = seat.core();
        let wait = Wait::new(core, core.limits.keep_alive_timeout);
        Self { left: Some((seat, entry, io)), wait }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Future for Silent<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some((seat, _, io)) = &mut this.left else { return Poll::Ready(()) };
        let core = seat.core();
        let first = ready!(this.wait.poll(core, io, core.limits.keep_alive_timeout, context));
        if let (Some(first), Some((seat, entry, io))) = (first, this.left.take()) {
            // A task of its own: that one is large.
            tokio::task::spawn_local(serve::http1(Client::back(seat, entry), io, first));
        }
        Poll::Ready(())
    }
}
