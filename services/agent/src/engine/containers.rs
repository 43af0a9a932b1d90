//! The life of a container.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::NetworkConnectRequest;
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder, RestartContainerOptionsBuilder,
    StopContainerOptionsBuilder, TopOptionsBuilder, WaitContainerOptions,
};
use futures_util::StreamExt as _;
use gantry_api::agent::v1 as wire;
use gantry_model::{Container, Port};

use super::Engine;
use super::error::{Error, Kind, Result};
use super::inspect::container_of_summary;
use super::translate::{Attachment, create_body};

/// A new container.
#[derive(Debug, Clone)]
pub struct Created {
    /// The engine's id.
    pub id: String,
    /// What the engine wants to be known.
    pub warnings: Vec<String>,
}

/// Docker's filters: alternatives by name.
pub type Filters = BTreeMap<String, wire::FilterValues>;

pub(super) fn filters(filters: &Filters) -> HashMap<String, Vec<String>> {
    filters.iter().map(|(name, values)| (name.clone(), values.values.clone())).collect()
}

impl Engine {
    /// Makes a container from `image` and joins it to its networks.
    pub async fn create(
        &self,
        name: &str,
        container: &Container,
        image: &str,
        networks: &[Attachment],
        ports: &[Port],
    ) -> Result<Created> {
        let mut options = CreateContainerOptionsBuilder::new();
        if !name.is_empty() {
            options = options.name(name);
        }
        if let Some(platform) = &container.platform {
            options = options.platform(platform);
        }
        let body = create_body(container, image, networks, ports);
        let created = self.docker.create_container(Some(options.build()), body).await?;
        for network in networks.iter().skip(1) {
            let request = NetworkConnectRequest {
                container: created.id.clone(),
                endpoint_config: Some(network.endpoint()),
            };
            if let Err(error) = self.docker.connect_network(&network.network, request).await {
                // Half a container is worse than none.
                let _ = self.remove(&created.id, true, true).await;
                return Err(error.into());
            }
        }
        Ok(Created { id: created.id, warnings: created.warnings })
    }

    /// Starts a container; one that runs already is left alone.
    pub async fn start(&self, id: &str) -> Result<()> {
        unless_done(self.docker.start_container(id, None).await)
    }

    /// Asks the process to end, and kills it when `grace` is over. One that does not run is left alone.
    pub async fn stop(&self, id: &str, signal: Option<&str>, grace: Option<Duration>) -> Result<()> {
        let mut options = StopContainerOptionsBuilder::new();
        if let Some(grace) = grace {
            options = options.t(seconds(grace));
        }
        match signal {
            // Engines before API 1.42 do not take a signal here.
            Some(signal) => self.stop_with(id, signal, grace).await,
            None => unless_done(self.docker.stop_container(id, Some(options.build())).await),
        }
    }

    async fn stop_with(&self, id: &str, signal: &str, grace: Option<Duration>) -> Result<()> {
        match self.kill(id, signal).await {
            Err(error) if error.message.contains("is not running") => return Ok(()),
            other => other?,
        }
        let ended = self.wait(id);
        let grace = grace.unwrap_or(Container::DEFAULT_STOP_GRACE);
        match tokio::time::timeout(grace, ended).await {
            Ok(ended) => ended.map(drop),
            Err(_) => self.stop_now(id).await,
        }
    }

    async fn stop_now(&self, id: &str) -> Result<()> {
        unless_done(
            self.docker.stop_container(id, Some(StopContainerOptionsBuilder::new().t(0).build())).await,
        )
    }

    /// Stops and starts a container.
    pub async fn restart(&self, id: &str, grace: Option<Duration>) -> Result<()> {
        let mut options = RestartContainerOptionsBuilder::new();
        if let Some(grace) = grace {
            options = options.t(seconds(grace));
        }
        Ok(self.docker.restart_container(id, Some(options.build())).await?)
    }

    /// Sends a signal to the container's first process.
    pub async fn kill(&self, id: &str, signal: &str) -> Result<()> {
        let signal = if signal.is_empty() { "SIGKILL" } else { signal };
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        Ok(self.docker.kill_container(id, Some(options)).await?)
    }

    /// Freezes the container's processes.
    pub async fn pause(&self, id: &str) -> Result<()> {
        Ok(self.docker.pause_container(id).await?)
    }

    /// Lets a frozen container go on.
    pub async fn unpause(&self, id: &str) -> Result<()> {
        Ok(self.docker.unpause_container(id).await?)
    }

    /// Gives a container another name.
    pub async fn rename(&self, id: &str, name: &str) -> Result<()> {
        let options = RenameContainerOptionsBuilder::new().name(name).build();
        Ok(self.docker.rename_container(id, options).await?)
    }

    /// Deletes a container.
    pub async fn remove(&self, id: &str, force: bool, volumes: bool) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new().force(force).v(volumes).build();
        Ok(self.docker.remove_container(id, Some(options)).await?)
    }

    /// The host's containers.
    pub async fn list(&self, all: bool, wanted: &Filters) -> Result<Vec<wire::Container>> {
        let mut options = ListContainersOptionsBuilder::new().all(all);
        if !wanted.is_empty() {
            options = options.filters(&filters(wanted));
        }
        let list = self.docker.list_containers(Some(options.build())).await?;
        Ok(list.into_iter().map(container_of_summary).collect())
    }

    /// Waits until a container has ended, and answers with its exit code.
    pub async fn wait(&self, id: &str) -> Result<i32> {
        let mut ends = self.docker.wait_container(id, None::<WaitContainerOptions>);
        let code = |code: i64| i32::try_from(code).unwrap_or(-1);
        match ends.next().await {
            Some(Ok(end)) => Ok(code(end.status_code)),
            // bollard makes an error of every exit code but 0.
            Some(Err(bollard::errors::Error::DockerContainerWaitError { error, code: status }))
                if error.is_empty() =>
            {
                Ok(code(status))
            }
            Some(Err(error)) => Err(error.into()),
            None => Err(Error::new(Kind::Unavailable, "the Docker Engine hung up")),
        }
    }

    /// The processes of a running container, as ps on the host shows them.
    pub async fn top(&self, id: &str, ps_args: &str) -> Result<wire::TopContainerResponse> {
        let ps_args = if ps_args.is_empty() { "-ef" } else { ps_args };
        let options = TopOptionsBuilder::new().ps_args(ps_args).build();
        let table = self.docker.top_processes(id, Some(options)).await?;
        let rows = table.processes.unwrap_or_default().into_iter();
        Ok(wire::TopContainerResponse {
            titles: table.titles.unwrap_or_default(),
            processes: rows.map(|words| wire::Words { words }).collect(),
        })
    }
}

/// 304 says that there was nothing to do.
fn unless_done(result: std::result::Result<(), bollard::errors::Error>) -> Result<()> {
    match result {
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 304, .. }) => Ok(()),
        other => Ok(other?),
    }
}

fn seconds(grace: Duration) -> i32 {
    // Less than a second would be no grace at all.
    i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX)
}
