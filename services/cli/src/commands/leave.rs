//! `gantry leave`

use gantry_api::cluster::v1::ListStacksRequest;

use crate::args::Leave;
use crate::bootstrap::{Host, Layout, Part};
use crate::client::Cluster;
use crate::context::Contexts;
use crate::failure::{Failure, Result};
use crate::output;

/// Removes Gantry from this Docker host.
pub async fn run(leave: Leave) -> Result<()> {
    let contexts = Contexts::open()?;
    let host = Host::connect().await?;
    let id = host.cluster_id(&leave.name).await?;
    if id.is_some() && !leave.force {
        refuse_deployed(&leave.name).await?;
    }
    for part in Part::ALL {
        host.remove(&leave.name, part).await?;
    }
    if let Some(id) = &id
        && let Err(failure) = host.clean_firewall(id).await
    {
        // The rules lead nowhere any more, which is no reason to keep the rest.
        eprintln!("warning: {failure}: `nft list tables` shows what is left");
    }
    if let Some(id) = &id
        && leave.force
    {
        host.remove_stacks(id, leave.volumes).await?;
    }
    if leave.volumes {
        for part in Part::ALL {
            host.remove_volume(&Layout::volume(&leave.name, part)).await?;
        }
    }
    host.forget_images().await?;
    contexts.remove(&leave.name)?;
    output::print(&match id {
        Some(_) => format!("cluster {} is gone from this host\n", leave.name),
        None => format!("there is no cluster {} on this host\n", leave.name),
    })
}

/// What runs is not thrown away by accident.
async fn refuse_deployed(name: &str) -> Result<()> {
    let asked = async {
        let cluster = Cluster::connect(Some(name), None).await?;
        let stacks = cluster.stacks().list_stacks(ListStacksRequest {}).await?.into_inner().stacks;
        Ok::<_, Failure>(stacks.into_iter().map(|stack| stack.name).collect::<Vec<_>>())
    };
    match asked.await {
        Ok(stacks) if stacks.is_empty() => Ok(()),
        Ok(stacks) => Err(Failure::error(format!("stacks are deployed: {}", stacks.join(", ")))
            .hint("`gantry down STACK` removes one; --force removes them all with their containers")),
        Err(failure) => Err(Failure::error(format!("cannot ask the cluster what is deployed: {failure}"))
            .hint("--force removes it all the same")),
    }
}
