//! `gantry.agent.v1.ImageService`.

use futures_util::StreamExt as _;
use gantry_api::agent::v1::image_service_server::ImageService;
#[allow(clippy::wildcard_imports)] // Every message of the package, which this file is about.
use gantry_api::agent::v1::*;
use tonic::{Request, Response, Status, Streaming};

use super::{Answers, upload};
use crate::engine::{BuildStep, Engine};

type Answer<T> = Result<Response<T>, Status>;

/// Serves the host's images.
pub struct Images {
    engine: Engine,
}

impl Images {
    /// Serves the images of `engine`.
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl ImageService for Images {
    type PullImageStream = Answers<PullImageResponse>;

    async fn pull_image(&self, request: Request<PullImageRequest>) -> Answer<Self::PullImageStream> {
        let PullImageRequest { image, platform, credential } = request.into_inner();
        if image.is_empty() {
            return Err(Status::invalid_argument("image is missing"));
        }
        let stream = self.engine.pull(&image, &platform, credential.as_ref()).map(|step| Ok(step?));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn list_images(&self, request: Request<ListImagesRequest>) -> Answer<ListImagesResponse> {
        let ListImagesRequest { all, filters } = request.into_inner();
        Ok(Response::new(ListImagesResponse { images: self.engine.images(all, &filters).await? }))
    }

    async fn inspect_image(&self, request: Request<InspectImageRequest>) -> Answer<InspectImageResponse> {
        Ok(Response::new(self.engine.inspect_image(&request.into_inner().image).await?))
    }

    async fn tag_image(&self, request: Request<TagImageRequest>) -> Answer<TagImageResponse> {
        let TagImageRequest { image, target } = request.into_inner();
        self.engine.tag(&image, &target).await?;
        Ok(Response::new(TagImageResponse {}))
    }

    async fn remove_image(&self, request: Request<RemoveImageRequest>) -> Answer<RemoveImageResponse> {
        let RemoveImageRequest { image, force } = request.into_inner();
        Ok(Response::new(self.engine.remove_image(&image, force).await?))
    }

    type BuildImageStream = Answers<BuildImageResponse>;

    async fn build_image(
        &self,
        request: Request<Streaming<BuildImageRequest>>,
    ) -> Answer<Self::BuildImageStream> {
        use build_image_request::Message;
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.and_then(|first| first.message);
        let Some(Message::Start(start)) = first else {
            return Err(Status::invalid_argument("the first message must say how to build"));
        };
        let folder = upload::bytes(incoming, |message| match message.message {
            Some(Message::Chunk(chunk)) => Some(chunk),
            _ => None,
        });
        let engine = self.engine.clone();
        let mut steps = self.engine.build(&start, folder);
        let (answers, stream) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            let mut image = None;
            while let Some(step) = steps.next().await {
                let answer = match step {
                    Ok(BuildStep::Output(output)) => Ok(BuildImageResponse {
                        message: Some(build_image_response::Message::Output(output)),
                    }),
                    Ok(BuildStep::Image(id)) => {
                        image = Some(id);
                        continue;
                    }
                    Err(error) => Err(Status::from(error)),
                };
                let failed = answer.is_err();
                if answers.send(answer).await.is_err() || failed {
                    return;
                }
            }
            let _ = answers.send(finish(&engine, &start, image).await).await;
        });
        Ok(Response::new(Box::pin(tokio_stream::wrappers::ReceiverStream::new(stream))))
    }

    type ExportImageStream = Answers<ExportImageResponse>;

    async fn export_image(&self, request: Request<ExportImageRequest>) -> Answer<Self::ExportImageStream> {
        let images = request.into_inner().images;
        if images.is_empty() {
            return Err(Status::invalid_argument("images is empty"));
        }
        for image in &images {
            self.engine.inspect_image(image).await?;
        }
        let stream =
            self.engine.export(&images).map(|chunk| Ok(ExportImageResponse { chunk: chunk?.to_vec() }));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn import_image(
        &self,
        request: Request<Streaming<ImportImageRequest>>,
    ) -> Answer<ImportImageResponse> {
        let archive = upload::bytes(request.into_inner(), |message| Some(message.chunk));
        Ok(Response::new(ImportImageResponse { images: self.engine.import(archive).await? }))
    }
}

/// The build call takes one name; the others are given afterwards.
async fn finish(
    engine: &Engine,
    start: &BuildImageStart,
    image: Option<String>,
) -> Result<BuildImageResponse, Status> {
    let image =
        image.ok_or_else(|| Status::internal("the Docker Engine did not say which image it built"))?;
    for tag in start.tags.iter().skip(1) {
        engine.tag(&image, tag).await?;
    }
    Ok(BuildImageResponse { message: Some(build_image_response::Message::ImageId(image)) })
}
