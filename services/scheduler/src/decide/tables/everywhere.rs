//! What all proxies together are told to serve, without who answers.

use gantry_api::node::v1::{Listener, Route, ServiceAddress};
use gantry_model::Snapshot;

use super::{backends, listeners, routes};

/// What all proxies together serve: each has all listeners and routes, and the addresses of the networks
/// that it has replicas on.
pub struct Everywhere {
    /// The ports.
    pub listeners: Vec<Listener>,
    /// The routes.
    pub routes: Vec<Route>,
    /// The addresses of services, on every network.
    pub addresses: Vec<ServiceAddress>,
}

/// What all proxies together are told to serve.
pub fn everywhere(snapshot: &Snapshot) -> Everywhere {
    let routes = routes::routes(snapshot);
    let has_certificates = !routes::certificates(snapshot).is_empty();
    Everywhere {
        listeners: listeners::listeners(snapshot, !routes.is_empty(), has_certificates),
        addresses: snapshot
            .networks
            .keys()
            .flat_map(|network| backends::addresses(snapshot, network))
            .collect(),
        routes,
    }
}
