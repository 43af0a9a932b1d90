//! Why a process ended, in a few words. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use crate::status::End;
use crate::time::Timestamp;

/// What a shell and the engine add to the number of a signal that ended a process.
const BY_SIGNAL: i32 = 128;

/// The time of an end may be corrected by this much: what is seen of a container comes before the engine's word.
const EXACT: Duration = Duration::from_secs(2);

impl End {
    /// Why it ended, as `gantry ps` shows it.
    pub fn words(&self) -> String {
        if self.oom_killed {
            return "out of memory".to_owned();
        }
        if self.killed_after_grace {
            return "killed: it did not end within its stop grace".to_owned();
        }
        let mut words = match self.exit_code {
            0 => "ended normally".to_owned(),
            126 => "exit code 126: its command cannot be run".to_owned(),
            127 => "exit code 127: its command is not there".to_owned(),
            code => match signal(code) {
                Some(name) => format!("killed by {name}"),
                None => format!("exit code {code}"),
            },
        };
        if self.asked {
            let _ = write!(words, ", as it was asked to end");
        }
        words
    }

    /// When it was, by the scheduler's clock as far as that is known.
    pub fn time(&self) -> Timestamp {
        self.heard_at.unwrap_or(self.at)
    }

    /// Whether the two are one end: what an agent says of an end may become more exact, its time by a little.
    fn is_same(&self, other: &Self) -> bool {
        let apart = self.at.since(other.at).max(other.at.since(self.at));
        self.exit_code == other.exit_code && apart < EXACT
    }

    /// Stamps reported ends with the scheduler's time `now`, so that nobody holds the engine's clock against
    /// it. What is `known` already keeps its stamp. What is new was when the agent says by its own clock
    /// (`heard_at` has that), and where it does not say so, now. Where nothing is known of the replica, as
    /// after a start of the scheduler, an end may be an old one: then the engine's time is the best there is,
    /// and wrong by what the two clocks differ. Nothing ended later than now, or before the end before it.
    pub fn stamp(ends: &mut [Self], known: Option<&[Self]>, now: Timestamp) {
        let mut known_ends = known.unwrap_or_default().iter();
        let mut earliest = Timestamp::default();
        for end in ends {
            let exact = known_ends.clone().position(|other| end.at == other.at);
            let same = exact.or_else(|| known_ends.clone().position(|other| end.is_same(other)));
            let kept = same.and_then(|skipped| known_ends.nth(skipped)).and_then(|other| other.heard_at);
            let unsaid = if known.is_some() { now } else { end.at };
            let stamp = kept.or(end.heard_at).unwrap_or(unsaid).min(now).max(earliest);
            (end.heard_at, earliest) = (Some(stamp), stamp);
        }
    }

    /// Whether nobody had asked for it, whatever its exit code was; memory that runs out is nobody's wish. This
    /// is what counts as a crash, everywhere.
    pub fn is_own(&self) -> bool {
        !self.asked || self.oom_killed
    }

    /// The end that a loop of such ends is named by: the newest one, or one of which it is known that memory
    /// ran out. The engine does not notice that every time.
    pub fn naming<'a>(ends: impl DoubleEndedIterator<Item = &'a Self> + Clone) -> Option<&'a Self> {
        ends.clone().rfind(|end| end.oom_killed).or_else(|| ends.last())
    }

    /// Its last lines that fit into so many characters, at most `lines` of them, in one line for people; empty
    /// where it wrote nothing.
    pub fn wrote(&self, lines: usize, characters: usize) -> String {
        let mut last: Vec<&str> = self.last_lines.lines().rev().take(lines).map(str::trim_end).collect();
        last.retain(|line| !line.is_empty());
        last.reverse();
        let text = last.join(" | ");
        // What it wrote is shown on terminals.
        let mut plain: Vec<char> = text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
        if plain.len() > characters {
            plain.drain(..plain.len() - characters.saturating_sub(1));
            plain.insert(0, '…');
        }
        plain.into_iter().collect()
    }

    /// Whether the process failed by itself: it was not asked to end, and did not end well.
    pub fn is_failure(&self) -> bool {
        self.oom_killed || self.exit_code != 0 && !self.asked
    }
}

/// The signal behind an exit code (numbers of Linux on x86 and ARM).
fn signal(exit_code: i32) -> Option<&'static str> {
    Some(match exit_code.checked_sub(BY_SIGNAL)? {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(exit_code: i32) -> End {
        End { exit_code, ..End::default() }
    }

    #[test]
    fn an_end_is_told_in_a_few_words() {
        assert_eq!(end(0).words(), "ended normally");
        assert_eq!(end(3).words(), "exit code 3");
        assert_eq!(end(-1).words(), "exit code -1");
        assert_eq!(end(139).words(), "killed by SIGSEGV");
        assert_eq!(end(255).words(), "exit code 255");
        assert_eq!(end(127).words(), "exit code 127: its command is not there");
        assert_eq!(End { oom_killed: true, ..end(137) }.words(), "out of memory");
        let asked = |exit_code| End { asked: true, ..end(exit_code) };
        assert_eq!(asked(143).words(), "killed by SIGTERM, as it was asked to end");
        let stubborn = End { killed_after_grace: true, ..asked(137) };
        assert_eq!(stubborn.words(), "killed: it did not end within its stop grace");
    }

    #[test]
    fn what_it_wrote_last_fits_into_one_short_line() {
        let wrote = |text: &str| End { last_lines: text.into(), ..end(1) }.wrote(3, 20);
        assert_eq!(wrote("one\ntwo\r\nthree\nfour\n"), "two | three | four");
        assert_eq!(wrote("\n\u{1b}[31mred\n"), " [31mred");
        assert_eq!(wrote(&"ä".repeat(30)), format!("…{}", "ä".repeat(19)));
        assert_eq!(wrote(""), "");
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    /// The stamps of ends that the engine had at these times, in seconds.
    fn stamps(ends: &mut Vec<End>, times: &[i64], known: bool, now: i64) -> Vec<i64> {
        let mut new: Vec<End> =
            times.iter().map(|time| End { at: Timestamp::from_millis(time * 1_000), ..end(1) }).collect();
        End::stamp(&mut new, known.then_some(&ends[..]), at(now));
        *ends = new;
        ends.iter().map(|end| end.time().as_millis() / 1_000).collect()
    }

    #[test]
    fn ends_are_stamped_when_they_are_heard_of_and_keep_their_stamps() {
        let mut ends = Vec::new();
        // The engine's clock is an hour behind.
        assert_eq!(stamps(&mut ends, &[100], true, 3_700), [3_700]);
        assert_eq!(stamps(&mut ends, &[100], true, 3_710), [3_700], "it is said again");
        assert_eq!(stamps(&mut ends, &[100, 120], true, 3_720), [3_700, 3_720]);
        assert_eq!(stamps(&mut ends, &[100, 121], true, 3_725), [3_700, 3_720], "its time was corrected");
        assert_eq!(stamps(&mut ends, &[121, 130], true, 3_730), [3_720, 3_730], "the oldest is forgotten");
        assert_eq!(stamps(&mut ends, &[130, 131], true, 3_731), [3_730, 3_731], "as quick as that");
    }

    #[test]
    fn after_a_start_of_the_scheduler_old_ends_are_not_new_ones() {
        let mut ends = Vec::new();
        assert_eq!(
            stamps(&mut ends, &[100, 200, 9_999], false, 900),
            [100, 200, 900],
            "never later than now"
        );
        assert_eq!(stamps(&mut ends, &[200, 9_999, 10_020], true, 920), [200, 900, 920]);
    }

    #[test]
    fn how_long_ago_it_was_by_its_agents_clock_counts_where_nothing_else_is_known() {
        let said = End { heard_at: Some(at(640)), at: at(40), ..end(1) };
        let mut ends = [said.clone(), End { heard_at: Some(at(1_000)), at: at(400), ..end(1) }];
        End::stamp(&mut ends, None, at(700));
        assert_eq!(ends.map(|end| end.time()), [at(640), at(700)]);
        // Another report takes a little longer on its way: that moves nothing.
        let mut again = [End { heard_at: Some(at(641)), ..said.clone() }];
        End::stamp(&mut again, Some(&[said]), at(701));
        assert_eq!(again[0].time(), at(640));
    }

    #[test]
    fn what_nobody_asked_for_is_its_own_and_one_word_of_memory_names_a_loop() {
        let asked = |oom_killed| End { asked: true, oom_killed, ..end(137) };
        assert!(end(0).is_own() && end(137).is_own() && asked(true).is_own() && !asked(false).is_own());
        let ends = [end(1), asked(true), end(137)];
        assert_eq!(End::naming(ends.iter()), Some(&ends[1]));
        assert_eq!(End::naming(ends[..1].iter()), Some(&ends[0]));
        assert_eq!(End::naming([].iter()), None);
    }

    #[test]
    fn what_was_asked_to_end_has_not_failed() {
        assert!(end(1).is_failure() && End { oom_killed: true, asked: true, ..end(137) }.is_failure());
        assert!(!end(0).is_failure() && !End { asked: true, ..end(143) }.is_failure());
    }
}
