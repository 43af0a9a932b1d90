//! One service: which of its replicas are repaired now, and which have to wait.

use std::collections::BTreeSet;

use gantry_model::{ServiceId, Timestamp};

use super::ladder::{self, Rung, Step, lasting};
use super::{Outlook, Prospect, breaker, budget, errors, flaps, ties};
use crate::memory::Memory;
use crate::verdict::{Conclusion, Verdict};
use crate::world::{Case, Course, PastRepair, Roster, Snapshot};

struct Candidate<'a> {
    case: &'a Case,
    past: Vec<&'a PastRepair>,
    step: Step,
}

/// All that a look at a service goes by.
pub struct Look<'a> {
    /// The world.
    pub snapshot: &'a Snapshot,
    /// Its replicas by service.
    pub roster: &'a Roster<'a>,
    /// What was handed over.
    pub memory: &'a Memory,
    /// The scheduler's time.
    pub now: Timestamp,
}

impl Look<'_> {
    /// Adds what is concluded of one service.
    pub fn at(&self, service: &ServiceId, course: &Course, outlook: &mut Outlook) {
        let Self { snapshot, roster, memory, now } = *self;
        let mut candidates = Vec::new();
        let mut failing = Vec::new();
        for case in roster.wanted(service) {
            match ladder::rung(case, course, snapshot, now) {
                Rung::Well => failing.extend(errors::seen(case).map(|seen| (case, seen))),
                Rung::Waits { next, why, until } => {
                    outlook.prospects.push(Prospect { next, due: until, ..prospect(case, why) });
                }
                Rung::Due(step) => {
                    candidates.push(Candidate { case, past: flaps::past(course, case.slot, now), step });
                }
            }
        }
        self.tell_of_errors(service, &failing, outlook);
        let cause = (!course.is_changing(now) && !course.disabled)
            .then(|| breaker::cause(snapshot, roster, service, course, memory, now))
            .flatten();
        if let Some(cause) = &cause {
            outlook.causes.insert(service.clone(), cause.clone());
            self.tell_of_cause(service, cause, course, outlook);
        }
        if !candidates.is_empty() {
            self.choose(candidates, service, course, cause.as_ref(), outlook);
        }
    }

    /// Whose turn it is of those that need a repair.
    fn choose(
        &self,
        mut candidates: Vec<Candidate<'_>>,
        service: &ServiceId,
        course: &Course,
        cause: Option<&breaker::Cause>,
        outlook: &mut Outlook,
    ) {
        let Self { memory, now, .. } = *self;
        candidates.sort_by_key(|candidate| ties::key(candidate.case, course));
        let mut taken = budget::taken(self.roster.wanted(service), course, memory, now);
        let allowed = if cause.is_some() { 1 } else { budget::of(course) };
        let trial_due = cause.map(|cause| {
            let since = candidates.iter().map(|candidate| candidate.case.ready_since).min().unwrap_or(now);
            breaker::due(cause, course, since, now)
        });
        for candidate in candidates {
            let Candidate { case, step, .. } = &candidate;
            let wait = if memory.is_under_way(&case.replica) {
                Some(("the scheduler was told".to_owned(), None))
            } else if let Some(why) = memory.refusal(&case.replica) {
                Some((format!("the scheduler refused: {why}"), None))
            } else if let (Some(cause), Some(due)) = (cause, trial_due.filter(|due| *due > now)) {
                Some((format!("{}; the next trial", cause.explain()), Some(due)))
            } else if !has_room(case.slot, &taken, allowed) {
                Some((format!("another replica's repair; {allowed} at a time"), None))
            } else {
                None
            };
            let next = Some(step.kind);
            if let Some((why, due)) = wait {
                outlook.prospects.push(Prospect { next, due, ..prospect(case, why) });
                continue;
            }
            taken.insert(case.slot);
            outlook.prospects.push(Prospect { next, ..prospect(case, String::new()) });
            outlook.verdicts.push(verdict(self.snapshot, &candidate, cause));
        }
    }

    /// A replica whose checks pass and whose requests fail is shown, and people are told; nothing is done.
    fn tell_of_errors(&self, service: &ServiceId, failing: &[(&Case, String)], outlook: &mut Outlook) {
        let Some((first, seen)) = failing.first() else { return };
        for (case, seen) in failing {
            outlook.prospects.push(prospect(case, seen.clone()));
        }
        let (subject, reason) = (service.to_string(), errors::REASON);
        outlook.standing.insert((subject.clone(), reason));
        if self.memory.was_told(&subject, reason) {
            return;
        }
        let more = match failing.len() - 1 {
            0 => String::new(),
            more => format!(", and so it is with {more} more of its service"),
        };
        let message = format!("{}: {seen}{more}; nothing is done about it", first.name());
        outlook.verdicts.push(note(self.snapshot, subject, reason, message));
    }

    /// People are told once, also by a watchdog that has started anew: a trial on record means that they were.
    fn tell_of_cause(
        &self,
        service: &ServiceId,
        cause: &breaker::Cause,
        course: &Course,
        outlook: &mut Outlook,
    ) {
        let (subject, reason) = (service.to_string(), cause.reason());
        let tried = flaps::unbroken(course, |_| true, self.now).iter().any(|repair| repair.reason == reason);
        outlook.standing.insert((subject.clone(), reason));
        if tried || self.memory.was_told(&subject, reason) {
            return;
        }
        let longest = lasting(flaps::LONGEST_PAUSE);
        let message = format!(
            "{service}: {}; one replica at a time is repaired as a trial, with pauses that grow up to {longest}",
            cause.explain()
        );
        outlook.verdicts.push(note(self.snapshot, subject, reason, message));
    }
}

fn note(snapshot: &Snapshot, subject: String, reason: &'static str, message: String) -> Verdict {
    let conclusion = Conclusion::Note { subject, warning: true };
    Verdict { revision: snapshot.revision, reason, message, conclusion }
}

/// Whether one more slot may be under repair. One that is already, such as that of a successor that fails,
/// takes no more room.
fn has_room(slot: u32, taken: &BTreeSet<u32>, allowed: usize) -> bool {
    taken.len() < allowed || (taken.len() == allowed && taken.contains(&slot))
}

fn prospect(case: &Case, waits_for: String) -> Prospect {
    Prospect {
        replica: case.replica.clone(),
        service: case.service.clone(),
        slot: case.slot,
        node: case.node.clone(),
        condition: case.condition,
        next: None,
        waits_for,
        due: None,
    }
}

fn verdict(snapshot: &Snapshot, candidate: &Candidate<'_>, cause: Option<&breaker::Cause>) -> Verdict {
    let Candidate { case, past, step } = candidate;
    let follows = match step.kind {
        crate::world::RepairKind::Restart => "it is restarted",
        crate::world::RepairKind::Replace => "it is replaced",
    };
    let mut message = format!("{} {}; {follows}", case.name(), step.seen);
    if let Some(cause) = cause {
        message += &format!(" as a trial: {}", cause.explain());
    } else if !past.is_empty() {
        message += &format!(" (repair {} of this slot of late)", past.len() + 1);
    }
    if !step.wrote.is_empty() {
        message += &format!("; it wrote last: {}", step.wrote);
    }
    Verdict {
        revision: snapshot.revision,
        reason: cause.map_or(step.reason, breaker::Cause::reason),
        message,
        conclusion: Conclusion::Repair { replica: case.replica.clone(), kind: step.kind },
    }
}
