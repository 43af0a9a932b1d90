//! Keeps a client with its endpoint by a cookie. The cookie is signed, so that nobody chooses endpoints
//! by hand or probes for their names.

use std::sync::OnceLock;

use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};

/// What cookies are signed with: the same on every proxy of a cluster.
static KEY: OnceLock<[u8; 32]> = OnceLock::new();
const SIGNATURE: usize = 16;

/// Says what cookies are signed with. Only the first call counts; without one the key is random, and
/// clients lose their endpoint when the proxy restarts.
pub fn set_key(secret: &[u8]) {
    let _ = KEY.set(Sha256::digest(secret).into());
}

/// HMAC (RFC 2104) with SHA-256, shortened.
fn sign(name: &str) -> String {
    let key = KEY.get_or_init(rand::random);
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        for (place, key) in block.iter_mut().zip(key) {
            *place ^= key;
        }
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(name.as_bytes()).finalize();
    let outer = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    outer.iter().take(SIGNATURE / 2).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// A cookie of a request.
pub fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok()).find_map(|value| {
        value.split(';').find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then_some(value)
        })
    })
}

/// The endpoint that a client had before, if its cookie is ours.
pub fn read(headers: &HeaderMap, name: &str) -> Option<String> {
    let (endpoint, signature) = find(headers, name)?.rsplit_once('.')?;
    let right = sign(endpoint);
    // In the same time, wherever the difference is.
    let same = right.len() == signature.len()
        && right.bytes().zip(signature.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0;
    same.then(|| endpoint.to_owned())
}

/// The cookie that keeps a client with `endpoint`.
pub fn cookie(name: &str, endpoint: &str, https: bool) -> String {
    let secure = if https { "; Secure" } else { "" };
    format!("{name}={endpoint}.{}; Path=/; HttpOnly; SameSite=Lax{secure}", sign(endpoint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_of_ours_is_known_again_and_no_other() {
        let set = cookie("gantry", "10.0.0.1:80", false);
        let value = set.split(';').next().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, format!("a=b; {value}; c=d").parse().unwrap());
        assert_eq!(read(&headers, "gantry").as_deref(), Some("10.0.0.1:80"));
        headers.insert(header::COOKIE, value.replace("10.0.0.1", "10.0.0.2").parse().unwrap());
        assert_eq!(read(&headers, "gantry"), None);
    }
}
