//! Files that were read, to notice when one changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file as it was when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    path: PathBuf,
    /// When it was changed last, and its length in bytes; `None` if it was not there.
    about: Option<(SystemTime, u64)>,
}

impl Source {
    /// Looks at a file. To be done before it is read: then a change in between is seen later.
    pub fn look(path: &Path) -> Self {
        let about = fs::metadata(path).ok().and_then(|about| Some((about.modified().ok()?, about.len())));
        Self { path: path.to_owned(), about }
    }

    /// The same file as it is now.
    pub fn again(&self) -> Self {
        Self::look(&self.path)
    }
}
