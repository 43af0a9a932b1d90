//! Bodies on their way through.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::compress::Compressed;
use super::rules::Refusal;
use crate::access::Finished;
use crate::balance::{Counters, InFlight};
use crate::pulse::{Alarm, Pulse};
use crate::upstream::Lease;

/// What a client sends, on its way to an endpoint.
pub enum RequestBody {
    /// Nothing.
    Empty,
    /// Something.
    Client(Upload),
}

/// A client's body.
pub struct Upload {
    incoming: Incoming,
    /// How many bytes it may still have.
    left: u64,
    progress: Rc<Progress>,
}

/// How it goes with a client's body.
#[derive(Default)]
pub struct Progress {
    /// Why it ended before its end, for the answer.
    pub failed: Cell<Option<Refusal>>,
    /// How many bytes came.
    pub count: Cell<u64>,
}

impl RequestBody {
    /// `incoming`, of at most `limit` bytes. How it goes is seen in `progress`, if there is anything.
    pub fn new(incoming: Incoming, limit: u64, progress: &mut Option<Rc<Progress>>) -> Self {
        if incoming.is_end_stream() {
            return Self::Empty;
        }
        let progress = progress.insert(Rc::default()).clone();
        Self::Client(Upload { incoming, left: limit, progress })
    }

    /// How it goes; `None` where nothing comes.
    pub fn progress(&self) -> Option<Rc<Progress>> {
        match self {
            Self::Empty => None,
            Self::Client(upload) => Some(upload.progress.clone()),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Self::Client(upload) = self.get_mut() else { return Poll::Ready(None) };
        match ready!(Pin::new(&mut upload.incoming).poll_frame(context)) {
            Some(Ok(frame)) => {
                let size = frame.data_ref().map_or(0, |data| data.len() as u64);
                let count = &upload.progress.count;
                count.set(count.get() + size);
                match upload.left.checked_sub(size) {
                    Some(left) => upload.left = left,
                    None => {
                        let status = http::StatusCode::PAYLOAD_TOO_LARGE;
                        upload.progress.failed.set(Some(Refusal::new(status, "the body is too large")));
                        return Poll::Ready(Some(Err(io::ErrorKind::FileTooLarge.into())));
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                upload.progress.failed.set(Some(Refusal::bad("the body is broken")));
                Poll::Ready(Some(Err(io::Error::other(error))))
            }
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Client(upload) => upload.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Client(upload) => upload.incoming.size_hint(),
        }
    }
}

/// What a client gets.
pub enum ResponseBody {
    /// Nothing.
    Empty,
    /// A text of the proxy's own.
    Own(Option<Bytes>),
    /// What an endpoint answers.
    Endpoint(Download),
    /// The same, made smaller.
    Compressed(Box<Compressed>),
}

/// An endpoint's answer, with all that is to be done when it is through.
pub struct Download {
    incoming: Incoming,
    lease: Lease,
    place: InFlight,
    pulse: Rc<Pulse>,
    idle: Duration,
    alarm: Option<Alarm>,
    bytes: u64,
    upload: Option<Rc<Progress>>,
    finished: Option<Box<Finished>>,
}

impl Download {
    /// `incoming` from `place`; `idle` is how long it may be silent.
    pub fn new(
        incoming: Incoming,
        lease: Lease,
        place: InFlight,
        pulse: Rc<Pulse>,
        idle: Duration,
        upload: Option<Rc<Progress>>,
        finished: Option<Box<Finished>>,
    ) -> Self {
        let mut download =
            Self { incoming, lease, place, pulse, idle, alarm: None, bytes: 0, upload, finished };
        if download.incoming.is_end_stream() {
            download.lease.finish(download.pulse.now());
        }
        download
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let frame = match Pin::new(&mut this.incoming).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                if this.idle.is_zero() {
                    return Poll::Pending;
                }
                let alarm = this.alarm.get_or_insert_with(|| {
                    let alarm = this.pulse.alarm();
                    alarm.set(this.idle);
                    alarm
                });
                if alarm.poll(context) {
                    return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
                }
                return Poll::Pending;
            }
        };
        if let Some(alarm) = &this.alarm {
            alarm.set(this.idle);
        }
        match frame {
            Some(Ok(frame)) => {
                this.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                if this.incoming.is_end_stream() {
                    this.lease.finish(this.pulse.now());
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                this.place.backend().failed(&this.place.endpoint, this.pulse.now());
                Poll::Ready(Some(Err(io::Error::other(error))))
            }
            None => {
                this.lease.finish(this.pulse.now());
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let counters = self.place.endpoint.counters();
        Counters::add(&counters.bytes_out, self.bytes);
        if let Some(upload) = &self.upload {
            Counters::add(&counters.bytes_in, upload.count.get());
        }
        if let Some(finished) = self.finished.take() {
            finished.write(self.bytes);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Endpoint(download) => Pin::new(download).poll_frame(context),
            Self::Compressed(compressed) => Pin::new(&mut **compressed).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Own(None) => true,
            Self::Own(Some(_)) => false,
            Self::Endpoint(download) => download.is_end_stream(),
            Self::Compressed(compressed) => compressed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Own(None) => SizeHint::with_exact(0),
            Self::Own(Some(text)) => SizeHint::with_exact(text.len() as u64),
            Self::Endpoint(download) => download.size_hint(),
            Self::Compressed(_) => SizeHint::default(),
        }
    }
}
