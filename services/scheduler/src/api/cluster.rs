//! `gantry.cluster.v1`'s `ClusterService` and `ResourceService`.

use std::sync::Arc;

use gantry_api::cluster::v1::cluster_service_server::ClusterService;
use gantry_api::cluster::v1::resource_service_server::ResourceService;
use gantry_api::cluster::v1::{
    BackupRequest, BackupResponse, GetClusterRequest, GetClusterResponse, ListImagesRequest,
    ListImagesResponse, ListNetworksRequest, ListNetworksResponse, ListVolumesRequest, ListVolumesResponse,
    Network, RemoveVolumeRequest, RemoveVolumeResponse, ServiceImage, Volume,
};
use gantry_boot::{VERSION, caller, now};
use gantry_model::{Change, Key, MountSource, Record, Severity, Snapshot, StackName};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Refused;
use crate::decide::record_event;
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
        let volumes = of_stack
            .map(|volume| Volume {
                stack: volume.stack.to_string(),
                key: volume.key.clone(),
                name: volume.name.clone(),
                node: volume
                    .node
                    .as_ref()
                    .and_then(|id| snapshot.nodes.get(id))
                    .map(|node| node.name.clone())
                    .unwrap_or_default(),
                driver: volume.driver.clone().unwrap_or_else(|| "local".to_owned()),
                external: volume.external,
                used_by: users_of(&snapshot, &volume.stack, &volume.key),
            })
            .collect();
        Ok(Response::new(ListVolumesResponse { volumes }))
    }

    async fn remove_volume(
        &self,
        request: Request<RemoveVolumeRequest>,
    ) -> Result<Response<RemoveVolumeResponse>, Status> {
        let by = caller(&request)?.clone();
        let RemoveVolumeRequest { stack, key } = request.into_inner();
        let stack = StackName::new(stack).map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        self.state
            .commit(|snapshot| {
                let id = (stack.clone(), key.clone());
                let volume = snapshot.volumes.get(&id).ok_or_else(|| {
                    Status::not_found(format!(
                        "there is no volume {stack}/{key}: `gantry volume ls` shows those that are"
                    ))
                })?;
                let users = users_of(snapshot, &stack, &key);
                if !users.is_empty() {
                    let users = users.join(", ");
                    return Err(Refused(Status::failed_precondition(format!(
                        "{users} uses the volume {stack}/{key}"
                    ))));
                }
                let message =
                    format!("removal of the volume {stack}/{key} asked for by {} {}", by.role, by.name);
                let subject = stack.to_string();
                let mut changes = record_event(
                    snapshot,
                    now(),
                    Severity::Normal,
                    &subject,
                    None,
                    "VolumeRemoving",
                    message,
                );
                changes.push(if volume.node.is_none() || volume.external {
                    Change::Delete(Key::Volume(stack.clone(), key.clone()))
                } else {
                    let mut volume = volume.as_ref().clone();
                    volume.removing = true;
                    Change::Put(Record::Volume(Arc::new(volume)))
                });
                Ok((changes, ()))
            })
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

fn users_of(snapshot: &Snapshot, stack: &StackName, key: &str) -> Vec<String> {
    let uses =
        |source: &MountSource| matches!(source, MountSource::Volume { name: Some(name), .. } if name == key);
    snapshot
        .services_of(stack)
        .filter(|service| service.spec.container.mounts.iter().any(|mount| uses(&mount.source)))
        .map(|service| service.id.to_string())
        .collect()
}
