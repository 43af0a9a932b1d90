//! `gantry ps`

use std::time::SystemTime;

use gantry_api::agent::v1::PortBinding;
use gantry_api::cluster::v1::{ListReplicasRequest, Replica};
use serde::Serialize;

use crate::args::Ps;
use crate::client::Cluster;
use crate::failure::Result;
use crate::output::{self, Row};
use crate::{project, when};

/// A replica as it is shown.
#[derive(Serialize)]
pub struct Line {
    id: String,
    service: String,
    slot: u32,
    revision: u64,
    node: String,
    state: String,
    ready: bool,
    message: String,
    restarts: u32,
    exit_code: Option<i32>,
    image: String,
    container: String,
    addresses: std::collections::BTreeMap<String, String>,
    ports: Vec<String>,
    created: String,
    started: String,
    #[serde(skip)]
    age: String,
}

impl From<Replica> for Line {
    fn from(replica: Replica) -> Self {
        Self {
            age: when::ago(replica.started_at.or(replica.created_at), SystemTime::now()),
            id: replica.id,
            service: replica.service,
            slot: replica.slot,
            revision: replica.revision,
            node: replica.node,
            state: replica.state,
            ready: replica.ready,
            message: replica.message,
            restarts: replica.restarts,
            exit_code: replica.exit_code,
            image: replica.image,
            container: replica.container_name,
            addresses: replica.addresses,
            ports: replica.ports.iter().map(port).collect(),
            created: when::shown(replica.created_at),
            started: when::shown(replica.started_at),
        }
    }
}

/// A port as Docker shows it.
pub fn port(port: &PortBinding) -> String {
    let ip = if port.host_ip.is_empty() { String::new() } else { format!("{}:", port.host_ip) };
    format!("{ip}{}->{}/{}", port.host_port, port.container_port, port.protocol)
}

impl Row for Line {
    const HEAD: &'static [&'static str] =
        &["SERVICE", "SLOT", "REPLICA", "NODE", "STATE", "RESTARTS", "SINCE", "IMAGE", "PORTS"];

    fn cells(&self) -> Vec<String> {
        let first = self.message.lines().next().unwrap_or_default();
        // Where nothing is amiss, nothing needs to be said.
        let state = state(&self.state, first, self.ready);
        vec![
            self.service.clone(),
            self.slot.to_string(),
            self.id.clone(),
            self.node.clone(),
            state,
            self.restarts.to_string(),
            self.age.clone(),
            self.image.clone(),
            self.ports.join(", "),
        ]
    }

    fn name(&self) -> String {
        self.id.clone()
    }
}

/// A state, and why it is so.
fn state(state: &str, why: &str, ready: bool) -> String {
    match state {
        _ if ready => state.to_owned(),
        "unhealthy" | "failing" if why.is_empty() => format!("running ({state})"),
        "unhealthy" | "failing" => format!("running ({state}: {why})"),
        _ if why.is_empty() => state.to_owned(),
        // What is done about it, such as "restarting in place".
        _ if state.contains(' ') => format!("{state}: {why}"),
        _ => format!("{state} ({why})"),
    }
}

/// Lists replicas.
pub async fn run(cluster: &Cluster, ps: Ps) -> Result<()> {
    let (stack, service) = match ps.subject {
        Some(subject) if subject.contains('/') => (String::new(), subject),
        Some(stack) => (stack, String::new()),
        // Outside of any project everything is shown.
        None => {
            (project::find_stack(&ps.file)?.map(|stack| stack.to_string()).unwrap_or_default(), String::new())
        }
    };
    let request = ListReplicasRequest { stack, service };
    let replicas = cluster.replicas().list_replicas(request).await?.into_inner().replicas;
    let lines: Vec<Line> = replicas.into_iter().map(Line::from).collect();
    output::list(&lines, &ps.list)
}

#[cfg(test)]
mod tests {
    use super::state;

    #[test]
    fn a_state_says_in_a_few_words_what_is_the_matter() {
        assert_eq!(state("running", "", true), "running");
        assert_eq!(state("running", "the proxy cannot listen", true), "running");
        assert_eq!(state("unhealthy", "HTTP 503", false), "running (unhealthy: HTTP 503)");
        assert_eq!(state("unhealthy", "", false), "running (unhealthy)");
        assert_eq!(state("crash loop", "out of memory ×4", false), "crash loop: out of memory ×4");
        assert_eq!(state("restarting in place", "unhealthy", false), "restarting in place: unhealthy");
        assert_eq!(state("pending", "no node fits", false), "pending (no node fits)");
    }
}
