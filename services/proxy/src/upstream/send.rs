//! One request to one endpoint, on a connection that is idle or new.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

use super::{Shared, Single, Switched, connect};
use crate::balance::{Endpoint, InFlight};
use crate::http::{Progress, RequestBody};
use crate::local::Local;
use crate::pulse::Pulse;

/// Heads of responses larger than this are refused.
const MAX_RESPONSE_HEAD: usize = 64 << 10;
const MAX_RESPONSE_FIELDS: usize = 200;

/// What is spoken on the way to the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// The protocol.
    pub wire: Wire,
    /// The two ends of the client's connection.
    pub clients: (SocketAddr, SocketAddr),
    /// Whether the request asks to switch protocols.
    pub upgrade: bool,
    /// Whether the connection must be one that nobody used before.
    pub fresh: bool,
    /// How long an answer may take to begin.
    pub response_timeout: Duration,
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The connection was refused, or could not be made for another reason.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The connection had ended before the request was sent.
    #[error("the connection had ended")]
    Unsent,
    /// The connection, which had served others before, ended where an answer should have begun. Endpoints
    /// end idle connections as they like, and it may be that this one had not seen the request.
    #[error("the connection ended without an answer")]
    Stale(#[source] hyper::Error),
    /// The endpoint ended the connection, or said something that is no HTTP, after the request was sent.
    #[error("the answer is broken")]
    Broken(#[source] hyper::Error),
    /// No response began in time.
    #[error("no answer in time")]
    Silent,
}

/// The hold on a connection while a response comes in.
pub struct Lease {
    endpoint: Rc<Endpoint>,
    connection: Held,
    switched: Option<oneshot::Receiver<Switched>>,
}

enum Held {
    /// The connection, if it was not given back yet, and whether it may be.
    Single(Option<Single>, bool),
    /// Held only so that its streams are counted.
    Shared(Rc<Shared>),
}

impl Lease {
    /// The response is complete: the connection can be used again.
    pub fn finish(&mut self, now: Instant) {
        if let Held::Single(single, true) = &mut self.connection
            && let Some(single) = single.take()
        {
            single.switched.set(None);
            self.endpoint.connections.give_back(single, now);
        }
    }

    /// What is left of the connection once the protocol is switched; once, and only if that was asked for.
    pub fn switched(&mut self) -> Option<oneshot::Receiver<Switched>> {
        self.switched.take()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Held::Shared(shared) = &self.connection {
            shared.streams.set(shared.streams.get() - 1);
        }
    }
}

/// Sends `request`. On failure the request comes back, if it was not sent.
pub async fn send(
    pulse: &Rc<Pulse>,
    place: &InFlight,
    way: Way,
    request: Request<RequestBody>,
) -> Result<(Response<Incoming>, Lease), (Failure, Option<Request<RequestBody>>)> {
    let Way { wire, clients, upgrade, fresh, response_timeout } = way;
    let endpoint = &place.endpoint;
    // A connection that says for whom it is, is for nobody else.
    let reusable = place.backend().policy.send_proxy_protocol == 0;
    match wire {
        Wire::Http1 => {
            let idle = if reusable && !fresh { endpoint.connections.take() } else { None };
            let reused = idle.is_some();
            let mut single = match idle {
                Some(single) => single,
                None => match single(pulse, place, clients).await {
                    Ok(single) => single,
                    Err(failure) => return Err((failure, Some(request))),
                },
            };
            let switched = upgrade.then(|| {
                let (sender, receiver) = oneshot::channel();
                single.switched.set(Some(sender));
                receiver
            });
            let upload = request.body().progress();
            let sending = pin!(single.sender.try_send_request(request));
            let response = outcome(answer(pulse, response_timeout, sending, upload).await, reused)?;
            let connection = Held::Single(Some(single), reusable);
            Ok((response, Lease { endpoint: endpoint.clone(), connection, switched }))
        }
        Wire::Http2 => {
            let known = if reusable { endpoint.connections.take_shared() } else { None };
            let shared = match known {
                Some(shared) => shared,
                None => match shared(pulse, place, clients).await {
                    Ok(shared) => shared,
                    Err(failure) => return Err((failure, Some(request))),
                },
            };
            shared.streams.set(shared.streams.get() + 1);
            let connection = Held::Shared(shared.clone());
            let lease = Lease { endpoint: endpoint.clone(), connection, switched: None };
            let mut sender = shared.sender.clone();
            let upload = request.body().progress();
            let sending = pin!(sender.try_send_request(request));
            let response = outcome(answer(pulse, response_timeout, sending, upload).await, false)?;
            Ok((response, lease))
        }
    }
}

type Tried = Result<Response<Incoming>, hyper::client::conn::TrySendError<Request<RequestBody>>>;

/// Waits for an answer, as long as that may take after the client's last byte.
async fn answer(
    pulse: &Rc<Pulse>,
    limit: Duration,
    mut sending: Pin<&mut impl Future<Output = Tried>>,
    upload: Option<Rc<Progress>>,
) -> Option<Tried> {
    let count = || upload.as_ref().map(|upload| upload.count.get());
    loop {
        let before = count();
        let tried = pulse.within(limit, sending.as_mut()).await;
        if tried.is_some() || before == count() {
            return tried;
        }
    }
}

fn outcome(
    tried: Option<Tried>,
    reused: bool,
) -> Result<Response<Incoming>, (Failure, Option<Request<RequestBody>>)> {
    match tried {
        Some(Ok(response)) => Ok(response),
        Some(Err(mut error)) => match error.take_message() {
            Some(request) => Err((Failure::Unsent, Some(request))),
            None => {
                let error = error.into_error();
                // Not one that is cut off in the middle, and none that is no HTTP.
                let stale = reused && !error.is_parse();
                Err((if stale { Failure::Stale(error) } else { Failure::Broken(error) }, None))
            }
        },
        None => Err((Failure::Silent, None)),
    }
}

async fn single(
    pulse: &Rc<Pulse>,
    place: &InFlight,
    clients: (SocketAddr, SocketAddr),
) -> Result<Single, Failure> {
    let stream = connect(pulse, place.backend(), &place.endpoint, clients, |secure| &secure.http1)
        .await
        .map_err(Failure::Connect)?;
    let mut builder = http1::Builder::new();
    builder.max_headers(MAX_RESPONSE_FIELDS).max_header_size(MAX_RESPONSE_HEAD);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(Failure::Broken)?;
    let switched: Rc<Cell<Option<oneshot::Sender<Switched>>>> = Rc::default();
    let to = switched.clone();
    place.endpoint.connections.run(async move {
        // Whoever waits for a response hears of an error; an idle connection may end as it likes.
        if let Ok(parts) = connection.without_shutdown().await
            && let Some(to) = to.take()
        {
            let _ = to.send((parts.io.into_inner(), parts.read_buf));
        }
    });
    Ok(Single { sender, switched })
}

async fn shared(
    pulse: &Rc<Pulse>,
    place: &InFlight,
    clients: (SocketAddr, SocketAddr),
) -> Result<Rc<Shared>, Failure> {
    let stream = connect(pulse, place.backend(), &place.endpoint, clients, |secure| &secure.http2)
        .await
        .map_err(Failure::Connect)?;
    let mut builder = http2::Builder::new(Local);
    builder.max_header_list_size(u32::try_from(MAX_RESPONSE_HEAD).unwrap_or(u32::MAX));
    builder.initial_stream_window_size(1 << 20).initial_connection_window_size(4 << 20);
    let shaking = pin!(builder.handshake(TokioIo::new(stream)));
    let shaken = pulse.within(place.backend().policy.connect_timeout, shaking).await;
    let (sender, connection) = shaken.ok_or(Failure::Silent)?.map_err(Failure::Broken)?;
    place.endpoint.connections.run(async move {
        let _ = connection.await;
    });
    let shared = Rc::new(Shared { sender, streams: Cell::new(0) });
    if place.backend().policy.send_proxy_protocol == 0 {
        place.endpoint.connections.shared.borrow_mut().push(shared.clone());
    }
    Ok(shared)
}
