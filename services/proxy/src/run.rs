//! Puts the parts together: a proxy of a cluster, or one that runs alone by a file.

mod alone;
mod cluster;
mod relay;

use std::path::PathBuf;

use gantry_identity::Role;
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// Why a proxy ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its certificate is not there.
    #[error("cannot read this proxy's certificate; `gantry init` and `gantry join` make it")]
    Identity(#[source] std::io::Error),
    /// Its certificate is not Gantry's.
    #[error("cannot use this proxy's certificate")]
    Certificate(#[from] gantry_identity::BadCertificate),
    /// Its certificate is of somebody else.
    #[error("this certificate is of a {0}, not of a proxy")]
    NotAProxy(Role),
    /// Its folder cannot be used.
    #[error("cannot use the proxy's folder {}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The gRPC server failed.
    #[error(transparent)]
    Server(#[from] gantry_boot::Error),
    /// The admin port cannot be had.
    #[error("cannot serve the admin port")]
    Admin(#[source] std::io::Error),
    /// No threads can be started.
    #[error("cannot start the cores")]
    Cores(#[source] std::io::Error),
    /// The access log cannot be written.
    #[error("cannot write the access log {}", .path.display())]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The proxy that runs already does not hand over.
    #[error("cannot take over from the proxy at {}", .path.display())]
    Handover {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error("{}", .0.join("\n"))]
    File(Vec<String>),
}

/// Runs a proxy until `stop`.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Error> {
    match config.config.clone() {
        Some(file) => alone::run(config, &file, stop).await,
        None => cluster::run(config, stop).await,
    }
}

/// How many cores there are to use.
fn cores(asked: Option<usize>) -> usize {
    let there = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    asked.unwrap_or_else(there).clamp(1, 256)
}
