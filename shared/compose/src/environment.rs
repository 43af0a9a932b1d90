//! `environment:` and `env_file:` of a service.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use crate::dotenv;
use crate::interpolate::Variables;
use crate::keys;
use crate::project::Context;
use crate::section::Section;
use crate::tree::{Node, Value};

/// The variables of a service: those of its files, then its own. A variable without a value takes
/// the user's, and is left out if the user has none.
pub fn read(section: &Section<'_>, context: &Context<'_>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    if let Some(node) = section.get("env_file") {
        env_files(section, node, context, &mut variables);
    }
    own(section, context, &mut variables);
    variables
}

/// Adds the variables that stand under `environment:`.
pub fn own(section: &Section<'_>, context: &Context<'_>, variables: &mut BTreeMap<String, String>) {
    let Some(node) = section.get("environment") else { return };
    match &node.value {
        Value::Map(entries) => {
            for (name, value) in entries {
                match &value.value {
                    Value::Scalar { text, .. } => drop(variables.insert(name.name.to_string(), text.clone())),
                    Value::Null => take_from_user(&name.name, context, variables),
                    _ => section.log.error(
                        value.at,
                        format!("environment.{} must be a text, and this is {}", name.name, value.kind()),
                    ),
                }
            }
        }
        Value::List(items) => {
            for item in items {
                let Value::Scalar { text, .. } = &item.value else {
                    section.log.error(
                        item.at,
                        format!("environment must be a list of NAME=value, and this is {}", item.kind()),
                    );
                    continue;
                };
                match text.split_once('=') {
                    Some((name, value)) => drop(variables.insert(name.to_owned(), value.to_owned())),
                    None => take_from_user(text, context, variables),
                }
            }
        }
        _ => section
            .log
            .error(node.at, format!("environment must be a map or a list, and this is {}", node.kind())),
    }
}

fn take_from_user(name: &str, context: &Context<'_>, variables: &mut BTreeMap<String, String>) {
    match context.variables.get(name) {
        Some(value) => drop(variables.insert(name.to_owned(), value.clone())),
        None => drop(variables.remove(name)),
    }
}

fn env_files(section: &Section<'_>, node: &Node, context: &Context<'_>, variables: &mut Variables) {
    let one = [node.clone()];
    let items: &[Node] = match &node.value {
        Value::List(items) => items,
        _ => &one,
    };
    for item in items {
        let (path, required) = match &item.value {
            Value::Scalar { text, .. } => (text.clone(), true),
            Value::Map(_) => {
                let Some(file) = Section::open(section.log, "env_file", item) else { continue };
                let required = file.flag("required").unwrap_or(true);
                let path = file.text("path");
                file.finish(keys::ENV_FILE);
                match path {
                    Some(path) => (path, required),
                    None => {
                        section.log.error(item.at, "env_file needs a path");
                        continue;
                    }
                }
            }
            _ => {
                section.log.error(item.at, format!("env_file must be a path, and this is {}", item.kind()));
                continue;
            }
        };
        let full = context.path(&path);
        match fs::read_to_string(&full) {
            Ok(text) => match dotenv::parse(&text, context.variables) {
                Ok(found) => variables.extend(found),
                Err(problem) => section.log.error(item.at, format!("{path}: {problem}")),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => {}
            Err(error) => section.log.error(item.at, format!("cannot read {}: {error}", full.display())),
        }
    }
}
