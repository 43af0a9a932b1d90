//! Reads the state at the start, and begins a new term on it.

use std::sync::Arc;

use gantry_model::{Change, Cluster, ClusterId, Lineage, Record, Secret, Snapshot, Term, Timestamp};
use gantry_store::Store;
use ipnet::Ipv4Net;
use thiserror::Error;

use crate::state::{State, decode};

/// What a new cluster is made with.
#[derive(Debug, Clone)]
pub struct Founding {
    /// The cluster's id, as in the scheduler's certificate.
    pub id: ClusterId,
    /// Its name.
    pub name: String,
    /// The range from which networks are made.
    pub pool: Ipv4Net,
    /// The prefix length of a network.
    pub prefix: u8,
    /// The largest packet in bytes.
    pub mtu: u32,
}

/// A state that cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The store failed.
    #[error("cannot read the state")]
    Store(#[from] gantry_store::Error),
    /// A record cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// It is of another cluster than the certificate.
    #[error("this state belongs to cluster {state}, the scheduler's certificate to cluster {certificate}")]
    OtherCluster {
        /// The state's cluster.
        state: ClusterId,
        /// The certificate's.
        certificate: ClusterId,
    },
}

/// Opens the state in `store`, or founds a cluster there if it is empty. `term` is a random id for
/// this run of the scheduler.
pub async fn open(
    store: Box<dyn Store>,
    founding: Founding,
    term: String,
    now: Timestamp,
) -> Result<State, OpenError> {
    let contents = store.load().await?;
    let records = decode(&contents).map_err(OpenError::Unreadable)?;
    let known = records.iter().find_map(|record| match record {
        Record::Cluster(cluster) => Some(cluster.as_ref().clone()),
        _ => None,
    });
    let mut cluster = match known {
        Some(cluster) if cluster.id == founding.id => cluster,
        Some(cluster) => {
            return Err(OpenError::OtherCluster { state: cluster.id, certificate: founding.id });
        }
        None => found(founding, now),
    };
    let mut snapshot = Snapshot::new(cluster.clone(), now);
    for record in records {
        snapshot.apply(&Change::Put(record));
    }
    snapshot.revision = contents.revision;
    let state = State::new(store, snapshot);

    if cluster.cookie_secret.0.is_empty() {
        cluster.cookie_secret = Secret(gantry_boot::random_id(32));
    }
    cluster.terms.push(Term { id: term, first_revision: contents.revision + 1 });
    let excess = cluster.terms.len().saturating_sub(Lineage::MAX_TERMS);
    cluster.terms.drain(..excess);
    let change = Change::Put(Record::Cluster(Arc::new(cluster)));
    state.commit::<_, gantry_store::Error>(|_| Ok((vec![change], ()))).await?;
    Ok(state)
}

fn found(founding: Founding, now: Timestamp) -> Cluster {
    Cluster {
        id: founding.id,
        name: founding.name,
        epoch: 1,
        terms: Vec::new(),
        pool: founding.pool,
        prefix: founding.prefix,
        mtu: founding.mtu,
        created_at: now,
        cookie_secret: Secret::default(),
    }
}
