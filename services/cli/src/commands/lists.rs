//! `gantry ls`, `network` and `image`

use gantry_api::cluster::v1 as wire;
use serde::Serialize;

use crate::args::{List, Listing};
use crate::client::Cluster;
use crate::failure::Result;
use crate::output::{self, Row, short};

#[derive(Serialize)]
struct StackLine {
    name: String,
    state: String,
    services: usize,
    wanted: u32,
    ready: u32,
}

impl Row for StackLine {
    const HEAD: &'static [&'static str] = &["STACK", "STATE", "SERVICES", "READY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.state.clone(),
            self.services.to_string(),
            format!("{}/{}", self.ready, self.wanted),
        ]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// Lists stacks.
pub async fn stacks(cluster: &Cluster, list: &List) -> Result<()> {
    let stacks = cluster.stacks().list_stacks(wire::ListStacksRequest {}).await?.into_inner().stacks;
    let rows: Vec<_> = stacks
        .into_iter()
        .map(|stack| {
            // A service that runs once has what it wants when it has ended well.
            let running = stack.services.iter().filter(|service| !service.completed);
            let wanted = running.clone().map(|service| service.wanted).sum();
            let ready = running.map(|service| service.ready.min(service.wanted)).sum();
            let state = match (stack.removing, ready == wanted) {
                (true, _) => "stopping",
                (_, true) if wanted == 0 && stack.services.iter().any(|service| service.stopped) => "stopped",
                (_, true) => "running",
                (_, false) => "starting",
            };
            StackLine {
                name: stack.name,
                state: state.to_owned(),
                services: stack.services.len(),
                wanted,
                ready,
            }
        })
        .collect();
    output::list(&rows, list)
}

#[derive(Serialize)]
struct NetworkLine {
    stack: String,
    network: String,
    name: String,
    subnet: String,
    internal: bool,
    used: u32,
}

impl Row for NetworkLine {
    const HEAD: &'static [&'static str] = &["NETWORK", "NAME", "RANGE", "INTERNAL", "ADDRESSES"];

    fn cells(&self) -> Vec<String> {
        let internal = if self.internal { "yes" } else { "no" };
        vec![self.name(), self.name.clone(), self.subnet.clone(), internal.to_owned(), self.used.to_string()]
    }

    fn name(&self) -> String {
        format!("{}/{}", self.stack, self.network)
    }
}

/// Lists networks.
pub async fn networks(cluster: &Cluster, command: Listing) -> Result<()> {
    let Listing::Ls { stack, list } = command;
    let request = wire::ListNetworksRequest { stack: stack.unwrap_or_default() };
    let networks = cluster.resources().list_networks(request).await?.into_inner().networks;
    let rows: Vec<_> = networks
        .into_iter()
        .map(|network| NetworkLine {
            stack: network.stack,
            network: network.key,
            name: network.name,
            subnet: network.subnet,
            internal: network.internal,
            used: network.used,
        })
        .collect();
    output::list(&rows, &list)
}

#[derive(Serialize)]
struct ImageLine {
    service: String,
    revision: u64,
    image: String,
    digest: String,
}

impl Row for ImageLine {
    const HEAD: &'static [&'static str] = &["SERVICE", "REVISION", "IMAGE", "DIGEST"];

    fn cells(&self) -> Vec<String> {
        vec![self.service.clone(), self.revision.to_string(), self.image.clone(), short(&self.digest)]
    }

    fn name(&self) -> String {
        self.image.clone()
    }
}

/// Lists images.
pub async fn images(cluster: &Cluster, command: Listing) -> Result<()> {
    let Listing::Ls { stack, list } = command;
    let request = wire::ListImagesRequest { stack: stack.unwrap_or_default() };
    let images = cluster.resources().list_images(request).await?.into_inner().images;
    let rows: Vec<_> = images
        .into_iter()
        .map(|image| ImageLine {
            service: image.service,
            revision: image.revision,
            image: image.image,
            digest: image.digest,
        })
        .collect();
    output::list(&rows, &list)
}
