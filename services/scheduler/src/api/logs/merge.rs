//! Several streams, each in order of time, become one. Pure.
//!
//! The oldest of the pieces at the heads goes first, once every stream that may still bring an older one
//! has shown its head. A stream that is followed and is silent for the moment would hold up all the
//! others, so nobody waits for it longer than the window: pieces that come closer together than that are
//! in order, whatever their way here. One that has only begun is given more time to show what it has.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// How long a stream may take to bring its first piece before the others go on without it.
const FIRST: Duration = Duration::from_secs(2);

/// Pieces of several streams, by the number of their stream, waiting to be passed on.
#[derive(Debug)]
pub struct Merge<T> {
    window: Option<Duration>,
    streams: BTreeMap<usize, Stream<T>>,
}

#[derive(Debug)]
struct Stream<T> {
    begun: Instant,
    spoke: bool,
    waiting: VecDeque<Waiting<T>>,
    ended: bool,
}

#[derive(Debug)]
struct Waiting<T> {
    /// When it was written, as its node's clock has it.
    time: (i64, i32),
    arrived: Instant,
    piece: T,
}

impl<T> Merge<T> {
    /// No streams yet. Without a window every stream is waited for until it has ended.
    pub fn new(window: Option<Duration>) -> Self {
        Self { window, streams: BTreeMap::new() }
    }

    /// One more stream.
    pub fn begin(&mut self, stream: usize, now: Instant) {
        let begun = Stream { begun: now, spoke: false, waiting: VecDeque::new(), ended: false };
        self.streams.insert(stream, begun);
    }

    /// A stream brought a piece that was written at `time`.
    pub fn push(&mut self, stream: usize, time: (i64, i32), arrived: Instant, piece: T) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            // Pieces without a time, and those that a clock was set back for, stay where they came.
            let time = stream.waiting.back().map_or(time, |before| before.time.max(time));
            stream.spoke = true;
            stream.waiting.push_back(Waiting { time, arrived, piece });
        }
    }

    /// A stream brings no more.
    pub fn end(&mut self, stream: usize) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.ended = true;
        }
        self.streams.retain(|_, stream| !stream.ended || !stream.waiting.is_empty());
    }

    /// The next piece, if it is time for it, and the stream that it is of.
    pub fn pop(&mut self, now: Instant) -> Option<(usize, T)> {
        let (number, _) = self.oldest()?;
        let complete = self.silent().next().is_none();
        if !complete && self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        let stream = self.streams.get_mut(&number)?;
        let next = stream.waiting.pop_front()?;
        if stream.ended && stream.waiting.is_empty() {
            self.streams.remove(&number);
        }
        Some((number, next.piece))
    }

    /// When there is something to pass on even if nothing more comes.
    pub fn deadline(&self) -> Option<Instant> {
        let (_, head) = self.oldest()?;
        let beginning = self.silent().filter(|stream| !stream.spoke).map(|stream| stream.begun + FIRST);
        Some(beginning.max().into_iter().fold(head.arrived + self.window?, Instant::max))
    }

    /// Whether all streams have ended and everything was passed on.
    pub fn is_done(&self) -> bool {
        self.streams.is_empty()
    }

    /// The streams that may still bring something older than what is there.
    fn silent(&self) -> impl Iterator<Item = &Stream<T>> {
        self.streams.values().filter(|stream| !stream.ended && stream.waiting.is_empty())
    }

    fn oldest(&self) -> Option<(usize, &Waiting<T>)> {
        let heads =
            self.streams.iter().filter_map(|(number, stream)| Some((*number, stream.waiting.front()?)));
        heads.min_by_key(|(number, head)| (head.time, *number))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_millis(250);

    proptest! {
        #[test]
        fn logs_that_end_come_out_in_order_and_whole(
            logs in prop::collection::vec(prop::collection::vec(0_i64..50, 0..20), 1..5),
            order in prop::collection::vec(any::<prop::sample::Index>(), 200)
        ) {
            let mut logs = logs;
            for log in &mut logs {
                log.sort_unstable();
            }
            let mut expected: Vec<i64> = logs.concat();
            expected.sort_unstable();

            let (mut merge, mut out, now) = (Merge::new(None), Vec::new(), Instant::now());
            (0..logs.len()).for_each(|stream| merge.begin(stream, now));
            let mut left: Vec<_> = logs.into_iter().map(VecDeque::from).enumerate().collect();
            for index in order {
                if left.is_empty() {
                    break;
                }
                let at = index.index(left.len());
                let (stream, log) = &mut left[at];
                match log.pop_front() {
                    Some(time) => merge.push(*stream, (time, 0), now, time),
                    None => {
                        merge.end(*stream);
                        left.remove(at);
                    }
                }
                out.extend(std::iter::from_fn(|| merge.pop(now)).map(|(_, time)| time));
            }
            for (stream, log) in left {
                for time in log {
                    merge.push(stream, (time, 0), now, time);
                }
                merge.end(stream);
            }
            out.extend(std::iter::from_fn(|| merge.pop(now)).map(|(_, time)| time));
            prop_assert_eq!(out, expected);
            prop_assert!(merge.is_done());
        }
    }

    #[test]
    fn a_silent_stream_holds_up_the_others_for_the_window_and_no_longer() {
        let (mut merge, now) = (Merge::new(Some(WINDOW)), Instant::now());
        merge.begin(1, now);
        merge.begin(2, now);
        merge.push(1, (10, 0), now, "late");
        assert_eq!(merge.pop(now), None);
        assert_eq!(merge.deadline(), Some(now + FIRST), "the other has only begun");
        // What was written before and comes within the window goes first.
        merge.push(2, (9, 0), now + WINDOW / 2, "early");
        assert_eq!(merge.pop(now + WINDOW / 2), Some((2, "early")));
        assert_eq!(merge.pop(now + WINDOW / 2), None);
        assert_eq!(merge.deadline(), Some(now + WINDOW));
        assert_eq!(merge.pop(now + WINDOW), Some((1, "late")));
        assert_eq!(merge.deadline(), None);
    }

    #[test]
    fn a_stream_that_has_ended_is_not_waited_for() {
        let (mut merge, now) = (Merge::new(None), Instant::now());
        merge.begin(1, now);
        merge.begin(2, now);
        merge.push(1, (1, 0), now, "one");
        assert_eq!(merge.pop(now), None);
        merge.end(2);
        assert_eq!(merge.pop(now), Some((1, "one")));
        merge.end(1);
        assert!(merge.is_done());
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_turn_a_log_around() {
        let (mut merge, now) = (Merge::new(None), Instant::now());
        merge.begin(1, now);
        for (time, piece) in [(5, "a"), (3, "b"), (4, "c")] {
            merge.push(1, (time, 0), now, piece);
        }
        merge.end(1);
        let out: Vec<_> = std::iter::from_fn(|| merge.pop(now)).map(|(_, piece)| piece).collect();
        assert_eq!(out, ["a", "b", "c"]);
    }
}
