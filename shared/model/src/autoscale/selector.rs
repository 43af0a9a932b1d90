//! Which series of a metric are meant: its name, perhaps with labels that they must have.

use std::fmt;

/// Such as `jobs_waiting` or `jobs_waiting{queue="mail"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The metric's name.
    pub name: String,
    /// Labels that a series must have, with these values.
    pub labels: Vec<(String, String)>,
}

/// A text that selects nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no metric such as jobs_waiting or jobs_waiting{{queue=\"mail\"}}")]
pub struct BadSelector(String);

impl Selector {
    /// Reads a name and labels. Of comparisons only `=` is known.
    pub fn parse(text: &str) -> Result<Self, BadSelector> {
        let bad = || BadSelector(text.to_owned());
        let (name, labels) = read_series(text.trim()).ok_or_else(bad)?;
        let (labels, rest) = labels;
        if !rest.is_empty() {
            return Err(bad());
        }
        Ok(Self { name: name.to_owned(), labels })
    }

    /// Whether a series with these labels is meant; its name is another matter.
    pub fn selects(&self, labels: &[(String, String)]) -> bool {
        self.labels.iter().all(|wanted| labels.contains(wanted))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if self.labels.is_empty() {
            return Ok(());
        }
        let labels: Vec<_> = self.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        write!(f, "{{{}}}", labels.join(","))
    }
}

/// Labels, and what stands behind them.
pub type Labels<'a> = (Vec<(String, String)>, &'a str);

/// Reads the name of a series and its labels, as in a line of Prometheus' text format; `None` if there is no
/// such thing.
pub fn read_series(text: &str) -> Option<(&str, Labels<'_>)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    match rest.strip_prefix('{') {
        Some(labels) => Some((name, read_labels(labels)?)),
        None => Some((name, (Vec::new(), rest))),
    }
}

/// Reads labels up to the closing brace.
fn read_labels(mut text: &str) -> Option<Labels<'_>> {
    let mut labels = Vec::new();
    loop {
        text = text.trim_start();
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once('=')?;
        let name = name.trim_end();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return None;
        }
        let (value, rest) = read_value(rest.trim_start().strip_prefix('"')?)?;
        labels.push((name.to_owned(), value));
        let rest = rest.trim_start();
        text = match rest.strip_prefix(',') {
            Some(more) => more,
            None if rest.starts_with('}') => rest,
            None => return None,
        };
    }
}

/// Reads up to the closing quote. `\n`, `\"` and `\\` stand for what they do elsewhere.
fn read_value(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_and_without_labels_is_read() {
        let plain = Selector::parse(" jobs_waiting ").unwrap();
        assert_eq!((plain.name.as_str(), plain.labels.len()), ("jobs_waiting", 0));
        let text = r#"rabbitmq_queue_messages{queue="mail",vhost="/"}"#;
        let one = Selector::parse(text).unwrap();
        assert_eq!((one.labels[0].clone(), one.labels.len()), (("queue".into(), "mail".into()), 2));
        assert_eq!(one.to_string(), text);
        let spaced = Selector::parse(r#"a{ b = "c\"}\\\n" , }"#).unwrap();
        assert_eq!(spaced.labels, [("b".to_owned(), "c\"}\\\n".to_owned())]);
    }

    #[test]
    fn what_is_no_metric_is_said_so() {
        for bad in [
            "",
            "9jobs",
            "jobs waiting",
            "jobs{",
            "jobs{a}",
            "jobs{a=b}",
            r#"jobs{a=~"b"}"#,
            r#"jobs{a="b"} 5"#,
            r#"a{b="c" d="e"}"#,
        ] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
        assert!(Selector::parse("jobs{").unwrap_err().to_string().contains("jobs_waiting"));
    }

    #[test]
    fn a_series_must_have_all_labels_and_may_have_more() {
        let selector = Selector::parse(r#"jobs{queue="mail"}"#).unwrap();
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert!(selector.selects(&[label("host", "a"), label("queue", "mail")]));
        assert!(!selector.selects(&[label("queue", "sms")]));
        assert!(!selector.selects(&[]));
    }
}
