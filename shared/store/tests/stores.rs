//! Both stores keep the same promises; redb keeps them on a failing disk too.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::fs::OpenOptions;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gantry_store::{Contents, Error, Memory, Op, Redb, Store, Txn};
use proptest::prelude::*;
use redb::StorageBackend;
use redb::backends::FileBackend;

fn put(after: u64, key: &str, value: &str) -> Txn {
    Txn { after, ops: vec![Op::Put(key.into(), value.into())] }
}

async fn keeps_the_promises(store: &dyn Store) {
    assert_eq!(store.load().await.unwrap(), Contents::default());
    assert_eq!(store.commit(put(0, "a", "1")).await.unwrap(), 1);
    assert_eq!(store.commit(put(1, "b", "2")).await.unwrap(), 2);

    let stale = store.commit(put(1, "a", "stale")).await;
    assert!(matches!(stale, Err(Error::Conflict { at: 2, expected: 1 })), "{stale:?}");

    let both = Txn {
        after: 2,
        ops: vec![Op::Delete("b".into()), Op::Delete("never".into()), Op::Put("c".into(), vec![3])],
    };
    assert_eq!(store.commit(both).await.unwrap(), 3);
    let contents = store.load().await.unwrap();
    assert_eq!(contents.revision, 3);
    assert_eq!(contents.entries.keys().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(contents.entries["a"], b"1");
}

#[tokio::test]
async fn memory_keeps_the_promises() {
    keeps_the_promises(&Memory::new()).await;
}

#[tokio::test]
async fn redb_keeps_the_promises() {
    let folder = tempfile::tempdir().unwrap();
    keeps_the_promises(&Redb::open(folder.path().join("state.redb")).unwrap()).await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    {
        let store = Redb::open(&path).unwrap();
        store.commit(put(0, "a", "1")).await.unwrap();
    }
    let contents = Redb::open(&path).unwrap().load().await.unwrap();
    assert_eq!((contents.revision, contents.entries["a"].as_slice()), (1, b"1".as_slice()));
}

#[tokio::test]
async fn a_second_scheduler_on_the_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let _first = Redb::open(&path).unwrap();
    let error = Redb::open(&path).err().unwrap();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
}

#[tokio::test]
async fn a_file_of_something_else_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    std::fs::write(&path, "a letter to a friend\n".repeat(500)).unwrap();
    assert!(Redb::open(&path).is_err());
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("a letter"));
}

/// A file on a disk that can be full.
#[derive(Debug)]
struct Disk {
    file: FileBackend,
    full: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
}

impl Disk {
    fn room(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room()?;
        self.file.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.room()?;
        self.file.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room()?;
        self.file.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.file.close()
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_the_store_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let (full, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let open = {
        let (full, refused) = (full.clone(), refused.clone());
        move |path: &std::path::Path| {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
            let file = FileBackend::new(file).map_err(io::Error::other)?;
            Ok(Disk { file, full: full.clone(), refused: refused.clone() })
        }
    };
    let store = Redb::with_backend(folder.path().join("state.redb"), open).unwrap();
    store.commit(put(0, "a", "kept")).await.unwrap();

    full.store(true, Ordering::SeqCst);
    let error = store.commit(put(1, "b", "lost")).await.unwrap_err();
    assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
    assert!(error.to_string().contains("free some"), "{error}");
    assert!(refused.load(Ordering::SeqCst) > 0);

    full.store(false, Ordering::SeqCst);
    let contents = store.load().await.unwrap();
    assert_eq!((contents.revision, contents.entries["a"].as_slice()), (1, b"kept".as_slice()));
    assert_eq!(store.commit(put(1, "b", "now")).await.unwrap(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    /// Whatever is committed, in whatever order: both stores hold the same.
    #[test]
    fn redb_and_memory_hold_the_same(txns in prop::collection::vec(prop::collection::vec(("[a-c]", prop::option::of("[x-z]{0,3}")), 0..4), 0..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let (redb, memory) = (Redb::open(folder.path().join("s")).unwrap(), Memory::new());
            for (after, ops) in txns.into_iter().enumerate() {
                let ops = ops.into_iter().map(|(key, value)| match value {
                    Some(value) => Op::Put(key, value.into_bytes()),
                    None => Op::Delete(key),
                }).collect();
                let txn = Txn { after: after as u64, ops };
                redb.commit(txn.clone()).await.unwrap();
                memory.commit(txn).await.unwrap();
            }
            assert_eq!(redb.load().await.unwrap(), memory.load().await.unwrap());
        });
    }
}
