//! `gantry volume`

use std::time::Duration;

use gantry_api::cluster::v1 as wire;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::args::Volume as Args;
use crate::client::Cluster;
use crate::commands::exec::pairs;
use crate::failure::{Failure, Result};
use crate::output::{self, Row};
use crate::progress::Lines;

/// How often a move is looked at.
const LOOK: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct Line {
    stack: String,
    volume: String,
    name: String,
    node: String,
    driver: String,
    external: bool,
    used_by: Vec<String>,
    options: std::collections::BTreeMap<String, String>,
    labels: std::collections::BTreeMap<String, String>,
    message: String,
}

impl From<wire::Volume> for Line {
    fn from(volume: wire::Volume) -> Self {
        Self {
            stack: volume.stack,
            volume: volume.key,
            name: volume.name,
            node: volume.node,
            driver: volume.driver,
            external: volume.external,
            used_by: volume.used_by,
            options: volume.options,
            labels: volume.labels,
            message: volume.message,
        }
    }
}

impl Row for Line {
    const HEAD: &'static [&'static str] = &["VOLUME", "NAME", "NODE", "DRIVER", "USED BY", "STATE"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name(),
            self.name.clone(),
            self.node.clone(),
            self.driver(),
            self.used_by.join(", "),
            self.message.clone(),
        ]
    }

    fn name(&self) -> String {
        format!("{}/{}", self.stack, self.volume)
    }
}

impl Line {
    fn driver(&self) -> String {
        if self.external { "external".to_owned() } else { self.driver.clone() }
    }

    fn text(&self) -> String {
        let map = |map: &std::collections::BTreeMap<String, String>| {
            map.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
        };
        let lines = [
            ("volume", self.name()),
            ("name", self.name.clone()),
            ("node", self.node.clone()),
            ("driver", self.driver()),
            ("options", map(&self.options)),
            ("labels", map(&self.labels)),
            ("used by", self.used_by.join(", ")),
            ("state", self.message.clone()),
        ];
        let told = lines.iter().filter(|(_, value)| !value.is_empty());
        told.fold(String::new(), |text, (name, value)| format!("{text}{name:<8} {value}\n"))
    }
}

fn split(volume: &str) -> Result<(String, String)> {
    match volume.split_once('/') {
        Some((stack, key)) => Ok((stack.to_owned(), key.to_owned())),
        None => Err(Failure::bad_input(format!("{volume:?} is no STACK/VOLUME"))),
    }
}

fn answered(volume: Option<wire::Volume>) -> Result<wire::Volume> {
    volume.ok_or_else(|| Failure::error("the scheduler answered without a volume"))
}

async fn inspect(cluster: &Cluster, volume: &str) -> Result<wire::Volume> {
    let (stack, key) = split(volume)?;
    let request = wire::InspectVolumeRequest { stack, key };
    answered(cluster.resources().inspect_volume(request).await?.into_inner().volume)
}

/// Shows, makes, moves and removes volumes.
pub async fn run(cluster: &Cluster, command: Args) -> Result<()> {
    match command {
        Args::Ls { stack, list } => {
            let request = wire::ListVolumesRequest { stack: stack.unwrap_or_default() };
            let volumes = cluster.resources().list_volumes(request).await?.into_inner().volumes;
            let lines: Vec<_> = volumes.into_iter().map(Line::from).collect();
            output::list(&lines, &list)
        }
        Args::Inspect { volume, format } => {
            let line = Line::from(inspect(cluster, &volume).await?);
            output::one(&line, format.format, || line.text())
        }
        Args::Create { volume, name, driver, opt, label, node } => {
            let (stack, key) = split(&volume)?;
            let request = wire::CreateVolumeRequest {
                stack,
                key,
                name: name.unwrap_or_default(),
                driver: driver.unwrap_or_default(),
                options: pairs(&opt)?,
                labels: pairs(&label)?,
                node: node.unwrap_or_default(),
            };
            let made = answered(cluster.resources().create_volume(request).await?.into_inner().volume)?;
            output::print(&format!("{}/{}\n", made.stack, made.key))
        }
        Args::Move { volume, node, detach, timeout: limit } => {
            let (stack, key) = split(&volume)?;
            let request = wire::MoveVolumeRequest { stack, key, node: node.clone() };
            let begun = cluster.resources().move_volume(request).await?.into_inner();
            for warning in &begun.warnings {
                eprintln!("warning: {warning}");
            }
            if detach {
                return Ok(());
            }
            let mut lines = Lines::begin();
            let moved = timeout(limit, moved(cluster, &volume, &node, &mut lines)).await;
            lines.end();
            moved.map_err(|_| {
                Failure::timed_out(format!("{volume} is not on {node} after {} s", limit.as_secs())).hint(
                    format!("it goes on by itself: `gantry volume inspect {volume}` shows how it stands"),
                )
            })?
        }
        Args::Rm { volumes } => {
            for volume in volumes {
                let (stack, key) = split(&volume)?;
                cluster.resources().remove_volume(wire::RemoveVolumeRequest { stack, key }).await?;
            }
            Ok(())
        }
    }
}

/// Waits until the volume has arrived, and the old copy is gone.
async fn moved(cluster: &Cluster, volume: &str, node: &str, lines: &mut Lines) -> Result<()> {
    loop {
        let now = inspect(cluster, volume).await?;
        if !now.message.is_empty() {
            lines.set(volume, &now.message, false);
        } else if now.node == node {
            lines.set(volume, &format!("is on {node}"), true);
            return Ok(());
        } else {
            let stack = &now.stack;
            return Err(Failure::error(format!("{volume} has not moved: it is still on {}", now.node))
                .hint(format!("`gantry events {stack}` says why")));
        }
        sleep(LOOK).await;
    }
}
