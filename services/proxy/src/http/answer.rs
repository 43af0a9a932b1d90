//! What the proxy answers itself.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::body::ResponseBody;
use super::rules::Refusal;

/// The header that says why the proxy itself answered.
pub const REASON: &str = "x-gantry-reason";

/// Whoever found no endpoint may ask again after so many seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// An answer with a short text.
pub fn refuse(refusal: Refusal) -> Response<ResponseBody> {
    let text = format!(
        "{} {}: {}\n",
        refusal.status.as_u16(),
        refusal.status.canonical_reason().unwrap_or_default(),
        refusal.reason
    );
    let mut response = Response::new(ResponseBody::Own(Some(Bytes::from(text))));
    *response.status_mut() = refusal.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(REASON, HeaderValue::from_static(refusal.reason));
    if refusal.status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        headers
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    response
}

/// An answer after which the connection ends: what the client sends next cannot be told from what it
/// sent last.
pub fn refuse_and_close(refusal: Refusal) -> Response<ResponseBody> {
    let mut response = refuse(refusal);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A redirect to `location`.
pub fn redirect(location: &str) -> Response<ResponseBody> {
    let Ok(location) = HeaderValue::from_str(location) else {
        return refuse(Refusal::bad("no redirect can be made for this"));
    };
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// The answer to `OPTIONS *`: it is about the proxy itself.
pub fn options() -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    response
}
