//! What a proxy is started with.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// Gantry's proxy: runs on every node, balances traffic and answers the names of its networks. With
/// --config it runs alone, by a file.
#[derive(Debug, Clone, Parser)]
#[command(name = "gantry-proxy", version)]
pub struct Config {
    /// Runs alone, by this file, instead of with a cluster.
    #[arg(long, env = "GANTRY_CONFIG")]
    pub config: Option<PathBuf>,
    /// Says what is wrong with the file of --config, and ends.
    #[arg(long, requires = "config")]
    pub check: bool,
    /// A Unix socket: a proxy that is started with the same one takes over from this one.
    #[arg(long, env = "GANTRY_HANDOVER")]
    pub handover: Option<PathBuf>,
    /// How many cores to use; all unless set.
    #[arg(long, env = "GANTRY_CORES")]
    pub cores: Option<usize>,
    /// The port to which the agent redirects connections to service addresses.
    #[arg(long, env = "GANTRY_REDIRECT_PORT", default_value_t = 7075)]
    pub redirect_port: u16,
    /// Writes an access log here; - is standard output.
    #[arg(long, env = "GANTRY_ACCESS_LOG")]
    pub access_log: Option<PathBuf>,
    /// Where the scheduler is, HOST:PORT; may be given several times.
    #[arg(long, env = "GANTRY_SCHEDULER", default_value = "127.0.0.1:7070", value_delimiter = ',')]
    pub scheduler: Vec<String>,
    /// Where to serve gRPC.
    #[arg(long, env = "GANTRY_LISTEN", default_value = "0.0.0.0:7073")]
    pub listen: SocketAddr,
    /// Where to serve metrics and health over plain HTTP.
    #[arg(long, env = "GANTRY_ADMIN", default_value = "127.0.0.1:7173")]
    pub admin: SocketAddr,
    /// The proxy's folder.
    #[arg(long, env = "GANTRY_DATA", default_value = "/var/lib/gantry")]
    pub data: PathBuf,
    /// The folder with ca.pem, cert.pem and key.pem.
    #[arg(long, env = "GANTRY_IDENTITY", default_value = "/var/lib/gantry/identity")]
    pub identity: PathBuf,
    /// The port on which names are answered.
    #[arg(long, env = "GANTRY_DNS_PORT", default_value_t = 53)]
    pub dns_port: u16,
    /// The file that names the node's own name servers.
    #[arg(long, env = "GANTRY_RESOLV_CONF", default_value = "/etc/resolv.conf")]
    pub resolv_conf: PathBuf,
}
