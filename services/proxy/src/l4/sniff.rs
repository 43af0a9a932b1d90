//! Tells HTTP from everything else by its first bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What somebody speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// HTTP/1.
    Http1,
    /// HTTP/2 by prior knowledge.
    Http2,
    /// Something else.
    Other,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const METHODS: [&[u8]; 9] =
    [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE "];

/// What begins with `bytes`; `None` if more of them are needed.
pub fn sniff(bytes: &[u8]) -> Option<Kind> {
    let begins = |with: &[u8]| {
        let length = bytes.len().min(with.len());
        bytes[..length] == with[..length]
    };
    if begins(PREFACE) {
        return (bytes.len() >= PREFACE.len()).then_some(Kind::Http2);
    }
    match METHODS.into_iter().find(|method| begins(method)) {
        Some(method) => (bytes.len() >= method.len()).then_some(Kind::Http1),
        None => Some(Kind::Other),
    }
}

/// A connection of which some was read already.
pub struct Rewind<S> {
    first: BytesMut,
    io: S,
}

impl<S> Rewind<S> {
    /// `first` comes before the rest of `io`.
    pub fn new(first: BytesMut, io: S) -> Self {
        Self { first, io }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewind<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.first.is_empty() {
            return Pin::new(&mut this.io).poll_read(context, out);
        }
        let count = this.first.len().min(out.remaining());
        out.put_slice(&this.first[..count]);
        this.first.advance(count);
        if this.first.is_empty() {
            this.first = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewind<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(context, parts)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell() {
        assert_eq!(sniff(b"GET / HTTP/1.1"), Some(Kind::Http1));
        assert_eq!(sniff(PREFACE), Some(Kind::Http2));
        assert_eq!(sniff(b"PRI * "), None);
        assert_eq!(sniff(b"P"), None);
        assert_eq!(sniff(b""), None);
        assert_eq!(sniff(b"*1\r\n$4\r\nPING\r\n"), Some(Kind::Other));
        assert_eq!(sniff(&[0x16, 3, 1]), Some(Kind::Other));
        assert_eq!(sniff(b"GETX"), Some(Kind::Other));
    }
}
