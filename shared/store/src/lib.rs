//! Where the scheduler's records lie.
//!
//! A [`Store`] maps text keys to bytes and numbers every committed transaction. What it has
//! acknowledged survives `kill -9` and power loss. [`Redb`] keeps it in one file; [`Memory`] is for
//! tests.

mod error;
mod memory;
mod redb_store;
mod txn;

pub use error::Error;
pub use memory::Memory;
pub use redb_store::Redb;
pub use txn::{Contents, Op, Txn};

use std::pin::Pin;

/// What a store answers with.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// A store of records.
pub trait Store: Send + Sync + 'static {
    /// Everything that is stored, and the revision that it stands at.
    fn load(&self) -> Answer<'_, Contents>;

    /// Commits all of `txn` or nothing, and answers with its revision once it is durable.
    ///
    /// Fails with [`Error::Conflict`] if the store has moved on from `txn.after`. After any other
    /// error it is not known whether the transaction was committed: [`load`](Self::load) tells.
    fn commit(&self, txn: Txn) -> Answer<'_, u64>;
}
