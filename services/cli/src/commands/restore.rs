//! `gantry restore`

use std::time::{Duration, SystemTime};

use gantry_api::cluster::v1::ListNodesRequest;
use gantry_identity::{Authority, Bundle, Grant, Identity, Role};
use gantry_model::Backup;
use tokio::time::{Instant, sleep};

use super::init::{LIFETIME, SERVICE_LIFETIME, choose_addresses};
use crate::args::Restore;
use crate::bootstrap::{Host, Layout, Part};
use crate::client::Cluster;
use crate::context::{Context, Contexts};
use crate::failure::{Failure, Result};
use crate::output;

const READY_WITHIN: Duration = Duration::from_mins(1);
const AGAIN: Duration = Duration::from_millis(50);

/// Starts a cluster's scheduler on a host, from a backup. Everything is checked before anything is made.
pub async fn run(restore: Restore) -> Result<()> {
    let file = std::fs::read(&restore.file)
        .map_err(|error| Failure::bad_input(format!("cannot read {}: {error}", restore.file.display())))?;
    let backup = Backup::decode(&file).map_err(|bad| Failure::bad_input(bad.to_string()))?;
    let authority = Authority::load(&backup.ca, &backup.ca_key)
        .map_err(|error| Failure::error(gantry_boot::chain(&error)))?;
    let contexts = Contexts::open()?;
    let name = restore.name.unwrap_or_else(|| backup.name.clone());
    let host = Host::connect(restore.docker.docker_host.as_deref()).await?;
    refuse_taken(&host, &name, &backup).await?;
    host.provide_images(&[Part::Scheduler, Part::Watchdog, Part::Agent], |line| eprintln!("{line}")).await?;
    let advertise = choose_addresses(&host.facts().await?, &restore.advertise_addr)?;
    let setting = |name: &str| backup.settings.get(name).cloned().unwrap_or_default();
    let layout = Layout::restored(
        name,
        advertise,
        setting("redirect_port").parse().unwrap_or(7075),
        setting("pool"),
        setting("mtu").parse().unwrap_or(1450),
    );

    let issue = |role: Role, name: &str, hosts: Vec<String>| {
        let identity = Identity { cluster: backup.cluster.clone(), role, name: name.to_owned() };
        let lifetime = if role.serves() { SERVICE_LIFETIME } else { LIFETIME };
        let grant = Grant { identity, hosts, from: SystemTime::now(), lifetime };
        authority.issue(&grant).map_err(|error| Failure::error(gantry_boot::chain(&error)))
    };
    let own = issue(Role::Scheduler, "scheduler", layout.hosts())?;
    host.create(&layout, Part::Scheduler, backup.cluster.as_str()).await?;
    let file = String::from_utf8(file).map_err(|_| Failure::bad_input("this backup is not a text"))?;
    let paths = Bundle::FILES.map(|file| format!("identity/{file}"));
    let files = [
        (paths[0].as_str(), own.ca.as_str()),
        (&paths[1], &own.certificate),
        (&paths[2], &own.key),
        ("ca/cluster", backup.cluster.as_str()),
        ("ca/ca.pem", &backup.ca),
        ("ca/ca.key", &backup.ca_key),
        ("restore", &file),
    ];
    host.write(&layout, Part::Scheduler, &files).await?;
    host.start(&layout, Part::Scheduler).await?;
    let own = issue(Role::Watchdog, "restored", layout.hosts())?;
    host.remove(&layout.cluster, Part::Watchdog).await?;
    host.create(&layout, Part::Watchdog, backup.cluster.as_str()).await?;
    let files = [(paths[0].as_str(), own.ca.as_str()), (&paths[1], &own.certificate), (&paths[2], &own.key)];
    host.write(&layout, Part::Watchdog, &files).await?;
    host.start(&layout, Part::Watchdog).await?;

    let admin = issue(Role::Admin, "admin", Vec::new())?;
    let context = Context::new(layout.cluster.clone(), layout.scheduler(), host.is_local(), admin);
    wait_until_there(&host, &layout, &context).await?;
    contexts.save(&context)?;
    output::print(&format!(
        "cluster {} is there again, as it was at change {} (scheduler at {address})\nits nodes look for it here if they know this host; `gantry node repoint {address}` on a host tells one that does not\nnever start the old scheduler again: `gantry leave --force` on its host, should it come back\n",
        layout.cluster,
        backup.revision,
        address = layout.scheduler(),
    ))
}

/// A scheduler that is there is not replaced, and no state is overwritten.
async fn refuse_taken(host: &Host, name: &str, backup: &Backup) -> Result<()> {
    let volume = Layout::volume(name, Part::Scheduler);
    if host.environment(name, Part::Scheduler).await?.is_some() || host.has_volume(&volume).await? {
        return Err(Failure::error(format!("this host has a scheduler of a cluster {name} already"))
            .hint("restore on another host, or take that one away with `gantry leave --volumes`"));
    }
    match host.cluster_id(name).await? {
        Some(id) if id != backup.cluster.as_str() => {
            Err(Failure::error(format!("this host is a node of another cluster called {name}"))
                .hint("give this one another name with --name"))
        }
        _ => Ok(()),
    }
}

async fn wait_until_there(host: &Host, layout: &Layout, context: &Context) -> Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        let asked = async {
            let cluster = Cluster::with(context.clone()).await?;
            cluster.nodes().list_nodes(ListNodesRequest {}).await?;
            Ok::<_, Failure>(())
        };
        let Err(failure) = asked.await else { return Ok(()) };
        if Instant::now() >= deadline {
            let words = host.last_words(layout, Part::Scheduler).await;
            return Err(Failure::timed_out(format!(
                "the scheduler is not there after {} s: {failure}",
                READY_WITHIN.as_secs()
            ))
            .details(words.unwrap_or_default())
            .hint(format!("`docker logs {}` says more", layout.container(Part::Scheduler))));
        }
        sleep(AGAIN).await;
    }
}
