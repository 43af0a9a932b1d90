//! YAML as a tree in which every value knows its place in the file.
//!
//! Scalars keep their text: `1.10` stays `1.10`. Anchors, aliases and merge keys are resolved here,
//! within a budget, so that no file can blow up in memory.

use std::collections::HashMap;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::diagnostic::{At, Diagnostic, Level};

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it is.
    pub at: At,
    /// A tag of its own, such as `!reset`.
    pub tag: Option<String>,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing: `null`, `~` or empty.
    Null,
    /// A text or number, as it is written.
    Scalar {
        /// The text.
        text: String,
        /// Whether it stood in quotes, so that `"true"` is a text.
        quoted: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// Keys and values, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// The key of a map and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The key.
    pub name: Arc<str>,
    /// Where it is.
    pub at: At,
}

/// Values that one file may have, aliases counted as often as they are used.
const MAX_NODES: usize = 200_000;
const MAX_DEPTH: usize = 64;

impl Node {
    /// What it is, in words for people.
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar { .. } => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The value of a key, if this is a map that has it.
    pub fn get(&self, name: &str) -> Option<&Node> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(key, _)| &*key.name == name).map(|(_, value)| value),
            _ => None,
        }
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Null => serializer.serialize_unit(),
            Value::Scalar { text, quoted: false } => match text.as_str() {
                "true" => serializer.serialize_bool(true),
                "false" => serializer.serialize_bool(false),
                number => match number.parse::<i64>() {
                    Ok(number) if number.to_string() == *text => serializer.serialize_i64(number),
                    _ => serializer.serialize_str(text),
                },
            },
            Value::Scalar { text, .. } => serializer.serialize_str(text),
            Value::List(items) => serializer.collect_seq(items),
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(&*key.name, value)?;
                }
                map.end()
            }
        }
    }
}

/// Reads one YAML document.
pub fn parse(text: &str) -> Result<Node, Diagnostic> {
    let mut builder = Builder { parser: Parser::new_from_str(text), text, anchors: HashMap::new(), nodes: 0 };
    let root = builder.document()?;
    Ok(root.unwrap_or(Node { value: Value::Null, at: At::default(), tag: None }))
}

struct Builder<'t> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    text: &'t str,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

fn error(message: impl Into<String>, at: At) -> Diagnostic {
    Diagnostic { level: Level::Error, message: message.into(), at: Some(at), help: None }
}

impl<'t> Builder<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, At)>, Diagnostic> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => {
                let at = self.place(&span);
                Ok(Some((event, at)))
            }
            Some(Err(problem)) => {
                let start = self.offset(problem.marker());
                let at = At { start, end: start + 1 };
                Err(error(format!("this is not YAML: {}", problem.info()), at))
            }
        }
    }

    fn offset(&self, marker: &granit_parser::Marker) -> usize {
        // The parser counts characters as well as bytes; bytes are missing only for markers of its own making.
        marker.byte_offset().unwrap_or_else(|| {
            self.text.char_indices().nth(marker.index()).map_or(self.text.len(), |(offset, _)| offset)
        })
    }

    fn place(&self, span: &Span) -> At {
        At { start: self.offset(&span.start), end: self.offset(&span.end) }
    }

    fn document(&mut self) -> Result<Option<Node>, Diagnostic> {
        let mut root = None;
        while let Some((event, at)) = self.next()? {
            match event {
                Event::StreamStart | Event::StreamEnd | Event::DocumentEnd | Event::Anchor(..) => {}
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(error("a second YAML document begins here: one file is one document", at));
                }
                Event::DocumentStart(..) => {}
                event => root = Some(self.node(event, at, 0)?),
            }
        }
        Ok(root)
    }

    fn node(&mut self, event: Event<'t>, at: At, depth: usize) -> Result<Node, Diagnostic> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(error(format!("the file has more than {MAX_NODES} values"), at));
        }
        if depth > MAX_DEPTH {
            return Err(error(format!("values are nested more than {MAX_DEPTH} deep here"), at));
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = style != ScalarStyle::Plain;
                let value = match text.as_ref() {
                    "" | "~" | "null" | "Null" | "NULL" if !quoted && tag.is_none() => Value::Null,
                    text => Value::Scalar { text: text.to_owned(), quoted },
                };
                Ok(self.keep(anchor, Node { value, at, tag: own_tag(tag.as_deref()) }))
            }
            Event::SequenceStart(_, anchor, tag) => {
                let mut items = Vec::new();
                let end = loop {
                    match self.expect(at)? {
                        (Event::SequenceEnd, end) => break end,
                        (Event::Anchor(..), _) => {}
                        (event, at) => items.push(self.node(event, at, depth + 1)?),
                    }
                };
                let at = At { start: at.start, end: end.end };
                Ok(self.keep(anchor, Node { value: Value::List(items), at, tag: own_tag(tag.as_deref()) }))
            }
            Event::MappingStart(_, anchor, tag) => {
                let (entries, end) = self.map(at, depth)?;
                let at = At { start: at.start, end: end.end };
                Ok(self.keep(anchor, Node { value: Value::Map(entries), at, tag: own_tag(tag.as_deref()) }))
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| error("this alias refers to itself", at))?;
                self.nodes += count(&node);
                if self.nodes > MAX_NODES {
                    return Err(error(format!("aliases make more than {MAX_NODES} values"), at));
                }
                Ok(node)
            }
            Event::UnresolvedAlias(name) => Err(error(format!("there is no anchor &{name} before this"), at)),
            _ => Err(error("a value is missing here", at)),
        }
    }

    fn expect(&mut self, at: At) -> Result<(Event<'t>, At), Diagnostic> {
        self.next()?.ok_or_else(|| error("the file ends in the middle of this", at))
    }

    fn map(&mut self, at: At, depth: usize) -> Result<(Vec<(Key, Node)>, At), Diagnostic> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut merged = Vec::new();
        let end = loop {
            let (event, key_at) = match self.expect(at)? {
                (Event::MappingEnd, end) => break end,
                (Event::Anchor(..), _) => continue,
                next => next,
            };
            let key = self.node(event, key_at, depth + 1)?;
            let name: Arc<str> = match key.value {
                Value::Scalar { text, .. } => text.into(),
                Value::Null => "null".into(),
                _ => return Err(error("a key must be a text", key.at)),
            };
            let (event, value_at) = loop {
                match self.expect(key_at)? {
                    (Event::Anchor(..), _) => {}
                    next => break next,
                }
            };
            let value = self.node(event, value_at, depth + 1)?;
            if &*name == "<<" {
                merge_sources(value, &mut merged)?;
                continue;
            }
            if let Some((first, _)) = entries.iter().find(|(known, _)| known.name == name) {
                let line = self.text[..first.at.start].matches('\n').count() + 1;
                return Err(error(format!("the key {name} stands here twice: first in line {line}"), key_at));
            }
            entries.push((Key { name, at: key_at }, value));
        };
        // What the map says itself wins over what is merged in, and earlier sources over later ones.
        for (key, value) in merged {
            if !entries.iter().any(|(known, _)| known.name == key.name) {
                entries.push((key, value));
            }
        }
        Ok((entries, end))
    }

    fn keep(&mut self, anchor: usize, node: Node) -> Node {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        node
    }
}

fn merge_sources(value: Node, merged: &mut Vec<(Key, Node)>) -> Result<(), Diagnostic> {
    match value.value {
        Value::Map(entries) => merged.extend(entries),
        Value::List(items) => {
            for item in items {
                match item.value {
                    Value::Map(entries) => merged.extend(entries),
                    _ => return Err(error("a merge key takes maps", item.at)),
                }
            }
        }
        _ => return Err(error("a merge key takes a map, or a list of maps", value.at)),
    }
    Ok(())
}

fn own_tag(tag: Option<&Tag>) -> Option<String> {
    tag.filter(|tag| tag.handle() == "!").map(|tag| tag.suffix().to_owned())
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Scalar { .. } => 1,
        Value::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, value)| count(value)).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(node: Option<&Node>) -> String {
        match node.map(|node| &node.value) {
            Some(Value::Scalar { text, .. }) => text.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_value_keeps_its_text_and_its_place() {
        let source = "version: 1.10\nname: \"true\"\n";
        let root = parse(source).unwrap();
        let version = root.get("version").unwrap();
        assert_eq!(text(Some(version)), "1.10");
        assert_eq!(&source[version.at.start..version.at.end], "1.10");
        assert_eq!(root.get("name").unwrap().value, Value::Scalar { text: "true".into(), quoted: true });
    }

    #[test]
    fn anchors_and_merge_keys_are_resolved_and_own_keys_win() {
        let root = parse("base: &b {a: 1, b: 2}\nother: {<<: *b, b: 3}\nlist: {<<: [*b, {c: 4}]}\n").unwrap();
        let other = root.get("other").unwrap();
        assert_eq!((text(other.get("a")), text(other.get("b"))), ("1".into(), "3".into()));
        assert_eq!(text(root.get("list").unwrap().get("c")), "4");
    }

    #[test]
    fn what_is_not_yaml_says_where() {
        let problem = parse("a: [1, 2\nb: 3\n").unwrap_err();
        assert!(problem.message.starts_with("this is not YAML"), "{problem:?}");
        assert!(problem.at.is_some());
        assert!(parse("a: 1\na: 2\n").unwrap_err().message.contains("twice: first in line 1"));
        assert!(parse("a: *nobody\n").is_err());
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let refs = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
        }
        assert!(parse(&bomb).unwrap_err().message.contains("more than"));
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert!(parse(&"[".repeat(10_000)).is_err());
    }

    #[test]
    fn an_empty_file_is_nothing() {
        assert_eq!(parse("").unwrap().value, Value::Null);
        assert_eq!(parse("# only a comment\n").unwrap().value, Value::Null);
    }
}
