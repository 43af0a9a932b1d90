//! `gantry.cluster.v1`'s `ClusterService` and `ResourceService`.

use gantry_api::cluster::v1::cluster_service_server::ClusterService;
use gantry_api::cluster::v1::resource_service_server::ResourceService;
use gantry_api::cluster::v1::{
    BackupRequest, BackupResponse, CreateVolumeRequest, CreateVolumeResponse, GetClusterRequest,
    GetClusterResponse, InspectVolumeRequest, InspectVolumeResponse, ListImagesRequest, ListImagesResponse,
    ListNetworksRequest, ListNetworksResponse, ListVolumesRequest, ListVolumesResponse, MoveVolumeRequest,
    MoveVolumeResponse, Network, RemoveVolumeRequest, RemoveVolumeResponse, ServiceImage,
};
use gantry_boot::{VERSION, caller, now, random_id};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{Refused, volumes};
use crate::membership::Office;
use crate::state::State;

/// Serves what is not a stack or a service.
#[derive(Clone)]
pub struct Clusters {
    state: State,
    office: Office,
}

impl Clusters {
    /// Serves what `state` knows.
    pub fn new(state: State, office: Office) -> Self {
        Self { state, office }
    }
}

#[tonic::async_trait]
impl ClusterService for Clusters {
    async fn get_cluster(
        &self,
        _: Request<GetClusterRequest>,
    ) -> Result<Response<GetClusterResponse>, Status> {
        let snapshot = self.state.snapshot();
        let cluster = &snapshot.cluster;
        Ok(Response::new(GetClusterResponse {
            id: cluster.id.to_string(),
            name: cluster.name.clone(),
            version: VERSION.to_owned(),
            pool: cluster.pool.to_string(),
            mtu: cluster.mtu,
            revision: snapshot.revision,
        }))
    }

    type BackupStream = ReceiverStream<Result<BackupResponse, Status>>;

    async fn backup(&self, request: Request<BackupRequest>) -> Result<Response<Self::BackupStream>, Status> {
        let by = caller(&request)?.clone();
        super::backup::stream(&self.state, &self.office, &by).await.map(Response::new)
    }
}

#[tonic::async_trait]
impl ResourceService for Clusters {
    async fn list_volumes(
        &self,
        request: Request<ListVolumesRequest>,
    ) -> Result<Response<ListVolumesResponse>, Status> {
        let stack = request.into_inner().stack;
        let snapshot = self.state.snapshot();
        let of_stack =
            snapshot.volumes.values().filter(|volume| stack.is_empty() || volume.stack.as_str() == stack);
        let volumes = of_stack.map(|volume| volumes::show(&snapshot, volume)).collect();
        Ok(Response::new(ListVolumesResponse { volumes }))
    }

    async fn inspect_volume(
        &self,
        request: Request<InspectVolumeRequest>,
    ) -> Result<Response<InspectVolumeResponse>, Status> {
        let InspectVolumeRequest { stack, key } = request.into_inner();
        let snapshot = self.state.snapshot();
        let volume = Some(volumes::show(&snapshot, volumes::find(&snapshot, &stack, &key)?));
        Ok(Response::new(InspectVolumeResponse { volume }))
    }

    async fn create_volume(
        &self,
        request: Request<CreateVolumeRequest>,
    ) -> Result<Response<CreateVolumeResponse>, Status> {
        let by = caller(&request)?.clone();
        let request = request.into_inner();
        let volume = self
            .state
            .commit(|snapshot| Ok::<_, Refused>(volumes::create(snapshot, &request, &by, now())?))
            .await
            .map_err(|Refused(status)| status)?;
        let volume = Some(volumes::show(&self.state.snapshot(), &volume));
        Ok(Response::new(CreateVolumeResponse { volume }))
    }

    async fn move_volume(
        &self,
        request: Request<MoveVolumeRequest>,
    ) -> Result<Response<MoveVolumeResponse>, Status> {
        let by = caller(&request)?.clone();
        let request = request.into_inner();
        let id = random_id(12);
        let (volume, warnings) = self
            .state
            .commit(|snapshot| Ok::<_, Refused>(volumes::begin_move(snapshot, &request, &id, &by, now())?))
            .await
            .map_err(|Refused(status)| status)?;
        let volume = Some(volumes::show(&self.state.snapshot(), &volume));
        Ok(Response::new(MoveVolumeResponse { volume, warnings }))
    }

    async fn remove_volume(
        &self,
        request: Request<RemoveVolumeRequest>,
    ) -> Result<Response<RemoveVolumeResponse>, Status> {
        let by = caller(&request)?.clone();
        let RemoveVolumeRequest { stack, key } = request.into_inner();
        self.state
            .commit(|snapshot| Ok::<_, Refused>((volumes::remove(snapshot, &stack, &key, &by, now())?, ())))
            .await
            .map_err(|Refused(status)| status)?;
        Ok(Response::new(RemoveVolumeResponse {}))
    }

    async fn list_networks(
        &self,
        request: Request<ListNetworksRequest>,
    ) -> Result<Response<ListNetworksResponse>, Status> {
        let stack = request.into_inner().stack;
        let snapshot = self.state.snapshot();
        let of_stack =
            snapshot.networks.values().filter(|network| stack.is_empty() || network.stack.as_str() == stack);
        let networks = of_stack
            .map(|network| {
                let services = snapshot.services_of(&network.stack);
                let replicas = services.flat_map(|service| snapshot.replicas_of(&service.id));
                let used = replicas.filter(|replica| replica.addresses.contains_key(&network.key)).count();
                Network {
                    stack: network.stack.to_string(),
                    key: network.key.clone(),
                    name: network.engine_name(),
                    subnet: network.subnet.to_string(),
                    internal: network.internal,
                    used: u32::try_from(used).unwrap_or(u32::MAX),
                }
            })
            .collect();
        Ok(Response::new(ListNetworksResponse { networks }))
    }

    async fn list_images(
        &self,
        request: Request<ListImagesRequest>,
    ) -> Result<Response<ListImagesResponse>, Status> {
        let stack = request.into_inner().stack;
        let snapshot = self.state.snapshot();
        let of_stack = snapshot
            .revisions
            .values()
            .filter(|revision| stack.is_empty() || revision.service.stack().as_str() == stack);
        let images = of_stack
            .map(|revision| ServiceImage {
                service: revision.service.to_string(),
                revision: revision.number,
                image: revision.template.container.image.clone(),
                digest: revision.template.image_digest.clone().unwrap_or_default(),
            })
            .collect();
        Ok(Response::new(ListImagesResponse { images }))
    }
}
