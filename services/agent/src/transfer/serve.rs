//! `gantry.node.v1.TransferService`: gives other agents what this node has.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use gantry_api::node::v1::transfer_service_server::TransferService;
use gantry_api::node::v1::{FetchImageRequest, FetchImageResponse, FetchVolumeRequest, FetchVolumeResponse};
use gantry_boot::caller;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status};

use super::{Moves, pieces};
use crate::managed::Runtime;

/// Transfers that are served at a time. The scheduler sends fewer here; the rest is for those that come
/// because their first source failed.
const AT_A_TIME: usize = 4;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Serves what is on this node.
pub struct Transfers<R> {
    runtime: R,
    moves: Moves,
    serving: Arc<Semaphore>,
}

impl<R: Runtime> Transfers<R> {
    /// Serves what `runtime` has; of its volumes only those that move away.
    pub fn new(runtime: R, moves: Moves) -> Self {
        Self { runtime, moves, serving: Arc::new(Semaphore::new(AT_A_TIME)) }
    }

    /// A place among those that are served, held as long as the answer flows.
    fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.serving
            .clone()
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted("it is feeding as many nodes as it can"))
    }
}

/// Holds `place` until `stream` has ended.
fn held<T: 'static>(
    stream: impl Stream<Item = Result<T, Status>> + Send + 'static,
    place: OwnedSemaphorePermit,
) -> Answers<T> {
    Box::pin(stream.map(move |item| {
        let _held = &place;
        item
    }))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[tonic::async_trait]
impl<R: Runtime> TransferService for Transfers<R> {
    type FetchImageStream = Answers<FetchImageResponse>;

    async fn fetch_image(
        &self,
        request: Request<FetchImageRequest>,
    ) -> Result<Response<Self::FetchImageStream>, Status> {
        let digest = request.into_inner().digest;
        if !is_digest(&digest) {
            return Err(Status::invalid_argument("digest is not \"sha256:\" and 64 hexadecimal digits"));
        }
        let place = self.place()?;
        let (about, archive) = self.runtime.export_image(&digest).await?;
        let pieces = pieces::cut(archive, about);
        let answers = pieces.map(|piece| Ok(FetchImageResponse { piece: Some(piece?) }));
        Ok(Response::new(held(answers, place)))
    }

    type FetchVolumeStream = Answers<FetchVolumeResponse>;

    async fn fetch_volume(
        &self,
        request: Request<FetchVolumeRequest>,
    ) -> Result<Response<Self::FetchVolumeStream>, Status> {
        let node = caller(&request)?.name.clone();
        let FetchVolumeRequest { name, move_id } = request.into_inner();
        if !self.moves.is_offered(&name, &move_id, &node) {
            return Err(Status::permission_denied(format!(
                "the volume {name} does not move from here to node {node}, as far as this agent was told"
            )));
        }
        let place = self.place()?;
        let pieces = pieces::cut(self.runtime.export_volume(&name).await?, 0);
        let answers = pieces.map(|piece| Ok(FetchVolumeResponse { piece: Some(piece?) }));
        Ok(Response::new(held(answers, place)))
    }
}
