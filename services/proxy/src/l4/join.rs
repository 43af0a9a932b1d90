//! Two connections joined: what comes in at one goes out at the other, until both have said that they
//! are done, or both are silent for too long.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::balance::{Counters, InFlight};
use crate::core::Core;

const BUFFER: usize = 16 << 10;

/// One direction.
#[derive(Default)]
struct Pipe {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    over: bool,
    closed: bool,
    count: u64,
}

impl Pipe {
    /// Moves what can be moved. `Ready` when this direction is over and closed.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        loop {
            while self.start < self.end {
                let part = &self.buffer[self.start..self.end];
                let written = ready!(Pin::new(&mut *to).poll_write(context, part))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.start += written;
                self.count += written as u64;
            }
            if self.over {
                if !self.closed {
                    ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                    self.closed = true;
                }
                return Poll::Ready(Ok(()));
            }
            if self.buffer.is_empty() {
                self.buffer = vec![0; BUFFER];
            }
            let mut buffer = ReadBuf::new(&mut self.buffer);
            match Pin::new(&mut *from).poll_read(context, &mut buffer) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    ready!(Pin::new(&mut *to).poll_flush(context))?;
                    return Poll::Pending;
                }
            }
            (self.start, self.end) = (0, buffer.filled().len());
            self.over = self.end == 0;
        }
    }
}

/// Joins a client and an endpoint, and answers how many bytes the client was sent.
pub async fn join<C, E>(core: &Rc<Core>, mut client: C, mut endpoint: E, place: &InFlight) -> u64
where
    C: AsyncRead + AsyncWrite + Unpin,
    E: AsyncRead + AsyncWrite + Unpin,
{
    let idle = place.backend().policy.idle_timeout;
    let alarm = core.pulse.alarm();
    alarm.set(idle);
    let (mut up, mut down) = (Pipe::default(), Pipe::default());
    let mut moved = 0;
    let _ = poll_fn(|context| {
        let one = up.poll(context, &mut client, &mut endpoint);
        let other = down.poll(context, &mut endpoint, &mut client);
        let now = up.count + down.count;
        if now != moved {
            moved = now;
            alarm.set(idle);
        }
        match (one, other) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => Poll::Ready(Err(error)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
            _ if place.endpoint.cut.get() => Poll::Ready(Ok(())),
            _ if alarm.poll(context) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            _ => Poll::Pending,
        }
    })
    .await;
    let counters = place.endpoint.counters();
    Counters::add(&counters.bytes_in, up.count);
    Counters::add(&counters.bytes_out, down.count);
    down.count
}
