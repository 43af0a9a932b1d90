//! `gantry.agent.v1.HostService`.

use gantry_api::agent::v1::host_service_server::HostService;
use gantry_api::agent::v1::{GetHostRequest, GetHostResponse, Host};
use gantry_model::wire;
use tonic::{Request, Response, Status};

use crate::engine::Engine;

/// Serves what is known of the host.
pub struct HostInfo {
    engine: Engine,
}

impl HostInfo {
    /// Serves the host of `engine`.
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl HostService for HostInfo {
    async fn get_host(&self, _: Request<GetHostRequest>) -> Result<Response<GetHostResponse>, Status> {
        let (host, counts) = self.engine.host().await?;
        let host = Host {
            containers_running: counts.running,
            containers: counts.containers,
            images: counts.images,
            ..wire::write_host(&host)
        };
        Ok(Response::new(GetHostResponse { host: Some(host) }))
    }
}
