//! Connections to endpoints: made when needed, used again, given up when they are of no use any more.

mod connect;
mod send;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::client::conn::{http1, http2};
use slab::Slab;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

pub use connect::{Secure, Stream, connect};
pub use send::{Failure, Lease, Way, Wire, send};

use crate::http::RequestBody;

/// An idle connection is closed after this time: sooner than most servers close it, since a request
/// that meets a closing connection has to be sent again.
const IDLE: Duration = Duration::from_secs(4);
/// Idle connections to one endpoint that a core keeps.
const MAX_IDLE: usize = 1024;
/// Streams on one HTTP/2 connection before another is made.
const MAX_STREAMS: u32 = 100;

/// What is left of a connection whose protocol was switched: the stream, and what was read of it.
pub type Switched = (Stream, Bytes);

/// One core's connections to one endpoint.
#[derive(Default)]
pub struct Connections {
    idle: RefCell<Vec<Idle>>,
    shared: RefCell<Vec<Rc<Shared>>>,
    running: Rc<RefCell<Slab<AbortHandle>>>,
}

struct Idle {
    connection: Single,
    since: Instant,
}

/// A connection for one request at a time.
struct Single {
    sender: http1::SendRequest<RequestBody>,
    /// Where the stream goes when the protocol is switched.
    switched: Rc<Cell<Option<oneshot::Sender<Switched>>>>,
}

/// An HTTP/2 connection for many.
struct Shared {
    sender: http2::SendRequest<RequestBody>,
    streams: Cell<u32>,
}

impl Connections {
    /// The connection that was used last, if there is one.
    fn take(&self) -> Option<Single> {
        let mut idle = self.idle.borrow_mut();
        while let Some(last) = idle.pop() {
            if last.connection.sender.is_ready() {
                return Some(last.connection);
            }
            // One that is closed is dropped; one that still finishes may be ready next time, but to
            // wait for it would cost more than a new one.
        }
        None
    }

    fn give_back(&self, connection: Single, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE && !connection.sender.is_closed() {
            idle.push(Idle { connection, since: now });
        }
    }

    fn take_shared(&self) -> Option<Rc<Shared>> {
        let mut shared = self.shared.borrow_mut();
        shared.retain(|one| !one.sender.is_closed());
        shared.iter().find(|one| one.streams.get() < MAX_STREAMS && one.sender.is_ready()).cloned()
    }

    /// Closes what was idle for too long.
    pub fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain(|one| {
            !one.connection.sender.is_closed() && now.saturating_duration_since(one.since) < IDLE
        });
        self.shared.borrow_mut().retain(|one| !one.sender.is_closed());
    }

    /// Closes what is idle; what is in use goes on.
    pub fn close_idle(&self) {
        self.idle.borrow_mut().clear();
        self.shared.borrow_mut().clear();
    }

    /// Ends every connection in the middle of whatever it does.
    pub fn cut(&self) {
        self.close_idle();
        for (_, task) in self.running.borrow().iter() {
            task.abort();
        }
    }

    /// Runs a connection's task, so that it can be cut.
    fn run(&self, task: impl Future<Output = ()> + 'static) {
        let running = self.running.clone();
        let key = running.borrow().vacant_key();
        let done = running.clone();
        let handle = tokio::task::spawn_local(async move {
            // Also when the task is aborted.
            let _remove = Remove { running: done, key };
            task.await;
        });
        running.borrow_mut().insert(handle.abort_handle());
    }
}

struct Remove {
    running: Rc<RefCell<Slab<AbortHandle>>>,
    key: usize,
}

impl Drop for Remove {
    fn drop(&mut self) {
        self.running.borrow_mut().try_remove(self.key);
    }
}
