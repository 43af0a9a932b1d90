//! `gantry container`: single containers, straight on a node's agent.

mod create;
mod ls;
mod process;

use std::process::ExitCode;

use gantry_api::agent::v1 as wire;
use gantry_api::agent::v1::container_service_client::ContainerServiceClient;
use prost_types::Duration;
use tonic::transport::Channel;

use crate::args::{Container, Ids};
use crate::client::Cluster;
use crate::failure::{Failure, Result};
use crate::output;

type Agent = ContainerServiceClient<Channel>;

async fn agent(cluster: &Cluster, node: Option<&str>) -> Result<Agent> {
    Ok(ContainerServiceClient::new(cluster.agent(node).await?))
}

fn seconds(seconds: Option<u32>) -> Option<Duration> {
    seconds.map(|seconds| Duration { seconds: seconds.into(), nanos: 0 })
}

/// Does something to each container, and says whose turn it was.
async fn each<F>(cluster: &Cluster, ids: &Ids, act: impl Fn(Agent, String) -> F) -> Result<()>
where
    F: Future<Output = std::result::Result<(), tonic::Status>>,
{
    let agent = agent(cluster, ids.node.node.as_deref()).await?;
    let mut first_failure = None;
    for id in &ids.containers {
        match act(agent.clone(), id.clone()).await {
            Ok(()) => output::print(&format!("{id}\n"))?,
            // The others are done all the same, as Docker does.
            Err(status) => {
                let failure = Failure::from(status);
                if let Some(earlier) = first_failure.replace(failure) {
                    earlier.print();
                }
            }
        }
    }
    first_failure.map_or(Ok(()), Err)
}

/// Does what was asked.
pub async fn run(cluster: &Cluster, command: Container) -> Result<ExitCode> {
    match command {
        Container::Run(create) => return create::run(cluster, create).await,
        Container::Create(create) => create::create(cluster, create).await,
        Container::Start(ids) => {
            each(cluster, &ids, |mut agent, id| async move {
                agent.start_container(wire::StartContainerRequest { id }).await.map(drop)
            })
            .await
        }
        Container::Stop { ids, time, signal } => {
            let signal = signal.unwrap_or_default();
            each(cluster, &ids, |mut agent, id| {
                let request =
                    wire::StopContainerRequest { id, timeout: seconds(time), signal: signal.clone() };
                async move { agent.stop_container(request).await.map(drop) }
            })
            .await
        }
        Container::Restart { ids, time } => {
            each(cluster, &ids, |mut agent, id| async move {
                agent
                    .restart_container(wire::RestartContainerRequest { id, timeout: seconds(time) })
                    .await
                    .map(drop)
            })
            .await
        }
        Container::Kill { ids, signal } => {
            each(cluster, &ids, |mut agent, id| {
                let request = wire::KillContainerRequest { id, signal: signal.clone() };
                async move { agent.kill_container(request).await.map(drop) }
            })
            .await
        }
        Container::Rm { ids, force, volumes } => {
            each(cluster, &ids, |mut agent, id| async move {
                agent.remove_container(wire::RemoveContainerRequest { id, force, volumes }).await.map(drop)
            })
            .await
        }
        Container::Ls { node, all, filter, list } => ls::run(cluster, node, all, &filter, &list).await,
        Container::Inspect(ids) => ls::inspect(cluster, &ids).await,
        Container::Logs { node, container, follow, tail, since, timestamps } => {
            process::logs(cluster, node, container, follow, tail, since, timestamps).await
        }
        Container::Exec { node, interactive, tty, user, workdir, env, words } => {
            let (id, command) = super::exec::split(words)?;
            let start = wire::ExecStart {
                id,
                command,
                tty,
                stdin: interactive,
                environment: super::exec::pairs(&env)?,
                working_dir: workdir.unwrap_or_default(),
                user: user.unwrap_or_default(),
                ..wire::ExecStart::default()
            };
            return process::exec(cluster, node, start).await;
        }
        Container::Stats { ids, no_stream } => process::stats(cluster, &ids, no_stream).await,
    }?;
    Ok(ExitCode::SUCCESS)
}
