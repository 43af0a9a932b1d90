//! What is wrong, by the rules.

mod built_in;
mod user;

use gantry_model::Timestamp;
use gantry_model::alert::AlertConfig;

use super::evaluate::Finding;
use super::facts::Facts;

/// What the rules find in the facts. A subject of which a rule says nothing is fine.
pub fn judge(facts: &Facts, config: &AlertConfig, now: Timestamp) -> Vec<Finding> {
    let mut findings = built_in::judge(facts, now);
    findings.retain(|finding| !config.disabled.contains(&finding.of.rule));
    findings.extend(config.rules.iter().flat_map(|rule| user::judge(rule, facts)));
    findings
}
