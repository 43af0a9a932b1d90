//! What the agent's image does once on a host: it sees the host's network, wherever this tool runs.

use bollard::container::LogOutput;
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt as _;

use super::host::{DATA, Host, failed};
use super::layout::{Layout, Part};
use crate::failure::{Failure, Result};

/// Where the proxy's folder is in such a container.
const PROXY_DATA: &str = "/var/lib/gantry-proxy";

/// How it ended.
pub struct Finished {
    /// The exit code.
    pub code: i64,
    /// What it printed.
    pub output: String,
    /// What it said about what went wrong.
    pub problem: String,
}

impl Finished {
    /// Its output, or what went wrong.
    pub fn ok(self) -> Result<String> {
        if self.code == 0 {
            return Ok(self.output);
        }
        let said = self.problem.trim();
        let said = if said.is_empty() { "it did not say why" } else { said };
        Err(Failure::error(said.lines().last().unwrap_or(said)))
    }
}

impl Host {
    /// Runs the agent's image with these arguments. With a `cluster`, it has the folders of that cluster's
    /// agent and proxy. Each line that it prints is told as it comes.
    pub async fn run_agent(
        &self,
        arguments: Vec<String>,
        environment: Vec<String>,
        cluster: Option<&str>,
        line: impl Fn(&str),
    ) -> Result<Finished> {
        let mount = |part: Part, target: &str| Mount {
            target: Some(target.to_owned()),
            source: cluster.map(|cluster| Layout::volume(cluster, part)),
            typ: Some(MountType::VOLUME),
            ..Mount::default()
        };
        let mounts = cluster.map(|_| vec![mount(Part::Agent, DATA), mount(Part::Proxy, PROXY_DATA)]);
        let body = ContainerCreateBody {
            image: Some(Layout::image(Part::Agent)),
            cmd: Some(arguments),
            env: Some(environment),
            host_config: Some(HostConfig {
                network_mode: Some("host".to_owned()),
                readonly_rootfs: Some(true),
                cap_drop: Some(vec!["ALL".to_owned()]),
                mounts,
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let cannot = failed("cannot run the agent's image on the host");
        let created = self.docker.create_container(None, body).await.map_err(&cannot)?;
        let finished = self.follow(&created.id, line).await;
        self.remove_container(&created.id).await?;
        finished.map_err(cannot)
    }

    async fn follow(
        &self,
        id: &str,
        line: impl Fn(&str),
    ) -> std::result::Result<Finished, bollard::errors::Error> {
        self.docker.start_container(id, None).await?;
        let options = LogsOptionsBuilder::new().stdout(true).stderr(true).follow(true).build();
        let mut finished = Finished { code: 0, output: String::new(), problem: String::new() };
        let mut log = std::pin::pin!(self.docker.logs(id, Some(options)));
        while let Some(piece) = log.next().await {
            match piece? {
                LogOutput::StdErr { message } => {
                    finished.problem.push_str(&String::from_utf8_lossy(&message));
                }
                LogOutput::StdOut { message } | LogOutput::Console { message } => {
                    let text = String::from_utf8_lossy(&message);
                    text.lines().for_each(&line);
                    finished.output.push_str(&text);
                }
                LogOutput::StdIn { .. } => {}
            }
        }
        let state = self.docker.inspect_container(id, None).await?.state;
        finished.code = state.and_then(|state| state.exit_code).unwrap_or(-1);
        Ok(finished)
    }

    /// What the host says of its network.
    pub async fn facts(&self) -> Result<gantry_model::HostFacts> {
        let finished = self.run_agent(vec!["inspect-host".to_owned()], Vec::new(), None, |_| {}).await?;
        let said = finished.ok().map_err(|failure| {
            Failure::error(format!("cannot find out about the host's network: {failure}"))
        })?;
        serde_json::from_str(&said).map_err(|error| {
            Failure::error(format!("cannot read what the host says of its network: {error}"))
        })
    }

    /// Where the proxy's certificate goes in such a container.
    pub fn proxy_identity() -> String {
        format!("{PROXY_DATA}/identity")
    }
}
