//! What each node's proxy serves: names, ports, routes, addresses of services, and who answers.

mod backends;
mod everywhere;
mod listeners;
mod names;
mod routes;

use std::collections::BTreeSet;

use gantry_api::node::v1::{ServiceAddress, Table};
use gantry_model::{NodeId, ServiceId, Snapshot, StackName, wire};

pub use everywhere::{Everywhere, everywhere};
pub use listeners::{HTTP_PORT, HTTPS_PORT};

/// The table for the proxy on `node`: the published ports and the routes of the whole cluster, and of
/// every network that has a replica there the names, the addresses of its services, and who may ask.
pub fn table(snapshot: &Snapshot, node: &NodeId) -> Table {
    let mut networks: BTreeSet<(StackName, String)> = BTreeSet::new();
    let mut askers = Vec::new();
    for replica in snapshot.replicas_on(node) {
        let stack = replica.service.stack();
        networks.extend(replica.addresses.keys().map(|key| (stack.clone(), key.clone())));
        askers.extend(names::asker(snapshot, replica));
    }
    let zones = networks.iter().filter_map(|network| names::zone(snapshot, node, network)).collect();
    let addresses: Vec<ServiceAddress> =
        networks.iter().flat_map(|network| backends::addresses(snapshot, network)).collect();
    let routes = routes::routes(snapshot);
    let certificates = routes::certificates(snapshot);
    let listeners = listeners::listeners(snapshot, !routes.is_empty(), !certificates.is_empty());
    let named = addresses
        .iter()
        .map(|address| &address.service)
        .chain(routes.iter().map(|route| &route.service))
        .chain(listeners.iter().map(|listener| &listener.service));
    let services: BTreeSet<ServiceId> = named.filter_map(|name| name.parse().ok()).collect();
    let backends = services.iter().filter_map(|service| backends::backend(snapshot, node, service)).collect();
    Table {
        version: Some(wire::write_table_version(snapshot.table_version())),
        cluster_id: snapshot.cluster.id.to_string(),
        zones,
        askers,
        backends,
        listeners,
        routes,
        addresses,
        certificates,
        cookie_secret: snapshot.cluster.cookie_secret.0.clone(),
    }
}

#[cfg(test)]
mod tests;
