//! Join tokens: `gt1-FINGERPRINT-ID-SECRET`.
//!
//! The fingerprint is the CA's, so that whoever joins knows the right scheduler before it says the
//! secret. The id finds the token's record, which has a hash of the secret only.

use std::fmt;
use std::str::FromStr;

use rand::RngExt as _;
use sha2::{Digest as _, Sha256};
use x509_parser::pem::parse_x509_pem;

use crate::name::BadCertificate;

/// Five bits a character; none looks like another.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const VERSION: &str = "gt1";
/// 130 bits of SHA-256: as many as nobody can make a second CA for.
const FINGERPRINT: usize = 26;
const ID: usize = 8;
/// 260 bits.
const SECRET: usize = 52;

/// Which CA it is: the first 130 bits of the SHA-256 of its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of a certificate as DER.
    pub fn of_der(certificate: &[u8]) -> Self {
        Self(letters(&Sha256::digest(certificate), FINGERPRINT))
    }

    /// The fingerprint of a certificate as PEM.
    pub fn of_pem(certificate: &str) -> Result<Self, BadCertificate> {
        let (_, pem) = parse_x509_pem(certificate.as_bytes())
            .map_err(|error| BadCertificate::Unreadable(error.to_string()))?;
        Ok(Self::of_der(&pem.contents))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first `length` groups of five bits of `bytes`, as letters.
fn letters(bytes: &[u8], length: usize) -> String {
    let group = |at: usize| {
        let bit = |n: usize| bytes.get(n / 8).map_or(0, |byte| usize::from(byte >> (7 - n % 8) & 1));
        (at * 5..at * 5 + 5).fold(0, |value, n| value << 1 | bit(n))
    };
    (0..length).map(|at| char::from(LETTERS[group(at)])).collect()
}

/// A join token. `Debug` does not show its secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// The CA of the cluster it is for.
    pub fingerprint: Fingerprint,
    /// Under what it is on record.
    pub id: String,
    secret: String,
}

/// A text that is no join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    /// It has another form.
    #[error("this is not a join token: one looks like {VERSION}-…-…-…, and `gantry token` makes one")]
    Form,
    /// It was made by another version.
    #[error(
        "this join token is of a form that this version of Gantry does not know: use the version that made it"
    )]
    Version,
    /// A part of it is missing.
    #[error("this join token is not whole: copy all of it")]
    Length,
}

impl Token {
    /// A new token for the cluster of that CA.
    pub fn create(fingerprint: Fingerprint) -> Self {
        let mut random = rand::rng();
        let mut draw = |length: usize| -> String {
            (0..length).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
        };
        Self { fingerprint, id: draw(ID), secret: draw(SECRET) }
    }

    /// What is kept of its secret. The secret has 260 bits of chance, so a plain hash tells nothing.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.secret.as_bytes()).into())
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}-{}-{}-{}", self.fingerprint, self.id, self.secret)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.id)
    }
}

impl FromStr for Token {
    type Err = BadToken;

    fn from_str(text: &str) -> Result<Self, BadToken> {
        let parts: Vec<&str> = text.trim().split('-').collect();
        let [version, fingerprint, id, secret] = parts[..] else { return Err(BadToken::Form) };
        if version != VERSION {
            let known = version.strip_prefix("gt").is_some_and(|number| number.parse::<u32>().is_ok());
            return Err(if known { BadToken::Version } else { BadToken::Form });
        }
        let known = |part: &str| part.bytes().all(|letter| LETTERS.contains(&letter));
        if !(known(fingerprint) && known(id) && known(secret)) {
            return Err(BadToken::Form);
        }
        if (fingerprint.len(), id.len(), secret.len()) != (FINGERPRINT, ID, SECRET) {
            return Err(BadToken::Length);
        }
        Ok(Self {
            fingerprint: Fingerprint(fingerprint.to_owned()),
            id: id.to_owned(),
            secret: secret.to_owned(),
        })
    }
}

/// The SHA-256 of a token's secret.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// As hexadecimal digits, to be stored.
    pub fn to_hex(self) -> String {
        self.0.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }

    /// Whether it is the hash that was stored, in a time that does not depend on where they differ.
    pub fn matches(self, stored: &str) -> bool {
        let own = self.to_hex();
        let different = own.bytes().zip(stored.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b));
        own.len() == stored.len() && std::hint::black_box(different) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::create(Fingerprint::of_der(b"a certificate"))
    }

    #[test]
    fn a_token_reads_back_as_it_was_written_and_can_be_copied_by_a_double_click() {
        let token = token();
        let text = token.to_string();
        assert_eq!(text.parse::<Token>().unwrap(), token);
        assert!(text.len() < 100 && text.starts_with("gt1-"), "{text}");
        assert!(!format!("{token:?}").contains(&token.secret));
    }

    #[test]
    fn what_is_no_token_is_told_from_half_a_token_and_from_a_later_one() {
        let text = token().to_string();
        assert_eq!("SWMTKN-1-x-y".parse::<Token>(), Err(BadToken::Form));
        assert_eq!(text[..text.len() - 3].parse::<Token>(), Err(BadToken::Length));
        assert_eq!(text.replace("gt1-", "gt2-").parse::<Token>(), Err(BadToken::Version));
        assert_eq!(text.to_uppercase().parse::<Token>(), Err(BadToken::Form));
    }

    #[test]
    fn only_the_right_secret_has_the_stored_hash() {
        let (one, other) = (token(), token());
        assert!(one.hash().matches(&one.hash().to_hex()));
        assert!(!one.hash().matches(&other.hash().to_hex()));
        assert!(!one.hash().matches(""));
    }

    #[test]
    fn a_fingerprint_is_made_of_the_first_bits() {
        assert_eq!(letters(&[0b0000_0000, 0b0100_0011], 3), "abb");
        assert_ne!(Fingerprint::of_der(b"a"), Fingerprint::of_der(b"b"));
    }
}
