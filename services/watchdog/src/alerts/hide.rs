//! What a receiver answers, without what is secret about the receiver: many servers repeat the path that
//! they were asked for, and some a header.

use gantry_model::alert::{Receiver, host_of};

/// What stands in the place of a secret.
const HIDDEN: &str = "…";
/// A shorter text is hidden only where it stands alone: it may be a part of any word.
const SHORT: usize = 4;
/// Words before a password that are none.
const SCHEMES: &[&str] = &["basic", "bearer", "digest", "token", "apikey"];

/// What must not be shown of a receiver.
#[derive(Debug)]
pub struct Secrets {
    /// In lower case, the longest first.
    texts: Vec<String>,
}

impl Secrets {
    /// The path, the query and the headers of a receiver: whole, in pieces, and the pieces decoded.
    pub fn of(receiver: &Receiver) -> Self {
        let url = receiver.url.0.as_str();
        let shown = host_of(url).map_or(0, |host| host.len());
        let target = url.get(shown..).unwrap_or_default();
        let mut texts = vec![target.to_owned(), target.trim_matches('/').to_owned()];
        for piece in target.split(['/', '?', '#', '&', '=', ';']) {
            texts.extend([piece.to_owned(), decoded(piece)]);
        }
        for value in receiver.headers.values() {
            texts.push(value.0.clone());
            texts.extend(value.0.split([' ', ',', ';', '=', ':', '"']).map(str::to_owned));
        }
        let mut texts: Vec<String> = texts.iter().map(|text| text.trim().to_ascii_lowercase()).collect();
        texts.retain(|text| text.contains(char::is_alphanumeric) && !SCHEMES.contains(&text.as_str()));
        texts.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        texts.dedup();
        Self { texts }
    }

    /// Bytes of the longest of them: so much of a text that was cut may be the beginning of one.
    pub fn longest(&self) -> usize {
        self.texts.first().map_or(0, String::len)
    }

    /// `text`, with an ellipsis for each of them. Upper and lower case are the same.
    pub fn hide(&self, text: &str) -> String {
        let lower = text.to_ascii_lowercase();
        let mut hidden = String::with_capacity(text.len());
        let mut at = 0;
        while let Some(next) = text.get(at..).and_then(|rest| rest.chars().next()) {
            match self.texts.iter().find(|secret| stands(secret, &lower, at)) {
                Some(secret) => {
                    hidden.push_str(HIDDEN);
                    at += secret.len();
                }
                None => {
                    hidden.push(next);
                    at += next.len_utf8();
                }
            }
        }
        hidden
    }
}

/// Whether `secret` stands in `text` at this byte.
fn stands(secret: &str, text: &str, at: usize) -> bool {
    let Some(after) = text.get(at..).and_then(|rest| rest.strip_prefix(secret)) else { return false };
    let before = text.get(..at).and_then(|before| before.chars().next_back());
    let is_word = |neighbour: Option<char>| neighbour.is_some_and(char::is_alphanumeric);
    secret.len() >= SHORT || !(is_word(before) || is_word(after.chars().next()))
}

/// With `%41` as `A`, as a server may show it.
fn decoded(piece: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = piece.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let digits = more.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            None => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use gantry_model::Secret;
    use gantry_model::alert::ReceiverKind;

    use super::*;

    fn secrets(url: &str, header: &str) -> Secrets {
        Secrets::of(&Receiver {
            name: "ops".into(),
            kind: ReceiverKind::Webhook,
            url: Secret(url.into()),
            headers: [("Authorization".to_owned(), Secret(header.into()))].into(),
            severities: Vec::new(),
            rules: Vec::new(),
            send_resolved: true,
            ca: String::new(),
        })
    }

    #[test]
    fn the_path_the_query_and_the_headers_are_hidden_whole_and_in_pieces() {
        let secrets =
            secrets("https://h/services/T000/B000/XX%2FXX?key=hunter2&n=7", "Bearer swordfish, id=ada:pw");
        for (said, shown) in [
            ("Cannot POST /services/T000/B000/XX%2FXX?key=hunter2&n=7", "Cannot POST …"),
            ("Cannot POST /services/T000/B000/XX%2FXX", "Cannot POST /…/…/…/…"),
            ("no token xx/xx, no HUNTER2!", "no token …, no …!"),
            ("bad token: Bearer swordfish", "bad token: Bearer …"),
            ("ada has another password than pw", "… has another password than …"),
            ("n is 7, not 77: adapt the pwm", "… is …, not 77: adapt the pwm"),
            ("swordfish🦈swordfishé", "…🦈…é"),
        ] {
            assert_eq!(secrets.hide(said), shown);
        }
    }

    #[test]
    fn a_receiver_without_secrets_hides_nothing() {
        for url in ["http://h:1", "http://h:1/", "nonsense"] {
            assert_eq!(secrets(url, "Bearer").hide("Bearer / of h:1 in %zz"), "Bearer / of h:1 in %zz");
        }
        assert_eq!(decoded("a%zz%4"), "a%zz%4");
    }
}
