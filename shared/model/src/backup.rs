//! A copy of a cluster in one file: a line that says what it is and how to check it, then the content.
//!
//! `gantry-backup VERSION SHA256 LENGTH`, a line feed, then LENGTH bytes of JSON. Whoever reads it
//! checks all of that before anything is touched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::ClusterId;
use crate::record::Record;
use crate::time::Timestamp;

const MAGIC: &str = "gantry-backup";
const VERSION: u32 = 1;
/// The first line is shorter than this.
const LONGEST_HEADER: usize = 128;

/// What is in a backup. It holds the CA's key: whoever can read it can be anybody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// The cluster's id.
    pub cluster: ClusterId,
    /// The cluster's name.
    pub name: String,
    /// When it was made.
    pub made_at: Timestamp,
    /// Which version of Gantry made it.
    pub version: String,
    /// The newest stored change.
    pub revision: u64,
    /// The CA's certificate, as PEM.
    pub ca: String,
    /// The CA's key, as PEM.
    pub ca_key: String,
    /// What the scheduler was set up with: a name and a value each.
    pub settings: BTreeMap<String, String>,
    /// Records, as they are stored, by key.
    pub records: BTreeMap<String, String>,
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Backup({} at {})", self.cluster, self.revision)
    }
}

/// A file that is no backup, or not a whole one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBackup {
    /// It is something else.
    #[error("this is not a backup of Gantry's")]
    Form,
    /// A later version made it.
    #[error(
        "this backup is of form {0}, which this version of Gantry does not know: use the version that made it"
    )]
    Version(u32),
    /// Its end is missing, or something follows it.
    #[error("this backup is not whole: {there} of {wanted} bytes are there")]
    Length {
        /// How long it is.
        there: usize,
        /// How long it was.
        wanted: usize,
    },
    /// It was changed since it was made.
    #[error("this backup was changed after it was made: its checksum is wrong")]
    Checksum,
    /// A record cannot be read.
    #[error("this backup cannot be read: {0}")]
    Content(String),
}

impl Backup {
    /// The whole file.
    pub fn encode(&self) -> Vec<u8> {
        // Maps have text keys and every field is a plain value: this cannot fail.
        let content = serde_json::to_vec(self).unwrap_or_default();
        let mut file = format!("{MAGIC} {VERSION} {} {}\n", digest(&content), content.len()).into_bytes();
        file.extend(content);
        file
    }

    /// Reads a whole file, and checks that every record can be read.
    pub fn decode(file: &[u8]) -> Result<Self, BadBackup> {
        let end = file.iter().take(LONGEST_HEADER).position(|byte| *byte == b'\n').ok_or(BadBackup::Form)?;
        let header = std::str::from_utf8(&file[..end]).map_err(|_| BadBackup::Form)?;
        let words: Vec<&str> = header.split(' ').collect();
        let [MAGIC, version, rest @ ..] = words.as_slice() else { return Err(BadBackup::Form) };
        let version: u32 = version.parse().map_err(|_| BadBackup::Form)?;
        if version != VERSION {
            return Err(BadBackup::Version(version));
        }
        let [checksum, length] = rest else { return Err(BadBackup::Form) };
        let wanted: usize = length.parse().map_err(|_| BadBackup::Form)?;
        let content = &file[end + 1..];
        if content.len() != wanted {
            return Err(BadBackup::Length { there: content.len(), wanted });
        }
        if digest(content) != *checksum {
            return Err(BadBackup::Checksum);
        }
        let backup: Self =
            serde_json::from_slice(content).map_err(|error| BadBackup::Content(error.to_string()))?;
        for (path, value) in &backup.records {
            Record::decode(path, value.as_bytes()).map_err(|error| BadBackup::Content(error.to_string()))?;
        }
        Ok(backup)
    }
}

fn digest(content: &[u8]) -> String {
    format!("{:x}", Sha256::digest(content))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{StackName, stack::Stack};

    fn backup() -> Backup {
        let stack = Stack {
            name: StackName::new("shop").unwrap(),
            created_at: Timestamp::default(),
            updated_at: Timestamp::default(),
            removing: false,
            remove_volumes: false,
        };
        let record = Record::Stack(Arc::new(stack));
        let value = String::from_utf8(record.encode()).unwrap();
        Backup {
            cluster: ClusterId::new("c1").unwrap(),
            name: "test".into(),
            made_at: Timestamp::from_millis(5),
            version: "0.1.0".into(),
            revision: 7,
            ca: "ca".into(),
            ca_key: "secret".into(),
            settings: BTreeMap::new(),
            records: BTreeMap::from([(record.key().path(), value)]),
        }
    }

    #[test]
    fn a_backup_reads_back_as_it_was_written() {
        assert_eq!(Backup::decode(&backup().encode()).unwrap(), backup());
        assert!(!format!("{:?}", backup()).contains("secret"));
    }

    #[test]
    fn half_a_backup_a_changed_one_and_something_else_are_told_apart() {
        let file = backup().encode();
        assert!(matches!(Backup::decode(&file[..file.len() - 1]), Err(BadBackup::Length { .. })));
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(Backup::decode(&changed).is_err(), "byte {at}");
        }
        assert_eq!(Backup::decode(b"hello\n"), Err(BadBackup::Form));
        assert_eq!(Backup::decode(b""), Err(BadBackup::Form));
        assert_eq!(Backup::decode(b"gantry-backup 2 x 1\n"), Err(BadBackup::Version(2)));
    }

    #[test]
    fn a_record_that_this_version_does_not_know_is_said_before_anything_is_touched() {
        let mut backup = backup();
        backup.records.insert("rockets/1".into(), "{}".into());
        assert!(matches!(Backup::decode(&backup.encode()), Err(BadBackup::Content(_))));
    }
}
