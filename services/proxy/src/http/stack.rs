//! What happens to a request, from top to bottom: check it, find its rule, filter, choose an endpoint,
//! pass it on, try again where that is safe, check the answer, pass it back.

use std::cell::Cell;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, request};
use hyper::body::Incoming;

use super::answer;
use super::body::{Download, RequestBody, ResponseBody};
use super::client::{Client, Upgrade};
use super::compress::{self, Coding, Compressed};
use super::headers;
use super::response;
use super::rules::{self, Refusal};
use super::sticky;
use crate::access::{Finished, Line};
use crate::balance::{Backend, Counters, InFlight, Key, State, hash_of};
use crate::plan::{Filters, Request as Asked, Rule};
use crate::spec::{Balance, HashOn, UpstreamProtocol};
use crate::upstream::{Failure, Lease, Wire, send};

/// How often one request is tried at most.
const MAX_TRIES: usize = 5;
/// A service that refuses connections may be about to start: its requests wait this long for it.
const REFUSED_FOR: Duration = Duration::from_secs(1);
const REFUSED_PAUSE: Duration = Duration::from_millis(50);

/// Answers a request.
pub async fn handle(client: &Rc<Client>, request: Request<Incoming>) -> Response<ResponseBody> {
    let started = Instant::now();
    let (parts, body) = request.into_parts();
    let mut note = client.core.log.as_ref().map(|log| {
        let line = line(client, &parts);
        Box::new(Finished { log: log.clone(), line, started })
    });
    if let Some(refusal) = client.signals.refusal.take() {
        return own(client, note, answer::refuse_and_close(refusal));
    }
    let version = parts.version;
    let mut response = match pass(client, parts, body, started, &mut note).await {
        Ok(response) => response,
        Err(Own::Refuse(refusal)) => own(client, note, answer::refuse(refusal)),
        Err(Own::Close(refusal)) => own(client, note, answer::refuse_and_close(refusal)),
        Err(Own::Answer(response)) => own(client, note, *response),
    };
    if client.core.closing.get() && version != Version::HTTP_2 && !client.signals.tunnel.get() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// An answer of the proxy's own.
enum Own {
    Refuse(Refusal),
    /// The client's body is broken: nothing more can be read.
    Close(Refusal),
    Answer(Box<Response<ResponseBody>>),
}

impl From<Refusal> for Own {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

async fn pass(
    client: &Rc<Client>,
    mut parts: request::Parts,
    body: Incoming,
    started: Instant,
    note: &mut Option<Box<Finished>>,
) -> Result<Response<ResponseBody>, Own> {
    let host = host(&mut parts)?;
    if parts.uri.path() == "*" {
        return Err(Own::Answer(Box::new(answer::options())));
    }
    let mut exchange = Exchange {
        client,
        upgrade: if parts.version == Version::HTTP_11 { headers::upgrade(&parts.headers) } else { None },
        grpc: is_grpc(&parts),
        coding: None,
        sticky: None,
        method: parts.method.clone(),
        from_http2: parts.version == Version::HTTP_2,
        started,
        failed: Rc::default(),
        uploaded: Rc::default(),
        retries: 0,
    };
    let served = client.site().ok_or(NOT_SERVED)?;
    let name = host_name(&host);
    let asked = Asked { host: name, path: parts.uri.path(), headers: &parts.headers };
    let rule = served.site.router.find(&asked).ok_or(NOT_SERVED)?.clone();
    if let Some(filters) = &rule.filters {
        exchange.filter(filters, &rule, &mut parts, name).await?;
    }
    let trusted = served.site.trusts(client.entry.peer.ip());
    drop(served);

    headers::strip_hop_by_hop(&mut parts.headers);
    if parts.headers.contains_key(header::EXPECT) {
        parts.headers.remove(header::EXPECT);
    }
    parts.headers.remove(header::TRAILER);
    if parts.headers.get(header::TE).is_some_and(|te| !exchange.grpc || te != "trailers") {
        parts.headers.remove(header::TE);
    }
    headers::forward(&mut parts.headers, client, &host, trusted);
    if let Some(upgrade) = &exchange.upgrade {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, upgrade.clone());
    }
    if let Some(filters) = &rule.filters {
        filters.change_request(&mut parts.headers);
    }
    if let Some(note) = note {
        note.line.request_id = parts.headers.get(headers::X_REQUEST_ID).cloned();
    }

    let limit = rule.filters.as_ref().map_or(u64::MAX, |filters| filters.max_body);
    let body = RequestBody::new(body, limit, &exchange.failed, &exchange.uploaded);
    let (mut response, lease, place) = exchange.try_all(&rule, &host, parts, body).await?;
    let asked = exchange.upgrade.as_ref();
    if let Err(refusal) = response::check(&mut response, asked) {
        place.backend().failed(&place.endpoint, client.core.pulse.now());
        return Err(refusal.into());
    }
    Ok(exchange.answer(&rule, response, lease, place, note))
}

const NOT_SERVED: Refusal =
    Refusal::new(StatusCode::NOT_FOUND, "no route leads anywhere for this host and path");

/// One request and its answer.
struct Exchange<'a> {
    client: &'a Rc<Client>,
    upgrade: Option<HeaderValue>,
    grpc: bool,
    coding: Option<Coding>,
    /// The cookie to set, if the client is to stay with an endpoint that it did not have.
    sticky: Option<String>,
    method: Method,
    from_http2: bool,
    started: Instant,
    failed: Rc<Cell<Option<Refusal>>>,
    uploaded: Rc<Cell<u64>>,
    retries: u32,
}

impl Exchange<'_> {
    async fn filter(
        &mut self,
        filters: &Filters,
        rule: &Rule,
        parts: &mut request::Parts,
        host: &str,
    ) -> Result<(), Own> {
        let entry = &self.client.entry;
        filters.admit(entry.peer.ip().to_canonical(), self.started)?;
        if filters.redirect_https && !entry.https {
            let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
            return Err(Own::Answer(Box::new(answer::redirect(&format!("https://{host}{path}")))));
        }
        if let Some(users) = &filters.users
            && !users.admit(&parts.headers).await
        {
            let mut response =
                answer::refuse(Refusal::new(StatusCode::UNAUTHORIZED, "a name and a password are needed"));
            let challenge = HeaderValue::from_static("Basic realm=\"Gantry\", charset=\"UTF-8\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            return Err(Own::Answer(Box::new(response)));
        }
        let length = parts.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|value| rules::length(value.as_bytes()).ok());
        if length.is_some_and(|length| length > filters.max_body) {
            // The body is not read: the connection cannot go on after it.
            let refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
            return Err(Own::Close(refusal));
        }
        if filters.compress {
            self.coding = Coding::accepted(&parts.headers);
        }
        if filters.strip_prefix && !rule.path.is_empty() {
            strip_prefix(parts, &rule.path);
        }
        Ok(())
    }

    /// Sends the request to one endpoint after the other until one answers, as far as that is safe.
    async fn try_all(
        &mut self,
        rule: &Arc<Rule>,
        host: &HeaderValue,
        parts: request::Parts,
        body: RequestBody,
    ) -> Result<(Response<Incoming>, Lease, InFlight), Own> {
        let core = &self.client.core;
        let ends = (self.client.entry.peer, self.client.entry.local);
        let replayable =
            matches!(body, RequestBody::Empty) && parts.method.is_idempotent() && self.upgrade.is_none();
        let mut tried: Vec<Arc<State>> = Vec::new();
        let mut request = Request::from_parts(parts, body);
        let mut first = true;
        let refused_until = self.started + REFUSED_FOR;
        loop {
            let place = self.place(rule, host, &request, &tried).await?;
            let backend = place.backend().clone();
            let endpoint = place.endpoint.clone();
            if std::mem::take(&mut first) {
                backend.earn_retry();
            }
            let wire = self.wire(&backend);
            address(&mut request, host, wire, backend.tls.is_some())?;
            // Only what may be sent twice is kept, and only where there is somebody to send it to.
            let spare = replayable.then(|| copy(&request));
            let timeout = rule.filters.as_ref().and_then(|filters| filters.response_timeout);
            let timeout = timeout.unwrap_or(backend.policy.response_timeout);
            let sent = send(&core.pulse, &place, wire, ends, self.upgrade.is_some(), timeout, request).await;
            let (failure, unsent) = match sent {
                Ok((response, lease)) => {
                    let bad_gateway = matches!(response.status().as_u16(), 502..=504);
                    if bad_gateway {
                        backend.failed(&endpoint, core.pulse.now());
                    } else {
                        backend.succeeded(&endpoint);
                    }
                    return Ok((response, lease, place));
                }
                Err(failed) => failed,
            };
            drop(place);
            if let Some(refusal) = self.failed.take() {
                return Err(Own::Close(refusal));
            }
            let refused = matches!(failure, Failure::Connect(_));
            // A connection that had ended before anything was sent says nothing about the endpoint.
            if !matches!(failure, Failure::Unsent) {
                backend.failed(&endpoint, core.pulse.now());
                tried.push(endpoint.state.clone());
            }
            let again = match &failure {
                Failure::Connect(_) | Failure::Unsent => unsent,
                Failure::Broken(_) => spare,
                Failure::Silent => None,
            };
            let may = refused || matches!(failure, Failure::Unsent) || backend.may_retry(Instant::now());
            self.retries += 1;
            match again {
                Some(again) if may && (self.retries as usize) < MAX_TRIES => request = again,
                // Nobody took the connection. A service that restarts does not for a moment.
                Some(again) if refused && Instant::now() < refused_until => {
                    let waiting = pin!(tokio::time::sleep(REFUSED_PAUSE));
                    waiting.await;
                    tried.clear();
                    request = again;
                }
                _ => return Err(describe(&failure).into()),
            }
            Counters::add(&endpoint.counters().retries, 1);
        }
    }

    /// A place on an endpoint; waits for one while there is none, as far as the queue allows.
    async fn place(
        &mut self,
        rule: &Arc<Rule>,
        host: &HeaderValue,
        request: &Request<RequestBody>,
        tried: &[Arc<State>],
    ) -> Result<InFlight, Own> {
        let core = &self.client.core;
        let mut waiting: Option<Waiting> = None;
        let mut rule = rule.clone();
        loop {
            let served = self.client.site().ok_or(NOT_SERVED)?;
            if waiting.is_some() {
                // There may be another plan by now.
                let asked =
                    Asked { host: host_name(host), path: request.uri().path(), headers: request.headers() };
                if let Some(current) = served.site.router.find(&asked) {
                    rule = current.clone();
                }
            }
            let backend = served.backend(&rule).clone();
            drop(served);
            // Whoever frees a place between the look and the wait must be heard.
            let room = backend.state.clone();
            let mut notified = pin!(room.room.notified());
            if waiting.is_some() {
                notified.as_mut().enable();
            }
            let chosen = {
                let own = backend.policy.sticky_cookie.as_ref();
                let sticky = own.and_then(|name| sticky::read(request.headers(), name));
                let key = Key {
                    hash: self.hash(&backend, request),
                    sticky: sticky.as_deref(),
                    tried,
                    now: core.pulse.now(),
                };
                let chosen = backend.choose(&key, &mut || core.random());
                if let (Some(name), Some(place)) = (own, &chosen)
                    && sticky.as_deref() != Some(place.endpoint.state.name.as_str())
                {
                    self.sticky =
                        Some(sticky::cookie(name, &place.endpoint.state.name, self.client.entry.https));
                }
                chosen
            };
            if let Some(place) = chosen {
                return Ok(place);
            }
            if !tried.is_empty() && backend.endpoints().next().is_some() {
                // All that there are have failed it.
                return Err(FAILED.into());
            }
            let wait = match &waiting {
                Some(wait) => wait,
                None => {
                    let Some(started) = Waiting::begin(&backend, self.started) else {
                        return Err(refuse_waiting(&backend).into());
                    };
                    notified.as_mut().enable();
                    waiting.insert(started)
                }
            };
            let left = wait.until.saturating_duration_since(Instant::now());
            if left.is_zero() || core.pulse.within(left, notified).await.is_none() {
                wait.backend.state.turned_away.fetch_add(1, Relaxed);
                return Err(refuse_waiting(&backend).into());
            }
        }
    }

    fn hash(&self, backend: &Backend, request: &Request<RequestBody>) -> u64 {
        if backend.policy.balance != Balance::Hash {
            return 0;
        }
        match &backend.policy.hash_on {
            HashOn::Source => hash_of(self.client.address.as_bytes()),
            HashOn::Header(name) => request.headers().get(name).map_or(0, |value| hash_of(value.as_bytes())),
            HashOn::Cookie(name) => {
                sticky::find(request.headers(), name).map_or(0, |value| hash_of(value.as_bytes()))
            }
        }
    }

    fn wire(&self, backend: &Backend) -> Wire {
        match backend.policy.protocol {
            UpstreamProtocol::Http1 => Wire::Http1,
            UpstreamProtocol::Http2 => Wire::Http2,
            // A client that speaks HTTP/2 without TLS knows whom it speaks to.
            UpstreamProtocol::Auto if self.grpc || (self.from_http2 && !self.client.entry.https) => {
                Wire::Http2
            }
            UpstreamProtocol::Auto => Wire::Http1,
        }
    }

    fn answer(
        &mut self,
        rule: &Rule,
        response: Response<Incoming>,
        mut lease: Lease,
        place: InFlight,
        note: &mut Option<Box<Finished>>,
    ) -> Response<ResponseBody> {
        let core = &self.client.core;
        let (mut parts, body) = response.into_parts();
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        place.endpoint.counters().response(usize::from(parts.status.as_u16() / 100), self.started.elapsed());
        if let Some(note) = note {
            note.line.status = parts.status;
            note.line.backend.clone_from(&place.endpoint.state.backend);
            note.line.endpoint.clone_from(&place.endpoint.state.name);
            note.line.retries = self.retries;
        }
        if let Some(cookie) = self.sticky.take().and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
            parts.headers.append(header::SET_COOKIE, cookie);
        }
        if let Some(filters) = &rule.filters {
            filters.change_response(&mut parts.headers);
        }
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            if let Some(stream) = lease.switched() {
                self.client.signals.tunnel.set(true);
                *self.client.upgrade.borrow_mut() = Some(Upgrade { stream, place });
            }
            return Response::from_parts(parts, ResponseBody::Empty);
        }
        let size = http_body::Body::size_hint(&body).exact();
        let idle = place.backend().policy.idle_timeout;
        let download =
            Download::new(body, lease, place, core.pulse.clone(), idle, self.uploaded.clone(), note.take());
        if let Some(coding) = self.coding
            && compress::is_worth_it(&self.method, parts.status, &parts.headers, size)
        {
            match Compressed::new(download, coding) {
                Ok(smaller) => {
                    compress::announce(&mut parts.headers, coding);
                    return Response::from_parts(parts, ResponseBody::Compressed(Box::new(smaller)));
                }
                Err(_) => return answer::refuse(FAILED),
            }
        }
        Response::from_parts(parts, ResponseBody::Endpoint(download))
    }
}

/// A request that waits for an endpoint.
struct Waiting {
    backend: Rc<Backend>,
    until: Instant,
}

impl Waiting {
    fn begin(backend: &Rc<Backend>, started: Instant) -> Option<Self> {
        let state = &backend.state;
        if state.waiting.fetch_add(1, Relaxed) >= backend.policy.queue_length {
            state.waiting.fetch_sub(1, Relaxed);
            state.turned_away.fetch_add(1, Relaxed);
            return None;
        }
        state.queued.fetch_add(1, Relaxed);
        Some(Self { backend: backend.clone(), until: started + backend.policy.queue_timeout })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.backend.state.waiting.fetch_sub(1, Relaxed);
    }
}

const FAILED: Refusal = Refusal::new(StatusCode::BAD_GATEWAY, "no endpoint of this service answers");

fn refuse_waiting(backend: &Backend) -> Refusal {
    if backend.endpoints().next().is_none() {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no endpoint of this service is ready")
    } else {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "every endpoint of this service is at its limit")
    }
}

fn describe(failure: &Failure) -> Refusal {
    match failure {
        Failure::Connect(_) => FAILED,
        Failure::Unsent | Failure::Broken(_) => {
            Refusal::new(StatusCode::BAD_GATEWAY, "the endpoint ended the connection, or sent no HTTP")
        }
        Failure::Silent => Refusal::new(StatusCode::GATEWAY_TIMEOUT, "the endpoint did not answer in time"),
    }
}

/// The host that is asked for. A target in absolute form names it, whatever Host says (RFC 9112
/// section 3.2.2).
fn host(parts: &mut request::Parts) -> Result<HeaderValue, Refusal> {
    if parts.version == Version::HTTP_2 {
        rules::http2(parts)?;
    }
    if let Some(authority) = parts.uri.authority() {
        let value = HeaderValue::from_str(authority.as_str()).map_err(|_| Refusal::bad("not a host"))?;
        let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        parts.uri = Uri::from(path);
        parts.headers.insert(header::HOST, value.clone());
        return Ok(value);
    }
    match parts.headers.get(header::HOST) {
        Some(host) => Ok(host.clone()),
        // HTTP/1.0 may have none; an endpoint wants one.
        None => {
            let value = HeaderValue::from_static("localhost");
            parts.headers.insert(header::HOST, value.clone());
            Ok(value)
        }
    }
}

/// The host without its port.
fn host_name(host: &HeaderValue) -> &str {
    let host = host.to_str().unwrap_or_default();
    match host.rfind(':') {
        Some(at) if !host.ends_with(']') => &host[..at],
        _ => host,
    }
}

fn is_grpc(parts: &request::Parts) -> bool {
    parts.version == Version::HTTP_2
        && parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn strip_prefix(parts: &mut request::Parts, prefix: &str) {
    let Some(old) = parts.uri.path_and_query() else { return };
    let Some(rest) = old.as_str().strip_prefix(prefix) else { return };
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    if let Ok(new) = PathAndQuery::try_from(rest) {
        parts.uri = Uri::from(new);
    }
}

/// Puts the request into the form that its protocol wants.
fn address(
    request: &mut Request<RequestBody>,
    host: &HeaderValue,
    wire: Wire,
    tls: bool,
) -> Result<(), Refusal> {
    match wire {
        Wire::Http1 => {
            *request.version_mut() = Version::HTTP_11;
            if request.uri().authority().is_some() {
                let path = request.uri().path_and_query().cloned();
                *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
            }
            if !request.headers().contains_key(header::HOST) {
                request.headers_mut().insert(header::HOST, host.clone());
            }
        }
        Wire::Http2 => {
            *request.version_mut() = Version::HTTP_2;
            let authority = Authority::try_from(host.as_bytes()).map_err(|_| Refusal::bad("not a host"))?;
            let mut uri = std::mem::take(request.uri_mut()).into_parts();
            uri.scheme = Some(if tls { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP });
            uri.authority = Some(authority);
            *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Refusal::bad("not a target"))?;
            request.headers_mut().remove(header::HOST);
        }
    }
    Ok(())
}

/// A copy of a request without a body.
fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy
}

fn own(
    client: &Client,
    note: Option<Box<Finished>>,
    response: Response<ResponseBody>,
) -> Response<ResponseBody> {
    let gauges = &client.core.gauges;
    gauges.own_answers.store(gauges.own_answers.load(Relaxed) + 1, Relaxed);
    if let Some(mut note) = note {
        note.line.status = response.status();
        let reason = response.headers().get(answer::REASON).and_then(|value| value.to_str().ok());
        note.line.reason = reason.unwrap_or_default().to_owned();
        let size = http_body::Body::size_hint(response.body()).exact().unwrap_or(0);
        note.write(size);
    }
    response
}

fn line(client: &Client, parts: &request::Parts) -> Line {
    let text = |name| parts.headers.get(name).cloned();
    let peer: SocketAddr = client.entry.peer;
    Line {
        at: SystemTime::now(),
        client: peer.ip().to_canonical(),
        method: parts.method.clone(),
        target: parts.uri.to_string(),
        version: parts.version,
        host: parts
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        status: StatusCode::OK,
        bytes: 0,
        took: Duration::ZERO,
        backend: String::new(),
        endpoint: String::new(),
        retries: 0,
        request_id: None,
        referer: text(header::REFERER),
        agent: text(header::USER_AGENT),
        reason: String::new(),
    }
}
