//! The headers of a request on its way to an endpoint.

use http::header::{self, Entry};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::client::{Client, Forwarded};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Names a request in the logs of everybody who sees it.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Takes off what is meant for the next hop only (RFC 9110 section 7.6.1): `Connection` and what it
/// names, and those that old servers use without naming them.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    match headers.entry(header::CONNECTION) {
        Entry::Vacant(_) => {}
        Entry::Occupied(entry) => {
            let (_, all) = entry.remove_entry_mult();
            let all: Vec<_> = all.collect();
            for connection in &all {
                strip_named(headers, connection);
            }
        }
    }
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::UPGRADE);
    headers.remove(KEEP_ALIVE);
    headers.remove(PROXY_CONNECTION);
}

fn strip_named(headers: &mut HeaderMap, connection: &HeaderValue) {
    let bytes = connection.as_bytes();
    if bytes.eq_ignore_ascii_case(b"keep-alive") || bytes.eq_ignore_ascii_case(b"close") {
        return;
    }
    for name in bytes.split(|byte| *byte == b',') {
        let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) else { continue };
        // Nobody talks these away: what they say was checked, and is needed.
        if name != header::HOST && name != header::CONTENT_LENGTH {
            headers.remove(&name);
        }
    }
}

/// The protocol that a client asks to switch to.
pub fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asked = headers.get_all(header::CONNECTION).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    if asked { headers.get(header::UPGRADE).cloned() } else { None }
}

/// Says who asks, how and for what. What the client says of that itself is kept only if it is a proxy
/// that is trusted.
pub fn forward(headers: &mut HeaderMap, client: &Client, host: &HeaderValue, trusted: bool) {
    let proto = HeaderValue::from_static(if client.entry.https { "https" } else { "http" });
    let forwarded = forwarded(client, host);
    if trusted {
        append(headers, X_FORWARDED_FOR, &client.address);
        append(headers, header::FORWARDED, &forwarded);
        keep(headers, X_FORWARDED_PROTO, proto);
        keep(headers, X_FORWARDED_HOST, host.clone());
    } else {
        headers.insert(X_FORWARDED_FOR, client.address.clone());
        headers.insert(header::FORWARDED, forwarded);
        headers.insert(X_FORWARDED_PROTO, proto);
        headers.insert(X_FORWARDED_HOST, host.clone());
    }
    if !(trusted && headers.contains_key(X_REQUEST_ID)) {
        headers.insert(X_REQUEST_ID, request_id(client));
    }
}

fn keep(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    if let Entry::Vacant(entry) = headers.entry(name) {
        entry.insert(value);
    }
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    let mut list: Vec<u8> = Vec::new();
    for part in headers.get_all(&name) {
        list.extend_from_slice(part.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(value.as_bytes());
    headers.insert(name, HeaderValue::from_bytes(&list).unwrap_or_else(|_| value.clone()));
}

/// RFC 7239. Made once for each host that a connection asks for in a row.
fn forwarded(client: &Client, host: &HeaderValue) -> HeaderValue {
    let mut known = client.forwarded.borrow_mut();
    if let Some(known) = &*known
        && known.host == host
    {
        return known.forwarded.clone();
    }
    let address = client.entry.peer.ip().to_canonical();
    let address = if address.is_ipv6() { format!("\"[{address}]\"") } else { address.to_string() };
    let proto = if client.entry.https { "https" } else { "http" };
    let text = format!("for={address};host=\"{}\";proto={proto}", String::from_utf8_lossy(host.as_bytes()));
    let value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("for=unknown"));
    *known = Some(Forwarded { host: host.clone(), forwarded: value.clone() });
    value
}

/// 128 random bits in hexadecimal.
fn request_id(client: &Client) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for half in text.chunks_exact_mut(16) {
        let mut bits = client.core.random();
        for place in half {
            *place = DIGITS[usize::try_from(bits & 15).unwrap_or(0)];
            bits >>= 4;
        }
    }
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_the_next_hop_goes_no_further() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-foo, Upgrade"),
            ("connection", "x-bar, host"),
            ("x-foo", "1"),
            ("x-bar", "1"),
            ("x-baz", "1"),
            ("host", "a"),
            ("upgrade", "websocket"),
            ("keep-alive", "300"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        assert_eq!(upgrade(&headers), Some(HeaderValue::from_static("websocket")));
        strip_hop_by_hop(&mut headers);
        let left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["x-baz", "host"]);
    }
}
