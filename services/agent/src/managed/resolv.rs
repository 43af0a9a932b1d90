//! The `/etc/resolv.conf` that is mounted over Docker's: names are answered by the proxy, at the
//! node's address in each of the container's networks.

use std::fs;
use std::io;
use std::path::PathBuf;

use gantry_model::{Mount, MountSource, NetworkMode, ReplicaId};

use super::assignment::{Assignment, Segment};

const TARGET: &str = "/etc/resolv.conf";
/// Resolvers read no more.
const MAX_SERVERS: usize = 3;

/// The agent's folder, as the agent sees it and as the host (so the engine) sees it.
#[derive(Debug, Clone)]
pub struct Folders {
    /// As the agent sees it.
    pub own: PathBuf,
    /// As the host sees it.
    pub host: PathBuf,
}

impl Folders {
    /// Writes the replica's file, and answers with its mount; `None` if the container keeps its own.
    pub fn resolv_conf(&self, assignment: &Assignment, segments: &[Segment]) -> io::Result<Option<Mount>> {
        let container = &assignment.container;
        let own = container.mounts.iter().any(|mount| mount.target == TARGET);
        if own || container.network_mode != NetworkMode::Networks || assignment.networks.is_empty() {
            return Ok(None);
        }
        let folder = self.own.join("resolv");
        fs::create_dir_all(&folder)?;
        let name = format!("{}.conf", assignment.replica);
        fs::write(folder.join(&name), content(assignment, segments))?;
        let path = self.host.join("resolv").join(name).to_string_lossy().into_owned();
        Ok(Some(Mount {
            target: TARGET.to_owned(),
            source: MountSource::Bind { path, propagation: None },
            read_only: true,
        }))
    }

    /// Removes the replica's file.
    pub fn forget(&self, replica: &ReplicaId) {
        // Gone already is as good.
        let _ = fs::remove_file(self.own.join("resolv").join(format!("{replica}.conf")));
    }
}

fn content(assignment: &Assignment, segments: &[Segment]) -> String {
    let mut text = String::from("# Written by gantry: names are answered by this node's proxy.\n");
    let gateways = assignment
        .networks
        .iter()
        .filter_map(|network| segments.iter().find(|segment| segment.name == network.network))
        .map(|segment| &segment.gateway);
    for gateway in gateways.take(MAX_SERVERS) {
        text.push_str(&format!("nameserver {gateway}\n"));
    }
    if !assignment.container.dns_search.is_empty() {
        text.push_str(&format!("search {}\n", assignment.container.dns_search.join(" ")));
    }
    let mut options = assignment.container.dns_options.clone();
    if !options.iter().any(|option| option.starts_with("ndots")) {
        options.push("ndots:0".to_owned());
    }
    text.push_str(&format!("options {}\n", options.join(" ")));
    text
}
