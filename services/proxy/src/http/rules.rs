//! What of a request may be passed on: the rules of RFC 9110, 9112 and 9113, read strictly. Nothing whose
//! framing, host or target two parsers could read differently gets past here.
//!
//! The rules work on bytes, so that the guard can apply them to what a client really sent, and on parsed
//! requests of HTTP/2, where the library lets some of it through.

use http::{HeaderMap, StatusCode, header};

/// Why a request is not passed on: the status of the answer, and a text for the log and the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The answer's status.
    pub status: StatusCode,
    /// In a few words.
    pub reason: &'static str,
}

impl Refusal {
    /// An answer of `status` because of `reason`.
    pub const fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason }
    }

    /// A request that is wrong in itself.
    pub const fn bad(reason: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }
}

/// The longest target.
pub const MAX_TARGET: usize = 8192;
const MAX_METHOD: usize = 64;

/// Marks of a byte: may stand in a token, may stand in a target.
const TOKEN: u8 = 1;
const TARGET: u8 = 2;
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0x21_u8;
    while byte < 0x7f {
        let separator =
            matches!(byte, b'(' | b')' | b',' | b'/' | b':' | b';' | b'<' | b'=' | b'>' | b'?' | b'@' | b'[')
                || matches!(byte, b'\\' | b']' | b'{' | b'}' | b'"');
        if !separator {
            table[byte as usize] |= TOKEN;
        }
        if !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}') {
            table[byte as usize] |= TARGET;
        }
        byte += 1;
    }
    table
}

fn all(bytes: &[u8], class: u8) -> bool {
    bytes.iter().all(|byte| CLASS[usize::from(*byte)] & class != 0)
}

/// Whether `bytes` is a token (RFC 9110 section 5.6.2).
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TOKEN)
}

/// A field's value: no control characters but tabs (RFC 9110 section 5.5).
pub fn value(bytes: &[u8]) -> Result<(), Refusal> {
    // Without branches, so that the compiler makes it one look at many bytes.
    #[allow(clippy::needless_bitwise_bool)]
    let bad = bytes.iter().fold(false, |bad, &byte| bad | (byte < 0x20) & (byte != b'\t') | (byte == 0x7f));
    if bad { Err(Refusal::bad("a control character in a header")) } else { Ok(()) }
}

/// A method: a token that is not too long. CONNECT and TRACE are not for a reverse proxy.
pub fn method(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.len() > MAX_METHOD || !is_token(bytes) {
        return Err(Refusal::bad("not a method"));
    }
    if bytes == b"CONNECT" || bytes == b"TRACE" {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "this method is not for a reverse proxy"));
    }
    Ok(())
}

/// A target: a path, an absolute form, or `*` with OPTIONS (RFC 9112 section 3.2).
pub fn target(method: &[u8], target: &[u8]) -> Result<(), Refusal> {
    if target.len() > MAX_TARGET {
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, "the target is too long"));
    }
    if !all(target, TARGET) {
        return Err(Refusal::bad("a character that no target has"));
    }
    if memchr::memchr(b'#', target).is_some() {
        return Err(Refusal::bad("a fragment in the target"));
    }
    match target {
        [b'/', ..] => Ok(()),
        b"*" if method == b"OPTIONS" => Ok(()),
        _ => match absolute(target) {
            Some(authority) => host(authority),
            None => Err(Refusal::bad("the target is neither a path nor a URL")),
        },
    }
}

/// The authority of a target in absolute form.
fn absolute(target: &[u8]) -> Option<&[u8]> {
    let scheme = |name: &[u8]| target.len() > name.len() && target[..name.len()].eq_ignore_ascii_case(name);
    let rest = if scheme(b"http://") {
        &target[7..]
    } else if scheme(b"https://") {
        &target[8..]
    } else {
        return None;
    };
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    Some(&rest[..end])
}

/// A host with an optional port: nothing of a user, a path or a list (RFC 9110 section 7.2).
pub fn host(bytes: &[u8]) -> Result<(), Refusal> {
    const BAD: Refusal = Refusal::bad("not a host");
    let (name, port) = match bytes {
        [b'[', ..] => {
            let end = memchr::memchr(b']', bytes).ok_or(BAD)?;
            let inside = &bytes[1..end];
            if !inside.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) {
                return Err(BAD);
            }
            (inside, &bytes[end + 1..])
        }
        _ => {
            let end = memchr::memchr(b':', bytes).unwrap_or(bytes.len());
            let name = &bytes[..end];
            let fine = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
            if !name.iter().all(fine) {
                return Err(BAD);
            }
            (name, &bytes[end..])
        }
    };
    let port_fine = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if name.is_empty() || !port_fine { Err(BAD) } else { Ok(()) }
}

/// A length: digits without leading zeros, signs or lists (RFC 9110 section 8.6).
pub fn length(bytes: &[u8]) -> Result<u64, Refusal> {
    const BAD: Refusal = Refusal::bad("not a Content-Length");
    let plain = matches!(bytes, [b'0'] | [b'1'..=b'9', ..]) && bytes.len() <= 19;
    if !plain || !bytes.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    Ok(bytes.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// A transfer coding: `chunked` alone. Another single one is not implemented; a list is an attack.
pub fn transfer_encoding(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.eq_ignore_ascii_case(b"chunked") {
        Ok(())
    } else if is_token(bytes) {
        Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "this transfer coding is not known"))
    } else {
        Err(Refusal::bad("not a Transfer-Encoding"))
    }
}

/// An expectation: the only one there is.
pub fn expect(bytes: &[u8]) -> Result<(), Refusal> {
    if bytes.eq_ignore_ascii_case(b"100-continue") {
        Ok(())
    } else {
        Err(Refusal::new(StatusCode::EXPECTATION_FAILED, "this expectation is not known"))
    }
}

/// Names that some servers read as others: CGI and WSGI make `_` of `-`.
pub fn looks_like_framing(name: &[u8]) -> bool {
    (name.len() == 14 && name.eq_ignore_ascii_case(b"content_length"))
        || (name.len() == 17 && name.eq_ignore_ascii_case(b"transfer_encoding"))
}

/// Names of fields that are meant for the next hop only (RFC 9110 section 7.6.1), besides
/// `Transfer-Encoding`.
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    match name.len() {
        2 => name.eq_ignore_ascii_case(b"te"),
        7 => name.eq_ignore_ascii_case(b"upgrade") || name.eq_ignore_ascii_case(b"trailer"),
        10 => name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"keep-alive"),
        16 => name.eq_ignore_ascii_case(b"proxy-connection"),
        _ => false,
    }
}

/// What came by HTTP/2, where the library has checked less than the guard does for HTTP/1
/// (RFC 9113 section 8.2 and 8.3).
pub fn http2(request: &http::request::Parts) -> Result<(), Refusal> {
    method(request.method.as_str().as_bytes())?;
    if let Some(path) = request.uri.path_and_query() {
        target(request.method.as_str().as_bytes(), path.as_str().as_bytes())?;
    }
    let headers = &request.headers;
    let mut hosts = headers.get_all(header::HOST).iter();
    match (request.uri.authority(), hosts.next()) {
        (Some(authority), None) => host(authority.as_str().as_bytes())?,
        (Some(authority), Some(field)) => {
            host(authority.as_str().as_bytes())?;
            if !authority.as_str().as_bytes().eq_ignore_ascii_case(field.as_bytes()) {
                return Err(Refusal::bad("Host and :authority differ"));
            }
        }
        (None, Some(field)) => host(field.as_bytes())?,
        (None, None) => return Err(Refusal::bad("no host")),
    }
    if hosts.next().is_some() {
        return Err(Refusal::bad("two hosts"));
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(first) = lengths.next() {
        length(first.as_bytes())?;
        if lengths.next().is_some() {
            return Err(Refusal::bad("two Content-Lengths"));
        }
    }
    for (name, field) in headers {
        let bytes = field.as_bytes();
        let outer = |byte: Option<&u8>| byte.is_some_and(|byte| matches!(byte, b' ' | b'\t'));
        if outer(bytes.first()) || outer(bytes.last()) {
            return Err(Refusal::bad("spaces around a header's value"));
        }
        value(bytes)?;
        if looks_like_framing(name.as_str().as_bytes()) {
            return Err(Refusal::bad("a header that looks like another"));
        }
    }
    if hop_by_hop(headers) {
        return Err(Refusal::bad("a header of HTTP/1 in HTTP/2"));
    }
    headers.get(header::EXPECT).map_or(Ok(()), |field| expect(field.as_bytes()))
}

fn hop_by_hop(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONNECTION)
        || headers.contains_key(header::TRANSFER_ENCODING)
        || headers.contains_key(header::UPGRADE)
        || headers.contains_key("keep-alive")
        || headers.contains_key("proxy-connection")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_of_a_length_is_a_length() {
        assert_eq!(length(b"0"), Ok(0));
        assert_eq!(length(b"1234567890"), Ok(1_234_567_890));
        for bad in ["", "00", "05", "+5", "-5", "0x5", "5,5", "5 ", " 5", "5;", "99999999999999999999"] {
            assert!(length(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_host_is_a_name_and_perhaps_a_port() {
        for fine in ["a", "a.example:80", "127.0.0.1:1", "[::1]", "[::1]:8080", "a_b", "a:"] {
            assert!(host(fine.as_bytes()).is_ok(), "{fine:?}");
        }
        for bad in
            ["", ":80", "a@b", "a/b", "a,b", "a b", "a:b", "a:123456", "[::1", "[x]", "[::1]x", "a\u{e4}"]
        {
            assert!(host(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_target_is_a_path_or_a_url() {
        for fine in ["/", "/a?b=c#".trim_end_matches('#'), "http://a/", "HTTPS://a:8?x", "/%0d%0a"] {
            assert!(target(b"GET", fine.as_bytes()).is_ok(), "{fine:?}");
        }
        for bad in [
            "",
            "a",
            "*",
            "a:80",
            "http://",
            "http:///x",
            "http://u@a/",
            "/a b",
            "/\"",
            "/\\",
            "/#f",
            "/\u{e4}",
        ] {
            assert!(target(b"GET", bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(target(b"OPTIONS", b"*").is_ok());
        let long = [b'/'; MAX_TARGET + 1];
        assert_eq!(target(b"GET", &long).unwrap_err().status, StatusCode::URI_TOO_LONG);
    }

    #[test]
    fn chunked_stands_alone() {
        assert!(transfer_encoding(b"Chunked").is_ok());
        assert_eq!(transfer_encoding(b"gzip").unwrap_err().status, StatusCode::NOT_IMPLEMENTED);
        assert_eq!(transfer_encoding(b"foo, chunked").unwrap_err().status, StatusCode::BAD_REQUEST);
    }
}
