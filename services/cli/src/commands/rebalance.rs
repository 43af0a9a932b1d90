//! `gantry rebalance`

use gantry_api::cluster::v1 as wire;
use serde::Serialize;

use crate::args::Rebalance;
use crate::client::Cluster;
use crate::failure::Result;
use crate::output::{self, Row};

#[derive(Serialize)]
struct Line {
    service: String,
    slot: u32,
    replica: String,
    from: String,
    to: String,
}

impl From<wire::ReplicaMove> for Line {
    fn from(planned: wire::ReplicaMove) -> Self {
        let wire::ReplicaMove { service, slot, replica, from, to } = planned;
        Self { service, slot, replica, from, to }
    }
}

impl Row for Line {
    const HEAD: &'static [&'static str] = &["SERVICE", "SLOT", "FROM", "TO"];

    fn cells(&self) -> Vec<String> {
        vec![self.service.clone(), self.slot.to_string(), self.from.clone(), self.to.clone()]
    }

    fn name(&self) -> String {
        self.replica.clone()
    }
}

/// Evens nodes out, or shows what would move.
pub async fn run(cluster: &Cluster, args: Rebalance) -> Result<()> {
    let request = wire::RebalanceRequest { plan: args.plan };
    let moves = cluster.placements().rebalance(request).await?.into_inner().moves;
    match (moves.len(), args.plan) {
        (0, _) => eprintln!("every node has its share: nothing moves"),
        (count, true) => eprintln!("{count} replicas would move, each when its successor is ready"),
        (count, false) => {
            eprintln!(
                "{count} replicas move, each when its successor is ready; `gantry ps` shows where they are"
            );
        }
    }
    let lines: Vec<Line> = moves.into_iter().map(Line::from).collect();
    if lines.is_empty() && args.list.format == crate::args::Shape::Table {
        return Ok(());
    }
    output::list(&lines, &args.list)
}
