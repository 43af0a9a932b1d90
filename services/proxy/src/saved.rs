//! The last table, on disk: a proxy that starts while the scheduler is away serves by it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gantry_api::node::v1::Table;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::sleep;

/// A table is saved at most this often: it is only needed after a restart, and the newest counts.
const SAVE_EVERY: Duration = Duration::from_millis(100);

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

/// Saves every table that comes, until no more can come. A disk may take seconds for it; nobody waits for that.
pub async fn keep_saved(folder: &Path, mut tables: watch::Receiver<Option<Table>>) {
    while tables.changed().await.is_ok() {
        let table = tables.borrow_and_update().clone();
        let Some(table) = table else { continue };
        let folder = folder.to_owned();
        let saved = tokio::task::spawn_blocking(move || save(&folder, &table)).await;
        if let Err(error) = saved.map_err(io::Error::other).flatten() {
            tracing::warn!(%error, "cannot save the table; after a restart an older one is used");
        }
        sleep(SAVE_EVERY).await;
    }
}

/// Saves a table in place of the last one.
fn save(folder: &Path, table: &Table) -> io::Result<()> {
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

    #[tokio::test]
    async fn a_disk_that_hangs_holds_nothing_else_up() {
        let folder = tempfile::tempdir().unwrap();
        // Who opens a pipe that nobody reads hangs as with a disk that does not answer.
        let pipe = folder.path().join("table.new");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let table = Table { cluster_id: "c1".into(), ..Table::default() };
        let (tables, to_save) = watch::channel(None);
        tables.send_replace(Some(table.clone()));
        let others = async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = keep_saved(folder.path(), to_save) => panic!("more tables can come"),
            () = others => {}
        }
        assert_eq!(Table::decode(fs::read(pipe).unwrap().as_slice()).unwrap(), table, "it was being saved");
    }
}
