//! The store in one file, on redb.
//!
//! Every commit is synced to disk before it is acknowledged. After an input or output error redb
//! answers every later write with "previous I/O error", so the file is closed then and opened anew,
//! which also rolls back whatever was not committed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{
    Builder, CommitError, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageBackend,
    StorageError, TableDefinition, TableError, TransactionError,
};

use crate::{Answer, Contents, Error, Op, Store, Txn};

const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("records");
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
const REVISION: &str = "revision";

/// Records are few and small; redb's own default is 1 GiB.
const CACHE: usize = 8 << 20;

type Backend = Box<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync>;

/// A store in one file.
#[derive(Clone)]
pub struct Redb(Arc<Inner>);

struct Inner {
    path: PathBuf,
    open: Backend,
    database: Mutex<Option<Database>>,
}

impl Redb {
    /// Opens the file at `path`, and makes it if it is not there.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::with_opener(path.into(), Box::new(|path| Builder::new().set_cache_size(CACHE).create(path)))
    }

    /// As [`open`](Self::open), on a backend of the caller's: for tests of failing disks.
    pub fn with_backend<B: StorageBackend>(
        path: impl Into<PathBuf>,
        backend: impl Fn(&Path) -> io::Result<B> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let open = move |path: &Path| {
            let backend = backend(path).map_err(StorageError::from)?;
            Builder::new().set_cache_size(CACHE).create_with_backend(backend)
        };
        Self::with_opener(path.into(), Box::new(open))
    }

    fn with_opener(path: PathBuf, open: Backend) -> Result<Self, Error> {
        let database = open(&path).map_err(|error| Failure::from(error).at(&path))?;
        Ok(Self(Arc::new(Inner { path, open, database: Mutex::new(Some(database)) })))
    }

    /// Makes the file at `path`, which must not be there, with these contents at their revision.
    pub fn import(path: &Path, contents: &Contents) -> Result<(), Error> {
        let failed = |failure: Failure| failure.at(path);
        if path.exists() {
            let taken = io::Error::new(io::ErrorKind::AlreadyExists, "the file is there already");
            return Err(failed(Failure::Io(taken)));
        }
        let database = Builder::new().create(path).map_err(|error| failed(error.into()))?;
        let import = || {
            let write = database.begin_write()?;
            {
                write.open_table(META)?.insert(REVISION, contents.revision)?;
                let mut records = write.open_table(RECORDS)?;
                for (key, value) in &contents.entries {
                    records.insert(key.as_str(), value.as_slice())?;
                }
            }
            write.commit()?;
            Ok(())
        };
        import().map_err(failed)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = self.0.clone();
        let done = tokio::task::spawn_blocking(move || inner.with_database(work)).await;
        done.unwrap_or_else(|_| {
            Err(Error::Broken {
                path: self.0.path.clone(),
                problem: "the store's thread has crashed".to_owned(),
            })
        })
    }
}

impl Inner {
    fn with_database<T>(&self, work: impl FnOnce(&Database) -> Result<T, Failure>) -> Result<T, Error> {
        let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let database = match slot.take() {
            Some(database) => database,
            None => (self.open)(&self.path).map_err(|error| Failure::from(error).at(&self.path))?,
        };
        let result = work(&database);
        if matches!(result, Ok(_) | Err(Failure::Conflict { .. })) {
            *slot = Some(database);
        }
        result.map_err(|failure| failure.at(&self.path))
    }
}

impl Store for Redb {
    fn load(&self) -> Answer<'_, Contents> {
        Box::pin(self.run(|database| {
            let read = database.begin_read()?;
            let revision = match read.open_table(META) {
                Ok(table) => table.get(REVISION)?.map_or(0, |value| value.value()),
                Err(TableError::TableDoesNotExist(_)) => return Ok(Contents::default()),
                Err(error) => return Err(error.into()),
            };
            let mut contents = Contents { revision, ..Contents::default() };
            for entry in read.open_table(RECORDS)?.iter()? {
                let (key, value) = entry?;
                contents.entries.insert(key.value().to_owned(), value.value().to_vec());
            }
            Ok(contents)
        }))
    }

    fn commit(&self, txn: Txn) -> Answer<'_, u64> {
        Box::pin(self.run(move |database| {
            let write = database.begin_write()?;
            let revision = {
                let mut meta = write.open_table(META)?;
                let at = meta.get(REVISION)?.map_or(0, |value| value.value());
                if at != txn.after {
                    return Err(Failure::Conflict { at, expected: txn.after });
                }
                let mut records = write.open_table(RECORDS)?;
                for op in &txn.ops {
                    match op {
                        Op::Put(key, value) => drop(records.insert(key.as_str(), value.as_slice())?),
                        Op::Delete(key) => drop(records.remove(key.as_str())?),
                    }
                }
                meta.insert(REVISION, at + 1)?;
                at + 1
            };
            write.commit()?;
            Ok(revision)
        }))
    }
}

/// What went wrong, before it is known in which file.
enum Failure {
    Conflict { at: u64, expected: u64 },
    Io(io::Error),
    InUse,
    Broken(String),
}

impl Failure {
    fn at(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Conflict { at, expected } => Error::Conflict { at, expected },
            Self::Io(error) if error.kind() == io::ErrorKind::StorageFull => Error::DiskFull { path },
            Self::Io(error) if error.kind() == io::ErrorKind::QuotaExceeded => Error::DiskFull { path },
            Self::Io(source) => Error::Io { path, source },
            Self::InUse => Error::InUse { path },
            Self::Broken(problem) => Error::Broken { path, problem },
        }
    }
}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(error) => Self::Io(error),
            StorageError::PreviousIo => Self::Io(io::Error::other("an earlier input or output error")),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<DatabaseError> for Failure {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            DatabaseError::Storage(error) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<TransactionError> for Failure {
    fn from(error: TransactionError) -> Self {
        match error {
            TransactionError::Storage(error) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<TableError> for Failure {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Storage(error) => error.into(),
            other => Self::Broken(other.to_string()),
        }
    }
}
