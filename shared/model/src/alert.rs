//! Alerts: what people want to be told, whom to tell, and what fired.

mod built_in;
mod metric;
mod receiver;
mod text;

pub use built_in::{BUILT_IN, BuiltIn, find_built_in};
pub use metric::{METRICS, Metric, MetricInfo, Scope};
pub use receiver::{BadUrl, Receiver, ReceiverKind, host_of};
pub use text::matches;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// The user's file of alerts, read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertConfig {
    /// The user's rules.
    pub rules: Vec<AlertRule>,
    /// Whom to tell.
    pub receivers: Vec<Receiver>,
    /// Names of built-in rules that are switched off.
    pub disabled: Vec<String>,
    /// When many changes become one notice.
    pub grouping: Grouping,
}

impl AlertConfig {
    /// Rules that a file may have.
    pub const MOST_RULES: usize = 200;
    /// Receivers that a file may have.
    pub const MOST_RECEIVERS: usize = 16;
    /// Bytes that a file may have.
    pub const LARGEST: usize = 1 << 20;
}

/// When many changes become one notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grouping {
    /// More changes than this within the window are sent as one digest.
    pub limit: u32,
    /// The window.
    pub window: Duration,
}

impl Default for Grouping {
    fn default() -> Self {
        Self { limit: 5, window: Duration::from_secs(10) }
    }
}

/// A threshold that a person has set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlertRule {
    /// Its name.
    pub name: String,
    /// What it looks at.
    pub metric: Metric,
    /// Only these services or nodes; `*` stands for any text.
    pub subject: String,
    /// When it holds.
    pub bound: Bound,
    /// It must hold for so long before the alert begins.
    pub hold: Duration,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// What its alerts carry.
    pub labels: BTreeMap<String, String>,
    /// What people are told; empty is the metric and its value.
    pub summary: String,
}

/// When a threshold holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// While the metric is above this.
    Above(f64),
    /// While the metric is below this.
    Below(f64),
}

impl Bound {
    /// Whether it holds for `value`.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::Above(bound) => value > bound,
            Self::Below(bound) => value < bound,
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertSeverity {
    /// Worth knowing.
    Info,
    /// Somebody should look, at some time.
    Warning,
    /// Somebody should look now.
    Critical,
}

impl AlertSeverity {
    /// All of them, with the words of the user's file.
    pub const ALL: [(&'static str, Self); 3] =
        [("info", Self::Info), ("warning", Self::Warning), ("critical", Self::Critical)];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One time that a rule fired for a subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Its number; later alerts have higher ones.
    pub id: u64,
    /// The name of the rule.
    pub rule: String,
    /// What it is about: `stack/service`, `node:NAME` or `cluster`.
    pub subject: String,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// The rule's labels.
    pub labels: BTreeMap<String, String>,
    /// What was seen when it began.
    pub summary: String,
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended; `None` while it is active.
    pub ended_at: Option<Timestamp>,
    /// What became of its notices, by receiver.
    pub told: BTreeMap<String, Told>,
}

impl Alert {
    /// Alerts that are over and kept; the oldest go.
    pub const KEPT: usize = 1_000;
    /// Alerts that can be active at one time.
    pub const MOST_ACTIVE: usize = 1_000;

    /// Whether it is active.
    pub fn is_active(&self) -> bool {
        self.ended_at.is_none()
    }

    /// Whether it is about `subject`: that very thing, or a service of that stack.
    pub fn is_about(&self, subject: &str) -> bool {
        subject.is_empty()
            || self.subject == subject
            || self.subject.strip_prefix(subject).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// What became of the notices of one alert to one receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Told {
    /// That it began.
    pub began: Option<Delivery>,
    /// That it ended.
    pub ended: Option<Delivery>,
}

/// What became of one notice at last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// When it was delivered, or its tries ended.
    pub at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was not taken; empty: it was delivered.
    pub error: String,
    /// The receiver would say the same again, so it was given up. Otherwise what was not taken is tried
    /// again later.
    #[serde(default)]
    pub lasting: bool,
}

impl Delivery {
    /// Whether it was not taken, and may be another time.
    pub fn is_open(&self) -> bool {
        !self.error.is_empty() && !self.lasting
    }
}

/// Keeps alerts from being sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its id.
    pub id: String,
    /// Only alerts of these rules; `*` stands for any text, empty is all.
    pub rule: String,
    /// Only alerts about these subjects; `*` stands for any text, empty is all.
    pub subject: String,
    /// Why.
    pub comment: String,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it is over.
    pub expires_at: Timestamp,
}

impl Silence {
    /// Silences that can be set at one time.
    pub const MOST: usize = 200;

    /// Whether it keeps an alert of `rule` about `subject` from being sent.
    pub fn covers(&self, rule: &str, subject: &str, now: Timestamp) -> bool {
        now < self.expires_at
            && (self.rule.is_empty() || matches(&self.rule, rule))
            && (self.subject.is_empty() || matches(&self.subject, subject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_covers_what_it_names_until_it_is_over() {
        let at = Timestamp::from_millis;
        let silence = Silence {
            id: "s".into(),
            rule: "service-*".into(),
            subject: "shop/*".into(),
            comment: String::new(),
            created_by: "ada".into(),
            created_at: at(0),
            expires_at: at(100),
        };
        assert!(silence.covers("service-down", "shop/web", at(99)));
        assert!(!silence.covers("service-down", "shop/web", at(100)), "it is over");
        assert!(!silence.covers("node-lost", "shop/web", at(1)));
        assert!(!silence.covers("service-down", "blog/web", at(1)));
        let all = Silence { rule: String::new(), subject: String::new(), ..silence };
        assert!(all.covers("node-lost", "node:n1", at(1)));
    }

    #[test]
    fn a_bound_holds_only_beyond_itself() {
        assert!(Bound::Above(5.0).holds(5.1) && !Bound::Above(5.0).holds(5.0));
        assert!(Bound::Below(1.0).holds(0.0) && !Bound::Below(1.0).holds(1.0));
    }
}
