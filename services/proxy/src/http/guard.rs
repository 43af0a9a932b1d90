//! Stands between the socket and the HTTP/1 library, and sees what the library hides: how lines end,
//! what stands twice, what is left over.
//!
//! It lets one checked head through at a time and follows the framing of what comes after it. A head
//! that breaks a rule never reaches the library: it gets a request that says nothing, and the service
//! answers with the refusal, so that every answer has a status, a text and a line in the log.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::chunks::Chunks;
use super::head::{Framing, Head, HeadLimits, Progress};
use super::rules::Refusal;
use crate::pulse::Alarm;

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub struct ClientLimits {
    /// How large a head may be.
    pub head: HeadLimits,
    /// From its first byte to its end.
    pub header_timeout: Duration,
    /// Silence in the middle of a body, or while it does not take what it asked for.
    pub body_timeout: Duration,
    /// Silence between two requests.
    pub keep_alive_timeout: Duration,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            head: HeadLimits::default(),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_mins(1),
            keep_alive_timeout: Duration::from_secs(75),
        }
    }
}

/// What the guard and the service of a connection tell each other.
#[derive(Default)]
pub struct Signals {
    /// The next request is not one: answer with this.
    pub refusal: Cell<Option<Refusal>>,
    /// The client has said nothing for a while, and nothing is on its way.
    pub silent: Cell<bool>,
    /// A refusal was given: the connection ends with it.
    pub refused: Cell<bool>,
    /// The head that was let through last has fields that are meant for the next hop only.
    pub hop: Cell<bool>,
    /// The connection is a tunnel from here on.
    pub tunnel: Cell<bool>,
}

/// What the library gets in place of a head that breaks a rule.
const NOTHING: &[u8] = b"GET / HTTP/1.1\r\nhost: -\r\nconnection: close\r\n\r\n";
const READ: usize = 4096;
/// A client that is silent for this long between two requests costs as little as possible from then on.
const SILENT_AFTER: Duration = Duration::from_secs(1);

enum State {
    Head(Head),
    /// So many bytes of the buffer may go on, and then this follows.
    Release(usize, Framing),
    Length(u64),
    Chunked(Chunks),
    /// So many bytes of [`NOTHING`] were given.
    Refused(usize),
    Tunnel,
}

/// A connection of a client, guarded.
pub struct Guard<S> {
    io: S,
    buffer: BytesMut,
    state: State,
    limits: ClientLimits,
    signals: Rc<Signals>,
    alarm: Alarm,
    /// The time for the next head runs: not before the answer to the last request is out.
    waiting: bool,
    /// There while the client does not take what it is sent.
    stall: Option<Alarm>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    /// Guards `io`, of which `first` was read already.
    pub fn new(io: S, first: BytesMut, limits: ClientLimits, signals: Rc<Signals>, alarm: Alarm) -> Self {
        alarm.set(limits.header_timeout);
        let state = State::Head(Head::default());
        Self { io, buffer: first, state, limits, signals, alarm, waiting: true, stall: None }
    }

    /// The connection, and what was read of it and not passed on.
    pub fn into_parts(self) -> (S, BytesMut) {
        (self.io, self.buffer)
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.signals.refusal.set(Some(refusal));
        self.signals.refused.set(true);
        self.buffer.clear();
        self.state = State::Refused(0);
        self.alarm.set(self.limits.body_timeout);
    }

    /// Reads what there is into the buffer; `false` at the end of the stream.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.buffer.capacity() - self.buffer.len() < READ / 4 {
            self.buffer.reserve(READ);
        }
        match tokio_util::io::poll_read_buf(Pin::new(&mut self.io), context, &mut self.buffer) {
            Poll::Ready(read) => Poll::Ready(read.map(|count| count > 0)),
            Poll::Pending if self.alarm.poll(context) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Moves up to `most` bytes of the buffer to `out`.
    fn give(&mut self, out: &mut ReadBuf<'_>, most: usize) -> usize {
        let count = most.min(self.buffer.len()).min(out.remaining());
        out.put_slice(&self.buffer[..count]);
        self.buffer.advance(count);
        count
    }

    /// Reads straight into the library's buffer, at most `most` bytes.
    fn poll_through(
        &mut self,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        if !self.buffer.is_empty() {
            return Poll::Ready(Ok(self.give(out, most)));
        }
        let mut part = bytes::BufMut::limit(&mut *out, most);
        match tokio_util::io::poll_read_buf(Pin::new(&mut self.io), context, &mut part) {
            Poll::Pending if self.alarm.poll(context) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            other => other,
        }
    }

    /// Looks for the end of a head in the buffer, reading as needed. `Ready(None)`: look at the state again.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<()>>> {
        let State::Head(head) = &mut self.state else { return Poll::Ready(Ok(None)) };
        if !self.waiting {
            self.waiting = true;
            let idle = self.buffer.is_empty();
            self.alarm.set(if idle { SILENT_AFTER } else { self.limits.header_timeout });
        }
        // One empty line before a request is forgiven (RFC 9112 section 2.2).
        if head.seen == 0 && self.buffer.starts_with(b"\r\n") {
            self.buffer.advance(2);
        }
        match head.advance(&self.buffer, self.limits.head) {
            Ok(Progress::Complete(framing)) => {
                self.alarm.set(self.limits.body_timeout);
                self.signals.hop.set(head.hop);
                self.state = State::Release(head.seen, framing);
                return Poll::Ready(Ok(None));
            }
            Ok(Progress::Partial) => {}
            Err(refusal) => {
                self.refuse(refusal);
                return Poll::Ready(Ok(None));
            }
        }
        let before = self.buffer.len();
        match self.poll_fill(context) {
            Poll::Ready(Ok(true)) => {
                if before == 0 {
                    self.alarm.set(self.limits.header_timeout);
                }
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Ok(false)) if before == 0 => Poll::Ready(Ok(Some(()))),
            Poll::Ready(Ok(false)) => {
                self.refuse(Refusal::bad("the head ends in the middle"));
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut && before > 0 => {
                self.refuse(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the head took too long"));
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                // Nobody waits for an answer. What was sent is out, or the library would not read on.
                self.signals.silent.set(self.stall.is_none());
                self.alarm.set(self.limits.keep_alive_timeout);
                Poll::Pending
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn after(&mut self, framing: Framing) {
        self.state = match framing {
            Framing::Nothing => self.next_head(),
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunks::new()),
        };
    }

    fn next_head(&mut self) -> State {
        self.waiting = false;
        self.alarm.clear();
        State::Head(Head::default())
    }

    /// Gives up on a client that takes nothing for too long.
    fn watch_write(
        &mut self,
        context: &Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let stall = self.stall.get_or_insert_with(|| {
            let alarm = self.alarm.another();
            alarm.set(self.limits.body_timeout);
            alarm
        });
        if stall.poll(context) { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }

    fn poll_chunks(&mut self, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() && !ready!(self.poll_fill(context))? {
            return Poll::Ready(Ok(()));
        }
        let State::Chunked(chunks) = &mut self.state else { return Poll::Ready(Ok(())) };
        let most = self.buffer.len().min(out.remaining());
        let Ok(count) = chunks.advance(&self.buffer[..most]) else {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "the body is not chunked")));
        };
        let done = chunks.is_done();
        self.give(out, count);
        if done {
            self.state = self.next_head();
        } else {
            self.alarm.set(self.limits.body_timeout);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.signals.tunnel.get() {
            this.state = State::Tunnel;
        }
        loop {
            match &mut this.state {
                State::Head(_) => match ready!(this.poll_head(context))? {
                    None => {}
                    Some(()) => return Poll::Ready(Ok(())),
                },
                State::Release(left, framing) => {
                    let (most, framing) = (*left, *framing);
                    let count = this.give(out, most);
                    if count == most {
                        this.after(framing);
                    } else {
                        this.state = State::Release(most - count, framing);
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Length(left) => {
                    let most = *left;
                    let limit = usize::try_from(most).unwrap_or(usize::MAX);
                    let count = ready!(this.poll_through(context, out, limit))? as u64;
                    if count == most {
                        this.state = this.next_head();
                    } else {
                        this.state = State::Length(most - count);
                        this.alarm.set(this.limits.body_timeout);
                    }
                    return Poll::Ready(Ok(()));
                }
                State::Chunked(_) => return this.poll_chunks(context, out),
                State::Refused(given) => {
                    let rest = &NOTHING[*given..];
                    let count = rest.len().min(out.remaining());
                    out.put_slice(&rest[..count]);
                    *given += count;
                    return Poll::Ready(Ok(()));
                }
                State::Tunnel => {
                    ready!(this.poll_through(context, out, usize::MAX))?;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(context, bytes);
        this.watch_write(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(context, parts);
        this.watch_write(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }
}
