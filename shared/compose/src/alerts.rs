//! The user's file of alerts: rules, receivers, and when many changes become one notice.

mod bound;

use std::collections::BTreeSet;
use std::time::Duration;

use gantry_model::Secret;
use gantry_model::alert::{
    AlertConfig, AlertRule, AlertSeverity, BUILT_IN, Grouping, METRICS, Metric, Receiver, ReceiverKind,
    Scope, find_built_in, host_of, matches,
};

use crate::diagnostic::{At, Diagnostic, Level, Problems, Source};
use crate::section::{Log, Section, nearest, texts};
use crate::tree::{self, Node, Value};

const RULE: &[&str] =
    &["name", "metric", "service", "node", "above", "below", "for", "severity", "labels", "summary"];
const RECEIVER: &[&str] = &["name", "type", "url", "headers", "severities", "rules", "send_resolved", "ca"];
const FILE: &[&str] = &["rules", "receivers", "digest", "disable"];
const LONGEST_HOLD: Duration = Duration::from_hours(24);
const LONGEST_TEXT: usize = 1_000;
const MOST_PAIRS: usize = 32;

/// Reads a file of alerts. Everything that is wrong with it is said at once, each with its place.
pub fn read_alerts(source: Source) -> Result<AlertConfig, Problems> {
    if source.text.len() > AlertConfig::LARGEST {
        let message = format!("a file of alerts has at most {} bytes", AlertConfig::LARGEST);
        let problem = Diagnostic { level: Level::Error, message, at: None, help: None };
        return Err(Problems::new(source, vec![problem]));
    }
    let root = match tree::parse(&source.text) {
        Ok(root) => root,
        Err(problem) => return Err(Problems::new(source, vec![problem])),
    };
    let log = Log::default();
    let config = Section::open(&log, "the file of alerts", &root).map(read);
    match config {
        Some(config) if !log.has_errors() => Ok(config),
        _ => Err(Problems::new(source, log.take())),
    }
}

fn read(file: Section<'_>) -> AlertConfig {
    let known = own_rules(&file);
    let config = AlertConfig {
        rules: each(&file, "rules", AlertConfig::MOST_RULES, rule),
        receivers: each(&file, "receivers", AlertConfig::MOST_RECEIVERS, |section, name| {
            receiver(section, name, &known)
        }),
        disabled: disabled(&file),
        grouping: grouping(&file),
    };
    file.finish(FILE);
    config
}

/// The elements of a list of maps, each with a name of its own.
fn each<T>(
    file: &Section<'_>,
    key: &'static str,
    most: usize,
    read: impl Fn(&Section<'_>, &str) -> Option<T>,
) -> Vec<T> {
    let log = file.log;
    let Some(node) = file.get(key) else { return Vec::new() };
    let Value::List(items) = &node.value else {
        log.error(node.at, format!("{key} must be a list, and this is {}", node.kind()));
        return Vec::new();
    };
    if items.len() > most {
        log.error(node.at, format!("there are {} {key}: at most {most} are taken", items.len()));
        return Vec::new();
    }
    let mut names = BTreeSet::new();
    let element = |item: &Node| {
        let place = format!("element of {key}");
        let mut section = Section::open(log, place, item)?;
        let name = name(&section)?;
        section.name = format!("{} {name}", key.trim_end_matches('s'));
        if !names.insert(name.clone()) {
            log.error_with(
                section.value_at("name"),
                format!("there is another {name} in {key}"),
                "each needs a name of its own",
            );
        }
        let read = read(&section, &name);
        section.finish(if key == "rules" { RULE } else { RECEIVER });
        read
    };
    items.iter().filter_map(element).collect()
}

fn name(section: &Section<'_>) -> Option<String> {
    let Some(name) = section.text("name") else {
        section.log.error(section.at, format!("this {} needs a name", section.name));
        return None;
    };
    let fine = (1..=63).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    if !fine {
        section.log.error(
            section.value_at("name"),
            format!("a name has 1 to 63 letters, digits, dashes, dots and underscores, and this is {name:?}"),
        );
    }
    fine.then_some(name)
}

fn rule(section: &Section<'_>, name: &str) -> Option<AlertRule> {
    let log = section.log;
    if find_built_in(name).is_some() {
        log.error_with(
            section.value_at("name"),
            format!("{name} is the name of a built-in rule"),
            format!("take another name, and `disable: [{name}]` if it replaces that one"),
        );
    }
    let metric = metric(section);
    let subject = metric.and_then(|metric| subject(section, metric));
    let bound = bound::read(section, metric);
    let hold = section.duration("for").unwrap_or_default();
    if hold > LONGEST_HOLD {
        log.error(section.value_at("for"), "for is at most 24h");
    }
    let severity = section.choice("severity", &AlertSeverity::ALL).unwrap_or(AlertSeverity::Warning);
    let labels = section.pairs("labels");
    if labels.len() > MOST_PAIRS {
        log.error(section.value_at("labels"), format!("a rule has at most {MOST_PAIRS} labels"));
    }
    for label in labels.keys().filter(|label| !is_label(label)) {
        log.error(
            section.value_at("labels"),
            format!(
                "a label begins with a letter and has letters, digits and underscores, and this is {label:?}"
            ),
        );
    }
    let summary = section.text("summary").unwrap_or_default();
    if summary.chars().count() > LONGEST_TEXT {
        log.error(section.value_at("summary"), format!("a summary has at most {LONGEST_TEXT} characters"));
    }
    for word in words_in_braces(&summary).filter(|word| !["subject", "value"].contains(word)) {
        log.error_with(
            section.value_at("summary"),
            format!("a summary has nothing to put in the place of {{{word}}}"),
            "there are {subject} and {value}",
        );
    }
    Some(AlertRule {
        name: name.to_owned(),
        metric: metric?,
        subject: subject?,
        bound: bound?,
        hold,
        severity,
        labels,
        summary,
    })
}

/// Those that a summary has in braces, without them.
fn words_in_braces(summary: &str) -> impl Iterator<Item = &str> {
    let words = summary.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
    words.filter(|word| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// As Prometheus has them, so that an Alertmanager takes them.
fn is_label(label: &str) -> bool {
    label.starts_with(|first: char| first.is_ascii_alphabetic())
        && label.len() <= 63
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn metric(section: &Section<'_>) -> Option<Metric> {
    let Some(name) = section.text("metric") else {
        section.log.error_with(
            section.at,
            format!("{} needs a metric, such as error_rate", section.name),
            "`gantry alerts rules --metrics` lists them",
        );
        return None;
    };
    let found = Metric::find(&name);
    if found.is_none() {
        let names: Vec<&str> = METRICS.iter().map(|info| info.name).collect();
        let at = section.value_at("metric");
        if let Some((_, instead)) =
            NOT_YET.iter().find(|(words, _)| words.iter().any(|word| name.contains(word)))
        {
            let message = format!("there is no metric {name:?} yet");
            section.log.error_with(at, message, *instead);
            return None;
        }
        let message = format!("there is no metric {name:?}: there are {}", names.join(", "));
        match nearest(&name, &names) {
            Some(near) => section.log.error_with(at, message, format!("did you mean {near}?")),
            None => section.log.error(at, message),
        }
    }
    found
}

/// What people look for and is not there, and what there is instead.
const NOT_YET: &[(&[&str], &str)] = &[
    (&["cpu", "load"], "in_flight, waiting and p95_ms say when a service has too much to do"),
    (&["mem", "rss", "oom"], "crashes counts processes that ran out of memory, too"),
];

/// Which services, or which nodes, by what the metric is of.
fn subject(section: &Section<'_>, metric: Metric) -> Option<String> {
    let (service, node) = (section.text("service"), section.text("node"));
    let scope = metric.info().scope;
    let (own, other, wrong) = match scope {
        Scope::Service => (service, node, "node"),
        Scope::Node => (node, service, "service"),
    };
    if other.is_some() {
        let message = format!(
            "{} is a metric of each {}: the key {wrong} means nothing",
            metric.info().name,
            scope.word()
        );
        section.log.error_with(section.key_at(wrong), message, format!("use {}", scope.word()));
        return None;
    }
    let pattern = own.unwrap_or_else(|| "*".to_owned());
    let key = scope.word();
    let fine = match scope {
        Scope::Service => pattern.contains('/') || pattern.contains('*'),
        Scope::Node => !pattern.is_empty(),
    };
    if !fine {
        section.log.error(
            section.value_at(key),
            format!("{key} must be a full name such as shop/web, or a pattern such as shop/*, and this is {pattern:?}"),
        );
    }
    fine.then_some(pattern)
}

fn receiver(section: &Section<'_>, name: &str, own: &[String]) -> Option<Receiver> {
    let log = section.log;
    if section.get("type").is_none() {
        log.error(section.at, "a receiver needs a type: webhook, slack or alertmanager");
    }
    let kind = section.choice("type", &ReceiverKind::ALL);
    let url = section.text("url");
    match url.as_deref().map(host_of) {
        // The text may be a password: only what is wrong with it is said.
        Some(Err(bad)) => log.error(section.value_at("url"), bad.to_string()),
        Some(Ok(_)) => {}
        None => log.error(section.at, "a receiver needs a url, such as https://hooks.example.com/path"),
    }
    let headers = section.pairs("headers");
    check_headers(log, section.value_at("headers"), &headers);
    let severities = section.get("severities").map(|node| severities(log, node)).unwrap_or_default();
    let ca = section.text("ca").unwrap_or_default();
    if !ca.is_empty() && !ca.contains("-----BEGIN CERTIFICATE-----") {
        log.error(
            section.value_at("ca"),
            "ca must be a certificate as PEM, which begins with -----BEGIN CERTIFICATE-----",
        );
    }
    Some(Receiver {
        name: name.to_owned(),
        send_resolved: section.flag("send_resolved").unwrap_or(true),
        kind: kind?,
        url: Secret(url?),
        headers: headers.into_iter().map(|(name, value)| (name, Secret(value))).collect(),
        severities,
        rules: section.get("rules").map(|node| rules(log, node, own)).unwrap_or_default(),
        ca,
    })
}

fn check_headers(log: &Log, at: At, headers: &std::collections::BTreeMap<String, String>) {
    const OWN: &[&str] =
        &["host", "content-length", "content-type", "transfer-encoding", "connection", "upgrade", "te"];
    if headers.len() > MOST_PAIRS {
        log.error(at, format!("a receiver has at most {MOST_PAIRS} headers"));
    }
    for (name, value) in headers {
        let token = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if !token {
            log.error(at, format!("a header's name has letters, digits and dashes, and this is {name:?}"));
        } else if OWN.contains(&name.to_ascii_lowercase().as_str()) {
            log.error(at, format!("the header {name} is Gantry's own to set"));
        } else if !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            log.error(
                at,
                format!("the value of the header {name} has a line end, or characters beyond ASCII"),
            );
        }
    }
}

fn severities(log: &Log, node: &Node) -> Vec<AlertSeverity> {
    let words: Vec<&str> = AlertSeverity::ALL.iter().map(|(word, _)| *word).collect();
    let mut read = Vec::new();
    for text in texts(log, "severities", node) {
        let message = || format!("there is no severity {text:?}: use {}", words.join(", "));
        match (AlertSeverity::ALL.iter().find(|(word, _)| *word == text), nearest(&text, &words)) {
            (Some((_, severity)), _) => read.push(*severity),
            (None, Some(near)) => {
                log.error_with(place(node, &text), message(), format!("did you mean {near}?"));
            }
            (None, None) => log.error(place(node, &text), message()),
        }
    }
    read
}

/// The rules that a receiver is told of: names, or patterns that fit some rule. `own` are those of the file.
fn rules(log: &Log, node: &Node, own: &[String]) -> Vec<String> {
    let built_in = BUILT_IN.iter().map(|rule| rule.name);
    let known: Vec<&str> = built_in.chain(own.iter().map(String::as_str)).collect();
    let list = texts(log, "rules", node);
    for wanted in list.iter().filter(|wanted| !known.iter().any(|name| matches(wanted, name))) {
        let message = if wanted.contains('*') {
            format!("no rule is called {wanted}: there are {}", known.join(", "))
        } else {
            format!("there is no rule {wanted:?}: there are {}", known.join(", "))
        };
        match nearest(wanted, &known) {
            Some(near) => log.error_with(place(node, wanted), message, format!("did you mean {near}?")),
            None => log.error(place(node, wanted), message),
        }
    }
    list
}

fn disabled(file: &Section<'_>) -> Vec<String> {
    let Some(node) = file.get("disable") else { return Vec::new() };
    let names: Vec<&str> = BUILT_IN.iter().map(|rule| rule.name).collect();
    let own: Vec<String> = own_rules(file);
    let list = texts(file.log, "disable", node);
    for name in list.iter().filter(|name| find_built_in(name).is_none()) {
        let at = place(node, name);
        let message = format!("there is no built-in rule {name:?}: there are {}", names.join(", "));
        match nearest(name, &names) {
            _ if own.contains(name) => {
                let message = format!("{name} is a rule of this file, and disable is for built-in rules");
                file.log.error_with(at, message, "take it out of rules instead");
            }
            Some(near) => file.log.error_with(at, message, format!("did you mean {near}?")),
            None => file.log.error(at, message),
        }
    }
    list
}

/// The names of the file's own rules, right or wrong.
fn own_rules(file: &Section<'_>) -> Vec<String> {
    let Some(Node { value: Value::List(items), .. }) = file.get("rules") else { return Vec::new() };
    let name = |item: &Node| match &item.value {
        Value::Map(entries) => entries.iter().find_map(|(key, value)| match &value.value {
            Value::Scalar { text, .. } if &*key.name == "name" => Some(text.clone()),
            _ => None,
        }),
        _ => None,
    };
    items.iter().filter_map(name).collect()
}

/// Where a text stands in a list.
fn place(list: &Node, wanted: &str) -> At {
    let Value::List(items) = &list.value else { return list.at };
    let is_it = |item: &&Node| matches!(&item.value, Value::Scalar { text, .. } if text == wanted);
    items.iter().find(is_it).map_or(list.at, |item| item.at)
}

fn grouping(file: &Section<'_>) -> Grouping {
    let default = Grouping::default();
    let Some(section) = file.section("digest") else { return default };
    let read = Grouping {
        limit: section.number("limit").unwrap_or(default.limit),
        window: section.duration("window").unwrap_or(default.window),
    };
    if !(1..=100).contains(&read.limit) {
        file.log.error(section.value_at("limit"), "limit is from 1 to 100");
    }
    if !(Duration::from_secs(1)..=Duration::from_mins(10)).contains(&read.window) {
        file.log.error(section.value_at("window"), "window is from 1s to 10m");
    }
    section.finish(&["limit", "window"]);
    read
}

#[cfg(test)]
#[path = "alerts_tests.rs"]
mod tests;
