//! What only one service of the cluster can have: a port, and a route.

use std::fmt;

use gantry_model::{
    AppProtocol, Port, PublishMode, Route, Service, ServiceId, ServiceSpec, Snapshot, StackSpec,
};
use tonic::Status;

use crate::decide::{HTTP_PORT, HTTPS_PORT, published};

/// A port that a service wants for itself, or that its routes need.
struct Claim {
    service: ServiceId,
    port: Port,
    for_routes: bool,
}

impl Claim {
    fn contradicts(&self, other: &Self) -> bool {
        let shared = match (self.for_routes, other.for_routes) {
            (true, true) => true,
            (true, false) => other.can_be_routed(),
            (false, true) => self.can_be_routed(),
            (false, false) => false,
        };
        !shared && self.port.collides(&other.port)
    }

    /// Whether routes may be served on it too: what no route wants goes to the service that publishes it.
    fn can_be_routed(&self) -> bool {
        self.port.published == Some(HTTP_PORT)
            && self.port.mode == PublishMode::Ingress
            && self.port.host_ip.is_none()
            && self.port.app_protocol != Some(AppProtocol::Tcp)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, name) =
            if self.for_routes { ("the routes of", "need") } else { ("the service", "publishes") };
        write!(f, "{what} {} {name}", self.service.name())
    }
}

/// Refuses what another service has already, by its name.
pub fn check(snapshot: &Snapshot, spec: &StackSpec) -> Result<(), Status> {
    let own: Vec<(ServiceId, &ServiceSpec)> = spec
        .services
        .iter()
        .filter_map(|(name, service)| Some((ServiceId::new(spec.name.clone(), name).ok()?, service)))
        .collect();
    let others: Vec<&Service> = snapshot
        .services
        .values()
        .map(AsRef::as_ref)
        .filter(|service: &&Service| service.id.stack() != &spec.name && !service.removing)
        .collect();
    check_ports(snapshot, &own, &others)?;
    check_routes(&own, &others)
}

fn check_ports(
    snapshot: &Snapshot,
    own: &[(ServiceId, &ServiceSpec)],
    others: &[&Service],
) -> Result<(), Status> {
    let wanted: Vec<Claim> = own.iter().flat_map(|(id, spec)| claims_of_spec(snapshot, id, spec)).collect();
    for (at, claim) in wanted.iter().enumerate() {
        let number = format!("{}/{}", claim.port.published.unwrap_or_default(), claim.port.protocol);
        if let Some(other) = wanted[at + 1..].iter().find(|other| claim.contradicts(other)) {
            return Err(Status::invalid_argument(if claim.for_routes || other.for_routes {
                format!("{claim} port {number}, and {other} it too: publish another")
            } else {
                let (one, other) = (claim.service.name(), other.service.name());
                if one == other {
                    format!("the service {one} publishes port {number} twice: leave one out")
                } else {
                    format!(
                        "the services {one} and {other} both publish port {number}: give one of them another"
                    )
                }
            }));
        }
        for held in others.iter().flat_map(|other| claims(&other.id, &other.spec, published(other))) {
            if claim.contradicts(&held) {
                let has = if held.for_routes { "needs for its routes" } else { "has already" };
                return Err(Status::failed_precondition(format!(
                    "{claim} port {number}, which {} {has}: publish another",
                    held.service
                )));
            }
        }
    }
    Ok(())
}

/// The claims of a spec, with the ports that were chosen for its service before.
fn claims_of_spec(snapshot: &Snapshot, id: &ServiceId, spec: &ServiceSpec) -> Vec<Claim> {
    let chosen = snapshot.services.get(id).map(|service| &service.assigned_ports);
    let ports = spec.ports.iter().map(|port| {
        let number = chosen.and_then(|chosen| chosen.get(&port.to_string())).copied();
        let number = number.filter(|_| port.mode == PublishMode::Ingress);
        Port { published: port.published.or(number), ..port.clone() }
    });
    claims(id, spec, ports)
}

fn claims(id: &ServiceId, spec: &ServiceSpec, ports: impl Iterator<Item = Port>) -> Vec<Claim> {
    let claim = |port: Port, for_routes| Claim { service: id.clone(), port, for_routes };
    let mut claims: Vec<Claim> = ports.map(|port| claim(port, false)).collect();
    if !spec.routes.is_empty() {
        claims.push(claim(Port::new(HTTP_PORT, Some(HTTP_PORT)), true));
    }
    if spec.routes.iter().any(|route| route.certificate.is_some()) {
        claims.push(claim(Port::new(HTTPS_PORT, Some(HTTPS_PORT)), true));
    }
    claims
}

fn check_routes(own: &[(ServiceId, &ServiceSpec)], others: &[&Service]) -> Result<(), Status> {
    let wanted: Vec<(&ServiceId, &Route)> =
        own.iter().flat_map(|(id, spec)| spec.routes.iter().map(move |route| (id, route))).collect();
    for (at, (id, route)) in wanted.iter().enumerate() {
        if let Some((other, _)) = wanted[at + 1..].iter().find(|(_, other)| route.is_same_as(other)) {
            let (one, other) = (id.name(), other.name());
            return Err(Status::invalid_argument(if one == other {
                format!("the service {one} has the route {route} twice: leave one out")
            } else {
                format!(
                    "the services {one} and {other} both have the route {route}: give one of them another"
                )
            }));
        }
        let held = others.iter().find(|other| other.spec.routes.iter().any(|held| route.is_same_as(held)));
        if let Some(other) = held {
            return Err(Status::failed_precondition(format!(
                "{} has the route {route}, which {} has already: give it another host or path",
                id.name(),
                other.id
            )));
        }
    }
    Ok(())
}
