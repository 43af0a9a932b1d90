//! Something wrong in a file, and where.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Something wrong in a file, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1 up.
    pub line: usize,
    /// The column, from 1 up, in characters.
    pub column: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file.display(), self.line, self.column, self.message)
    }
}

/// Collects mistakes of one file.
pub struct Mistakes<'a> {
    file: &'a Path,
    text: &'a str,
    all: Vec<Mistake>,
}

impl<'a> Mistakes<'a> {
    /// None yet.
    pub fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, all: Vec::new() }
    }

    /// One more, at these bytes.
    pub fn add(&mut self, at: &Range<usize>, message: impl Into<String>) {
        let before = self.text.get(..at.start.min(self.text.len())).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self.all.push(Mistake { file: self.file.to_owned(), line, column, message: message.into() });
    }

    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them, in order.
    pub fn into_all(mut self) -> Vec<Mistake> {
        self.all.sort();
        self.all.dedup();
        self.all
    }
}

/// The known word that `word` was perhaps meant to be.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let close = |other: &&&str| strsim::damerau_levenshtein(word, other) <= (word.len() / 3).max(1);
    known.iter().filter(close).min_by_key(|other| strsim::damerau_levenshtein(word, other)).copied()
}
