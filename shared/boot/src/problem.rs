use std::error::Error;

/// An error with all its causes in one line, without saying the same thing twice.
pub fn chain(error: &dyn Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let words = plain(&error.to_string());
        // An error that repeats its cause says nothing of its own, and the other way round.
        if said.last().is_some_and(|last| words.contains(last.as_str())) {
            said.pop();
        }
        if !words.is_empty() && !said.iter().any(|earlier| earlier.contains(&words)) {
            said.push(words);
        }
        next = error.source();
    }
    said.join(": ")
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
        assert_eq!(
            chain(&Level("cannot read", Some(Box::new(top)))),
            "cannot read: broken pipe: peer closed"
        );
    }
}
