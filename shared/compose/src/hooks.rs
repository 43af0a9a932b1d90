//! `post_start:` and `pre_stop:` of a service.

use std::collections::BTreeMap;

use gantry_model::Hook;

use crate::project::Context;
use crate::section::Section;
use crate::tree::Value;
use crate::{environment, keys};

/// The hooks under `key`, in their order.
pub fn read(section: &Section<'_>, key: &'static str, context: &Context<'_>) -> Vec<Hook> {
    let Some(node) = section.get(key) else { return Vec::new() };
    let help = format!("write {key}: [{{command: [\"./script\", \"argument\"]}}]");
    let Value::List(items) = &node.value else {
        section.log.error_with(node.at, format!("{key} must be a list, and this is {}", node.kind()), help);
        return Vec::new();
    };
    let hooks = items.iter().filter_map(|item| {
        let hook = Section::open(section.log, format!("one of {key}"), item)?;
        let command = hook.words("command");
        let is_empty = command.as_ref().is_some_and(|words| words.first().is_none_or(String::is_empty));
        if is_empty || hook.get("command").is_none() {
            section.log.error_with(item.at, format!("each of {key} needs a command"), &help);
        }
        let mut variables = BTreeMap::new();
        environment::own(&hook, context, &mut variables);
        let read = Hook {
            command: command.unwrap_or_default(),
            user: hook.text("user"),
            working_dir: hook.text("working_dir"),
            environment: variables,
            privileged: hook.flag("privileged").unwrap_or(false),
        };
        hook.finish(keys::HOOK);
        Some(read)
    });
    hooks.collect()
}
