//! `gantry.proxy.v1.ProxyService`: what this proxy believes, over gRPC.

use std::sync::Arc;

use gantry_api::proxy::v1::proxy_service_server::ProxyService;
use gantry_api::proxy::v1::{GetEndpointsRequest, GetEndpointsResponse, GetRoutesRequest, GetRoutesResponse};
use tokio::sync::Mutex;
use tonic::{Request, Response, Status};

use crate::beliefs;
use crate::engine::Engine;

/// Shows an engine.
pub struct Public(Arc<Mutex<Engine>>);

impl Public {
    /// Shows `engine`.
    pub fn new(engine: Arc<Mutex<Engine>>) -> Self {
        Self(engine)
    }
}

#[tonic::async_trait]
impl ProxyService for Public {
    async fn get_routes(&self, _: Request<GetRoutesRequest>) -> Result<Response<GetRoutesResponse>, Status> {
        let plan = self.0.lock().await.plan().clone();
        Ok(Response::new(beliefs::routes(&plan).into()))
    }

    async fn get_endpoints(
        &self,
        _: Request<GetEndpointsRequest>,
    ) -> Result<Response<GetEndpointsResponse>, Status> {
        let registry = self.0.lock().await.registry.clone();
        let endpoints = beliefs::endpoints(&registry).into_iter().map(Into::into).collect();
        Ok(Response::new(GetEndpointsResponse { endpoints }))
    }
}
