//! `gantry container create` and `run`

use std::process::ExitCode;

use gantry_api::agent::v1 as wire;
use gantry_compose::parse_container_flags;

use super::{Agent, agent};
use crate::args::Create;
use crate::client::Cluster;
use crate::commands::exec::{exit_code, pairs, split};
use crate::failure::{Failure, Result};
use crate::output;
use crate::terminal;

/// Creates a container, and prints its id.
pub async fn create(cluster: &Cluster, create: Create) -> Result<()> {
    let mut agent = agent(cluster, create.node.node.as_deref()).await?;
    let id = make(&mut agent, &create).await?;
    output::print(&format!("{id}\n"))
}

/// Creates a container and starts it; waits for its end unless it is left alone.
pub async fn run(cluster: &Cluster, create: Create) -> Result<ExitCode> {
    let mut agent = agent(cluster, create.node.node.as_deref()).await?;
    let id = make(&mut agent, &create).await?;
    let ended = start(&mut agent, &id, create.detach).await;
    if create.rm && !create.detach {
        agent.remove_container(wire::RemoveContainerRequest { id, force: true, volumes: true }).await?;
    }
    ended
}

async fn make(agent: &mut Agent, create: &Create) -> Result<String> {
    let spec = spec(create)?;
    let name = create.name.clone().unwrap_or_default();
    let created =
        agent.create_container(wire::CreateContainerRequest { name, spec: Some(spec) }).await?.into_inner();
    for warning in created.warnings {
        eprintln!("warning: {warning}");
    }
    Ok(created.id)
}

async fn start(agent: &mut Agent, id: &str, detach: bool) -> Result<ExitCode> {
    agent.start_container(wire::StartContainerRequest { id: id.to_owned() }).await?;
    if detach {
        output::print(&format!("{id}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let request =
        wire::StreamLogsRequest { id: id.to_owned(), follow: true, ..wire::StreamLogsRequest::default() };
    let mut log = agent.stream_logs(request).await?.into_inner();
    while let Some(piece) = log.message().await? {
        terminal::write(&piece.data, piece.stream() == wire::OutputStream::Stderr)?;
    }
    let ended = agent.wait_container(wire::WaitContainerRequest { id: id.to_owned() }).await?.into_inner();
    Ok(exit_code(ended.exit_code))
}

fn spec(create: &Create) -> Result<wire::ContainerSpec> {
    let (image, command) = split(create.words.clone())?;
    let container = parse_container_flags(&gantry_compose::ContainerFlags {
        image: &image,
        ports: &create.publish,
        volumes: &create.volume,
        restart: &create.restart,
        memory: create.memory.as_deref(),
        cpus: create.cpus.as_deref(),
        entrypoint: create.entrypoint.as_deref(),
    })
    .map_err(Failure::bad_input)?;
    let mut spec = gantry_model::wire::write_container(&container.container);
    spec.ports = gantry_model::wire::write_ports(&container.ports);
    spec.environment = pairs(&create.env)?;
    spec.labels = pairs(&create.label)?;
    spec.command = (!command.is_empty()).then_some(wire::Words { words: command });
    spec.user = create.user.clone().unwrap_or_default();
    spec.working_dir = create.workdir.clone().unwrap_or_default();
    spec.init = create.init.then_some(true);
    for network in &create.network {
        match network.as_str() {
            "host" | "none" => spec.network_mode.clone_from(network),
            _ => {
                spec.networks
                    .push(wire::NetworkAttachment { network: network.clone(), ..Default::default() });
            }
        }
    }
    Ok(spec)
}
