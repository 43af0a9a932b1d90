//! `depends_on:` of a service, in both forms.

use std::collections::BTreeMap;

use gantry_model::{Condition, Dependency};

use crate::keys;
use crate::project::Context;
use crate::section::{Section, texts};
use crate::tree::Value;

/// What a service waits for.
pub fn read(section: &Section<'_>, context: &Context<'_>) -> BTreeMap<String, Dependency> {
    let Some(node) = section.get("depends_on") else { return BTreeMap::new() };
    let log = section.log;
    let mut found = BTreeMap::new();
    match &node.value {
        Value::List(items) => {
            for (item, name) in items.iter().zip(texts(log, "depends_on", node)) {
                if !context.services.contains(name.as_str()) {
                    log.error(item.at, format!("there is no service {name} in this file"));
                }
                found.insert(name, Dependency { condition: Condition::Started, required: true });
            }
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                let Some(options) = Section::open(log, format!("dependency {}", key.name), value) else {
                    continue;
                };
                let condition = match options.text("condition").as_deref() {
                    None | Some("service_started") => Condition::Started,
                    Some("service_healthy") => Condition::Healthy,
                    Some("service_completed_successfully") => Condition::Completed,
                    Some(other) => {
                        log.error_with(
                            options.key_at("condition"),
                            format!("there is no condition {other:?}"),
                            "use service_started, service_healthy or service_completed_successfully",
                        );
                        Condition::Started
                    }
                };
                let required = options.flag("required").unwrap_or(true);
                if options.flag("restart") == Some(true) {
                    log.warning(options.key_at("restart"), "restart is not honoured yet, and is left out");
                }
                options.finish(keys::DEPENDENCY);
                if required && !context.services.contains(&*key.name) {
                    log.error(key.at, format!("there is no service {} in this file", key.name));
                }
                found.insert(key.name.to_string(), Dependency { condition, required });
            }
        }
        _ => log.error(node.at, format!("depends_on must be a list or a map, and this is {}", node.kind())),
    }
    found
}
