//! `gantry stats`

mod history;
mod shapes;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use gantry_api::agent::v1::StreamStatsResponse as Sample;
use gantry_api::cluster::v1::StreamStatsRequest;
use serde::Serialize;
use tokio::time::timeout;

use crate::args::{FileArgs, List, Shape, Stats};
use crate::client::Cluster;
use crate::failure::{Failure, Result};
use crate::output::{self, Row, bytes};
use crate::project;

pub use history::{Recorded, recorded};

const REFRESH: Duration = Duration::from_secs(1);

/// What one container uses.
#[derive(Clone, Serialize)]
pub struct Line {
    name: String,
    node: String,
    /// Not there where there is no sample before.
    cpu_cores: Option<f64>,
    /// In bytes; not there where the kernel does not count memory.
    memory: Option<u64>,
    memory_limit: u64,
    network_rx: u64,
    network_tx: u64,
    block_read: u64,
    block_write: u64,
    pids: u64,
}

impl Line {
    /// A sample of the container `name`.
    pub fn new(name: String, node: String, sample: &Sample) -> Self {
        Self {
            name,
            node,
            cpu_cores: sample.cpu_cores,
            memory: sample.memory,
            memory_limit: sample.memory_limit,
            network_rx: sample.network_rx,
            network_tx: sample.network_tx,
            block_read: sample.block_read,
            block_write: sample.block_write,
            pids: sample.pids,
        }
    }
}

impl Row for Line {
    const HEAD: &'static [&'static str] = &["NAME", "NODE", "CPU", "MEMORY", "NET I/O", "BLOCK I/O", "PIDS"];

    fn cells(&self) -> Vec<String> {
        let unknown = || "-".to_owned();
        vec![
            self.name.clone(),
            self.node.clone(),
            self.cpu_cores.map_or_else(unknown, |cores| format!("{:.1}%", cores * 100.0)),
            format!("{} / {}", self.memory.map_or_else(unknown, bytes), bytes(self.memory_limit)),
            format!("{} / {}", bytes(self.network_rx), bytes(self.network_tx)),
            format!("{} / {}", bytes(self.block_read), bytes(self.block_write)),
            self.pids.to_string(),
        ]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// Shows what replicas use.
pub async fn run(cluster: &Cluster, stats: Stats) -> Result<()> {
    if stats.history {
        return history::run(cluster, &stats).await;
    }
    let Some(shape) = stats.format.shape() else {
        return Err(Failure::bad_input("what is used now is not shown as csv")
            .hint("add --history for the last minutes, or take --format json"));
    };
    let scope = FileArgs::from(&stats.scope);
    let mut request = StreamStatsRequest { once: stats.no_stream, ..StreamStatsRequest::default() };
    for service in &stats.services {
        request.services.push(project::service(&scope, service)?);
    }
    if request.services.is_empty() {
        request.stack = project::find_stack(&scope)?.map(|stack| stack.to_string()).unwrap_or_default();
    }
    let mut samples = cluster.replicas().stream_stats(request).await?.into_inner();
    let mut screen = Screen::new(shape);
    loop {
        let next = match timeout(REFRESH, samples.message()).await {
            Ok(next) => next?,
            Err(_) => {
                screen.show(false)?;
                continue;
            }
        };
        let Some(next) = next else { break };
        if !next.warning.is_empty() {
            eprintln!("{} (replica {}): {}", next.service, next.slot, next.warning);
            continue;
        }
        let Some(sample) = next.sample else { continue };
        let name = format!("{}/{}", next.service, next.slot);
        screen.add(name.clone(), Line::new(name, next.node, &sample));
        if !stats.no_stream {
            screen.show(false)?;
        }
    }
    screen.show(true)
}

/// The newest sample of each container, shown again and again.
pub struct Screen {
    shape: Shape,
    lines: BTreeMap<String, Line>,
    shown: Option<Instant>,
    height: usize,
}

impl Screen {
    /// Nothing is shown yet.
    pub fn new(shape: Shape) -> Self {
        Self { shape, lines: BTreeMap::new(), shown: None, height: 0 }
    }

    /// Takes a sample.
    pub fn add(&mut self, key: String, line: Line) {
        self.lines.insert(key, line);
    }

    /// Shows all samples, at most once a second unless it is the last time.
    pub fn show(&mut self, last: bool) -> Result<()> {
        let fresh = self.shown.is_some_and(|shown| shown.elapsed() < REFRESH);
        if !last && (fresh || self.lines.is_empty()) {
            return Ok(());
        }
        let lines: Vec<Line> = self.lines.values().cloned().collect();
        if self.shape != Shape::Table {
            self.shown = Some(Instant::now());
            return output::list(&lines, &List { format: self.shape, quiet: false });
        }
        let text = output::render_table(&lines, output::colours());
        // On a terminal the table stays where it is.
        let again = std::io::stdout().is_terminal() && self.shown.is_some();
        let back = if again { format!("\x1b[{}A\x1b[J", self.height) } else { String::new() };
        self.height = text.lines().count();
        self.shown = Some(Instant::now());
        output::print(&format!("{back}{text}"))
    }
}
