//! `healthcheck:` of a service.

use gantry_model::Healthcheck;

use crate::keys;
use crate::section::{Section, texts};
use crate::tree::Value;

/// The engine's health check; `None` keeps the image's.
pub fn read(section: &Section<'_>) -> Option<Healthcheck> {
    let check = section.section("healthcheck")?;
    let log = section.log;
    let mut test = match check.get("test") {
        None => Vec::new(),
        Some(node) => match &node.value {
            Value::Scalar { text, .. } => vec!["CMD-SHELL".to_owned(), text.clone()],
            Value::List(_) => {
                let words = texts(log, "test", node);
                match words.first().map(String::as_str) {
                    Some("CMD" | "CMD-SHELL") if words.len() > 1 => {}
                    Some("NONE") => {}
                    _ => log.error_with(
                        node.at,
                        "a test that is a list begins with CMD, CMD-SHELL or NONE",
                        "write [\"CMD\", \"curl\", \"-f\", \"http://localhost\"]",
                    ),
                }
                words
            }
            _ => {
                log.error(node.at, format!("test must be a text or a list, and this is {}", node.kind()));
                Vec::new()
            }
        },
    };
    if check.flag("disable") == Some(true) {
        test = vec!["NONE".to_owned()];
    }
    let read = Healthcheck {
        test,
        interval: check.duration("interval"),
        timeout: check.duration("timeout"),
        retries: check.number("retries"),
        start_period: check.duration("start_period"),
        start_interval: check.duration("start_interval"),
    };
    check.finish(keys::HEALTHCHECK);
    Some(read)
}
