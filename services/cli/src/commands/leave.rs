//! `gantry leave`

use gantry_api::cluster::v1::{ListNodesRequest, ListStacksRequest};

use crate::args::Leave;
use crate::bootstrap::{Host, Layout, Part};
use crate::client::Cluster;
use crate::context::Contexts;
use crate::failure::{Failure, Result};
use crate::output;

/// Removes Gantry from this Docker host.
pub async fn run(leave: Leave) -> Result<()> {
    let host = Host::connect(leave.docker.docker_host.as_deref()).await?;
    let id = host.cluster_id(&leave.name).await?;
    let has_scheduler = host.environment(&leave.name, Part::Scheduler).await?.is_some();
    let agent = host.environment(&leave.name, Part::Agent).await?;
    match (&id, agent) {
        (Some(id), Some(agent)) if !has_scheduler => leave_others(&host, &leave, id, agent).await,
        _ => end(&host, &leave, id).await,
    }
}

/// Takes a host that has joined out of its cluster, then its containers away. While it is still a member,
/// nothing of it is touched.
async fn leave_others(host: &Host, leave: &Leave, id: &str, agent: Vec<String>) -> Result<()> {
    let seconds = leave.timeout.as_secs().max(1).to_string();
    let mut arguments = vec!["leave".to_owned(), "--timeout".to_owned(), seconds];
    if leave.force {
        arguments.push("--force".to_owned());
    }
    let told: Vec<_> = agent.into_iter().filter(|entry| entry.starts_with("GANTRY_SCHEDULER=")).collect();
    let left = host.run_agent(arguments, told, Some(&leave.name), |line| eprintln!("{line}")).await?;
    if let Err(failure) = left.ok() {
        if !leave.force {
            return Err(Failure::error(format!("this host is still a node of its cluster: {failure}"))
                .hint("nothing was removed here; --force leaves without waiting, also when the cluster cannot be reached"));
        }
        eprintln!("warning: the cluster was not told: {failure}");
        eprintln!(
            "  an admin can remove what it still knows of this host with `gantry node rm NAME --force`"
        );
    }
    let mut remains = Vec::new();
    for part in [Part::Agent, Part::Proxy] {
        if let Err(failure) = host.remove(&leave.name, part).await {
            remains.push(failure.to_string());
        }
    }
    if let Err(failure) = host.clean_firewall(id).await {
        remains.push(format!("{failure}: `nft list tables` shows what is left"));
    }
    if let Err(failure) = host.remove_stacks(id, leave.volumes).await {
        remains.push(failure.to_string());
    }
    // The certificates in them are good for nothing any more.
    for part in [Part::Agent, Part::Proxy] {
        if let Err(failure) = host.remove_volume(&Layout::volume(&leave.name, part)).await {
            remains.push(failure.to_string());
        }
    }
    host.forget_images().await?;
    if remains.is_empty() {
        return output::print("this host has left its cluster\n");
    }
    Err(Failure::error(format!(
        "this host has left its cluster, but some of it remains: {}",
        remains.join("; ")
    ))
    .hint("`gantry leave --force` tries again"))
}

/// Ends the cluster whose scheduler is here.
async fn end(host: &Host, leave: &Leave, id: Option<String>) -> Result<()> {
    let contexts = Contexts::open()?;
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
        let nodes = cluster.nodes().list_nodes(ListNodesRequest {}).await?.into_inner().nodes;
        Ok::<_, Failure>((stacks.into_iter().map(|stack| stack.name).collect::<Vec<_>>(), nodes.len()))
    };
    match asked.await {
        Ok((stacks, 0 | 1)) if stacks.is_empty() => Ok(()),
        Ok((stacks, nodes)) if stacks.is_empty() => {
            Err(Failure::error(format!("this host has the cluster's scheduler, and {} other nodes need it", nodes - 1))
                .hint("`gantry leave` on each of them first, or `gantry backup` and `gantry restore` elsewhere; --force ends it all the same"))
        }
        Ok((stacks, _)) => Err(Failure::error(format!("stacks are deployed: {}", stacks.join(", ")))
            .hint("`gantry down STACK` removes one; --force removes them all with their containers")),
        Err(failure) => Err(Failure::error(format!("cannot ask the cluster what is deployed: {failure}"))
            .hint("--force removes it all the same")),
    }
}
