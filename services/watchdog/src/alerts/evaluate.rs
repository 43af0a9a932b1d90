//! What begins and what ends, by what the rules find.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry_model::Timestamp;
use gantry_model::alert::{Alert, AlertConfig, AlertSeverity};

use super::facts::Facts;
use super::rules::judge;

/// What is wrong must be gone for so long before an alert ends, so that what comes and goes is one alert.
pub const RESOLVE_AFTER: Duration = Duration::from_secs(15);

/// What makes two alerts the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    /// The name of the rule.
    pub rule: String,
    /// What it is about.
    pub subject: String,
}

/// What a rule finds wrong with a subject.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The rule and the subject.
    pub of: Fingerprint,
    /// False: the rule cannot tell. Nothing begins and nothing ends by that.
    pub known: bool,
    /// It must be found for so long before the alert begins.
    pub hold: Duration,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// The rule's labels.
    pub labels: BTreeMap<String, String>,
    /// What was seen, for people.
    pub summary: String,
}

impl Finding {
    /// The rule cannot tell.
    pub fn unknown(self) -> Self {
        Self { known: false, ..self }
    }
}

/// What has to be remembered from one evaluation to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertMemory {
    /// Since when what has not begun yet is found.
    waiting: BTreeMap<Fingerprint, Timestamp>,
    /// What is active, and since when it is not found any more.
    active: BTreeMap<Fingerprint, Option<Timestamp>>,
}

/// What an evaluation changes.
#[derive(Debug, Clone, PartialEq)]
pub enum AlertChange {
    /// Something is found, and has not been for long enough.
    Waits(Fingerprint, Timestamp),
    /// It went before it had been there for long enough.
    Passed(Fingerprint),
    /// An alert begins.
    Began(Finding),
    /// What an alert is about is not found any more.
    Clears(Fingerprint, Timestamp),
    /// It is found again.
    Returns(Fingerprint),
    /// An alert ends.
    Ended(Fingerprint),
}

impl AlertMemory {
    /// Takes a change in.
    pub fn take(&mut self, change: &AlertChange) {
        match change {
            AlertChange::Waits(of, since) => drop(self.waiting.insert(of.clone(), *since)),
            AlertChange::Passed(of) => drop(self.waiting.remove(of)),
            AlertChange::Began(finding) => {
                self.waiting.remove(&finding.of);
                self.active.insert(finding.of.clone(), None);
            }
            AlertChange::Clears(of, since) => drop(self.active.insert(of.clone(), Some(*since))),
            AlertChange::Returns(of) => drop(self.active.insert(of.clone(), None)),
            AlertChange::Ended(of) => drop(self.active.remove(of)),
        }
    }

    /// Goes on after somebody else may have judged: what was said to wait waits, and whether what is active is
    /// still found is to be seen anew. `None`: nobody has said anything.
    pub fn resume(&mut self, waiting: Option<&BTreeMap<Fingerprint, Timestamp>>) {
        if let Some(waiting) = waiting {
            self.waiting.clone_from(waiting);
        }
        self.active.values_mut().for_each(|clear| *clear = None);
    }

    /// What waits, and since when.
    pub fn waiting(&self) -> &BTreeMap<Fingerprint, Timestamp> {
        &self.waiting
    }

    /// What is active is what is stored, whoever began it.
    pub fn believe(&mut self, stored: BTreeSet<Fingerprint>) {
        self.active.retain(|of, _| stored.contains(of));
        self.waiting.retain(|of, _| !stored.contains(of));
        for of in stored {
            self.active.entry(of).or_default();
        }
    }

    /// What is active.
    pub fn active(&self) -> impl Iterator<Item = &Fingerprint> {
        self.active.keys()
    }
}

/// What begins and what ends at `now`, by the facts and the rules.
pub fn evaluate(
    facts: &Facts,
    config: &AlertConfig,
    memory: &AlertMemory,
    now: Timestamp,
) -> Vec<AlertChange> {
    compare(&judge(facts, config, now), memory, now)
}

/// The same, by what was found.
fn compare(findings: &[Finding], memory: &AlertMemory, now: Timestamp) -> Vec<AlertChange> {
    let mut changes = Vec::new();
    let mut room = Alert::MOST_ACTIVE.saturating_sub(memory.active.len());
    let mut seen = BTreeSet::new();
    for finding in findings {
        // Of two rules of one name the first counts.
        if !seen.insert(&finding.of) {
            continue;
        }
        let of = || finding.of.clone();
        match (memory.active.get(&finding.of), memory.waiting.get(&finding.of)) {
            // Whether it is over is not known, so time does not count for that.
            (Some(Some(_)), _) => changes.push(AlertChange::Returns(of())),
            (Some(None), _) => {}
            (None, Some(_)) if !finding.known => changes.push(AlertChange::Passed(of())),
            (None, None) if !finding.known => {}
            (None, since) => {
                let held = now.since(since.copied().unwrap_or(now)) >= finding.hold;
                if held && room > 0 {
                    room -= 1;
                    changes.push(AlertChange::Began(finding.clone()));
                } else if since.is_none() {
                    changes.push(AlertChange::Waits(of(), now));
                }
            }
        }
    }
    let gone = |of: &&Fingerprint| !seen.contains(of);
    changes.extend(memory.waiting.keys().filter(gone).cloned().map(AlertChange::Passed));
    for (of, clear) in memory.active.iter().filter(|(of, _)| gone(of)) {
        match clear {
            None => changes.push(AlertChange::Clears(of.clone(), now)),
            Some(since) if now.since(*since) >= RESOLVE_AFTER => changes.push(AlertChange::Ended(of.clone())),
            Some(_) => {}
        }
    }
    changes
}

#[cfg(test)]
#[path = "evaluate_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "circuit_tests.rs"]
mod circuit_tests;
