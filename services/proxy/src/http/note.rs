//! What is written down of a request, and the proxy's own answers among them.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use http::{Response, StatusCode, header, request};

use super::answer;
use super::body::ResponseBody;
use super::client::Client;
use crate::access::{Finished, Line};

/// Counts and writes down an answer of the proxy's own.
pub fn own(
    client: &Client,
    note: Option<Box<Finished>>,
    response: Response<ResponseBody>,
) -> Response<ResponseBody> {
    let gauges = &client.core.gauges;
    gauges.own_answers.store(gauges.own_answers.load(Relaxed) + 1, Relaxed);
    if let Some(mut note) = note {
        note.line.status = response.status();
        let reason = response.headers().get(answer::REASON).and_then(|value| value.to_str().ok());
        reason.unwrap_or_default().clone_into(&mut note.line.reason);
        let size = http_body::Body::size_hint(response.body()).exact().unwrap_or(0);
        note.write(size);
    }
    response
}

/// What is known of a request at its beginning.
pub fn line(client: &Client, parts: &request::Parts) -> Line {
    let text = |name| parts.headers.get(name).cloned();
    let peer: SocketAddr = client.entry.peer;
    // HTTP/2 names it beside the path.
    let field = || parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = parts.uri.authority().map(http::uri::Authority::as_str).or_else(field);
    Line {
        at: SystemTime::now(),
        client: peer.ip().to_canonical(),
        method: parts.method.clone(),
        target: parts.uri.path_and_query().map_or_else(|| parts.uri.to_string(), ToString::to_string),
        version: parts.version,
        host: host.unwrap_or_default().to_owned(),
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
