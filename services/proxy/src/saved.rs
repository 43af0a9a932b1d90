//! The last table, on disk: a proxy that starts while the scheduler is away serves by it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use gantry_api::node::v1::Table;
use prost::Message as _;

fn path(folder: &Path) -> PathBuf {
    folder.join("table.pb")
}

/// Reads the saved table; `None` if there is none.
pub fn load(folder: &Path) -> io::Result<Option<Table>> {
    match fs::read(path(folder)) {
        Ok(bytes) => Table::decode(bytes.as_slice())
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Saves a table in place of the last one.
pub fn save(folder: &Path, table: &Table) -> io::Result<()> {
    let new = folder.join("table.new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&table.encode_to_vec())?;
    file.sync_data()?;
    fs::rename(new, path(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_table_is_there_again() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()).unwrap(), None);
        let table = Table { cluster_id: "c1".into(), ..Table::default() };
        save(folder.path(), &table).unwrap();
        assert_eq!(load(folder.path()).unwrap(), Some(table));
    }
}
