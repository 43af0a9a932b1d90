//! What happens to a request, from top to bottom: check it, find its rule, filter, choose an endpoint,
//! pass it on, try again where that is safe, check the answer, pass it back.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, request};
use hyper::body::Incoming;

use super::answer;
use super::body::{Download, Progress, RequestBody, ResponseBody};
use super::client::{Client, Upgrade};
use super::compress::{self, Coding, Compressed};
use super::headers;
use super::note;
use super::response;
use super::rules::{self, Refusal};
use super::target::{address, copy, host, host_name, is_grpc, strip_prefix};
use crate::access::Finished;
use crate::balance::{Backend, Counters, Endpoint, InFlight, State};
use crate::core::Served;
use crate::plan::{Filters, Request as Asked, Rule};
use crate::spec::UpstreamProtocol;
use crate::upstream::{Failure, Lease, Way, Wire, send};

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
        let line = note::line(client, &parts);
        Box::new(Finished::new(log.clone(), line, started))
    });
    if let Some(refusal) = client.signals.refusal.take() {
        return note::own(client, note, answer::refuse_and_close(refusal));
    }
    let version = parts.version;
    let mut response = match pass(client, parts, body, started, &mut note).await {
        Ok(response) => response,
        Err(Own::Refuse(refusal)) => note::own(client, note, answer::refuse(refusal)),
        Err(Own::Close(refusal)) => note::own(client, note, answer::refuse_and_close(refusal)),
        Err(Own::Answer(response)) => note::own(client, note, *response),
    };
    if client.core.closing.get() && version != Version::HTTP_2 && !client.signals.tunnel.get() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// An answer of the proxy's own.
pub enum Own {
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
    let from_http2 = parts.version == Version::HTTP_2;
    // The guard has seen every name of HTTP/1: mostly there is nothing to look for.
    let hop = from_http2 || client.signals.hop.get();
    let upgrade = hop && parts.version == Version::HTTP_11;
    let mut exchange = Exchange {
        client,
        upgrade: if upgrade { headers::upgrade(&parts.headers) } else { None },
        grpc: is_grpc(&parts),
        compress: false,
        coding: None,
        sticky: None,
        method: parts.method.clone(),
        from_http2,
        started,
        path: None,
        upload: None,
        retries: 0,
    };
    let served = client.site().ok_or(NOT_SERVED)?;
    let name = host_name(&host);
    let asked = Asked { host: name, path: parts.uri.path(), headers: &parts.headers };
    let rule = &**served.site.router.find(&asked).ok_or(NOT_SERVED)?;
    if let Some(filters) = &rule.filters {
        exchange.filter(filters, rule, &mut parts, name).await?;
    }
    let trusted = served.site.trusts(client.entry.peer.ip());

    if hop {
        headers::strip_hop_by_hop(&mut parts.headers);
        parts.headers.remove(header::EXPECT);
        parts.headers.remove(header::TRAILER);
        if parts.headers.get(header::TE).is_some_and(|te| !exchange.grpc || te != "trailers") {
            parts.headers.remove(header::TE);
        }
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
    let body = RequestBody::new(body, limit, &mut exchange.upload);
    let (mut response, lease, place) = exchange.try_all(&served, rule, &host, parts, body).await?;
    let asked = exchange.upgrade.as_ref();
    if let Err(refusal) = response::check(&mut response, asked) {
        place.backend().failed(&place.endpoint, client.core.pulse.now());
        place.endpoint.counters().ended(0);
        return Err(refusal.into());
    }
    Ok(exchange.answer(rule, response, lease, place, note))
}

/// No rule is for it.
pub const NOT_SERVED: Refusal =
    Refusal::new(StatusCode::NOT_FOUND, "no route leads anywhere for this host and path");

/// Whoever was asked has failed.
pub const FAILED: Refusal = Refusal::new(StatusCode::BAD_GATEWAY, "no endpoint of this service answers");

/// One request and its answer.
pub struct Exchange<'a> {
    pub(super) client: &'a Rc<Client>,
    upgrade: Option<HeaderValue>,
    grpc: bool,
    /// The answer may be made smaller, and how this client takes it.
    compress: bool,
    coding: Option<Coding>,
    /// The cookie to set, if the client is to stay with an endpoint that it did not have.
    pub(super) sticky: Option<String>,
    method: Method,
    from_http2: bool,
    pub(super) started: Instant,
    /// The path as it was asked for, where it was changed.
    pub(super) path: Option<PathAndQuery>,
    /// How it goes with the body, if there is one.
    upload: Option<Rc<Progress>>,
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
            self.compress = true;
            self.coding = Coding::accepted(&parts.headers);
        }
        if filters.strip_prefix && !rule.path.is_empty() {
            self.path = parts.uri.path_and_query().cloned();
            strip_prefix(parts, &rule.path);
        }
        Ok(())
    }

    /// Sends the request to one endpoint after the other until one answers, as far as that is safe.
    async fn try_all(
        &mut self,
        served: &Served,
        rule: &Rule,
        host: &HeaderValue,
        parts: request::Parts,
        body: RequestBody,
    ) -> Result<(Response<Incoming>, Lease, InFlight), Own> {
        let core = &self.client.core;
        let clients = (self.client.entry.peer, self.client.entry.local);
        let replayable =
            matches!(body, RequestBody::Empty) && parts.method.is_idempotent() && self.upgrade.is_none();
        let mut tried: Vec<Arc<State>> = Vec::new();
        let mut request = Request::from_parts(parts, body);
        let mut first = true;
        let mut fresh = false;
        let refused_until = self.started + REFUSED_FOR;
        loop {
            let place = self.place(served, rule, host, &request, &tried).await?;
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
            let response_timeout = timeout.unwrap_or(backend.policy.response_timeout);
            let way = Way { wire, clients, upgrade: self.upgrade.is_some(), fresh, response_timeout };
            let sent = send(&core.pulse, &place, way, request).await;
            let (failure, unsent) = match sent {
                Ok((response, lease)) => {
                    let bad_gateway = matches!(response.status().as_u16(), 502..=504);
                    if bad_gateway {
                        backend.failed(&endpoint, core.pulse.now());
                    } else {
                        Backend::succeeded(&endpoint);
                    }
                    return Ok((response, lease, place));
                }
                Err(failed) => failed,
            };
            drop(place);
            tracing::debug!(
                endpoint = endpoint.state.name,
                error = gantry_boot::chain(&failure),
                "a try failed"
            );
            if let Some(refusal) = self.upload.as_ref().and_then(|upload| upload.failed.take()) {
                return Err(Own::Close(refusal));
            }
            // A connection that had ended before anything was sent says nothing about the endpoint, and one
            // that it ended after another request says little.
            let stale = matches!(failure, Failure::Stale(_)) && !fresh;
            fresh |= stale;
            if !stale && !matches!(failure, Failure::Unsent) {
                backend.failed(&endpoint, core.pulse.now());
                tried.push(endpoint.state.clone());
            }
            let again = match &failure {
                Failure::Connect(_) | Failure::Unsent => unsent,
                Failure::Broken(_) | Failure::Stale(_) => spare,
                Failure::Silent => None,
            };
            let Some(again) = again else {
                endpoint.counters().ended(0);
                return Err(describe(&failure).into());
            };
            let is_new = |one: &Rc<Endpoint>| !tried.iter().any(|tried| Arc::ptr_eq(tried, &one.state));
            let free = stale || matches!(failure, Failure::Connect(_) | Failure::Unsent);
            self.retries += 1;
            if (self.retries as usize) < MAX_TRIES
                && backend.endpoints().any(is_new)
                && (free || backend.may_retry(Instant::now()))
            {
                request = again;
            } else if is_refused(&failure) && Instant::now() < refused_until {
                // Nobody took the connection. A service that restarts does not for a moment.
                let waiting = pin!(tokio::time::sleep(REFUSED_PAUSE));
                waiting.await;
                tried.clear();
                request = again;
            } else {
                endpoint.counters().ended(0);
                return Err(describe(&failure).into());
            }
            Counters::add(&endpoint.counters().retries, 1);
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
                *self.client.upgrade.borrow_mut() = Some(Upgrade { stream, place, finished: note.take() });
            }
            return Response::from_parts(parts, ResponseBody::Empty);
        }
        let size = http_body::Body::size_hint(&body).exact();
        let idle = place.backend().policy.idle_timeout;
        let download =
            Download::new(body, lease, place, core.pulse.clone(), idle, self.upload.take(), note.take());
        if self.compress && compress::is_worth_it(&self.method, parts.status, &parts.headers, size) {
            compress::vary(&mut parts.headers);
            if let Some(coding) = self.coding {
                match Compressed::new(download, coding) {
                    Ok(smaller) => {
                        compress::announce(&mut parts.headers, coding);
                        return Response::from_parts(parts, ResponseBody::Compressed(Box::new(smaller)));
                    }
                    Err(_) => return answer::refuse(FAILED),
                }
            }
        }
        Response::from_parts(parts, ResponseBody::Endpoint(download))
    }
}

/// Whether nobody listens where the endpoint should be.
fn is_refused(failure: &Failure) -> bool {
    matches!(failure, Failure::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused)
}

fn describe(failure: &Failure) -> Refusal {
    match failure {
        Failure::Connect(_) => FAILED,
        Failure::Unsent | Failure::Stale(_) | Failure::Broken(_) => {
            Refusal::new(StatusCode::BAD_GATEWAY, "the endpoint ended the connection, or sent no HTTP")
        }
        Failure::Silent => Refusal::new(StatusCode::GATEWAY_TIMEOUT, "the endpoint did not answer in time"),
    }
}
