//! When the cause is likely elsewhere: most replicas of a service in trouble at once, or a service down
//! that this one needs. Then a repair is only a trial: one at a time, with growing pauses.

use std::collections::BTreeSet;
use std::time::Duration;

use gantry_model::{ServiceId, Timestamp};

use super::{crash, flaps};
use crate::memory::Memory;
use crate::world::{Case, Condition, Course, Roster, Snapshot};

/// So many replicas, and more than half, are not in trouble at once by chance. Services that have fewer
/// are always repaired.
const MANY: usize = 3;
/// After the first trial; twice as long after each further one.
const PAUSE: Duration = Duration::from_secs(10);
/// Before the first trial while a service is down that is needed; twice as long after each further one.
const DEPENDENCY_PAUSE: Duration = Duration::from_secs(30);

/// The reason of a trial, and of what people are told.
pub const MANY_UNHEALTHY: &str = "ManyUnhealthy";
/// As above.
pub const DEPENDENCY_DOWN: &str = "DependencyDown";

/// Why the cause is likely elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Too many are in trouble at once.
    Many {
        /// So many.
        troubled: usize,
        /// Of so many.
        all: usize,
    },
    /// A service that this one needs does not serve.
    Dependency(ServiceId),
}

impl Cause {
    /// In one word.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Many { .. } => MANY_UNHEALTHY,
            Self::Dependency(_) => DEPENDENCY_DOWN,
        }
    }

    /// For people.
    pub fn explain(&self) -> String {
        match self {
            Self::Many { troubled, all } => {
                format!(
                    "{troubled} of {all} replicas are in trouble at once, so the cause is likely elsewhere"
                )
            }
            Self::Dependency(service) => format!("{service}, which it needs, does not serve"),
        }
    }
}

/// Why the cause of a service's trouble is likely not in its replicas; `None` where it likely is.
pub fn cause(
    snapshot: &Snapshot,
    roster: &Roster<'_>,
    service: &ServiceId,
    course: &Course,
    memory: &Memory,
    now: Timestamp,
) -> Option<Cause> {
    let mut all = BTreeSet::new();
    let mut troubled = BTreeSet::new();
    for case in roster.wanted(service).filter(|case| case.condition != Condition::AtRest) {
        all.insert(case.slot);
        if in_trouble(case, course, memory, now) {
            troubled.insert(case.slot);
        }
    }
    if let Some(down) = course.depends_on.iter().find(|needed| is_down(snapshot, roster, needed, now)) {
        return (!troubled.is_empty()).then(|| Cause::Dependency(down.clone()));
    }
    let (troubled, all) = (troubled.len(), all.len());
    (troubled >= MANY && troubled * 2 > all).then_some(Cause::Many { troubled, all })
}

fn in_trouble(case: &Case, course: &Course, memory: &Memory, now: Timestamp) -> bool {
    if case.is_broken() || case.in_repair || memory.is_under_way(&case.replica) {
        return true;
    }
    let crashed = crash::own_ends(case).filter(|end| now.since(end.at) < flaps::CALM);
    let troubles = flaps::past(course, case.slot, now).len() + crashed.count();
    troubles > 0 && !flaps::is_well(case, troubles, now)
}

/// Whether none of a service's replicas serves, or has done so for long enough that others can have noticed:
/// also when it is stopped, or finds no place. What runs once and has ended has done what it was needed for.
fn is_down(snapshot: &Snapshot, roster: &Roster<'_>, service: &ServiceId, now: Timestamp) -> bool {
    let serves = |case: &Case| case.ready && now.since(case.ready_since) >= flaps::TRUST;
    snapshot.services.get(service).is_some_and(|course| !course.finished) && !roster.all(service).any(serves)
}

/// The trials since the last other repair, or since it was last calm.
pub fn trials(course: &Course, now: Timestamp) -> usize {
    let chain = flaps::unbroken(course, |_| true, now);
    chain
        .iter()
        .rev()
        .take_while(|repair| [MANY_UNHEALTHY, DEPENDENCY_DOWN].contains(&repair.reason.as_str()))
        .count()
}

/// When the next trial is due, where the earliest of those in trouble is so since `since`.
pub fn due(cause: &Cause, course: &Course, since: Timestamp, now: Timestamp) -> Timestamp {
    let trials = trials(course, now);
    let last = course.repairs.last().map_or(since, |repair| repair.at);
    match cause {
        Cause::Many { .. } => last.after(flaps::growing(PAUSE, trials, flaps::LONGEST_PAUSE)),
        Cause::Dependency(_) => {
            last.max(since).after(flaps::growing(DEPENDENCY_PAUSE, trials + 1, flaps::LONGEST_PAUSE))
        }
    }
}
