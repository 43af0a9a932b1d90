//! Who may come in, by name and password (RFC 7617), against the lines of an htpasswd file.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};

/// Passwords that were right before; a check of bcrypt takes many milliseconds, on purpose.
const MAX_REMEMBERED: usize = 10_000;

/// The users of a rule.
pub struct Users {
    hashes: HashMap<String, String>,
    /// Fingerprints of names with right passwords, with a salt of this process.
    right: Mutex<HashSet<[u8; 32]>>,
    salt: [u8; 16],
}

impl Users {
    /// Reads `NAME:HASH` lines, as `htpasswd -B` writes them.
    pub fn read(lines: &[String]) -> Result<Self, String> {
        let mut hashes = HashMap::new();
        let meant = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty());
        for line in meant.filter(|line| !line.starts_with('#')) {
            let Some((name, hash)) = line.split_once(':') else {
                return Err("a line of basic_auth is not NAME:HASH, as `htpasswd -nB NAME` prints it".into());
            };
            if !hash.starts_with("$2") {
                return Err(format!(
                    "the password of {name} is not hashed with bcrypt: use `htpasswd -nB {name}`"
                ));
            }
            hashes.insert(name.to_owned(), hash.to_owned());
        }
        Ok(Self { hashes, right: Mutex::default(), salt: rand::random() })
    }

    /// Whether a request names one of the users, with the right password.
    pub async fn admit(self: &Arc<Self>, headers: &HeaderMap) -> bool {
        let Some((name, password)) = credentials(headers) else { return false };
        let mut digest = Sha256::new();
        digest.update(self.salt);
        digest.update(name.as_bytes());
        digest.update([0]);
        digest.update(password.as_bytes());
        let print: [u8; 32] = digest.finalize().into();
        if self.right.lock().unwrap_or_else(PoisonError::into_inner).contains(&print) {
            return true;
        }
        let users = self.clone();
        // Not on the core that serves others.
        let checked = tokio::task::spawn_blocking(move || users.check(&name, &password)).await;
        let right = checked.unwrap_or(false);
        if right {
            let mut known = self.right.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MAX_REMEMBERED {
                known.clear();
            }
            known.insert(print);
        }
        right
    }

    fn check(&self, name: &str, password: &str) -> bool {
        let hash = self.hashes.get(name);
        // An unknown name takes as long as a known one.
        let Some(checked) = hash.or_else(|| self.hashes.values().next()) else { return false };
        let right = bcrypt::verify(password, checked).unwrap_or(false);
        right && hash.is_some()
    }
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_opens() {
        let hash = bcrypt::hash("secret", 4).unwrap();
        let users = Arc::new(Users::read(&[format!("ada:{hash}"), "# a comment".into()]).unwrap());
        let with = |text: &str| {
            let mut headers = HeaderMap::new();
            let value = format!("Basic {}", STANDARD.encode(text));
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
            headers
        };
        for _ in 0..2 {
            assert!(users.admit(&with("ada:secret")).await);
        }
        assert!(!users.admit(&with("ada:wrong")).await);
        assert!(!users.admit(&with("eve:secret")).await);
        assert!(!users.admit(&HeaderMap::new()).await);
    }

    #[test]
    fn a_password_that_is_not_hashed_is_refused() {
        assert!(Users::read(&["ada:secret".into()]).is_err_and(|why| why.contains("htpasswd -nB ada")));
    }
}
