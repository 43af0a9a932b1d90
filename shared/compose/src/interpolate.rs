//! Variables: `$A`, `${A}`, `${A:-default}`, `${A-default}`, `${A:?message}`, `${A?message}`,
//! `${A:+other}`, `${A+other}`, nested, and `$$` for a dollar. As the Compose specification has them.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{Node, Value};

/// Where variables come from.
pub type Variables = BTreeMap<String, String>;

/// What cannot be put in, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(pub String);

const MAX_DEPTH: usize = 20;

/// Puts variables into every value below `node`. `missing` gathers names that are not set and have
/// no default; they are empty. What cannot be put in goes to `problem`.
pub fn interpolate(
    node: &mut Node,
    variables: &Variables,
    missing: &mut BTreeSet<String>,
    problem: &mut dyn FnMut(&Node, Problem),
) {
    match &mut node.value {
        Value::Null => {}
        Value::Scalar { text, .. } => {
            if text.contains('$') {
                match expand(text, variables, missing) {
                    Ok(expanded) => *text = expanded,
                    Err(what) => problem(&node.clone(), what),
                }
            }
        }
        Value::List(items) => {
            for item in items {
                interpolate(item, variables, missing, problem);
            }
        }
        Value::Map(entries) => {
            for (_, value) in entries {
                interpolate(value, variables, missing, problem);
            }
        }
    }
}

/// Puts variables into a text.
pub fn expand(text: &str, variables: &Variables, missing: &mut BTreeSet<String>) -> Result<String, Problem> {
    expand_at(text, variables, missing, 0)
}

fn expand_at(
    text: &str,
    variables: &Variables,
    missing: &mut BTreeSet<String>,
    depth: usize,
) -> Result<String, Problem> {
    if depth > MAX_DEPTH {
        return Err(Problem("variables are nested too deep".to_owned()));
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing_brace(after)
                .ok_or_else(|| Problem(format!("\"${{{after}\" has no closing brace")))?;
            expanded.push_str(&braced(&after[..end], variables, missing, depth)?);
            rest = &after[end + 1..];
        } else {
            let length = name_length(rest);
            if length == 0 {
                return Err(Problem(format!(
                    "\"${}\" is no variable: write $$ for a dollar",
                    first_word(rest)
                )));
            }
            expanded.push_str(&plain(&rest[..length], variables, missing));
            rest = &rest[length..];
        }
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn plain(name: &str, variables: &Variables, missing: &mut BTreeSet<String>) -> String {
    variables.get(name).cloned().unwrap_or_else(|| {
        missing.insert(name.to_owned());
        String::new()
    })
}

/// What stands between the braces.
fn braced(
    inside: &str,
    variables: &Variables,
    missing: &mut BTreeSet<String>,
    depth: usize,
) -> Result<String, Problem> {
    let length = name_length(inside);
    let (name, operator) = inside.split_at(length);
    if name.is_empty() {
        return Err(Problem(format!("\"${{{inside}}}\" names no variable")));
    }
    let value = variables.get(name);
    let filled = value.filter(|value| !value.is_empty());
    let mut word = |word: &str| expand_at(word, variables, missing, depth + 1);
    if operator.is_empty() {
        return Ok(plain(name, variables, missing));
    }
    if let Some(default) = operator.strip_prefix(":-") {
        return filled.cloned().map_or_else(|| word(default), Ok);
    }
    if let Some(default) = operator.strip_prefix('-') {
        return value.cloned().map_or_else(|| word(default), Ok);
    }
    if let Some(other) = operator.strip_prefix(":+") {
        return filled.map_or_else(|| Ok(String::new()), |_| word(other));
    }
    if let Some(other) = operator.strip_prefix('+') {
        return value.map_or_else(|| Ok(String::new()), |_| word(other));
    }
    let required = |value: Option<&String>, state: &str, message: String| {
        value.cloned().ok_or_else(|| {
            let message = if message.is_empty() { String::new() } else { format!(": {message}") };
            Problem(format!("the variable {name} {state}{message}"))
        })
    };
    if let Some(message) = operator.strip_prefix(":?") {
        let message = word(message)?;
        return required(filled, "is not set, or empty", message);
    }
    if let Some(message) = operator.strip_prefix('?') {
        let message = word(message)?;
        return required(value, "is not set", message);
    }
    Err(Problem(format!(
        "\"${{{inside}}}\" is no variable: use ${{{name}}}, ${{{name}:-default}} or ${{{name}:?message}}"
    )))
}

fn name_length(text: &str) -> usize {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins {
        return 0;
    }
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len())
}

fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1;
    let bytes = text.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'{' if at > 0 && bytes[at - 1] == b'$' => open += 1,
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn variables() -> Variables {
        [("A", "a"), ("EMPTY", ""), ("B_2", "b")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    fn expanded(text: &str) -> String {
        expand(text, &variables(), &mut BTreeSet::new()).unwrap_or_else(|Problem(what)| format!("! {what}"))
    }

    #[test]
    fn every_form_of_the_specification() {
        for (text, want) in [
            ("$A-${A}-$B_2.", "a-a-b."),
            ("cost: $$5 $${A}", "cost: $5 ${A}"),
            ("${NO:-x}", "x"),
            ("${NO-x}", "x"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY-x}", ""),
            ("${A:-x}", "a"),
            ("${A:+y}", "y"),
            ("${NO:+y}", ""),
            ("${EMPTY:+y}", ""),
            ("${EMPTY+y}", "y"),
            ("${NO:-${ALSO_NO:-${A}}}", "a"),
            ("${NO:-a b $A}", "a b a"),
            ("${A:?needed}", "a"),
        ] {
            assert_eq!(expanded(text), want, "{text}");
        }
    }

    #[test]
    fn what_is_needed_and_missing_says_so_in_the_users_words() {
        assert_eq!(
            expanded("${NO:?give me a password}"),
            "! the variable NO is not set, or empty: give me a password"
        );
        assert_eq!(expanded("${EMPTY:?}"), "! the variable EMPTY is not set, or empty");
        assert_eq!(expanded("${NO?}"), "! the variable NO is not set");
    }

    #[test]
    fn broken_forms_are_errors_and_not_texts() {
        for text in ["${A", "${}", "${A!x}", "$ 5", "100$", "${-x}"] {
            assert!(expanded(text).starts_with('!'), "{text}: {}", expanded(text));
        }
    }

    #[test]
    fn a_missing_variable_is_empty_and_is_named() {
        let mut missing = BTreeSet::new();
        assert_eq!(expand("[$NO]", &variables(), &mut missing).unwrap(), "[]");
        assert_eq!(missing.into_iter().collect::<Vec<_>>(), ["NO"]);
    }

    proptest! {
        #[test]
        fn any_text_is_expanded_or_refused_and_never_crashes(text in ".{0,60}") {
            let _ = expand(&text, &variables(), &mut BTreeSet::new());
        }

        #[test]
        fn doubled_dollars_give_the_text_back(text in ".{0,60}") {
            let doubled = text.replace('$', "$$");
            prop_assert_eq!(expand(&doubled, &variables(), &mut BTreeSet::new()).unwrap(), text);
        }
    }
}
