//! The head of a response on its way to the client.

use http::{HeaderValue, Response, StatusCode, header};

use super::headers::strip_hop_by_hop;
use super::rules::{self, Refusal};

const BAD: Refusal = Refusal::new(StatusCode::BAD_GATEWAY, "the backend's answer makes no sense");

/// Takes a response, or refuses it: what two readers could read differently does not go on. `asked` is
/// the protocol that the client asked to switch to.
pub fn check<B>(response: &mut Response<B>, asked: Option<&HeaderValue>) -> Result<(), Refusal> {
    let headers = response.headers();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    if let Some(length) = length {
        rules::length(length.as_bytes()).map_err(|_| BAD)?;
        if lengths.next().is_some() {
            return Err(BAD);
        }
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let chunked = coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        if !chunked || length.is_some() || codings.next().is_some() {
            return Err(BAD);
        }
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(to) = headers.get(header::UPGRADE).cloned() else { return Err(BAD) };
        let offered = |asked: &HeaderValue| {
            asked
                .as_bytes()
                .split(|byte| *byte == b',')
                .any(|one| one.trim_ascii().eq_ignore_ascii_case(to.as_bytes()))
        };
        if !asked.is_some_and(offered) {
            return Err(BAD);
        }
        let headers = response.headers_mut();
        strip_hop_by_hop(headers);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, to);
        return Ok(());
    }
    if response.status().is_informational() {
        return Err(BAD);
    }
    strip_hop_by_hop(response.headers_mut());
    Ok(())
}
