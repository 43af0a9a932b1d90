//! The Docker Engine that a cluster's own containers run on.

use std::collections::HashMap;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error as Bollard;
use bollard::models::{
    ContainerCreateBody, ContainerStateStatusEnum, HostConfig, HostConfigLogConfig, Mount, MountType,
    RestartPolicy, RestartPolicyNameEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
    StopContainerOptionsBuilder,
};
use futures_util::StreamExt as _;

use super::layout::{CGROUPS, Layout, Part, container_name};
use crate::failure::{Failure, Result};

pub(super) const DATA: &str = "/var/lib/gantry";
const SOCKET: &str = "/var/run/docker.sock";
/// Where every host has its control groups.
const HOST_CGROUPS: &str = "/sys/fs/cgroup";
pub(super) const PART: &str = "gantry.part";
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
            // What replicas use is read there. A container of its own sees only its own.
            mounts.push(Mount {
                target: Some(CGROUPS.to_owned()),
                source: Some(HOST_CGROUPS.to_owned()),
                typ: Some(MountType::BIND),
                read_only: Some(true),
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
}

/// A fingerprint of how a part is set up, to notice when it changes.
fn settings(layout: &Layout, part: Part) -> String {
    let mut all = layout.environment(part);
    all.extend(Layout::capabilities(part).iter().map(|name| (*name).to_owned()));
    all.join(" ")
}
