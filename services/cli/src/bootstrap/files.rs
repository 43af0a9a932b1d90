//! The files in the folders of Gantry's own containers.

use std::io::Read as _;

use bollard::body_full;
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, RemoveContainerOptionsBuilder, UploadToContainerOptionsBuilder,
};
use futures_util::TryStreamExt as _;

use super::host::{DATA, Host, failed, is_missing};
use super::layout::{Layout, Part, container_name};
use crate::failure::{Failure, Result};

impl Host {
    /// Writes files into a part's folder; they are readable for their owner only.
    pub async fn write(&self, layout: &Layout, part: Part, files: &[(&str, &str)]) -> Result<()> {
        self.write_to(&layout.container(part), files).await
    }

    /// Writes files into the folder of a container; they are readable for their owner only.
    pub async fn write_to(&self, name: &str, files: &[(&str, &str)]) -> Result<()> {
        let broken = |error: std::io::Error| Failure::error(format!("cannot pack files: {error}"));
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            header.set_cksum();
            archive.append_data(&mut header, path, content.as_bytes()).map_err(broken)?;
        }
        let bytes = archive.into_inner().map_err(broken)?;
        let options = UploadToContainerOptionsBuilder::new().path(DATA).build();
        let written = self.docker.upload_to_container(name, Some(options), body_full(bytes.into())).await;
        written.map_err(failed(&format!("cannot write into the container {name}")))
    }

    /// Reads a file of a part's folder; `None` if it is not there.
    pub async fn read(&self, layout: &Layout, part: Part, path: &str) -> Result<Option<String>> {
        self.read_from(&layout.container(part), path).await
    }

    /// Reads a file of a part's folder, whether there is a container or only its volume; `None` if the
    /// file is not there.
    pub async fn read_volume(&self, cluster: &str, part: Part, path: &str) -> Result<Option<String>> {
        let name = container_name(cluster, part);
        if self.environment(cluster, part).await?.is_some() {
            return self.read_from(&name, path).await;
        }
        if !self.has_volume(&name).await? {
            return Ok(None);
        }
        // Only a container can look into a volume; it is never started.
        self.provide_images(&[part], |_| {}).await?;
        let mount = Mount {
            target: Some(DATA.to_owned()),
            source: Some(name),
            typ: Some(MountType::VOLUME),
            ..Mount::default()
        };
        let body = ContainerCreateBody {
            image: Some(Layout::image(part)),
            host_config: Some(HostConfig { mounts: Some(vec![mount]), ..HostConfig::default() }),
            ..ContainerCreateBody::default()
        };
        let created =
            self.docker.create_container(None, body).await.map_err(failed("cannot look into a volume"))?;
        let text = self.read_from(&created.id, path).await;
        self.docker
            .remove_container(&created.id, Some(RemoveContainerOptionsBuilder::new().force(true).build()))
            .await
            .map_err(failed("cannot remove a container"))?;
        text
    }

    async fn read_from(&self, container: &str, path: &str) -> Result<Option<String>> {
        let options = DownloadFromContainerOptionsBuilder::new().path(&format!("{DATA}/{path}")).build();
        let chunks = self.docker.download_from_container(container, Some(options));
        let bytes: Vec<_> = match chunks.try_collect::<Vec<_>>().await {
            Ok(chunks) => chunks.concat(),
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(failed("cannot read a file of the cluster")(error)),
        };
        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut text = String::new();
        let mut entries = archive.entries().map_err(|error| Failure::error(error.to_string()))?;
        if let Some(Ok(mut file)) = entries.next() {
            file.read_to_string(&mut text)
                .map_err(|error| Failure::error(format!("cannot read {path}: {error}")))?;
        }
        Ok(Some(text))
    }
}
