//! Routes by host and path, and the certificates for their hosts.

use std::collections::BTreeSet;

use gantry_api::node::v1::{Certificate, Route, RouteFilters};
use gantry_model::wire::write_duration;
use gantry_model::{RouteFilters as Filters, Service, Snapshot};

/// The routes of all services.
pub fn routes(snapshot: &Snapshot) -> Vec<Route> {
    let routes = services(snapshot).flat_map(|service| {
        service.spec.routes.iter().map(|route| Route {
            name: service.id.to_string(),
            host: route.host.clone(),
            path: route.path.clone(),
            headers: route.headers.clone(),
            service: service.id.to_string(),
            target_port: route.target.into(),
            filters: Some(filters(&route.filters)),
        })
    });
    routes.collect()
}

/// The certificates of all routes, each once.
pub fn certificates(snapshot: &Snapshot) -> Vec<Certificate> {
    let mut seen = BTreeSet::new();
    let mut certificates = Vec::new();
    for service in services(snapshot) {
        for certificate in service.spec.routes.iter().filter_map(|route| route.certificate.as_ref()) {
            if seen.insert((&certificate.cert_pem, &certificate.key_pem)) {
                certificates.push(Certificate {
                    name: format!("{} of {}", certificate.name, service.id),
                    cert_pem: certificate.cert_pem.clone(),
                    key_pem: certificate.key_pem.clone(),
                });
            }
        }
    }
    certificates
}

fn services(snapshot: &Snapshot) -> impl Iterator<Item = &Service> {
    snapshot.services.values().map(AsRef::as_ref).filter(|service: &&Service| !service.removing)
}

fn filters(filters: &Filters) -> RouteFilters {
    RouteFilters {
        strip_prefix: filters.strip_prefix,
        redirect_https: filters.redirect_https,
        request_headers: filters.request_headers.clone(),
        response_headers: filters.response_headers.clone(),
        max_body: filters.max_body,
        allow: filters.allow.iter().map(ToString::to_string).collect(),
        deny: filters.deny.iter().map(ToString::to_string).collect(),
        basic_auth: filters.basic_auth.clone(),
        rate: filters.rate,
        burst: filters.burst,
        compress: filters.compress,
        response_timeout: filters.timeout.map(write_duration),
    }
}
