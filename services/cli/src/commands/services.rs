//! `gantry scale`, `restart`, `stop`, `start` and `rm`

use std::collections::BTreeSet;
use std::time::Duration;

use gantry_api::cluster::v1 as wire;

use crate::args::{Scale, Services};
use crate::client::Cluster;
use crate::failure::{Failure, Result};
use crate::progress::{self, Until};
use crate::project;

/// The services that are meant: those that are named, else all of the stack.
async fn meant(cluster: &Cluster, args: &Services) -> Result<Vec<String>> {
    if !args.names.is_empty() {
        return args.names.iter().map(|name| project::service(&args.file, name)).collect();
    }
    let name = project::stack(&args.file)?.to_string();
    let stack = cluster.stacks().get_stack(wire::GetStackRequest { name }).await?.into_inner().stack;
    Ok(stack.unwrap_or_default().services.into_iter().map(|service| service.name).collect())
}

async fn wait(cluster: &Cluster, services: &[String], detach: bool, limit: Duration) -> Result<()> {
    if detach {
        return Ok(());
    }
    let stacks: BTreeSet<&str> = services.iter().filter_map(|name| name.split('/').next()).collect();
    for stack in stacks {
        progress::wait(cluster, stack, Until::Converged, limit).await?;
    }
    Ok(())
}

/// Sets how many replicas services have.
pub async fn scale(cluster: &Cluster, scale: Scale) -> Result<()> {
    let mut wanted = Vec::new();
    // All of it is read before any of it is done.
    for text in &scale.counts {
        let parsed = text.split_once('=').and_then(|(name, count)| Some((name, count.parse::<u32>().ok()?)));
        let (name, replicas) = parsed
            .ok_or_else(|| Failure::bad_input(format!("{text:?} is no SERVICE=COUNT, such as web=3")))?;
        wanted.push((project::service(&scale.file, name)?, replicas));
    }
    for (name, replicas) in &wanted {
        let request = wire::ScaleServiceRequest { name: name.clone(), replicas: *replicas };
        let wire::ScaleServiceResponse { previous, note } =
            cluster.services().scale_service(request).await?.into_inner();
        eprintln!("{name}: replicas {previous} → {replicas}");
        if !note.is_empty() {
            eprintln!("{note}");
        }
    }
    let names: Vec<String> = wanted.into_iter().map(|(name, _)| name).collect();
    wait(cluster, &names, scale.detach, scale.timeout).await
}

/// Restarts services.
pub async fn restart(cluster: &Cluster, args: Services) -> Result<()> {
    let names = meant(cluster, &args).await?;
    for name in &names {
        cluster.services().restart_service(wire::RestartServiceRequest { name: name.clone() }).await?;
    }
    wait(cluster, &names, args.detach, args.timeout).await
}

/// Stops services.
pub async fn stop(cluster: &Cluster, args: Services) -> Result<()> {
    let names = meant(cluster, &args).await?;
    for name in &names {
        cluster.services().stop_service(wire::StopServiceRequest { name: name.clone() }).await?;
    }
    wait(cluster, &names, args.detach, args.timeout).await
}

/// Starts services.
pub async fn start(cluster: &Cluster, args: Services) -> Result<()> {
    let names = meant(cluster, &args).await?;
    for name in &names {
        cluster.services().start_service(wire::StartServiceRequest { name: name.clone() }).await?;
    }
    wait(cluster, &names, args.detach, args.timeout).await
}

/// Removes services.
pub async fn remove(cluster: &Cluster, args: Services) -> Result<()> {
    if args.names.is_empty() {
        return Err(Failure::bad_input("which services? give their names")
            .hint("`gantry down` removes all of a stack"));
    }
    let names = meant(cluster, &args).await?;
    for name in &names {
        cluster.services().remove_service(wire::RemoveServiceRequest { name: name.clone() }).await?;
    }
    wait(cluster, &names, args.detach, args.timeout).await
}
