//! What the fuzz tests have in common: random text that is nearly right, in random pieces, the same in
//! every run.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// So many cases of each test.
const CASES: u32 = 4000;

/// Runs a test on random cases.
pub fn check<S: Strategy>(cases: S, test: impl Fn(S::Value) -> Result<(), TestCaseError>)
where
    S::Value: std::fmt::Debug,
{
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    match TestRunner::new_with_rng(config, rng).run(&cases, test) {
        Ok(()) => {}
        Err(TestError::Fail(why, case)) => panic!("{why}: {case:?}"),
        Err(error) => panic!("{error}"),
    }
}

/// Some of `words` and some bytes of any kind, one after the other.
pub fn words(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        12 => select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(word, 0..24).prop_map(|words| words.concat())
}

/// A change at a random place.
#[derive(Debug, Clone)]
pub enum Change {
    Remove(Index, usize),
    Insert(Index, Vec<u8>),
    Replace(Index, u8),
    Repeat(Index, usize),
}

/// A few changes; what is put in are bytes of any kind or some of `words`.
pub fn changes(words: &'static [&'static str]) -> impl Strategy<Value = Vec<Change>> {
    let text = prop_oneof![select(words).prop_map(|word| word.as_bytes().to_vec()), vec(any::<u8>(), 1..4)];
    let change = prop_oneof![
        (any::<Index>(), 1..12_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        (any::<Index>(), text).prop_map(|(at, text)| Change::Insert(at, text)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, count)| Change::Repeat(at, count)),
    ];
    vec(change, 0..4)
}

/// `bytes`, changed.
pub fn changed(bytes: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for change in changes {
        let place = |at: &Index| at.index(bytes.len() + 1);
        match change {
            Change::Remove(at, count) => {
                let from = place(at);
                let to = (from + count).min(bytes.len());
                bytes.drain(from..to);
            }
            Change::Insert(at, text) => {
                let at = place(at);
                bytes.splice(at..at, text.iter().copied());
            }
            Change::Replace(at, byte) => {
                let at = place(at);
                if let Some(place) = bytes.get_mut(at) {
                    *place = *byte;
                }
            }
            Change::Repeat(at, count) => {
                let from = place(at);
                let part = bytes[from..(from + count).min(bytes.len())].to_vec();
                bytes.splice(from..from, part);
            }
        }
    }
    bytes
}

/// Where a text of `length` bytes is cut, in order; its end is the last cut.
pub fn cuts(places: &[Index], length: usize) -> Vec<usize> {
    let mut cuts: Vec<_> = places.iter().map(|place| place.index(length + 1)).collect();
    cuts.push(length);
    cuts.sort_unstable();
    cuts
}
