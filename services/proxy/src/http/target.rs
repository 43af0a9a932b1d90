//! What a request is asked of, in the form that each side wants.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Uri, Version, header, request};

use super::body::RequestBody;
use super::rules::{self, Refusal};
use crate::upstream::Wire;

/// The host that is asked for. A target in absolute form names it, whatever Host says (RFC 9112
/// section 3.2.2).
pub fn host(parts: &mut request::Parts) -> Result<HeaderValue, Refusal> {
    if parts.version == Version::HTTP_2 {
        rules::http2(parts)?;
        join_cookies(&mut parts.headers);
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
pub fn host_name(host: &HeaderValue) -> &str {
    let bytes = host.as_bytes();
    let end = match memchr::memrchr(b':', bytes) {
        Some(at) if bytes.last() != Some(&b']') => at,
        _ => bytes.len(),
    };
    std::str::from_utf8(&bytes[..end]).unwrap_or_default()
}

/// Whether a request is a call of gRPC.
pub fn is_grpc(parts: &request::Parts) -> bool {
    parts.version == Version::HTTP_2
        && parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Takes a path prefix off.
pub fn strip_prefix(parts: &mut request::Parts, prefix: &str) {
    let Some(old) = parts.uri.path_and_query() else { return };
    let Some(rest) = old.as_str().strip_prefix(prefix) else { return };
    let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    if let Ok(new) = PathAndQuery::try_from(rest) {
        parts.uri = Uri::from(new);
    }
}

/// Puts the request into the form that its protocol wants.
pub fn address(
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
            // Said outright, or the library leaves the body of a GET out.
            let sized = request.headers().contains_key(header::CONTENT_LENGTH);
            if !sized && !matches!(request.body(), RequestBody::Empty) {
                let chunked = HeaderValue::from_static("chunked");
                request.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
            }
            if !request.headers().contains_key(header::HOST) {
                request.headers_mut().insert(header::HOST, host.clone());
            }
        }
        Wire::Http2 => {
            *request.version_mut() = Version::HTTP_2;
            let authority = Authority::try_from(host.as_bytes()).map_err(|_| Refusal::bad("not a host"))?;
            let mut uri = std::mem::take(request.uri_mut()).into_parts();
            uri.scheme = Some(if tls { Scheme::HTTPS } else { Scheme::HTTP });
            uri.authority = Some(authority);
            *request.uri_mut() = Uri::from_parts(uri).map_err(|_| Refusal::bad("not a target"))?;
            request.headers_mut().remove(header::HOST);
            request.headers_mut().remove(header::TRANSFER_ENCODING);
        }
    }
    Ok(())
}

/// A copy of a request without a body.
pub fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy
}

/// HTTP/2 may cut a cookie into several fields; HTTP/1 has one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let Some(first) = cookies.next() else { return };
    let mut all = first.as_bytes().to_vec();
    for cookie in cookies {
        all.extend_from_slice(b"; ");
        all.extend_from_slice(cookie.as_bytes());
    }
    if all.len() > first.len()
        && let Ok(all) = HeaderValue::from_bytes(&all)
    {
        headers.insert(header::COOKIE, all);
    }
}
