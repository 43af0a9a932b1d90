//! `gantry join`

use std::net::IpAddr;

use gantry_identity::{Fingerprint, Token};
use serde::Deserialize;

use crate::args::Join;
use crate::bootstrap::{Cluster, Host, Layout, Part, Standing};
use crate::failure::{Failure, Result};
use crate::output;

const PARTS: [Part; 2] = [Part::Agent, Part::Proxy];
/// What the agent keeps of its joining, beside its certificate.
const KEPT: &str = "joined.json";

/// What a host is told when it joins.
#[derive(Debug, Deserialize)]
struct Joined {
    node_name: String,
    addresses: Vec<IpAddr>,
    cluster_id: String,
    cluster_name: String,
    scheduler: String,
    redirect_port: u16,
}

/// Makes a Docker host a node of a cluster. What is done already is left as it is.
pub async fn run(join: Join) -> Result<()> {
    let (token, address) = join.invitation.split_once('@').ok_or_else(|| {
        Failure::bad_input("give the token with the scheduler's address: TOKEN@HOST:PORT")
            .hint("`gantry token` on an admin's machine shows both")
    })?;
    let token: Token =
        token.parse().map_err(|bad: gantry_identity::BadToken| Failure::bad_input(bad.to_string()))?;
    let host = Host::connect(join.docker.docker_host.as_deref()).await?;
    let held = held_identity(&host, &join.name).await?;
    if let Some(held) = &held
        && *held != token.fingerprint
    {
        return Err(Failure::error(format!(
            "this host belongs to another cluster (its CA is {held}, the token's {})",
            token.fingerprint
        ))
        .hint("`gantry leave` takes it out of that one"));
    }
    if held.is_some() && all_run(&host, &join.name).await? {
        return output::print("this host is a node of that cluster already\n");
    }
    host.provide_images(&PARTS, |line| eprintln!("{line}")).await?;
    let joined = match host.read_volume(&join.name, Part::Agent, KEPT).await? {
        // A join that was cut short: the certificates are here.
        Some(kept) if held.is_some() => read(&kept)?,
        _ => trade(&host, &join).await?,
    };
    let layout = Layout::joined(Cluster {
        name: join.name.clone(),
        node_name: joined.node_name.clone(),
        advertise: joined.addresses.clone(),
        schedulers: vec![joined.scheduler.clone()],
        redirect_port: joined.redirect_port,
    });
    for part in PARTS {
        ensure(&host, &layout, part, &joined.cluster_id).await?;
    }
    let seconds = join.timeout.as_secs().max(1).to_string();
    let arguments = vec!["await-ready".to_owned(), "--timeout".to_owned(), seconds];
    let waiting = host.run_agent(arguments, scheduler(&joined.scheduler), Some(&join.name), |_| {}).await?;
    if let Err(failure) = waiting.ok() {
        let mut words = Vec::new();
        for part in PARTS {
            words.extend(host.last_words(&layout, part).await);
        }
        let logs = format!("`docker logs {}` on that host says more", layout.container(Part::Agent));
        return Err(Failure::timed_out(format!("node {} has joined, but {failure}", joined.node_name))
            .details(words.join("\n"))
            .hint(logs));
    }
    output::print(&format!(
        "node {} is ready in cluster {} (scheduler at {address})\n`gantry node ls` shows all nodes; `gantry up` and `gantry rebalance` use this one too\n",
        joined.node_name, joined.cluster_name
    ))
}

fn scheduler(address: &str) -> Vec<String> {
    vec![format!("GANTRY_SCHEDULER={address}")]
}

/// Whose certificate the host has, if any.
async fn held_identity(host: &Host, name: &str) -> Result<Option<Fingerprint>> {
    let Some(ca) = host.read_volume(name, Part::Agent, "identity/ca.pem").await? else { return Ok(None) };
    Ok(Fingerprint::of_pem(&ca).ok())
}

async fn all_run(host: &Host, name: &str) -> Result<bool> {
    for part in PARTS {
        if !host.runs(name, part).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Trades the token for certificates, on the host itself: its keys never leave it, and its clock, routes
/// and addresses are what counts.
async fn trade(host: &Host, join: &Join) -> Result<Joined> {
    let mut arguments = vec![
        "join".to_owned(),
        join.invitation.clone(),
        "--proxy-identity".to_owned(),
        Host::proxy_identity(),
    ];
    for label in &join.label {
        arguments.extend(["--label".to_owned(), label.clone()]);
    }
    let mut environment = Vec::new();
    environment.extend(join.node_name.as_ref().map(|name| format!("GANTRY_NODE_NAME={name}")));
    if !join.advertise_addr.is_empty() {
        let all: Vec<_> = join.advertise_addr.iter().map(ToString::to_string).collect();
        environment.push(format!("GANTRY_ADVERTISE_ADDR={}", all.join(",")));
    }
    let new = !host.has_volume(&Layout::volume(&join.name, Part::Agent)).await?;
    let finished = host.run_agent(arguments, environment, Some(&join.name), |_| {}).await?;
    let traded = finished.ok().map_err(|failure| Failure::error(format!("this host cannot join: {failure}")));
    if traded.is_err() && new {
        for part in PARTS {
            host.remove_volume(&Layout::volume(&join.name, part)).await?;
        }
    }
    read(&traded?)
}

fn read(text: &str) -> Result<Joined> {
    serde_json::from_str(text.trim())
        .map_err(|error| Failure::error(format!("cannot read what the cluster said of itself: {error}")))
}

async fn ensure(host: &Host, layout: &Layout, part: Part, cluster_id: &str) -> Result<()> {
    match host.standing(layout, part).await? {
        Standing::Running => return Ok(()),
        Standing::Stopped => {}
        Standing::Outdated => {
            host.remove(&layout.cluster, part).await?;
            host.create(layout, part, cluster_id).await?;
        }
        Standing::Absent => host.create(layout, part, cluster_id).await?,
    }
    host.start(layout, part).await
}
