//! The Docker Engine. Nothing outside this folder names bollard.
//!
//! Releases from 20.10 (API 1.41) on are supported; no API version is sent, so replies follow the
//! engine and every field of them is optional.

mod containers;
mod error;
mod hooks;
mod images;
mod inspect;
mod patients;
mod resources;
mod streams;
mod translate;
mod volumes;

pub use containers::Created;
pub use error::{Error, Kind};
pub use images::{BuildStep, FoundImage};
pub use inspect::{CLUSTER_LABEL, Observed, REPLICA_LABEL};
pub use patients::{Patient, Ward};
pub use resources::NetworkWanted;
pub use streams::{Archive, EngineEvent, ExecIo, Flow, LogsWanted, Piece};
pub use translate::Attachment;

use bollard::{API_DEFAULT_VERSION, Docker};
use gantry_model::Host;

use error::Result;

/// A handle to the engine; clones share its connections.
#[derive(Clone)]
pub struct Engine {
    docker: Docker,
    socket: String,
}

/// How long the engine may take to begin an answer. A stop takes as long as its grace.
const TIMEOUT_SECONDS: u64 = 600;

impl Engine {
    /// The engine behind a Unix socket. It need not answer yet.
    pub fn at(socket: &str) -> Result<Self> {
        let docker = Docker::connect_with_unix(socket, TIMEOUT_SECONDS, API_DEFAULT_VERSION)?;
        Ok(Self { docker, socket: socket.to_owned() })
    }

    /// The socket of the engine.
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// Whether the engine answers.
    pub async fn ping(&self) -> Result<()> {
        self.docker.ping().await?;
        Ok(())
    }

    /// The host and its engine.
    pub async fn host(&self) -> Result<(Host, HostCounts)> {
        let info = self.docker.info().await?;
        let version = self.docker.version().await?;
        let number = |value: Option<i64>| u32::try_from(value.unwrap_or_default()).unwrap_or_default();
        let counts = HostCounts {
            running: number(info.containers_running),
            containers: number(info.containers),
            images: number(info.images),
        };
        let host = Host {
            hostname: info.name.unwrap_or_default(),
            operating_system: info.operating_system.unwrap_or_default(),
            os: version.os.unwrap_or_default(),
            architecture: version.arch.unwrap_or_default(),
            kernel: info.kernel_version.unwrap_or_default(),
            engine_version: info.server_version.unwrap_or_default(),
            api_version: version.api_version.unwrap_or_default(),
            cpus: number(info.ncpu),
            memory: u64::try_from(info.mem_total.unwrap_or_default()).unwrap_or_default(),
            engine_labels: info.labels.unwrap_or_default(),
            storage_driver: info.driver.unwrap_or_default(),
            cgroup_version: info.cgroup_version.map_or(0, |version| version.to_string().parse().unwrap_or(0)),
            agent_version: gantry_boot::VERSION.to_owned(),
        };
        Ok((host, counts))
    }
}

/// What changes on a host from moment to moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostCounts {
    /// Containers that run.
    pub running: u32,
    /// Containers in all.
    pub containers: u32,
    /// Images.
    pub images: u32,
}
