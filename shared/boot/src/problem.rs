use std::error::Error;

/// An error with all its causes in one line, without saying the same thing twice.
pub fn chain(error: &dyn Error) -> String {
    let mut text = plain(&error.to_string());
    let mut source = error.source();
    while let Some(cause) = source {
        let words = plain(&cause.to_string());
        if words.contains(&text) {
            text = words;
        } else if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

/// Without the links to manuals for programmers that some libraries put into their errors.
fn plain(words: &str) -> String {
    words.split(": https://docs.rs/").next().unwrap_or(words).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Level(&'static str, #[source] Option<Box<Level>>);

    #[test]
    fn nothing_is_said_twice_and_links_are_left_out() {
        let cut = Level("peer closed: https://docs.rs/rustls/latest", None);
        let repeated = Level("broken pipe: peer closed", Some(Box::new(cut)));
        let top = Level("broken pipe", Some(Box::new(repeated)));
        assert_eq!(chain(&Level("cannot read", Some(Box::new(top)))), "cannot read: broken pipe: peer closed");
    }
}
