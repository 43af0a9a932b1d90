//! Reads a map of the file field by field, and notices what was not read.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::diagnostic::{At, Diagnostic, Level};
use crate::tree::{Key, Node, Value};
use crate::units;

/// Gathers everything about a file, so that all of it is shown at once.
#[derive(Debug, Default)]
pub struct Log(RefCell<Vec<Diagnostic>>);

impl Log {
    fn add(&self, level: Level, at: Option<At>, message: impl Into<String>, help: Option<String>) {
        self.0.borrow_mut().push(Diagnostic { level, message: message.into(), at, help });
    }

    /// The file cannot be used.
    pub fn error(&self, at: At, message: impl Into<String>) {
        self.add(Level::Error, Some(at), message, None);
    }

    /// The file cannot be used; `help` says what to do.
    pub fn error_with(&self, at: At, message: impl Into<String>, help: impl Into<String>) {
        self.add(Level::Error, Some(at), message, Some(help.into()));
    }

    /// Not as the user may think.
    pub fn warning(&self, at: At, message: impl Into<String>) {
        self.add(Level::Warning, Some(at), message, None);
    }

    /// Something that is not at a place.
    pub fn general(&self, level: Level, message: impl Into<String>) {
        self.add(level, None, message, None);
    }

    /// Worth knowing.
    pub fn note(&self, at: At, message: impl Into<String>) {
        self.add(Level::Note, Some(at), message, None);
    }

    /// Takes a diagnostic that somebody else made.
    pub fn push(&self, diagnostic: Diagnostic) {
        self.0.borrow_mut().push(diagnostic);
    }

    /// Whether there is an error.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// How many errors there are.
    pub fn errors(&self) -> usize {
        self.0.borrow().iter().filter(|diagnostic| diagnostic.level == Level::Error).count()
    }

    /// Everything.
    pub fn take(self) -> Vec<Diagnostic> {
        self.0.into_inner()
    }
}

/// A map of the file that is being read.
pub struct Section<'a> {
    /// Where what is wrong goes.
    pub log: &'a Log,
    /// What it is called in messages, such as `service web`.
    pub name: String,
    /// Where it is.
    pub at: At,
    entries: &'a [(Key, Node)],
    read: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Section<'a> {
    /// Reads `node`, which must be a map; nothing counts as an empty one.
    pub fn open(log: &'a Log, name: impl Into<String>, node: &'a Node) -> Option<Self> {
        let name = name.into();
        let entries: &[(Key, Node)] = match &node.value {
            Value::Map(entries) => entries,
            Value::Null => &[],
            _ => {
                log.error(node.at, format!("{name} must be a map, and this is {}", node.kind()));
                return None;
            }
        };
        Some(Self { log, name, at: node.at, entries, read: RefCell::default() })
    }

    /// The value of a key. `null` counts as absent.
    pub fn get(&self, key: &'static str) -> Option<&'a Node> {
        self.read.borrow_mut().insert(key);
        let found = self.entries.iter().find(|(name, _)| &*name.name == key);
        found.map(|(_, value)| value).filter(|value| value.value != Value::Null)
    }

    /// Whether a key is there.
    pub fn has(&self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// Where a key stands.
    pub fn key_at(&self, key: &str) -> At {
        self.entries.iter().find(|(name, _)| &*name.name == key).map_or(self.at, |(name, _)| name.at)
    }

    /// Where a key's value stands; where the section stands, if there is none.
    pub fn value_at(&self, key: &str) -> At {
        self.entries.iter().find(|(name, _)| &*name.name == key).map_or(self.at, |(_, value)| value.at)
    }

    /// Reads a key with `read`, which says what it wants.
    fn parse<T>(&self, key: &'static str, wanted: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let node = self.get(key)?;
        let parsed = match &node.value {
            Value::Scalar { text, .. } => read(text),
            _ => None,
        };
        if parsed.is_none() {
            self.log.error(node.at, format!("{key} must be {wanted}, and this is {}", shown(node)));
        }
        parsed
    }

    /// A text.
    pub fn text(&self, key: &'static str) -> Option<String> {
        self.parse(key, "a text", |text| Some(text.to_owned()))
    }

    /// True or false.
    pub fn flag(&self, key: &'static str) -> Option<bool> {
        self.parse(key, "true or false", truth)
    }

    /// A whole number.
    pub fn number<T: std::str::FromStr>(&self, key: &'static str) -> Option<T> {
        self.parse(key, "a whole number", |text| text.trim().parse().ok())
    }

    /// A number that need not be whole, 0 or more.
    pub fn decimal(&self, key: &'static str) -> Option<f64> {
        self.parse(key, "a number such as 10 or 2.5", |text| {
            text.trim().parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
        })
    }

    /// A share in whole per cent.
    pub fn percent(&self, key: &'static str) -> Option<u32> {
        self.parse(key, "a share such as 70%", units::percent)
    }

    /// One of a few words, each with what it stands for.
    pub fn choice<T: Clone>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let node = self.get(key)?;
        let word = self.text(key)?;
        let found = choices.iter().find(|(name, _)| *name == word);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let message = format!("there is no {key} {word:?}: use {}", names.join(", "));
            match nearest(&word, &names) {
                Some(near) => self.log.error_with(node.at, message, format!("did you mean {near}?")),
                None => self.log.error(node.at, message),
            }
        }
        found.map(|(_, value)| value.clone())
    }

    /// A time.
    pub fn duration(&self, key: &'static str) -> Option<Duration> {
        self.parse(key, "a time such as 30s or 1m30s", units::duration)
    }

    /// A size.
    pub fn bytes(&self, key: &'static str) -> Option<i64> {
        self.parse(key, "a size such as 64M or 1.5G", |text| i64::try_from(units::bytes(text)?).ok())
    }

    /// A share of a core.
    pub fn cpus(&self, key: &'static str) -> Option<i64> {
        self.parse(key, "a number of cores such as 0.5", units::nano_cpus)
    }

    /// A list of texts.
    pub fn texts(&self, key: &'static str) -> Vec<String> {
        self.get(key).map(|node| texts(self.log, key, node)).unwrap_or_default()
    }

    /// A list of texts, or one text.
    pub fn text_or_texts(&self, key: &'static str) -> Vec<String> {
        match self.get(key).map(|node| &node.value) {
            Some(Value::Scalar { text, .. }) => vec![text.clone()],
            _ => self.texts(key),
        }
    }

    /// A map of texts, or a list of `name=value`.
    pub fn pairs(&self, key: &'static str) -> BTreeMap<String, String> {
        let Some(node) = self.get(key) else { return BTreeMap::new() };
        match &node.value {
            Value::Map(entries) => entries
                .iter()
                .filter_map(|(name, value)| match &value.value {
                    Value::Scalar { text, .. } => Some((name.name.to_string(), text.clone())),
                    Value::Null => Some((name.name.to_string(), String::new())),
                    _ => {
                        self.log.error(
                            value.at,
                            format!("{key}.{} must be a text, and this is {}", name.name, value.kind()),
                        );
                        None
                    }
                })
                .collect(),
            Value::List(_) => texts(self.log, key, node)
                .into_iter()
                .map(|pair| match pair.split_once('=') {
                    Some((name, value)) => (name.to_owned(), value.to_owned()),
                    None => (pair, String::new()),
                })
                .collect(),
            _ => {
                self.log.error(
                    node.at,
                    format!("{key} must be a map or a list of name=value, and this is {}", node.kind()),
                );
                BTreeMap::new()
            }
        }
    }

    /// A command: a list of words, or a line that is split as a shell does.
    pub fn words(&self, key: &'static str) -> Option<Vec<String>> {
        let node = self.get(key)?;
        match &node.value {
            Value::Scalar { text, .. } => match split_words(text) {
                Some(words) => Some(words),
                None => {
                    self.log.error(node.at, format!("{key} has a quote that is never closed"));
                    None
                }
            },
            Value::List(_) => Some(texts(self.log, key, node)),
            _ => {
                self.log.error(
                    node.at,
                    format!("{key} must be a text or a list of words, and this is {}", node.kind()),
                );
                None
            }
        }
    }

    /// A section inside this one.
    pub fn section(&self, key: &'static str) -> Option<Section<'a>> {
        let node = self.get(key)?;
        Section::open(self.log, format!("{key} of {}", self.name), node)
    }

    /// The entries, for sections whose keys are names.
    pub fn entries(&self) -> &'a [(Key, Node)] {
        self.entries
    }

    /// Says what was not read: `known` keys are not honoured yet, others do not exist.
    pub fn finish(self, known: &[&str]) {
        for (key, _) in self.entries {
            let name: &str = &key.name;
            if self.read.borrow().contains(name) || name.starts_with("x-") {
                continue;
            }
            if known.contains(&name) {
                self.log.warning(key.at, format!("{name} is not honoured yet, and is left out"));
            } else {
                let message = format!("{} has no key {name}", self.name);
                match nearest(name, known) {
                    Some(near) => self.log.error_with(key.at, message, format!("did you mean {near}?")),
                    None if known.len() <= FEW => {
                        self.log.error_with(key.at, message, format!("its keys are {}", known.join(", ")));
                    }
                    None => self.log.error(key.at, message),
                }
            }
        }
    }
}

/// So many keys are named to whoever used another one.
const FEW: usize = 12;

/// The nearest of `known`, if it is near enough to be meant.
pub fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), *known))
        .filter(|(distance, known)| *distance <= 1 + known.len() / 4)
        .min()
        .map(|(_, known)| known)
}

/// YAML's words for true and false, and those that Docker's tools take.
pub fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "1" => Some(true),
        "false" | "no" | "off" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// A list of texts.
pub fn texts(log: &Log, key: &str, node: &Node) -> Vec<String> {
    let Value::List(items) = &node.value else {
        log.error(node.at, format!("{key} must be a list, and this is {}", node.kind()));
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| match &item.value {
            Value::Scalar { text, .. } => Some(text.clone()),
            _ => {
                log.error(item.at, format!("{key} must be a list of texts, and this is {}", item.kind()));
                None
            }
        })
        .collect()
}

/// A value for a message: short texts as they are.
pub fn shown(node: &Node) -> String {
    match &node.value {
        Value::Scalar { text, .. } if text.chars().count() <= 40 => format!("{text:?}"),
        _ => node.kind().to_owned(),
    }
}

/// Splits a line into words as a POSIX shell does, without expanding anything. `None` if a quote is
/// not closed.
pub fn split_words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\' | '$' | '`') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        let split = |line: &str| split_words(line).unwrap();
        assert_eq!(split("redis-server --appendonly yes"), ["redis-server", "--appendonly", "yes"]);
        assert_eq!(split(r#"sh -c "echo 'a  b' \"c\"" d\ e"#), ["sh", "-c", "echo 'a  b' \"c\"", "d e"]);
        assert_eq!(split("a '' b"), ["a", "", "b"]);
        assert_eq!(split_words("a 'b"), None);
    }

    #[test]
    fn a_key_that_is_nearly_right_is_recognised() {
        assert_eq!(nearest("volums", crate::keys::SERVICE), Some("volumes"));
        assert_eq!(nearest("enviroment", crate::keys::SERVICE), Some("environment"));
        assert_eq!(nearest("depend_on", crate::keys::SERVICE), Some("depends_on"));
        assert_eq!(nearest("banana", crate::keys::SERVICE), None);
    }
}
