//! Patterns in which `*` stands for any text.

/// Whether `text` is of the form that `pattern` describes. Takes time in proportion to both lengths
/// multiplied, whatever the pattern.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    // The leftmost place of each part leaves the most to the others.
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_everything_else_for_itself() {
        for (pattern, text) in [
            ("shop/web", "shop/web"),
            ("shop/*", "shop/web"),
            ("*", ""),
            ("*/web", "shop/web"),
            ("a*b*c", "a1b2bc"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("shop/web", "shop/web2"), ("shop/*", "shop2/web"), ("", "x"), ("a*a", "a"), ("a*b*c", "acb")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
