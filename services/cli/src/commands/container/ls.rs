//! `gantry container ls` and `inspect`

use std::collections::BTreeMap;

use gantry_api::agent::v1 as wire;
use serde::Serialize;

use super::agent;
use crate::args::{Ids, List, NodeArg};
use crate::client::Cluster;
use crate::commands::ps::port;
use crate::failure::{Failure, Result};
use crate::output::{self, Row, short};

#[derive(Serialize)]
struct Line {
    id: String,
    name: String,
    image: String,
    state: String,
    status: String,
    service: String,
    ports: Vec<String>,
    labels: BTreeMap<String, String>,
}

impl From<wire::Container> for Line {
    fn from(container: wire::Container) -> Self {
        let state = container.state().as_str_name().trim_start_matches("CONTAINER_STATE_").to_lowercase();
        Self {
            ports: container.ports.iter().map(port).collect(),
            id: container.id,
            name: container.name,
            image: container.image,
            state,
            status: container.status,
            service: container.service,
            labels: container.labels,
        }
    }
}

impl Row for Line {
    const HEAD: &'static [&'static str] = &["CONTAINER", "IMAGE", "STATUS", "SERVICE", "PORTS", "NAME"];

    fn cells(&self) -> Vec<String> {
        // Images without a name are shown by the start of their id, as Docker does.
        let image = if self.image.starts_with("sha256:") { short(&self.image) } else { self.image.clone() };
        vec![
            short(&self.id),
            image,
            self.status.clone(),
            self.service.clone(),
            self.ports.join(", "),
            self.name.clone(),
        ]
    }

    fn name(&self) -> String {
        short(&self.id)
    }
}

/// Lists containers.
pub async fn run(cluster: &Cluster, node: NodeArg, all: bool, filter: &[String], list: &List) -> Result<()> {
    let mut filters: BTreeMap<String, wire::FilterValues> = BTreeMap::new();
    for text in filter {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Failure::bad_input(format!("{text:?} is no filter NAME=VALUE")))?;
        filters.entry(name.to_owned()).or_default().values.push(value.to_owned());
    }
    let mut agent = agent(cluster, node.node.as_deref()).await?;
    let request = wire::ListContainersRequest { all, filters };
    let containers = agent.list_containers(request).await?.into_inner().containers;
    let lines: Vec<Line> = containers.into_iter().map(Line::from).collect();
    output::list(&lines, list)
}

/// Shows all that is known of containers, as the engine says it.
pub async fn inspect(cluster: &Cluster, ids: &Ids) -> Result<()> {
    let mut agent = agent(cluster, ids.node.node.as_deref()).await?;
    let mut all = Vec::new();
    for id in &ids.containers {
        let answer =
            agent.inspect_container(wire::InspectContainerRequest { id: id.clone() }).await?.into_inner();
        let parsed: serde_json::Value = serde_json::from_str(&answer.raw_json)
            .map_err(|error| Failure::error(format!("the agent's answer is no JSON: {error}")))?;
        all.push(parsed);
    }
    output::print(&(output::json(&all)? + "\n"))
}
