//! `.env` files: `NAME=value` a line, with quotes, comments, `export` and variables.

use std::collections::BTreeSet;

use crate::interpolate::{Problem, Variables, expand};

/// Reads a `.env` file. Values may use what stands above them and what is in `around`, which wins.
pub fn parse(text: &str, around: &Variables) -> Result<Variables, String> {
    let mut found = Variables::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| format!("line {}: {what}", number + 1);
        let assignment = trimmed.strip_prefix("export ").unwrap_or(trimmed);
        let Some((name, rest)) = assignment.split_once('=') else {
            // A name alone takes its value from around.
            let name = assignment.trim();
            if let Some(value) = around.get(name) {
                found.insert(name.to_owned(), value.clone());
            }
            continue;
        };
        let name = name.trim_end();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(wrong(&format!("{name:?} is no name of a variable")));
        }
        let mut rest = rest.trim_start().to_owned();
        let value = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                rest.remove(0);
                while closing(&rest, quote).is_none() {
                    let (_, more) = lines.next().ok_or_else(|| wrong("the quote is never closed"))?;
                    rest.push('\n');
                    rest.push_str(more);
                }
                let end = closing(&rest, quote).unwrap_or(rest.len());
                let inside = &rest[..end];
                if quote == '\'' {
                    inside.to_owned()
                } else {
                    expanded(&unescape(inside), around, &found).map_err(|Problem(what)| wrong(&what))?
                }
            }
            _ => {
                let plain = rest.split(" #").next().unwrap_or_default().trim_end();
                expanded(plain, around, &found).map_err(|Problem(what)| wrong(&what))?
            }
        };
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}

fn expanded(text: &str, around: &Variables, found: &Variables) -> Result<String, Problem> {
    let mut known = found.clone();
    known.extend(around.iter().map(|(name, value)| (name.clone(), value.clone())));
    expand(text, &known, &mut BTreeSet::new())
}

/// Where a quote closes; a backslash before it keeps it open.
fn closing(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(at),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => plain.push('\n'),
                Some('r') => plain.push('\r'),
                Some('t') => plain.push('\t'),
                Some('$') => plain.push_str("$$"),
                Some(other) => plain.push(other),
                None => plain.push('\\'),
            },
            (c, false) => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Variables {
        parse(text, &Variables::from([("HOME".to_owned(), "/root".to_owned())])).unwrap()
    }

    #[test]
    fn the_usual_forms() {
        let found = parsed(
            "# comment\nA=1\nexport B = two words # said\nC='$A # raw'\nD=\"x\\n$A\\$\"\nE=\nF=${A}/${HOME}\n\nG=a#b\nHOME\n",
        );
        assert_eq!(found["A"], "1");
        assert_eq!(found["B"], "two words");
        assert_eq!(found["C"], "$A # raw");
        assert_eq!(found["D"], "x\n1$");
        assert_eq!(found["E"], "");
        assert_eq!(found["F"], "1//root");
        assert_eq!(found["G"], "a#b");
        assert_eq!(found["HOME"], "/root");
    }

    #[test]
    fn a_quoted_value_may_go_over_lines() {
        assert_eq!(parsed("KEY=\"-----BEGIN\nabc\n-----END\"\nA=1\n")["KEY"], "-----BEGIN\nabc\n-----END");
    }

    #[test]
    fn what_is_wrong_is_named_by_line() {
        assert_eq!(
            parse("A=1\nB=\"open\n", &Variables::new()).unwrap_err(),
            "line 2: the quote is never closed"
        );
        assert!(parse("MY NAME=1\n", &Variables::new()).unwrap_err().starts_with("line 1"));
    }
}
