//! `gantry.agent.v1.VolumeService` and `NetworkService`.

use gantry_api::agent::v1::network_service_server::NetworkService;
use gantry_api::agent::v1::volume_service_server::VolumeService;
#[allow(clippy::wildcard_imports)] // Every message of the package, which this file is about.
use gantry_api::agent::v1::*;
use tonic::{Request, Response, Status};

use crate::engine::{Engine, NetworkWanted};

type Answer<T> = Result<Response<T>, Status>;

/// Serves the host's volumes and networks.
#[derive(Clone)]
pub struct Resources {
    engine: Engine,
}

impl Resources {
    /// Serves the volumes and networks of `engine`.
    pub fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl VolumeService for Resources {
    async fn create_volume(&self, request: Request<CreateVolumeRequest>) -> Answer<CreateVolumeResponse> {
        let CreateVolumeRequest { name, driver, options, labels } = request.into_inner();
        let volume = self.engine.create_volume(&name, &driver, &options, &labels).await?;
        Ok(Response::new(CreateVolumeResponse { volume: Some(volume) }))
    }

    async fn list_volumes(&self, request: Request<ListVolumesRequest>) -> Answer<ListVolumesResponse> {
        let volumes = self.engine.volumes(&request.into_inner().filters).await?;
        Ok(Response::new(ListVolumesResponse { volumes }))
    }

    async fn inspect_volume(&self, request: Request<InspectVolumeRequest>) -> Answer<InspectVolumeResponse> {
        let volume = self.engine.volume(&request.into_inner().name).await?;
        Ok(Response::new(InspectVolumeResponse { volume: Some(volume) }))
    }

    async fn remove_volume(&self, request: Request<RemoveVolumeRequest>) -> Answer<RemoveVolumeResponse> {
        let RemoveVolumeRequest { name, force } = request.into_inner();
        self.engine.remove_volume(&name, force).await?;
        Ok(Response::new(RemoveVolumeResponse {}))
    }
}

#[tonic::async_trait]
impl NetworkService for Resources {
    async fn create_network(&self, request: Request<CreateNetworkRequest>) -> Answer<CreateNetworkResponse> {
        let request = request.into_inner();
        if request.name.is_empty() {
            return Err(Status::invalid_argument("name is missing"));
        }
        let wanted = NetworkWanted {
            name: request.name,
            driver: request.driver,
            subnet: request.subnet,
            gateway: request.gateway,
            ip_range: request.ip_range,
            internal: request.internal,
            options: request.options,
            labels: request.labels,
        };
        Ok(Response::new(CreateNetworkResponse { id: self.engine.create_network(&wanted).await? }))
    }

    async fn list_networks(&self, request: Request<ListNetworksRequest>) -> Answer<ListNetworksResponse> {
        let networks = self.engine.networks(&request.into_inner().filters).await?;
        Ok(Response::new(ListNetworksResponse { networks }))
    }

    async fn inspect_network(
        &self,
        request: Request<InspectNetworkRequest>,
    ) -> Answer<InspectNetworkResponse> {
        let network = self.engine.network(&request.into_inner().id).await?;
        Ok(Response::new(InspectNetworkResponse { network: Some(network) }))
    }

    async fn remove_network(&self, request: Request<RemoveNetworkRequest>) -> Answer<RemoveNetworkResponse> {
        let id = request.into_inner().id;
        let network = self.engine.network(&id).await?;
        if let Some(of) = network.labels.get("gantry.network") {
            return Err(Status::failed_precondition(format!(
                "cannot remove {id} here: it is the network {of} of a stack, and goes with `gantry down`"
            )));
        }
        self.engine.remove_network(&id).await?;
        Ok(Response::new(RemoveNetworkResponse {}))
    }
}
