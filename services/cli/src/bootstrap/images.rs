//! Gantry's own images: where they are missing, they come from this machine's engine, else from a registry.

use bollard::Docker;
use bollard::query_parameters::{CreateImageOptionsBuilder, ImportImageOptionsBuilder};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::host::{Host, failed, is_missing};
use super::layout::{Layout, Part};
use crate::failure::{Failure, Result};

impl Host {
    /// Sees to it that the images of these parts are there. What takes a while is told by `say`.
    pub async fn provide_images(&self, parts: &[Part], say: impl Fn(&str)) -> Result<()> {
        for part in parts {
            let image = Layout::image(*part);
            if has(&self.docker, &image).await? {
                continue;
            }
            if self.take_from_here(&image, &say).await? || self.pull(&image, &say).await {
                continue;
            }
            return Err(Failure::error(format!("the image {image} is not on this host"))
                .hint("`make images` in Gantry's repository builds it"));
        }
        Ok(())
    }

    /// Streams an image over from the engine of this machine, if it is there.
    async fn take_from_here(&self, image: &str, say: &impl Fn(&str)) -> Result<bool> {
        let Ok(own) = Docker::connect_with_local_defaults() else { return Ok(false) };
        if !has(&own, image).await.unwrap_or(false) {
            return Ok(false);
        }
        say(&format!("copying {image} to the host"));
        let name = image.to_owned();
        // The stream outlives this function's borrow of the engine.
        let (pieces, archive) = tokio::sync::mpsc::channel(8);
        let sending = tokio::spawn(async move {
            let mut exported = std::pin::pin!(own.export_image(&name));
            while let Some(piece) = exported.next().await {
                if pieces.send(piece.map_err(std::io::Error::other)).await.is_err() {
                    return;
                }
            }
        });
        let archive = tokio_stream::wrappers::ReceiverStream::new(archive);
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let loaded: std::result::Result<Vec<_>, _> =
            self.docker.import_image_stream(options, archive, None).try_collect().await;
        sending.abort();
        let problem = format!("cannot copy {image} to the host");
        for step in loaded.map_err(failed(&problem))? {
            if let Some(error) = step.error_detail {
                return Err(Failure::error(format!("{problem}: {}", error.message.unwrap_or_default())));
            }
        }
        has(&self.docker, image).await
    }

    async fn pull(&self, image: &str, say: &impl Fn(&str)) -> bool {
        say(&format!("pulling {image}"));
        let options = CreateImageOptionsBuilder::new().from_image(image).build();
        let pulled: std::result::Result<Vec<_>, _> =
            self.docker.create_image(Some(options), None, None).try_collect().await;
        pulled.is_ok() && has(&self.docker, image).await.unwrap_or(false)
    }
}

async fn has(docker: &Docker, image: &str) -> Result<bool> {
    match docker.inspect_image(image).await {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(failed("cannot look for images")(error)),
    }
}
