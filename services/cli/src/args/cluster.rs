//! Clusters, their nodes, and the contexts that lead to them.

use std::net::IpAddr;

use clap::{Args as Group, Subcommand};

use super::{Format, List};

/// `gantry init`
#[derive(Debug, Group)]
pub struct Init {
    /// The cluster's name.
    #[arg(long, default_value = "default")]
    pub name: String,
    /// The address at which other machines reach this node. Without it the cluster is for this machine only.
    #[arg(long, value_name = "IP")]
    pub advertise_addr: Option<IpAddr>,
    /// The node's name. Without it, the host's.
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// The first of Gantry's ports on this host; the others follow from it.
    #[arg(long, default_value_t = 7070, value_name = "PORT")]
    pub port_base: u16,
    /// The address range from which networks are made.
    #[arg(long, default_value = "10.192.0.0/11", value_name = "RANGE")]
    pub pool: String,
    /// The largest packet on the cluster's networks, in bytes.
    #[arg(long, default_value_t = 1450, value_name = "BYTES")]
    pub mtu: u32,
}

/// `gantry leave`
#[derive(Debug, Group)]
pub struct Leave {
    /// The cluster's name.
    #[arg(long, default_value = "default")]
    pub name: String,
    /// Also when stacks are deployed: their containers and networks go too.
    #[arg(long)]
    pub force: bool,
    /// Also the cluster's own state and, with --force, the stacks' volumes.
    #[arg(short, long)]
    pub volumes: bool,
}

/// `gantry node`
#[derive(Debug, Subcommand)]
pub enum Node {
    /// List the nodes.
    Ls(List),
    /// Show one node.
    Inspect {
        /// Its name.
        name: String,
        #[command(flatten)]
        format: Format,
    },
}

/// `gantry rebalance`
#[derive(Debug, Group)]
pub struct Rebalance {
    /// Only show what would move.
    #[arg(long)]
    pub plan: bool,
    #[command(flatten)]
    pub list: List,
}

/// `gantry context`
#[derive(Debug, Subcommand)]
pub enum Context {
    /// List the known clusters.
    Ls(List),
    /// Use this cluster from now on.
    Use {
        /// Its name.
        name: String,
    },
    /// Forget a cluster.
    Rm {
        /// Its name.
        name: String,
    },
}
