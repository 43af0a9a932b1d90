//! What supervisors need of an engine: Docker's, or a simulated one in tests.

use std::collections::BTreeSet;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use gantry_api::agent::v1::RegistryCredential;
use gantry_model::{Mount, ReplicaId};
use prost_types::Timestamp as WireTime;

use super::assignment::{Assignment, Segment, VolumeUse};
use crate::engine::{Archive, Error, Flow, Observed};
use crate::transfer::ImageNeeded;

/// A container of this cluster has changed, or gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// When.
    pub time: WireTime,
    /// Its id.
    pub id: String,
    /// Its replica.
    pub replica: ReplicaId,
    /// It is gone.
    pub gone: bool,
}

/// Changes as they happen.
pub type Changes = Pin<Box<dyn Stream<Item = Result<Changed, Error>> + Send>>;

type Done<T> = Result<T, Error>;

/// An engine, as far as this cluster's replicas go.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Whether the engine answers.
    fn ping(&self) -> impl Future<Output = Done<()>> + Send;
    /// All containers of this cluster.
    fn list(&self) -> impl Future<Output = Done<Vec<Observed>>> + Send;
    /// The replica's container of an id or name.
    fn observe(&self, id: &str) -> impl Future<Output = Done<Option<Observed>>> + Send;
    /// What changes from now on, and since then.
    fn changes(&self, since: Option<WireTime>) -> Changes;

    /// Makes a container from `image`, with further mounts, and answers with its id.
    fn create(
        &self,
        wanted: &Assignment,
        image: &str,
        mounts: Vec<Mount>,
    ) -> impl Future<Output = Done<String>> + Send;
    /// Starts a container.
    fn start(&self, id: &str) -> impl Future<Output = Done<()>> + Send;
    /// Stops a container as it wants to be stopped.
    fn stop(&self, id: &str) -> impl Future<Output = Done<()>> + Send;
    /// Stops and starts a container.
    fn restart(&self, id: &str) -> impl Future<Output = Done<()>> + Send;
    /// Lets a frozen container go on.
    fn unpause(&self, id: &str) -> impl Future<Output = Done<()>> + Send;
    /// Removes a container with its anonymous volumes.
    fn remove(&self, id: &str) -> impl Future<Output = Done<()>> + Send;

    /// The name to create from for an image that was resolved to `digest`, if it is there.
    fn find_image(&self, image: &str, digest: &str) -> impl Future<Output = Done<Option<String>>> + Send;
    /// Gives an image the name that keeps it from being pruned, and by which it is found again.
    fn keep_image(&self, image: &str, digest: &str) -> impl Future<Output = Done<()>> + Send;
    /// The digests of the images that have such a name.
    fn kept_images(&self) -> impl Future<Output = Done<BTreeSet<String>>> + Send;
    /// Fetches an image from its registry.
    fn pull(
        &self,
        needed: ImageNeeded<'_>,
        credential: Option<&RegistryCredential>,
    ) -> impl Future<Output = Done<()>> + Send;
    /// A kept image as an archive, and about how many bytes that has.
    fn export_image(&self, digest: &str) -> impl Future<Output = Done<(u64, Flow<Bytes>)>> + Send;
    /// Loads an image from an archive, and makes sure that it is the one of that digest.
    fn import_image(&self, digest: &str, archive: Archive) -> impl Future<Output = Done<()>> + Send;
    /// Makes the network if it is not there.
    fn ensure_segment(&self, segment: &Segment) -> impl Future<Output = Done<()>> + Send;
    /// The names of this cluster's networks.
    fn segments(&self) -> impl Future<Output = Done<Vec<String>>> + Send;
    /// Removes a network.
    fn remove_segment(&self, name: &str) -> impl Future<Output = Done<()>> + Send;
    /// Makes the volume if it is not there.
    fn ensure_volume(&self, volume: &VolumeUse) -> impl Future<Output = Done<()>> + Send;
    /// Makes an empty volume for a move. One of that name must not be there.
    fn begin_volume(&self, volume: &VolumeUse, move_id: &str) -> impl Future<Output = Done<()>> + Send;
    /// Removes a volume that was made for that move; any other is left alone.
    fn clear_volume(&self, name: &str, move_id: &str) -> impl Future<Output = Done<()>> + Send;
    /// What is in a volume, as a tar archive.
    fn export_volume(&self, name: &str) -> impl Future<Output = Done<Flow<Bytes>>> + Send;
    /// Unpacks such an archive into a volume.
    fn import_volume(&self, name: &str, archive: Archive) -> impl Future<Output = Done<()>> + Send;
    /// Removes a volume and what is in it; one that is gone already is left alone.
    fn remove_volume(&self, name: &str) -> impl Future<Output = Done<()>> + Send;
}
