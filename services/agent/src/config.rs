//! What an agent is started with.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// Gantry's agent: runs on every node, drives its Docker Engine for people and for the scheduler.
#[derive(Debug, Clone, Parser)]
#[command(name = "gantry-agent", version)]
pub struct Config {
    /// The scheduler's address, HOST:PORT.
    #[arg(long, env = "GANTRY_SCHEDULER", default_value = "127.0.0.1:7070")]
    pub scheduler: String,
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
    /// The nftables program.
    #[arg(long, env = "GANTRY_NFT", default_value = "/usr/sbin/nft")]
    pub nft: String,
    /// Takes away what the agent of this cluster left in the host's firewall and among its interfaces, and ends.
    #[arg(long, value_name = "CLUSTER_ID")]
    pub clean_up: Option<String>,
}
