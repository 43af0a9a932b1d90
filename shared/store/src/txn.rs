use std::collections::BTreeMap;

/// Changes that are made together, on top of one known revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txn {
    /// The revision that the changes were decided on. They are made only if the store is still there.
    pub after: u64,
    /// The changes, in order.
    pub ops: Vec<Op>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Stores a value under a key.
    Put(String, Vec<u8>),
    /// Deletes a key, if it is there.
    Delete(String),
}

/// Everything that is stored at one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// How many transactions were committed; 0 is a new store.
    pub revision: u64,
    /// Values by key.
    pub entries: BTreeMap<String, Vec<u8>>,
}
