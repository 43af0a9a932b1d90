//! The head of a response on its way to the client.

use http::{HeaderValue, Response, StatusCode, header};

use super::headers::strip_hop_by_hop;
use super::rules::{self, Refusal};

const BAD: Refusal = Refusal::new(StatusCode::BAD_GATEWAY, "the backend's answer makes no sense");

/// Takes a response, or refuses it: what two readers could read differently does not go on. `asked` is
/// the protocol that the client asked to switch to.
pub fn check<B>(response: &mut Response<B>, asked: Option<&HeaderValue>) -> Result<(), Refusal> {
    // One look at each name instead of one search for each.
    let (mut length, mut coding, mut hop, mut plain) = (None, None, false, false);
    for (name, value) in response.headers() {
        if *name == header::CONTENT_LENGTH {
            rules::length(value.as_bytes()).map_err(|_| BAD)?;
            if length.replace(value).is_some() {
                return Err(BAD);
            }
        } else if *name == header::TRANSFER_ENCODING {
            if coding.replace(value).is_some() || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(BAD);
            }
        } else if *name == header::CONNECTION && !plain && is_plain(value) {
            plain = true;
        } else {
            hop |= rules::is_hop_by_hop(name.as_str().as_bytes());
        }
    }
    if length.is_some() && coding.is_some() {
        return Err(BAD);
    }
    let hop = hop || coding.is_some();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(to) = response.headers().get(header::UPGRADE).cloned() else { return Err(BAD) };
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
    if hop {
        strip_hop_by_hop(response.headers_mut());
    } else if plain {
        response.headers_mut().remove(header::CONNECTION);
    }
    Ok(())
}

/// Whether a `Connection` names no other header.
fn is_plain(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    bytes.eq_ignore_ascii_case(b"keep-alive") || bytes.eq_ignore_ascii_case(b"close")
}
