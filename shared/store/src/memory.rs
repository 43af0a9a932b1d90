use std::sync::{Mutex, PoisonError};

use crate::{Answer, Contents, Error, Op, Store, Txn};

/// A store that is gone with its process.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Contents>);

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A store with these contents.
    pub fn with(contents: Contents) -> Self {
        Self(Mutex::new(contents))
    }
}

impl Store for Memory {
    fn load(&self) -> Answer<'_, Contents> {
        let contents = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Box::pin(async move { Ok(contents) })
    }

    fn commit(&self, txn: Txn) -> Answer<'_, u64> {
        Box::pin(async move {
            let mut contents = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if contents.revision != txn.after {
                return Err(Error::Conflict { at: contents.revision, expected: txn.after });
            }
            for op in txn.ops {
                match op {
                    Op::Put(key, value) => drop(contents.entries.insert(key, value)),
                    Op::Delete(key) => drop(contents.entries.remove(&key)),
                }
            }
            contents.revision += 1;
            Ok(contents.revision)
        })
    }
}
