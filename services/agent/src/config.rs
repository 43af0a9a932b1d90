//! What an agent is started with.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Gantry's agent: runs on every node, drives its Docker Engine for people and for the scheduler.
#[derive(Debug, Clone, Parser)]
#[command(name = "gantry-agent", version)]
pub struct Config {
    /// Where the scheduler is, HOST:PORT; may be given several times.
    #[arg(long, env = "GANTRY_SCHEDULER", default_value = "127.0.0.1:7070", value_delimiter = ',')]
    pub scheduler: Vec<String>,
    /// Where to serve the agent's own API.
    #[arg(long, env = "GANTRY_LISTEN", default_value = "0.0.0.0:7071")]
    pub listen: SocketAddr,
    /// Where to serve metrics and health over plain HTTP.
    #[arg(long, env = "GANTRY_ADMIN", default_value = "127.0.0.1:7171")]
    pub admin: SocketAddr,
    /// The node's name. The host's, if it is not given.
    #[arg(long, env = "GANTRY_NODE_NAME")]
    pub name: Option<String>,
    /// An address at which other members reach this node; may be given several times.
    #[arg(long = "advertise-addr", env = "GANTRY_ADVERTISE_ADDR", value_delimiter = ',')]
    pub advertise: Vec<String>,
    /// The agent's folder.
    #[arg(long, env = "GANTRY_DATA", default_value = "/var/lib/gantry")]
    pub data: PathBuf,
    /// The Docker volume that the agent's folder is, when the agent runs in a container: by it the
    /// folder's path on the host is found.
    #[arg(long, env = "GANTRY_VOLUME")]
    pub volume: Option<String>,
    /// The folder with ca.pem, cert.pem and key.pem.
    #[arg(long, env = "GANTRY_IDENTITY", default_value = "/var/lib/gantry/identity")]
    pub identity: PathBuf,
    /// The socket of the Docker Engine.
    #[arg(long, env = "GANTRY_DOCKER", default_value = "/var/run/docker.sock")]
    pub docker: String,
    /// Where the host's control groups are mounted: what replicas use is read there.
    #[arg(long, env = "GANTRY_CGROUPS", default_value = "/sys/fs/cgroup")]
    pub cgroups: PathBuf,
    /// The nftables program.
    #[arg(long, env = "GANTRY_NFT", default_value = "/usr/sbin/nft")]
    pub nft: String,
    /// Restarts containers outside any stack that have this label with the value "true" when their health
    /// check calls them unhealthy; "all" is every container, and empty is none.
    #[arg(long, env = "AUTOHEAL_CONTAINER_LABEL", default_value = "autoheal")]
    pub autoheal_label: String,
    /// Takes away what the agent of this cluster left in the host's firewall and among its interfaces, and ends.
    #[arg(long, value_name = "CLUSTER_ID")]
    pub clean_up: Option<String>,
    /// Something to do once, instead of being an agent.
    #[command(subcommand)]
    pub task: Option<Task>,
}

/// What is done once on a host, for the command-line tool.
#[derive(Debug, Clone, Subcommand)]
pub enum Task {
    /// Prints what the host says of its network, as JSON.
    InspectHost,
    /// Makes this host a node: gets certificates for its agent and its proxy, and prints what is known of
    /// the cluster, as JSON.
    Join {
        /// TOKEN@HOST:PORT
        invitation: String,
        /// A label of the node, NAME=VALUE; may be given several times.
        #[arg(long, value_name = "NAME=VALUE")]
        label: Vec<String>,
        /// Where the proxy's certificate goes.
        #[arg(long)]
        proxy_identity: PathBuf,
    },
    /// Waits until the scheduler says that this node is ready.
    AwaitReady {
        /// How many seconds at most.
        #[arg(long, default_value_t = 60)]
        timeout: u64,
    },
    /// Takes this node out of its cluster.
    Leave {
        /// Does not wait for its replicas to run elsewhere.
        #[arg(long)]
        force: bool,
        /// How many seconds to wait for that at most.
        #[arg(long, default_value_t = 600)]
        timeout: u64,
    },
}
