//! `gantry node`

use gantry_api::cluster::v1 as wire;
use serde::Serialize;

use crate::args::Node as Command;
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
        let host = node.host.unwrap_or_default();
        Self {
            id: node.id,
            name: node.name,
            ready: node.ready,
            message: node.message,
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
    const HEAD: &'static [&'static str] = &["NODE", "STATE", "REPLICAS", "CPUS", "MEMORY", "ENGINE", "AGENT"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.state(),
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

/// Lists or shows nodes.
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
                .chain(line.conditions.iter().map(|condition| ("network", condition.clone())))
                .fold(String::new(), |text, (name, value)| format!("{text}{name:<10} {value}\n"))
            })
        }
    }
}
