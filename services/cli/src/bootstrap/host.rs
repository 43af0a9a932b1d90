//! The Docker Engine that a cluster's own containers run on.

use std::collections::HashMap;
use std::io::Read as _;

use bollard::container::LogOutput;
use bollard::errors::Error as Bollard;
use bollard::models::{
    ContainerCreateBody, ContainerStateStatusEnum, HostConfig, HostConfigLogConfig, Mount, MountType,
    RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder, ListContainersOptionsBuilder,
    ListImagesOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, LogsOptionsBuilder,
    RemoveContainerOptionsBuilder, RemoveImageOptions, RemoveVolumeOptions, StopContainerOptionsBuilder,
    UploadToContainerOptionsBuilder,
};
use bollard::{Docker, body_full};
use futures_util::{StreamExt as _, TryStreamExt as _};

use super::layout::{Layout, Part, container_name};
use crate::failure::{Failure, Result};

pub(super) const DATA: &str = "/var/lib/gantry";
const SOCKET: &str = "/var/run/docker.sock";
const PART: &str = "gantry.part";
const CLUSTER_NAME: &str = "gantry.cluster-name";
const CLUSTER_ID: &str = "gantry.part-of";
const SETTINGS: &str = "gantry.settings";

/// A Docker Engine.
pub struct Host {
    pub(super) docker: Docker,
    /// Where it is, if that was said; else it is this machine's.
    named: Option<String>,
}

/// How a part's container stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// There is none.
    Absent,
    /// It is as it is to be, and runs.
    Running,
    /// It is as it is to be, and does not run.
    Stopped,
    /// It has another image or other settings.
    Outdated,
}

pub(super) fn failed(what: &str) -> impl Fn(Bollard) -> Failure {
    move |error| match &error {
        Bollard::DockerResponseServerError { message, .. } => {
            Failure::error(format!("{what}: {}", message.trim()))
        }
        _ => unreachable_engine(&error),
    }
}

fn unreachable_engine(error: &Bollard) -> Failure {
    Failure::error(format!("the Docker Engine does not answer: {}", gantry_boot::chain(error)))
        .hint("is it installed and running? `docker info` shows it; DOCKER_HOST chooses another")
}

pub(super) fn is_missing(error: &Bollard) -> bool {
    matches!(error, Bollard::DockerResponseServerError { status_code: 404, .. })
}

impl Host {
    /// The engine that is named, else the one that `DOCKER_HOST` names, else this machine's.
    pub async fn connect(named: Option<&str>) -> Result<Self> {
        let set = || std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
        let named = named.map(str::to_owned).or_else(set);
        let known = ["unix://", "ssh://", "tcp://", "http://"];
        if let Some(host) = &named
            && !known.iter().any(|scheme| host.starts_with(scheme))
        {
            return Err(Failure::bad_input(format!(
                "{host:?} is no Docker Engine: give unix://PATH, ssh://USER@HOST or tcp://HOST:PORT"
            )));
        }
        let docker = match &named {
            Some(host) => Docker::connect_with_host(host),
            None => Docker::connect_with_local_defaults(),
        };
        let docker = docker.map_err(|error| unreachable_engine(&error))?;
        docker.ping().await.map_err(|error| unreachable_engine(&error))?;
        Ok(Self { docker, named })
    }

    /// Whether its files are this machine's.
    pub fn is_local(&self) -> bool {
        self.named.as_ref().is_none_or(|host| host.starts_with("unix://"))
    }

    /// Whether it is the one that is used when none is named.
    pub fn is_default(&self) -> bool {
        self.named.is_none()
    }

    /// Where the engine's socket lies on its host: where it was said to be, else where it always is.
    fn socket(&self) -> String {
        let named = self.named.as_ref().and_then(|host| host.strip_prefix("unix://"));
        named.unwrap_or(SOCKET).to_owned()
    }

    /// What a part's container is told by its environment; `None` if there is no container.
    pub async fn environment(&self, cluster: &str, part: Part) -> Result<Option<Vec<String>>> {
        match self.docker.inspect_container(&container_name(cluster, part), None).await {
            Ok(found) => Ok(Some(found.config.and_then(|config| config.env).unwrap_or_default())),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(failed("cannot look at a container")(error)),
        }
    }

    /// How a part's container stands.
    pub async fn standing(&self, layout: &Layout, part: Part) -> Result<Standing> {
        let found = match self.docker.inspect_container(&layout.container(part), None).await {
            Ok(found) => found,
            Err(error) if is_missing(&error) => return Ok(Standing::Absent),
            Err(error) => return Err(failed("cannot look at a container")(error)),
        };
        let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
        if !labels.contains_key(PART) {
            return Err(Failure::error(format!(
                "there is a container {} that is not Gantry's",
                layout.container(part)
            ))
            .hint("remove or rename it, or give the cluster another name with --name"));
        }
        let image = self
            .docker
            .inspect_image(&Layout::image(part))
            .await
            .map_err(failed("cannot look at an image"))?;
        let running = found.state.and_then(|state| state.status) == Some(ContainerStateStatusEnum::RUNNING);
        Ok(if found.image != image.id || labels.get(SETTINGS) != Some(&settings(layout, part)) {
            Standing::Outdated
        } else if running {
            Standing::Running
        } else {
            Standing::Stopped
        })
    }

    /// Makes a part's container; it is not started.
    pub async fn create(&self, layout: &Layout, part: Part, cluster_id: &str) -> Result<()> {
        let name = layout.container(part);
        let mut mounts = vec![Mount {
            target: Some(DATA.to_owned()),
            source: Some(name.clone()),
            typ: Some(MountType::VOLUME),
            ..Mount::default()
        }];
        if part == Part::Agent {
            mounts.push(Mount {
                target: Some(SOCKET.to_owned()),
                source: Some(self.socket()),
                typ: Some(MountType::BIND),
                ..Mount::default()
            });
        }
        let labels = [
            (PART, part.name().to_owned()),
            (CLUSTER_NAME, layout.cluster.clone()),
            (CLUSTER_ID, cluster_id.to_owned()),
            (SETTINGS, settings(layout, part)),
        ];
        let body = ContainerCreateBody {
            image: Some(Layout::image(part)),
            env: Some(layout.environment(part)),
            labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).into()),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                restart_policy: Some(RestartPolicy {
                    name: Some(RestartPolicyNameEnum::ALWAYS),
                    maximum_retry_count: None,
                }),
                mounts: Some(mounts),
                readonly_rootfs: Some(true),
                cap_drop: Some(vec!["ALL".to_owned()]),
                cap_add: Some(Layout::capabilities(part).iter().map(|name| (*name).to_owned()).collect()),
                security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
                log_config: Some(HostConfigLogConfig {
                    typ: Some("json-file".to_owned()),
                    config: Some(HashMap::from([
                        ("max-size".to_owned(), "10m".to_owned()),
                        ("max-file".to_owned(), "3".to_owned()),
                    ])),
                }),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        self.docker
            .create_container(Some(options), body)
            .await
            .map_err(failed(&format!("cannot create the container {name}")))?;
        Ok(())
    }

    /// Starts a part's container.
    pub async fn start(&self, layout: &Layout, part: Part) -> Result<()> {
        let name = layout.container(part);
        let started = self.docker.start_container(&name, None).await;
        started.map_err(failed(&format!("cannot start the container {name}")))
    }

    /// Removes a part's container; its volume stays.
    pub async fn remove(&self, cluster: &str, part: Part) -> Result<()> {
        let name = container_name(cluster, part);
        // Asked to end first, so that it can say goodbye.
        let stop = StopContainerOptionsBuilder::new().t(5).build();
        match self.docker.stop_container(&name, Some(stop)).await {
            Ok(()) | Err(Bollard::DockerResponseServerError { status_code: 304, .. }) => {}
            Err(error) if is_missing(&error) => return Ok(()),
            Err(error) => return Err(failed(&format!("cannot stop the container {name}"))(error)),
        }
        self.remove_container(&name).await
    }

    pub(super) async fn remove_container(&self, id: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.docker.remove_container(id, Some(options)).await {
            Err(error) if !is_missing(&error) => {
                Err(failed(&format!("cannot remove the container {id}"))(error))
            }
            _ => Ok(()),
        }
    }

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

    /// Whether a part's container is there and runs.
    pub async fn runs(&self, cluster: &str, part: Part) -> Result<bool> {
        match self.docker.inspect_container(&container_name(cluster, part), None).await {
            Ok(found) => {
                let status = found.state.and_then(|state| state.status);
                Ok(status == Some(ContainerStateStatusEnum::RUNNING))
            }
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(failed("cannot look at a container")(error)),
        }
    }

    /// Whether a volume is there.
    pub async fn has_volume(&self, name: &str) -> Result<bool> {
        match self.docker.inspect_volume(name).await {
            Ok(_) => Ok(true),
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(failed("cannot look at a volume")(error)),
        }
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

    /// Why a part does not work: its last lines, if it is not running.
    pub async fn last_words(&self, layout: &Layout, part: Part) -> Option<String> {
        let name = layout.container(part);
        let state = self.docker.inspect_container(&name, None).await.ok()?;
        let restarts = state.restart_count.unwrap_or_default();
        let running = state.state.and_then(|state| state.status) == Some(ContainerStateStatusEnum::RUNNING);
        if running && restarts == 0 {
            return None;
        }
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).tail("5").build();
        let mut log = self.docker.logs(&name, Some(options));
        let mut text = format!("the last lines of {name}:\n");
        while let Some(Ok(piece)) = log.next().await {
            if let LogOutput::StdErr { message } | LogOutput::StdOut { message } = piece {
                text.push_str(&format!("  | {}", String::from_utf8_lossy(&message)));
            }
        }
        Some(text)
    }

    /// The id of a cluster whose containers are here; `None` if there are none.
    pub async fn cluster_id(&self, cluster: &str) -> Result<Option<String>> {
        for part in Part::ALL {
            match self.docker.inspect_container(&container_name(cluster, part), None).await {
                Ok(found) => {
                    let labels = found.config.and_then(|config| config.labels).unwrap_or_default();
                    if let Some(id) = labels.get(CLUSTER_ID) {
                        return Ok(Some(id.clone()));
                    }
                }
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(failed("cannot look at a container")(error)),
            }
        }
        Ok(None)
    }

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

/// A fingerprint of how a part is set up, to notice when it changes.
fn settings(layout: &Layout, part: Part) -> String {
    let mut all = layout.environment(part);
    all.extend(Layout::capabilities(part).iter().map(|name| (*name).to_owned()));
    all.join(" ")
}
