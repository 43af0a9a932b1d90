//! What supervisors need of an engine: Docker's, or a simulated one in tests.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use gantry_api::agent::v1::RegistryCredential;
use gantry_model::{Hook, Mount, ReplicaId, Timestamp};
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
    /// What has happened to it.
    pub what: What,
}

/// What happens to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Its process was started.
    Started,
    /// Its process has ended.
    Ended {
        /// The exit code.
        exit_code: i32,
    },
    /// The kernel killed one of its processes, because its memory ran out.
    OutOfMemory,
    /// It is gone.
    Gone,
    /// Something else.
    Other,
}

impl What {
    /// Whether its process has ended.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Ended { .. })
    }
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
    /// Stops a container with its stop signal, and kills it when `grace` is over; `None` is the grace that
    /// it was made with. Answers whether it had to be killed, as far as that is known.
    fn stop(&self, id: &str, grace: Option<Duration>) -> impl Future<Output = Done<bool>> + Send;
    /// Runs a hook in a running container to its end: its exit code, and the last of what it wrote.
    fn run_hook(&self, id: &str, hook: &Hook) -> impl Future<Output = Done<(i32, String)>> + Send;
    /// The last lines that a container wrote between these times.
    fn last_lines(
        &self,
        id: &str,
        since: Option<Timestamp>,
        until: Timestamp,
    ) -> impl Future<Output = Done<String>> + Send;
    /// Lets a frozen container go on.
    fn unpause(&self, id: &str) -> impl Future<Output = Done<()>> + Send;
    /// Runs a process inside a container to its end: its exit code, and the last of what it wrote.
    fn check_inside(&self, id: &str, command: &[String]) -> impl Future<Output = Done<(i32, String)>> + Send;
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
