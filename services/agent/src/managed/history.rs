//! What is remembered of one replica: how its process ended, and what this agent has done with it. Pure.
//!
//! The engine says each end once, as an event, with its exit code; what it shows of a container is only
//! the last end, and not even that once the process runs again. So ends are taken from events, and off
//! the container only where the event is yet to come, or was missed.

use std::time::Duration;

use gantry_api::agent::v1::ContainerState as State;
use gantry_model::{End, Timestamp};
use serde::{Deserialize, Serialize};

use super::runtime::What;
use crate::engine::Observed;

/// Ends that keep all of their last lines; of older ones less is kept.
const IN_FULL: usize = 2;
/// Bytes of the last lines of older ends.
const IN_SHORT: usize = 512;
/// The kernel's word that memory ran out comes this close to the end that it caused.
const CLOSE: Duration = Duration::from_secs(10);
/// What the engine says of an end comes at most this much later than the end.
const LATE: Duration = Duration::from_mins(1);
/// The exit code of what was killed.
const KILLED: i32 = 137;

/// What is remembered of one replica.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// Its last ends, oldest first.
    pub ends: Vec<End>,
    /// When the run was started whose `post_start` hooks were run last.
    pub hooked: Option<Timestamp>,
    /// How often this agent started it again; the engine counts only its own.
    pub restarts: u32,
    /// The newest end was read off the container, and the engine's word of it may be yet to come.
    unconfirmed: bool,
    /// When the kernel said last that memory ran out.
    starved: Option<Timestamp>,
    /// This agent has asked the process that runs now to end; true once it was killed. The next end is
    /// that one's. (Clocks would not help: the engine's word of a start may come later than the question.)
    asked: Option<bool>,
}

impl History {
    /// The engine has said something. Answers with the time of an end that is new.
    pub fn note(&mut self, at: Timestamp, what: What) -> Option<Timestamp> {
        // The engine says its last events again after a pause; what was only seen it has not said yet.
        let said = self.ends.len() - usize::from(self.unconfirmed);
        if self.ends[..said].last().is_some_and(|end| at < end.at || at == end.at && what.is_end()) {
            return None;
        }
        let newest = self.ends.last_mut();
        match what {
            What::Ended { exit_code } => return self.ended(at, exit_code),
            What::OutOfMemory => match newest {
                Some(end) if at >= end.at && end.exit_code == KILLED && at.since(end.at) < CLOSE => {
                    end.oom_killed = true;
                }
                _ => self.starved = Some(at),
            },
            What::Started => {
                self.starved = None;
                self.unconfirmed &= newest.is_some_and(|end| at < end.at);
            }
            What::Gone | What::Other => {}
        }
        None
    }

    fn ended(&mut self, at: Timestamp, exit_code: i32) -> Option<Timestamp> {
        let seen = if self.unconfirmed { self.ends.pop() } else { None };
        let Some(seen) = seen else {
            self.push(at, exit_code);
            return Some(at);
        };
        let same = at >= seen.at && at.since(seen.at) < LATE;
        let starved = self.starved.take().is_some_and(|starved| at.since(starved) < CLOSE);
        let oom_killed = starved && exit_code != 0;
        if same {
            let oom_killed = oom_killed || seen.oom_killed;
            self.ends.push(End { at, exit_code, oom_killed, ..seen });
            self.unconfirmed = false;
            return None;
        }
        // What is seen may be ahead of what is said by a whole run; an end that was never said is behind.
        let said = End { at, exit_code, oom_killed, ..End::default() };
        if at < seen.at {
            self.ends.extend([said, seen]);
        } else {
            self.ends.extend([seen, said]);
            self.unconfirmed = false;
        }
        self.shorten();
        Some(at)
    }

    fn push(&mut self, at: Timestamp, exit_code: i32) {
        let asked = self.asked.take();
        let starved = self.starved.take().is_some_and(|starved| at.since(starved) < CLOSE);
        self.ends.push(End {
            at,
            heard_at: None,
            exit_code,
            oom_killed: starved && exit_code != 0,
            last_lines: String::new(),
            asked: asked.is_some(),
            killed_after_grace: asked == Some(true),
        });
        self.shorten();
    }

    fn shorten(&mut self) {
        let excess = self.ends.len().saturating_sub(End::KEPT);
        self.ends.drain(..excess);
        let old = self.ends.len().saturating_sub(IN_FULL);
        for end in &mut self.ends[..old] {
            end.last_lines = last_bytes(std::mem::take(&mut end.last_lines), IN_SHORT);
        }
    }

    /// What the container shows. Answers with the time of an end that is new.
    pub fn see(&mut self, observed: &Observed) -> Option<Timestamp> {
        if !matches!(observed.state, State::Exited | State::Restarting | State::Dead) {
            return None;
        }
        let finished = observed.finished_at?;
        let known = self.ends.last().is_some_and(|newest| newest.at >= finished);
        if !known {
            self.push(finished, observed.exit_code);
            self.unconfirmed = true;
        }
        if observed.oom_killed
            && let Some(newest) = self.ends.last_mut()
        {
            newest.oom_killed = newest.exit_code != 0;
        }
        (!known).then_some(finished)
    }

    /// When the end before this one was.
    pub fn before(&self, at: Timestamp) -> Option<Timestamp> {
        self.ends.iter().rev().map(|end| end.at).find(|end| *end < at)
    }

    /// What an end wrote last is known.
    pub fn wrote(&mut self, at: Timestamp, lines: String) {
        // Its time may have been corrected meanwhile: then it is the newest.
        let exact = self.ends.iter().position(|end| end.at == at);
        let found = exact.or(self.ends.len().checked_sub(1));
        if let Some(end) = found.and_then(|index| self.ends.get_mut(index)) {
            end.last_lines = last_bytes(lines, End::LINES);
        }
    }

    /// This agent asks the process, which runs, to end.
    pub fn ask(&mut self) {
        self.asked = Some(false);
    }

    /// The process did not end when it was asked to, and was killed.
    pub fn kill(&mut self) {
        match &mut self.asked {
            Some(killed) => *killed = true,
            // Its end was heard of already.
            None => {
                if let Some(end) = self.ends.last_mut().filter(|end| end.asked) {
                    end.killed_after_grace = true;
                }
            }
        }
    }
}

/// The end of a text, in whole lines where it has several.
fn last_bytes(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    let from = text.ceil_char_boundary(text.len() - most);
    let rest = &text[from..];
    match rest.split_once('\n') {
        Some((_, lines)) if !lines.is_empty() => lines.to_owned(),
        _ => rest.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use gantry_model::{Health, ReplicaId};

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn ended(exit_code: i32) -> What {
        What::Ended { exit_code }
    }

    fn exited(finished: i64, exit_code: i32) -> Observed {
        Observed {
            id: "c1".into(),
            replica: ReplicaId::new("r1").unwrap(),
            image_id: String::new(),
            state: State::Exited,
            exit_code,
            oom_killed: false,
            error: String::new(),
            restart_count: 0,
            health: Health::None,
            started_at: Some(at(0)),
            finished_at: Some(at(finished)),
            ports: vec![],
        }
    }

    fn codes(history: &History) -> Vec<i32> {
        history.ends.iter().map(|end| end.exit_code).collect()
    }

    #[test]
    fn every_end_is_kept_once_however_often_it_is_said() {
        let mut history = History::default();
        for _ in 0..2 {
            history.note(at(100), ended(1));
            history.note(at(110), What::Started);
            history.note(at(200), ended(2));
        }
        assert_eq!(history.see(&exited(199, 2)), None, "the engine's word comes a little later");
        assert_eq!(codes(&history), [1, 2]);
    }

    #[test]
    fn an_end_that_is_seen_before_it_is_said_is_the_same_one() {
        let mut history = History::default();
        assert_eq!(history.see(&exited(195, 3)), Some(at(195)));
        assert_eq!(history.see(&exited(195, 3)), None);
        assert_eq!(history.note(at(200), ended(3)), None);
        assert_eq!((codes(&history), history.ends[0].at), (vec![3], at(200)));
        // What was never said is not taken for the next one.
        history.see(&exited(300, 4));
        history.note(at(310), What::Started);
        assert_eq!(history.note(at(320), ended(5)), Some(at(320)));
        assert_eq!(codes(&history), [3, 4, 5]);
    }

    #[test]
    fn what_is_seen_may_be_ahead_of_what_is_said() {
        let mut history = History::default();
        history.see(&exited(300, 137));
        history.note(at(40), What::Started);
        history.note(at(90), What::OutOfMemory);
        assert_eq!(history.note(at(100), ended(137)), Some(at(100)));
        history.note(at(200), What::Started);
        history.note(at(290), What::OutOfMemory);
        assert_eq!(history.note(at(305), ended(137)), None);
        for _ in 0..2 {
            history.note(at(100), ended(137));
            history.note(at(305), ended(137));
        }
        let ends: Vec<_> = history.ends.iter().map(|end| (end.at, end.words())).collect();
        assert_eq!(ends, [(at(100), "out of memory".to_owned()), (at(305), "out of memory".to_owned())]);
    }

    #[test]
    fn eight_ends_are_kept_and_old_ones_in_short() {
        let mut history = History::default();
        for end in 1..=10 {
            history.note(at(i64::from(end) * 100), ended(end));
            history.wrote(at(i64::from(end) * 100), "a line\n".repeat(2000));
        }
        assert_eq!(codes(&history), [3, 4, 5, 6, 7, 8, 9, 10]);
        let sizes: Vec<_> = history.ends.iter().map(|end| end.last_lines.len()).collect();
        assert!(sizes[..6].iter().all(|size| (500..=512).contains(size)), "{sizes:?}");
        assert!(sizes[6..].iter().all(|size| (4000..=4096).contains(size)), "{sizes:?}");
        assert!(history.ends.iter().all(|end| end.last_lines.starts_with("a line\n")));
    }

    #[test]
    fn memory_that_runs_out_is_named_whichever_is_said_first() {
        let mut before = History::default();
        before.note(at(100), What::OutOfMemory);
        before.note(at(150), ended(137));
        let mut after = History::default();
        after.note(at(100), ended(137));
        after.note(at(150), What::OutOfMemory);
        let mut seen = History::default();
        seen.note(at(100), ended(137));
        seen.see(&Observed { oom_killed: true, ..exited(99, 137) });
        for history in [before, after, seen] {
            assert_eq!(history.ends[0].words(), "out of memory");
        }
        // A process of the container was killed, and the first one coped.
        let mut coped = History::default();
        coped.note(at(100), What::OutOfMemory);
        coped.note(at(60_000), ended(1));
        assert_eq!(coped.ends[0].words(), "exit code 1");
    }

    #[test]
    fn an_end_that_was_asked_for_is_told_from_a_failure() {
        let mut history = History::default();
        history.ask();
        history.note(at(90), What::Started);
        history.note(at(150), ended(143));
        history.note(at(160), What::Started);
        history.note(at(170), ended(143));
        let asked: Vec<_> = history.ends.iter().map(|end| end.asked).collect();
        assert_eq!(asked, [true, false]);
    }

    #[test]
    fn a_kill_at_the_end_of_the_grace_is_noted_before_and_after_the_end_is_said() {
        let mut first = History::default();
        first.ask();
        first.kill();
        first.note(at(150), ended(137));
        let mut later = History::default();
        later.ask();
        later.note(at(150), ended(137));
        later.kill();
        assert!(first.ends[0].killed_after_grace && later.ends[0].killed_after_grace);
    }

    #[test]
    fn the_end_of_a_text_is_cut_between_characters() {
        assert_eq!(last_bytes("ääää".into(), 5), "ää");
        assert_eq!(last_bytes("first\nsecond\n".into(), 9), "second\n");
    }
}
