//! What is left on a host when its node leaves: the containers, networks and volumes of stacks, the rules of
//! the firewall, and the images.

use std::collections::HashMap;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListImagesOptionsBuilder, ListNetworksOptionsBuilder,
    ListVolumesOptionsBuilder, RemoveImageOptions, RemoveVolumeOptions,
};
use futures_util::StreamExt as _;

use super::host::{Host, PART, failed, is_missing};
use super::layout::{Layout, Part};
use crate::failure::Result;

impl Host {
    /// Removes every container and network of a cluster's stacks, and, if asked, every volume.
    pub async fn remove_stacks(&self, cluster_id: &str, volumes: bool) -> Result<()> {
        let filters = HashMap::from([("label".to_owned(), vec![format!("gantry.cluster={cluster_id}")])]);
        let all = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let containers =
            self.docker.list_containers(Some(all)).await.map_err(failed("cannot list containers"))?;
        for container in containers.into_iter().filter_map(|container| container.id) {
            self.remove_container(&container).await?;
        }
        let all = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let networks = self.docker.list_networks(Some(all)).await.map_err(failed("cannot list networks"))?;
        for network in networks.into_iter().filter_map(|network| network.name) {
            self.docker
                .remove_network(&network)
                .await
                .map_err(failed(&format!("cannot remove the network {network}")))?;
        }
        if volumes {
            let all = ListVolumesOptionsBuilder::new().filters(&filters).build();
            let found = self.docker.list_volumes(Some(all)).await.map_err(failed("cannot list volumes"))?;
            for volume in found.volumes.unwrap_or_default() {
                self.remove_volume(&volume.name).await?;
            }
        }
        Ok(())
    }

    /// Takes the rules of a cluster's agent out of this host's firewall, by its image: they outlive the
    /// agent, so that traffic does. Does nothing where the image is gone.
    pub async fn clean_firewall(&self, cluster_id: &str) -> Result<()> {
        let image = Layout::image(Part::Agent);
        match self.docker.inspect_image(&image).await {
            Err(error) if is_missing(&error) => return Ok(()),
            other => other.map_err(failed("cannot look for images"))?,
        };
        let body = ContainerCreateBody {
            image: Some(image),
            cmd: Some(vec!["--clean-up".to_owned(), cluster_id.to_owned()]),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                readonly_rootfs: Some(true),
                cap_drop: Some(vec!["ALL".to_owned()]),
                cap_add: Some(vec!["NET_ADMIN".to_owned()]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let unclean = failed("cannot clean the host's firewall");
        let created = self.docker.create_container(None, body).await.map_err(&unclean)?;
        let ended = async {
            self.docker.start_container(&created.id, None).await?;
            let mut waiting = self.docker.wait_container(&created.id, None);
            waiting.next().await.transpose()
        };
        let ended = ended.await;
        self.remove_container(&created.id).await?;
        ended.map_err(unclean).map(drop)
    }

    /// Removes a volume; one that is gone already is left alone.
    pub async fn remove_volume(&self, name: &str) -> Result<()> {
        match self.docker.remove_volume(name, None::<RemoveVolumeOptions>).await {
            Err(error) if !is_missing(&error) => {
                Err(failed(&format!("cannot remove the volume {name}"))(error))
            }
            _ => Ok(()),
        }
    }

    /// Takes Gantry's own names off the images that it kept, unless another cluster is here.
    pub async fn forget_images(&self) -> Result<()> {
        let filters = HashMap::from([("label".to_owned(), vec![PART.to_owned()])]);
        let all = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        if !self.docker.list_containers(Some(all)).await.map_err(failed("cannot list containers"))?.is_empty()
        {
            return Ok(());
        }
        let filters = HashMap::from([("reference".to_owned(), vec!["gantry/image".to_owned()])]);
        let kept = ListImagesOptionsBuilder::new().filters(&filters).build();
        for image in self.docker.list_images(Some(kept)).await.map_err(failed("cannot list images"))? {
            for tag in image.repo_tags.iter().filter(|tag| tag.starts_with("gantry/image:")) {
                // One that a container still uses stays; it goes with that.
                let _ = self.docker.remove_image(tag, None::<RemoveImageOptions>, None).await;
            }
        }
        Ok(())
    }
}
