//! What a scheduler is started with.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use ipnet::Ipv4Net;

/// Gantry's scheduler: keeps the cluster's state, decides what runs where, and serves the API.
#[derive(Debug, Clone, Parser)]
#[command(name = "gantry-scheduler", version)]
pub struct Config {
    /// Where to serve gRPC.
    #[arg(long, env = "GANTRY_LISTEN", default_value = "0.0.0.0:7070")]
    pub listen: SocketAddr,
    /// Where to serve metrics and health over plain HTTP.
    #[arg(long, env = "GANTRY_ADMIN", default_value = "127.0.0.1:7170")]
    pub admin: SocketAddr,
    /// The folder of the state.
    #[arg(long, env = "GANTRY_DATA", default_value = "/var/lib/gantry")]
    pub data: PathBuf,
    /// The folder with ca.pem, cert.pem and key.pem.
    #[arg(long, env = "GANTRY_IDENTITY", default_value = "/var/lib/gantry/identity")]
    pub identity: PathBuf,
    /// The name of a new cluster.
    #[arg(long, env = "GANTRY_CLUSTER_NAME", default_value = "default")]
    pub cluster_name: String,
    /// The range from which a new cluster makes its networks.
    #[arg(long, env = "GANTRY_POOL", default_value = "10.192.0.0/11")]
    pub pool: Ipv4Net,
    /// The prefix length of a network of a new cluster.
    #[arg(long, env = "GANTRY_NETWORK_PREFIX", default_value_t = 19)]
    pub network_prefix: u8,
    /// The largest packet on a new cluster's networks, in bytes.
    #[arg(long, env = "GANTRY_MTU", default_value_t = 1450)]
    pub mtu: u32,
    /// The port at which every node's proxy takes connections to service addresses.
    #[arg(long, env = "GANTRY_REDIRECT_PORT", default_value_t = 7075)]
    pub redirect_port: u16,
    /// Where other hosts reach this scheduler, HOST:PORT; may be given several times. Without it the
    /// cluster is for this machine only.
    #[arg(long = "advertise", env = "GANTRY_ADVERTISE", value_delimiter = ',', value_name = "HOST:PORT")]
    pub advertise: Vec<String>,
    /// How long certificates of nodes are good, in seconds.
    #[arg(long, env = "GANTRY_CERTIFICATE_SECONDS", default_value_t = 90 * 86_400, hide = true)]
    pub certificate_seconds: u64,
}
