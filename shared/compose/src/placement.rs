//! `deploy.placement` of a service.

use std::str::FromStr;

use gantry_model::{Attribute, BadPlacement, Placement};

use crate::keys;
use crate::section::Section;
use crate::tree::{Node, Value};

/// Reads where replicas may run.
pub fn read(section: &Section<'_>) -> Placement {
    let max: Option<u32> = section.number("max_replicas_per_node");
    Placement {
        constraints: items(section, "constraints")
            .iter()
            .filter_map(|item| match &item.value {
                Value::Scalar { text, .. } => parse(section, item, text),
                _ => {
                    let message = format!("a constraint must be a text, and this is {}", item.kind());
                    section.log.error(item.at, message);
                    None
                }
            })
            .collect(),
        spread: items(section, "preferences").iter().filter_map(|item| preference(section, item)).collect(),
        // As in Swarm, 0 is no limit.
        max_replicas_per_node: max.filter(|max| *max > 0),
    }
}

fn items<'a>(section: &Section<'a>, key: &'static str) -> &'a [Node] {
    match section.get(key) {
        None => &[],
        Some(Node { value: Value::List(items), .. }) => items,
        Some(node) => {
            section.log.error(node.at, format!("{key} must be a list, and this is {}", node.kind()));
            &[]
        }
    }
}

fn preference(section: &Section<'_>, item: &Node) -> Option<Attribute> {
    let preference = Section::open(section.log, "a placement preference".to_owned(), item)?;
    let spread = preference.get("spread");
    let read = match (spread, preference.text("spread")) {
        (Some(node), Some(text)) => parse(section, node, text.trim()),
        (None, _) => {
            section.log.error(item.at, "a preference must say spread, such as spread: node.labels.zone");
            None
        }
        _ => None,
    };
    preference.finish(keys::PREFERENCE);
    read
}

fn parse<T: FromStr<Err = BadPlacement>>(section: &Section<'_>, node: &Node, text: &str) -> Option<T> {
    text.parse().map_err(|bad: BadPlacement| section.log.error(node.at, bad.to_string())).ok()
}
