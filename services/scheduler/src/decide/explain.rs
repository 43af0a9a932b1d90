//! What filters said, in words.

use std::collections::BTreeMap;

use gantry_model::{Replica, Snapshot};

use super::depends;
use super::filter::{FIXED, Refusal, SHRINKING, Wanted, refusal};
use super::load::Load;
use super::relocate;

/// Different details of one reason that are shown.
const DETAILS: usize = 2;
/// Lines that a replica wrote before it failed, of those that are kept.
const LAST_LINES: usize = 3;
/// Characters of them.
const LAST_CHARACTERS: usize = 1_000;

/// Why none of the nodes can take a replica: of each node the first reason.
pub fn pending(wanted: &Wanted<'_>, load: &Load) -> String {
    let first = |node| refusal(&FIXED, wanted, node).or_else(|| refusal(&SHRINKING, wanted, node));
    let lines = tally(load.nodes().iter().filter_map(first));
    match load.nodes().len() {
        0 => "the cluster has no nodes".to_owned(),
        1 => format!("no node fits; 1 node: {}", lines.join(", ")),
        count => format!("no node fits; {count} nodes: {}", lines.join(", ")),
    }
}

/// What every filter says about a replica that is not placed, one line a reason, with the number of
/// nodes that it holds for. Of one that is placed, why it does not stay where it is, or cannot go.
pub fn explain(snapshot: &Snapshot, replica: &Replica) -> Vec<String> {
    if replica.node.is_some() {
        let mut lines = relocate::explain(snapshot, replica);
        lines.extend(last_end(snapshot, replica));
        return lines;
    }
    let (Some(service), Some(revision)) =
        (snapshot.services.get(&replica.service), snapshot.revision_of(replica))
    else {
        return vec!["its service is not known".to_owned()];
    };
    if let Some(what) = depends::unmet(snapshot, service) {
        return vec![format!("it waits for {what}")];
    }
    let load = Load::new(snapshot);
    let total = load.nodes().len();
    if total == 0 {
        return vec!["the cluster has no nodes".to_owned()];
    }
    let wanted = Wanted::new(snapshot, service, revision, replica);
    let filters = || FIXED.iter().chain(&SHRINKING);
    let all = load.nodes().iter().flat_map(|node| filters().filter_map(|filter| filter(&wanted, node)));
    let lines = tally(all);
    let of = if total == 1 { " of 1 node ".to_owned() } else { format!(" of {total} nodes ") };
    lines.into_iter().map(|line| line.replacen(' ', &of, 1)).collect()
}

/// How it failed last, and what it wrote before that, while it is not well.
fn last_end(snapshot: &Snapshot, replica: &Replica) -> Option<String> {
    let status = snapshot.status_of(&replica.id).filter(|_| !snapshot.is_ready(replica))?;
    let end = status.ends.iter().rev().find(|end| end.is_failure())?;
    let (words, wrote) = (format!("its last end: {}", end.words()), end.wrote(LAST_LINES, LAST_CHARACTERS));
    Some(if wrote.is_empty() { words } else { format!("{words}; it wrote last: {wrote}") })
}

/// One line a reason, each beginning with the number of nodes.
fn tally<'a>(refusals: impl Iterator<Item = Refusal<'a>>) -> Vec<String> {
    let mut groups: BTreeMap<String, (usize, Refusal<'a>, Vec<String>)> = BTreeMap::new();
    for refusal in refusals {
        let (count, best, details) =
            groups.entry(refusal.phrase(false)).or_insert_with(|| (0, refusal, Vec::new()));
        *count += 1;
        if refusal.lacks() < best.lacks() {
            *best = refusal;
        }
        // Nodes with too little room differ a lot, and only the best of them is of interest.
        if refusal.lacks() == 0
            && details.len() <= DETAILS
            && let Some(detail) = refusal.detail()
            && !details.contains(&detail)
        {
            details.push(detail);
        }
    }
    groups
        .into_values()
        .map(|(count, best, mut details)| {
            if best.lacks() > 0 {
                details = best.detail().into_iter().collect();
                if count > 1 {
                    for detail in &mut details {
                        detail.push_str(" at most");
                    }
                }
            } else if details.len() > DETAILS {
                details.truncate(DETAILS);
                details.push("…".to_owned());
            }
            let details =
                if details.is_empty() { String::new() } else { format!(" ({})", details.join("; ")) };
            format!("{count} {}{details}", best.phrase(count > 1))
        })
        .collect()
}
