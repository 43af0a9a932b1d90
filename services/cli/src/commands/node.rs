//! `gantry node`

use gantry_api::cluster::v1 as wire;
use serde::Serialize;

use crate::args::{Availability, DockerHost, Node as Command};
use crate::bootstrap::{Host, Layout, Part};
use crate::client::Cluster;
use crate::failure::{Failure, Result};
use crate::output::{self, Row, bytes};
use crate::when;

#[derive(Serialize)]
struct Line {
    id: String,
    name: String,
    ready: bool,
    message: String,
    availability: String,
    labels: std::collections::BTreeMap<String, String>,
    replicas: u32,
    cpus: u32,
    memory: u64,
    engine: String,
    agent: String,
    addresses: Vec<String>,
    operating_system: String,
    kernel: String,
    architecture: String,
    joined: String,
    conditions: Vec<String>,
}

impl From<wire::Node> for Line {
    fn from(node: wire::Node) -> Self {
        let availability = word(node.availability()).to_owned();
        let host = node.host.unwrap_or_default();
        Self {
            id: node.id,
            name: node.name,
            ready: node.ready,
            message: node.message,
            availability,
            labels: node.labels,
            replicas: node.replicas,
            cpus: host.cpus,
            memory: host.memory,
            engine: host.engine_version,
            agent: host.agent_version,
            addresses: node.addresses,
            operating_system: host.operating_system,
            kernel: host.kernel,
            architecture: host.architecture,
            joined: when::shown(node.joined_at),
            conditions: node.conditions,
        }
    }
}

impl Row for Line {
    const HEAD: &'static [&'static str] =
        &["NODE", "STATE", "AVAILABILITY", "REPLICAS", "CPUS", "MEMORY", "ENGINE", "AGENT"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.state(),
            self.availability.clone(),
            self.replicas.to_string(),
            self.cpus.to_string(),
            bytes(self.memory),
            self.engine.clone(),
            self.agent.clone(),
        ]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

impl Line {
    fn state(&self) -> String {
        match (self.ready, self.conditions.as_slice()) {
            (false, _) => format!("down ({})", self.message),
            (true, []) => "ready".to_owned(),
            (true, [only]) => format!("ready, but {only}"),
            (true, [first, rest @ ..]) => format!("ready, but {first} (and {} more)", rest.len()),
        }
    }
}

/// What people let a node do, in one word.
fn word(availability: wire::Availability) -> &'static str {
    match availability {
        wire::Availability::Unspecified | wire::Availability::Active => "active",
        wire::Availability::Pause => "pause",
        wire::Availability::Drain => "drain",
    }
}

fn shown(labels: &std::collections::BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

/// Tells a host's agent and proxy, and a watchdog that is there, where the scheduler is. They look there when they dial next; nothing is
/// restarted.
pub async fn repoint(address: &str, docker: &DockerHost, cluster: &str) -> Result<()> {
    let known =
        address.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !known {
        return Err(Failure::bad_input(format!("{address:?} is not an address: give HOST:PORT")));
    }
    let host = Host::connect(docker.docker_host.as_deref()).await?;
    if host.cluster_id(cluster).await?.is_none() {
        return Err(Failure::error(format!("this host has no node of a cluster {cluster}"))
            .hint("--docker-host chooses another host, --name another cluster"));
    }
    let line = format!("{address}\n");
    for part in [Part::Agent, Part::Proxy] {
        host.write_to(&Layout::volume(cluster, part), &[("schedulers", &line)]).await?;
    }
    if host.environment(cluster, Part::Watchdog).await?.is_some() {
        host.write_to(&Layout::volume(cluster, Part::Watchdog), &[("schedulers", &line)]).await?;
    }
    output::print(&format!("this host's agent and proxy look for the scheduler at {address} from now on\n"))
}

/// Waits until a node has no replicas, and says how many are left.
async fn drain(cluster: &Cluster, name: String, timeout: std::time::Duration) -> Result<()> {
    let request = wire::WatchNodeRequest { name: name.clone() };
    let mut states = cluster.nodes().watch_node(request).await?.into_inner();
    let mut left = None;
    let waiting = async {
        while let Some(state) = states.message().await? {
            let now = state.node.map_or(0, |node| node.replicas);
            if now == 0 {
                return Ok(());
            }
            if left != Some(now) {
                eprintln!("{now} replicas are still on {name}");
            }
            left = Some(now);
        }
        Err(Failure::error(format!("node {name} was removed meanwhile")))
    };
    let ended = tokio::time::timeout(timeout, waiting).await;
    match ended {
        Ok(ended) => ended?,
        Err(_) => {
            return Err(Failure::timed_out(format!(
                "{} replicas are still on {name} after {}",
                left.unwrap_or_default(),
                when::rough(timeout)
            ))
            .hint(format!("it is still drained; `gantry ps` shows what waits, `gantry node update {name} --availability active` takes it back")));
        }
    }
    output::print(&format!("node {name} has no replicas any more\n"))
}

/// Lists, shows and changes nodes.
pub async fn run(cluster: &Cluster, command: Command) -> Result<()> {
    match command {
        Command::Ls(list) => {
            let nodes = cluster.nodes().list_nodes(wire::ListNodesRequest {}).await?.into_inner().nodes;
            let lines: Vec<Line> = nodes.into_iter().map(Line::from).collect();
            output::list(&lines, &list)
        }
        Command::Inspect { name, format } => {
            let request = wire::GetNodeRequest { name };
            let node = cluster.nodes().get_node(request).await?.into_inner().node;
            let line =
                Line::from(node.ok_or_else(|| Failure::error("the scheduler answered without a node"))?);
            output::one(&line, format.format, || {
                [
                    ("name", line.name.clone()),
                    ("id", line.id.clone()),
                    ("state", line.state()),
                    ("may", line.availability.clone()),
                    ("labels", shown(&line.labels)),
                    ("replicas", line.replicas.to_string()),
                    ("addresses", line.addresses.join(", ")),
                    ("cpus", line.cpus.to_string()),
                    ("memory", bytes(line.memory)),
                    (
                        "system",
                        format!("{}, kernel {}, {}", line.operating_system, line.kernel, line.architecture),
                    ),
                    ("engine", line.engine.clone()),
                    ("agent", line.agent.clone()),
                    ("joined", line.joined.clone()),
                ]
                .into_iter()
                .chain(line.conditions.iter().map(|condition| ("condition", condition.clone())))
                .fold(String::new(), |text, (name, value)| format!("{text}{name:<10} {value}\n"))
            })
        }
        Command::Update { name, availability, label_add, label_rm } => {
            let mut request =
                wire::UpdateNodeRequest { name, label_rm, ..wire::UpdateNodeRequest::default() };
            request.set_availability(match availability {
                None => wire::Availability::Unspecified,
                Some(Availability::Active) => wire::Availability::Active,
                Some(Availability::Pause) => wire::Availability::Pause,
                Some(Availability::Drain) => wire::Availability::Drain,
            });
            for label in label_add {
                let (name, value) = label
                    .split_once('=')
                    .ok_or_else(|| Failure::bad_input(format!("{label:?} is no label: give NAME=VALUE")))?;
                request.label_add.insert(name.to_owned(), value.to_owned());
            }
            cluster.nodes().update_node(request).await?;
            Ok(())
        }
        Command::Drain { name, detach, timeout } => {
            let mut request = wire::UpdateNodeRequest { name: name.clone(), ..Default::default() };
            request.set_availability(wire::Availability::Drain);
            cluster.nodes().update_node(request).await?;
            if detach { Ok(()) } else { drain(cluster, name, timeout).await }
        }
        Command::Rm { names, force } => {
            for name in names {
                let request = wire::RemoveNodeRequest { name: name.clone(), force };
                cluster.nodes().remove_node(request).await?;
                output::print(&format!("{name}\n"))?;
            }
            Ok(())
        }
        Command::Repoint { address, docker, cluster } => repoint(&address, &docker, &cluster).await,
    }
}
