use std::io;
use std::path::PathBuf;

/// Why a store did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has changed the store meanwhile.
    #[error("the store is at revision {at}, not at {expected}: decide again")]
    Conflict {
        /// Where the store is.
        at: u64,
        /// Where the transaction expected it.
        expected: u64,
    },
    /// No room is left for the change.
    #[error("no space is left on the disk of {}: free some and try again; nothing was changed", .path.display())]
    DiskFull {
        /// The store's file.
        path: PathBuf,
    },
    /// The disk failed.
    #[error("cannot use {}", .path.display())]
    Io {
        /// The store's file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process has the file.
    #[error("{} is in use: does another scheduler run on it?", .path.display())]
    InUse {
        /// The store's file.
        path: PathBuf,
    },
    /// The file is damaged, or of a version that this one cannot read.
    #[error("{} cannot be read: {problem}; restore a backup", .path.display())]
    Broken {
        /// The store's file.
        path: PathBuf,
        /// In redb's words.
        problem: String,
    },
}
