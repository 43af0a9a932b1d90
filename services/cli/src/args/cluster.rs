//! Clusters, their nodes, and the contexts that lead to them.

use std::net::IpAddr;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Subcommand, ValueEnum};

use super::{Format, List};
use crate::when;

/// Which Docker Engine.
#[derive(Debug, Clone, Default, Group)]
pub struct DockerHost {
    /// The engine's address.
    #[arg(
        long,
        value_name = "URL",
        help = "The host's Docker Engine: unix://PATH, ssh://USER@HOST or tcp://HOST:PORT. Without it, the one that DOCKER_HOST names, else this machine's"
    )]
    pub docker_host: Option<String>,
}

/// `gantry init`
#[derive(Debug, Group)]
pub struct Init {
    /// The cluster's name.
    #[arg(long, default_value = "default")]
    pub name: String,
    /// The address at which other machines reach this one; may be given several times. Without it, that of
    /// the interface with the default route.
    #[arg(long, value_name = "IP")]
    pub advertise_addr: Vec<IpAddr>,
    /// The node's name. Without it, the host's.
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    #[command(flatten)]
    pub docker: DockerHost,
    /// The first of Gantry's ports on this host; the others follow from it.
    #[arg(long, default_value_t = 7070, value_name = "PORT")]
    pub port_base: u16,
    /// The address range from which networks are made.
    #[arg(long, default_value = "10.192.0.0/11", value_name = "RANGE")]
    pub pool: String,
    /// The largest packet on the cluster's networks, in bytes. Without it, what this host's interface takes,
    /// less what the networks add to each packet.
    #[arg(long, value_name = "BYTES")]
    pub mtu: Option<u32>,
}

/// `gantry token`
#[derive(Debug, Group)]
pub struct Token {
    /// What its holder becomes.
    #[arg(long, default_value = "node", value_parser = ["node"], value_name = "ROLE")]
    pub role: String,
    /// How long it is good.
    #[arg(long, default_value = "1h", value_parser = when::parse_duration, value_name = "TIME")]
    pub expires: Duration,
    /// How many hosts may join with it. Without it, any number.
    #[arg(long, value_name = "COUNT")]
    pub uses: Option<u32>,
    /// Void all tokens that were made before.
    #[arg(long)]
    pub rotate: bool,
    /// Show only the token and the address.
    #[arg(short, long)]
    pub quiet: bool,
    /// List the tokens that are known instead, without their secrets.
    #[arg(long, conflicts_with_all = ["rotate", "uses", "quiet"])]
    pub list: bool,
    #[command(flatten)]
    pub format: Format,
}

/// `gantry join`
#[derive(Debug, Group)]
pub struct Join {
    /// What `gantry token` shows: TOKEN@HOST:PORT.
    pub invitation: String,
    #[command(flatten)]
    pub docker: DockerHost,
    /// The address at which other nodes reach the host; may be given several times. Without it, that of the
    /// interface with the default route.
    #[arg(long, value_name = "IP")]
    pub advertise_addr: Vec<IpAddr>,
    /// The node's name. Without it, the host's.
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// A label of the node, NAME=VALUE; may be given several times.
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// What the cluster is called on that host.
    #[arg(long, default_value = "default")]
    pub name: String,
    /// How long to wait until the node is ready.
    #[arg(long, default_value = "1m", value_parser = when::parse_duration, value_name = "TIME")]
    pub timeout: Duration,
}

/// `gantry backup`
#[derive(Debug, Group)]
pub struct Backup {
    /// Where to write it. Whoever can read it can be anybody in the cluster.
    pub file: PathBuf,
}

/// `gantry restore`
#[derive(Debug, Group)]
pub struct Restore {
    /// What `gantry backup` wrote.
    pub file: PathBuf,
    #[command(flatten)]
    pub docker: DockerHost,
    /// The address at which other machines reach that host; may be given several times. Without it, that of
    /// the interface with the default route.
    #[arg(long, value_name = "IP")]
    pub advertise_addr: Vec<IpAddr>,
    /// What the cluster is called on that host. Without it, as in the backup.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// `gantry leave`
#[derive(Debug, Group)]
pub struct Leave {
    /// The cluster's name.
    #[arg(long, default_value = "default")]
    pub name: String,
    #[command(flatten)]
    pub docker: DockerHost,
    /// Also when stacks are deployed here, or run on this node: their containers and networks go too.
    #[arg(long)]
    pub force: bool,
    /// How long to wait until this node's replicas run on others.
    #[arg(long, default_value = "10m", value_parser = when::parse_duration, value_name = "TIME")]
    pub timeout: Duration,
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
    /// Change what a node may do, or its labels.
    Update {
        /// Its name.
        name: String,
        /// Whether it runs replicas, keeps those that it has, or gives them to others.
        #[arg(long, value_enum, value_name = "WHAT")]
        availability: Option<Availability>,
        /// A label to add or replace, NAME=VALUE; may be given several times.
        #[arg(long, value_name = "NAME=VALUE")]
        label_add: Vec<String>,
        /// The name of a label to remove; may be given several times.
        #[arg(long, value_name = "NAME")]
        label_rm: Vec<String>,
    },
    /// Let a node's replicas run on others, and wait until it has none.
    Drain {
        /// Its name.
        name: String,
        /// Do not wait.
        #[arg(short, long)]
        detach: bool,
        /// How long to wait.
        #[arg(long, default_value = "10m", value_parser = when::parse_duration, value_name = "TIME")]
        timeout: Duration,
    },
    /// Remove nodes from the cluster, and refuse their certificates.
    Rm {
        /// Their names.
        #[arg(required = true)]
        names: Vec<String>,
        /// Also when it is connected or has replicas.
        #[arg(long)]
        force: bool,
    },
    /// Tell a host's agent and proxy, and its watchdog if it has one, where the scheduler is now.
    Repoint {
        /// The scheduler's new address, HOST:PORT.
        address: String,
        #[command(flatten)]
        docker: DockerHost,
        /// What the cluster is called on that host.
        #[arg(long = "name", default_value = "default", value_name = "NAME")]
        cluster: String,
    },
}

/// What people let a node do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Availability {
    /// It runs replicas. This also ends a quarantine.
    Active,
    /// It keeps the replicas that it has and gets no new ones.
    Pause,
    /// Its replicas are to run on other nodes.
    Drain,
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
