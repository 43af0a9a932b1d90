//! What is in volumes: archives out of them and into them.
//!
//! The engine reads and writes archives of containers only, so a volume is mounted into one that is never
//! started. Its image is empty and made here: no image of anybody's is needed.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bollard::query_parameters::{CreateContainerOptionsBuilder, CreateImageOptionsBuilder};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::Engine;
use super::error::{Error, Kind, Result};
use super::streams::{Archive, Flow};

/// The empty image.
const IMAGE: (&str, &str) = ("gantry/empty", "1");
/// Where the volume is mounted: with that as the top of the archive, owner and rights of the volume's own
/// folder are in it.
const FOLDER: &str = "/volume";
/// An archive of nothing.
const NOTHING: [u8; 1024] = [0; 1024];
const QUEUE: usize = 4;

impl Engine {
    /// What is in a volume, as a tar archive with the folder `volume` at its top.
    pub async fn read_volume(&self, name: &str) -> Result<Flow<Bytes>> {
        let container = self.hold_volume(name, "out").await?;
        let (chunks, stream) = mpsc::channel(QUEUE);
        let engine = self.clone();
        tokio::spawn(async move {
            let mut archive = engine.copy_out(&container, FOLDER);
            loop {
                let next = tokio::select! {
                    next = archive.next() => next,
                    () = chunks.closed() => None,
                };
                let Some(chunk) = next else { break };
                if chunks.send(chunk).await.is_err() {
                    break;
                }
            }
            drop(archive);
            engine.let_go(&container).await;
        });
        Ok(Box::pin(ReceiverStream::new(stream)))
    }

    /// Unpacks such an archive into a volume.
    pub async fn write_volume(&self, name: &str, archive: Archive) -> Result<()> {
        let container = self.hold_volume(name, "in").await?;
        let written = self.copy_in(&container, "/", archive).await;
        self.let_go(&container).await;
        written
    }

    async fn let_go(&self, container: &str) {
        if let Err(error) = self.remove(container, true, false).await {
            tracing::warn!(container, %error, "cannot remove the container that held a volume");
        }
    }

    /// A container that is never started, with the volume in it. One that was left behind is replaced.
    async fn hold_volume(&self, volume: &str, way: &str) -> Result<String> {
        // Docker would make a volume that is not there.
        self.volume(volume).await?;
        self.make_empty_image().await?;
        let name = format!("gantry-volume-{way}-{volume}");
        match self.remove(&name, true, false).await {
            Err(error) if error.kind != Kind::NotFound => return Err(error),
            _ => {}
        }
        let mount = Mount {
            target: Some(FOLDER.to_owned()),
            source: Some(volume.to_owned()),
            typ: Some(MountType::VOLUME),
            ..Mount::default()
        };
        let body = ContainerCreateBody {
            image: Some(format!("{}:{}", IMAGE.0, IMAGE.1)),
            cmd: Some(vec!["never-started".to_owned()]),
            labels: Some(HashMap::from([("gantry.holds".to_owned(), volume.to_owned())])),
            network_disabled: Some(true),
            host_config: Some(HostConfig { mounts: Some(vec![mount]), ..HostConfig::default() }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        Ok(self.docker.create_container(Some(options), body).await?.id)
    }

    async fn make_empty_image(&self) -> Result<()> {
        let (repo, tag) = IMAGE;
        if self.find_image(&format!("{repo}:{tag}")).await?.is_some() {
            return Ok(());
        }
        let options = CreateImageOptionsBuilder::new().from_src("-").repo(repo).tag(tag).build();
        let body = bollard::body_full(Bytes::from_static(&NOTHING));
        let mut steps = std::pin::pin!(self.docker.create_image(Some(options), Some(body), None));
        while let Some(step) = steps.next().await {
            if let Some(error) = step?.error_detail {
                let why = error.message.unwrap_or_default();
                return Err(Error::new(Kind::Internal, format!("cannot make an empty image: {why}")));
            }
        }
        Ok(())
    }
}
