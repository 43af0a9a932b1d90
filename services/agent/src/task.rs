//! What the command-line tool has done once on a host, in a container of the agent's image: results go to
//! standard output as JSON or line by line, what went wrong to standard error.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use gantry_api::node::v1::member_service_client::MemberServiceClient;
use gantry_api::node::v1::{GetSelfRequest, LeaveRequest, Membership};
use gantry_boot::{Credentials, Members, chain, dial};
use gantry_identity::Bundle;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;

use crate::config::{Config, Task};
use crate::host;
use crate::join::{Invitation, Wish, join};

const LOOK_EVERY: Duration = Duration::from_millis(100);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Does it, and answers with the exit code.
pub async fn run(config: &Config, task: Task) -> ExitCode {
    let done = match task {
        Task::InspectHost => inspect().await,
        Task::Join { invitation, label, proxy_identity } => {
            become_node(config, &invitation, &label, &proxy_identity).await
        }
        Task::AwaitReady { timeout } => await_ready(config, Duration::from_secs(timeout)).await,
        Task::Leave { force, timeout } => leave(config, force, Duration::from_secs(timeout)).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}

/// A line, at once: somebody may wait for it.
fn print(line: &str) -> Result<(), String> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).map_err(|error| format!("cannot print: {error}"))
}

async fn inspect() -> Result<(), String> {
    let facts = host::facts().await?;
    print(&serde_json::to_string(&facts).map_err(|error| error.to_string())?)
}

async fn become_node(
    config: &Config,
    invitation: &str,
    labels: &[String],
    proxy_identity: &Path,
) -> Result<(), String> {
    let invitation: Invitation = invitation.parse().map_err(|error| chain(&error))?;
    let mut wish = Wish { name: config.name.clone(), ..Wish::default() };
    for address in &config.advertise {
        wish.addresses.push(address.parse().map_err(|_| format!("{address:?} is not an IP address"))?);
    }
    wish.labels = read_labels(labels)?;
    let facts = host::facts().await?;
    let joined = join(&invitation, wish, &facts).await.map_err(|error| chain(&error))?;
    let answer = &joined.answer;
    let kept = |what: &str| {
        let what = what.to_owned();
        move |error: std::io::Error| format!("cannot keep {what}: {error}")
    };
    joined.proxy.save(proxy_identity).map_err(kept("the proxy's certificate"))?;
    let mut schedulers = vec![invitation.address.clone()];
    schedulers
        .extend(answer.scheduler_addresses.iter().filter(|place| **place != invitation.address).cloned());
    let membership = Membership { scheduler_addresses: schedulers, denied: Vec::new() };
    let members = Members::open(config.data.clone(), Vec::new());
    members.learn(membership).await.map_err(kept("where the scheduler is"))?;
    let told = json!({
        "node_id": answer.node_id,
        "node_name": joined.name,
        "addresses": joined.addresses,
        "cluster_id": answer.cluster_id,
        "cluster_name": answer.cluster_name,
        "scheduler": invitation.address,
        "redirect_port": answer.redirect_port,
    });
    std::fs::write(config.data.join("joined.json"), told.to_string()).map_err(kept("what the cluster is"))?;
    // The last thing: a host with this is a node.
    joined.agent.save(&config.identity).map_err(kept("the agent's certificate"))?;
    print(&told.to_string())
}

fn read_labels(labels: &[String]) -> Result<BTreeMap<String, String>, String> {
    let read = |label: &String| {
        let (name, value) =
            label.split_once('=').ok_or_else(|| format!("{label:?} is no label: give NAME=VALUE"))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    labels.iter().map(read).collect()
}

fn own_channel(config: &Config) -> Result<Channel, String> {
    let own = Bundle::load(&config.identity).map_err(|error| format!("this host is no node: {error}"))?;
    let own = Credentials::of(own).map_err(|error| error.to_string())?;
    Ok(dial(&Members::open(config.data.clone(), config.scheduler.clone()), &own))
}

async fn await_ready(config: &Config, patience: Duration) -> Result<(), String> {
    let mut client = MemberServiceClient::new(own_channel(config)?);
    let until = Instant::now() + patience;
    loop {
        let why = match timeout(ANSWER_WITHIN, client.get_self(GetSelfRequest {})).await {
            Ok(Ok(answer)) => {
                let own = answer.into_inner();
                if own.ready {
                    return print(
                        &json!({ "node_name": own.name, "cluster_name": own.cluster_name }).to_string(),
                    );
                }
                own.message
            }
            Ok(Err(status)) => status.message().to_owned(),
            Err(_) => "the scheduler does not answer".to_owned(),
        };
        if Instant::now() >= until {
            return Err(format!("the node is not ready after {} s: {why}", patience.as_secs()));
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn leave(config: &Config, force: bool, patience: Duration) -> Result<(), String> {
    let mut client = MemberServiceClient::new(own_channel(config)?);
    let request = LeaveRequest { force, timeout: prost_types::Duration::try_from(patience).ok() };
    let words = |status: tonic::Status| status.message().to_owned();
    let mut steps = client.leave(request).await.map_err(words)?.into_inner();
    while let Some(step) = steps.message().await.map_err(words)? {
        if step.done {
            return Ok(());
        }
        print(&format!("{} replicas are still on this node", step.replicas))?;
    }
    Err("the scheduler hung up before the node was out of the cluster".to_owned())
}
