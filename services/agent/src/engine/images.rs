//! Images.

use std::collections::HashMap;
use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::body_try_stream;
use bollard::models::{BuildInfo, ImageInspect};
use bollard::query_parameters::{
    BuildImageOptionsBuilder, CreateImageOptionsBuilder, ImportImageOptionsBuilder, ListImagesOptionsBuilder,
    RemoveImageOptionsBuilder, TagImageOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use gantry_api::agent::v1 as wire;
use gantry_model::DEFAULT_REGISTRY;
use prost_types::Timestamp as WireTime;
use tokio::time::timeout;

use super::Engine;
use super::containers::{Filters, filters};
use super::error::{Error, Kind, Result};
use super::inspect::parse_time;
use super::streams::Flow;

/// To look up an image is quick; an engine that takes longer hangs.
const ANSWERS: Duration = Duration::from_secs(10);

/// An image that the engine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundImage {
    /// The engine's id.
    pub id: String,
    /// Its platform.
    pub platform: String,
    /// Whether it has a health check.
    pub has_healthcheck: bool,
    /// When it was made.
    pub created_at: Option<WireTime>,
}

/// A step of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildStep {
    /// What was printed.
    Output(String),
    /// The image that was built.
    Image(String),
}

impl Engine {
    /// The image of a name or id; `None` if the engine does not have it.
    pub async fn find_image(&self, image: &str) -> Result<Option<FoundImage>> {
        let found = timeout(ANSWERS, self.docker.inspect_image(image)).await;
        match found.map_err(|_| Error::new(Kind::Timeout, "the Docker Engine does not answer"))? {
            Ok(found) => Ok(Some(FoundImage {
                platform: platform(&found),
                created_at: found.created.as_deref().and_then(parse_time),
                has_healthcheck: found
                    .config
                    .as_ref()
                    .and_then(|config| config.healthcheck.as_ref())
                    .and_then(|check| check.test.as_ref())
                    .is_some_and(|test| test.first().is_some_and(|word| word != "NONE")),
                id: found.id.unwrap_or_default(),
            })),
            Err(error) => match Error::from(error) {
                error if error.kind == Kind::NotFound => Ok(None),
                error => Err(error),
            },
        }
    }

    /// Fetches an image from its registry.
    pub fn pull(
        &self,
        image: &str,
        platform: &str,
        credential: Option<&wire::RegistryCredential>,
    ) -> Flow<wire::PullImageResponse> {
        let (name, tag) = split_tag(image);
        let mut options = CreateImageOptionsBuilder::new().from_image(name).tag(tag);
        if !platform.is_empty() {
            options = options.platform(platform);
        }
        let bytes = |count: Option<i64>| u64::try_from(count.unwrap_or_default()).unwrap_or_default();
        Box::pin(self.docker.create_image(Some(options.build()), None, credential.map(login)).map(
            move |step| {
                let step = step?;
                if let Some(error) = step.error_detail {
                    return Err(failed(error.message.unwrap_or_default()));
                }
                let progress = step.progress_detail.unwrap_or_default();
                Ok(wire::PullImageResponse {
                    layer: step.id.unwrap_or_default(),
                    status: step.status.unwrap_or_default(),
                    current: bytes(progress.current),
                    total: bytes(progress.total),
                })
            },
        ))
    }

    /// The host's images.
    pub async fn images(&self, all: bool, wanted: &Filters) -> Result<Vec<wire::Image>> {
        let mut options = ListImagesOptionsBuilder::new().all(all);
        if !wanted.is_empty() {
            options = options.filters(&filters(wanted));
        }
        let list = self.docker.list_images(Some(options.build())).await?;
        Ok(list
            .into_iter()
            .map(|image| wire::Image {
                id: image.id,
                tags: image.repo_tags,
                digests: image.repo_digests,
                size: u64::try_from(image.size).unwrap_or_default(),
                created_at: Some(WireTime { seconds: image.created, nanos: 0 }),
                labels: image.labels.into_iter().collect(),
            })
            .collect())
    }

    /// All that is known of an image.
    pub async fn inspect_image(&self, image: &str) -> Result<wire::InspectImageResponse> {
        let found = self.docker.inspect_image(image).await?;
        let labels = found.config.as_ref().and_then(|config| config.labels.clone()).unwrap_or_default();
        Ok(wire::InspectImageResponse {
            image: Some(wire::Image {
                id: found.id.clone().unwrap_or_default(),
                tags: found.repo_tags.clone().unwrap_or_default(),
                digests: found.repo_digests.clone().unwrap_or_default(),
                size: u64::try_from(found.size.unwrap_or_default()).unwrap_or_default(),
                created_at: found.created.as_deref().and_then(parse_time),
                labels: labels.into_iter().collect(),
            }),
            platform: platform(&found),
            raw_json: serde_json::to_string(&found).unwrap_or_default(),
        })
    }

    /// Gives an image a further name.
    pub async fn tag(&self, image: &str, target: &str) -> Result<()> {
        let (repo, tag) = split_tag(target);
        Ok(self
            .docker
            .tag_image(image, Some(TagImageOptionsBuilder::new().repo(repo).tag(tag).build()))
            .await?)
    }

    /// Takes a name off an image, and deletes it with its last one.
    pub async fn remove_image(&self, image: &str, force: bool) -> Result<wire::RemoveImageResponse> {
        let options = RemoveImageOptionsBuilder::new().force(force).build();
        let done = self.docker.remove_image(image, Some(options), None).await?;
        Ok(wire::RemoveImageResponse {
            untagged: done.iter().filter_map(|item| item.untagged.clone()).collect(),
            deleted: done.iter().filter_map(|item| item.deleted.clone()).collect(),
        })
    }

    /// Builds an image from a folder that comes as a tar archive.
    pub fn build(
        &self,
        start: &wire::BuildImageStart,
        folder: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Flow<BuildStep> {
        let map = |map: &std::collections::BTreeMap<String, String>| -> HashMap<String, String> {
            map.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        let dockerfile = if start.dockerfile.is_empty() { "Dockerfile" } else { &start.dockerfile };
        let mut options = BuildImageOptionsBuilder::new()
            .dockerfile(dockerfile)
            .buildargs(&map(&start.build_args))
            .labels(&map(&start.labels))
            .nocache(start.no_cache)
            .rm(true)
            .forcerm(true);
        if let Some(tag) = start.tags.first() {
            options = options.t(tag);
        }
        if start.pull {
            options = options.pull("true");
        }
        if !start.target.is_empty() {
            options = options.target(&start.target);
        }
        if !start.network.is_empty() {
            options = options.networkmode(&start.network);
        }
        if !start.platform.is_empty() {
            options = options.platform(&start.platform);
        }
        let docker = self.docker.clone();
        let options = options.build();
        let body = body_try_stream(folder);
        let (steps, stream) = tokio::sync::mpsc::channel(16);
        tokio::spawn(async move {
            let mut build = std::pin::pin!(docker.build_image(options, None, Some(body)));
            while let Some(step) = build.next().await {
                let step = match step {
                    Ok(step) => build_step(step).transpose(),
                    Err(error) => Some(Err(error.into())),
                };
                if let Some(step) = step
                    && steps.send(step).await.is_err()
                {
                    return;
                }
            }
        });
        Box::pin(tokio_stream::wrappers::ReceiverStream::new(stream))
    }

    /// Images as an archive.
    pub fn export(&self, images: &[String]) -> Flow<Bytes> {
        let names: Vec<&str> = images.iter().map(String::as_str).collect();
        Box::pin(self.docker.export_images(&names).map_err(Error::from))
    }

    /// Loads an archive of images, and answers with their names or ids.
    pub async fn import(
        &self,
        archive: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<Vec<String>> {
        let options = ImportImageOptionsBuilder::new().quiet(true).build();
        let mut steps = std::pin::pin!(self.docker.import_image_stream(options, archive, None));
        let mut images = Vec::new();
        while let Some(step) = steps.next().await {
            let step = step?;
            if let Some(error) = step.error_detail {
                return Err(failed(error.message.unwrap_or_default()));
            }
            let lines = step.stream.unwrap_or_default();
            for line in lines.lines() {
                let loaded =
                    line.strip_prefix("Loaded image: ").or_else(|| line.strip_prefix("Loaded image ID: "));
                images.extend(loaded.map(str::to_owned));
            }
        }
        Ok(images)
    }
}

fn login(credential: &wire::RegistryCredential) -> DockerCredentials {
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    DockerCredentials {
        username: text(&credential.username),
        password: text(&credential.password),
        identitytoken: text(&credential.identity_token),
        serveraddress: Some(match credential.registry.as_str() {
            DEFAULT_REGISTRY => "https://index.docker.io/v1/".to_owned(),
            registry => registry.to_owned(),
        }),
        ..DockerCredentials::default()
    }
}

fn build_step(step: BuildInfo) -> Result<Option<BuildStep>> {
    if let Some(error) = step.error_detail {
        return Err(Error::new(Kind::State, error.message.unwrap_or_default()));
    }
    if let Some(id) = step.aux.and_then(|aux| aux.id) {
        return Ok(Some(BuildStep::Image(id)));
    }
    let status = step.status.map(|status| format!("{status}\n"));
    Ok(step.stream.or(status).filter(|text| !text.is_empty()).map(BuildStep::Output))
}

fn failed(message: String) -> Error {
    bollard::errors::Error::DockerStreamError { error: message }.into()
}

fn platform(image: &ImageInspect) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let mut platform = format!("{}/{}", part(&image.os), part(&image.architecture));
    if let Some(variant) = image.variant.as_deref().filter(|variant| !variant.is_empty()) {
        platform.push('/');
        platform.push_str(variant);
    }
    platform
}

/// A name and its tag or digest. The tag is `latest` where there is none: without one the engine
/// would pull them all.
fn split_tag(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once('@') {
        return (name, digest);
    }
    match image.rsplit_once(':') {
        // A colon before a slash is a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_port_is_not_a_tag() {
        assert_eq!(split_tag("redis"), ("redis", "latest"));
        assert_eq!(split_tag("redis:7"), ("redis", "7"));
        assert_eq!(split_tag("localhost:5000/redis"), ("localhost:5000/redis", "latest"));
        assert_eq!(split_tag("localhost:5000/redis:7"), ("localhost:5000/redis", "7"));
        assert_eq!(split_tag("redis@sha256:ab"), ("redis", "sha256:ab"));
    }

    #[tokio::test]
    async fn a_pull_hands_the_credentials_to_the_engine() {
        use base64::Engine as _;
        use base64::prelude::BASE64_URL_SAFE;
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .await
                .unwrap();
            String::from_utf8(request).unwrap()
        });
        let engine = Engine::at(&socket.display().to_string()).unwrap();
        let credential = wire::RegistryCredential {
            registry: "docker.io".into(),
            username: "ada".into(),
            password: "hunter2".into(),
            identity_token: String::new(),
        };
        let mut steps = engine.pull("team/web:1", "", Some(&credential));
        while let Some(step) = steps.next().await {
            step.unwrap();
        }
        let request = asked.await.unwrap();
        assert!(request.starts_with("POST /images/create?"), "{request}");
        let header = request.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("x-registry-auth").then(|| value.to_owned())
        });
        let words = BASE64_URL_SAFE.decode(header.unwrap()).unwrap();
        let sent: serde_json::Value = serde_json::from_slice(&words).unwrap();
        assert_eq!(sent["username"], "ada");
        assert_eq!(sent["password"], "hunter2");
        assert_eq!(sent["serveraddress"], "https://index.docker.io/v1/");
    }
}
