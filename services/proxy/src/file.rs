//! The file of a proxy that runs alone, in TOML, read into a [`Spec`] and the process's settings.
//!
//! Every mistake that can be seen is told at once, each with its line and column.

#[cfg(test)]
mod fuzz;
mod keys;
mod mistake;
mod read;
mod shape;
mod source;
mod tables;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;

pub use mistake::Mistake;
pub use read::read;
pub use source::Source;

use crate::access::Format;
use crate::http::ClientLimits;
use crate::spec::Spec;

/// What a file says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What is served.
    pub spec: Spec,
    /// Where metrics, health and pages are served.
    pub admin: Option<SocketAddr>,
    /// How many cores to use.
    pub workers: Option<usize>,
    /// The access log.
    pub access_log: Option<(PathBuf, Format)>,
    /// What clients may do.
    pub limits: ClientLimits,
    /// Connections of clients on one core at most.
    pub max_connections: u64,
    /// What sticky cookies are signed with.
    pub cookie_secret: Option<String>,
    /// Every file that was read, as it was.
    pub files: Vec<Source>,
}
