//! What a watchdog is started with.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

/// Gantry's watchdog: judges health, decides repairs, raises alerts.
#[derive(Debug, Clone, Parser)]
#[command(name = "gantry-watchdog", version)]
pub struct Config {
    /// Where the scheduler is, HOST:PORT; may be given several times.
    #[arg(long, env = "GANTRY_SCHEDULER", default_value = "127.0.0.1:7070", value_delimiter = ',')]
    pub scheduler: Vec<String>,
    /// Where to serve the watchdog's own API.
    #[arg(long, env = "GANTRY_LISTEN", default_value = "0.0.0.0:7072")]
    pub listen: SocketAddr,
    /// Where to serve metrics and health over plain HTTP.
    #[arg(long, env = "GANTRY_ADMIN", default_value = "127.0.0.1:7172")]
    pub admin: SocketAddr,
    /// The watchdog's folder.
    #[arg(long, env = "GANTRY_DATA", default_value = "/var/lib/gantry")]
    pub data: PathBuf,
    /// The folder with ca.pem, cert.pem and key.pem.
    #[arg(long, env = "GANTRY_IDENTITY", default_value = "/var/lib/gantry/identity")]
    pub identity: PathBuf,
}
