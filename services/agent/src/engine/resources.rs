//! Volumes and networks.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    Ipam, IpamConfig, Network, NetworkCreateRequest, NetworkInspect, Volume, VolumeCreateRequest,
};
use bollard::query_parameters::{
    InspectNetworkOptions, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder,
};
use gantry_api::agent::v1 as wire;

use super::Engine;
use super::containers::{Filters, filters};
use super::error::{Error, Kind, Result};
use super::inspect::parse_time;

/// A network to make.
#[derive(Debug, Clone, Default)]
pub struct NetworkWanted {
    /// Its name.
    pub name: String,
    /// Its driver; empty is `bridge`.
    pub driver: String,
    /// Its range; empty lets the engine choose.
    pub subnet: String,
    /// The host's address in it; empty lets the engine choose.
    pub gateway: String,
    /// The part that the engine gives addresses from; empty is all.
    pub ip_range: String,
    /// Has no way out.
    pub internal: bool,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

fn map(map: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then(|| map.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl Engine {
    /// Makes a volume, or answers with the one of that name.
    pub async fn create_volume(
        &self,
        name: &str,
        driver: &str,
        options: &BTreeMap<String, String>,
        labels: &BTreeMap<String, String>,
    ) -> Result<wire::Volume> {
        let request = VolumeCreateRequest {
            name: text(name),
            driver: text(driver),
            driver_opts: map(options),
            labels: map(labels),
            ..VolumeCreateRequest::default()
        };
        Ok(volume(self.docker.create_volume(request).await?))
    }

    /// The host's volumes by name.
    pub async fn volumes(&self, wanted: &Filters) -> Result<Vec<wire::Volume>> {
        let mut options = ListVolumesOptionsBuilder::new();
        if !wanted.is_empty() {
            options = options.filters(&filters(wanted));
        }
        let list = self.docker.list_volumes(Some(options.build())).await?;
        let mut volumes: Vec<_> = list.volumes.unwrap_or_default().into_iter().map(volume).collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// One volume.
    pub async fn volume(&self, name: &str) -> Result<wire::Volume> {
        Ok(volume(self.docker.inspect_volume(name).await?))
    }

    /// Deletes a volume and what is in it.
    pub async fn remove_volume(&self, name: &str, force: bool) -> Result<()> {
        let options = RemoveVolumeOptionsBuilder::new().force(force).build();
        Ok(self.docker.remove_volume(name, Some(options)).await?)
    }

    /// Makes a network.
    pub async fn create_network(&self, wanted: &NetworkWanted) -> Result<String> {
        let range = IpamConfig {
            subnet: text(&wanted.subnet),
            gateway: text(&wanted.gateway),
            ip_range: text(&wanted.ip_range),
            auxiliary_addresses: None,
        };
        let request = NetworkCreateRequest {
            name: wanted.name.clone(),
            driver: Some(text(&wanted.driver).unwrap_or_else(|| "bridge".to_owned())),
            internal: Some(wanted.internal),
            ipam: (range != IpamConfig::default())
                .then(|| Ipam { config: Some(vec![range]), ..Ipam::default() }),
            options: map(&wanted.options),
            labels: map(&wanted.labels),
            ..NetworkCreateRequest::default()
        };
        // Two networks may share a name on the engine, which nobody wants.
        if self.find_network(&wanted.name).await?.is_some() {
            return Err(Error::new(
                Kind::AlreadyExists,
                format!("network with name {} already exists", wanted.name),
            ));
        }
        Ok(self.docker.create_network(request).await?.id)
    }

    /// The host's networks by name.
    pub async fn networks(&self, wanted: &Filters) -> Result<Vec<wire::Network>> {
        let mut options = ListNetworksOptionsBuilder::new();
        if !wanted.is_empty() {
            options = options.filters(&filters(wanted));
        }
        let list = self.docker.list_networks(Some(options.build())).await?;
        let mut networks: Vec<_> = list.into_iter().map(network).collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    /// One network, with the containers in it.
    pub async fn network(&self, id: &str) -> Result<wire::Network> {
        Ok(inspected(self.docker.inspect_network(id, None::<InspectNetworkOptions>).await?))
    }

    /// One network; `None` if it is not there.
    pub async fn find_network(&self, id: &str) -> Result<Option<wire::Network>> {
        match self.network(id).await {
            Ok(network) => Ok(Some(network)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes a network that nobody uses.
    pub async fn remove_network(&self, id: &str) -> Result<()> {
        Ok(self.docker.remove_network(id).await?)
    }
}

fn volume(volume: Volume) -> wire::Volume {
    wire::Volume {
        name: volume.name,
        driver: volume.driver,
        mountpoint: volume.mountpoint,
        options: volume.options.into_iter().collect(),
        labels: volume.labels.into_iter().collect(),
        created_at: volume.created_at.as_deref().and_then(parse_time),
    }
}

fn network(network: Network) -> wire::Network {
    let range =
        network.ipam.and_then(|ipam| ipam.config).and_then(|mut ranges| ranges.pop()).unwrap_or_default();
    wire::Network {
        id: network.id.unwrap_or_default(),
        name: network.name.unwrap_or_default(),
        driver: network.driver.unwrap_or_default(),
        subnet: range.subnet.unwrap_or_default(),
        gateway: range.gateway.unwrap_or_default(),
        internal: network.internal.unwrap_or_default(),
        labels: network.labels.unwrap_or_default().into_iter().collect(),
        options: network.options.unwrap_or_default().into_iter().collect(),
        containers: Vec::new(),
    }
}

fn inspected(inspect: NetworkInspect) -> wire::Network {
    let mut containers: Vec<String> = inspect.containers.unwrap_or_default().into_keys().collect();
    containers.sort();
    let plain = Network {
        name: inspect.name,
        id: inspect.id,
        driver: inspect.driver,
        ipam: inspect.ipam,
        internal: inspect.internal,
        options: inspect.options,
        labels: inspect.labels,
        ..Network::default()
    };
    wire::Network { containers, ..network(plain) }
}
