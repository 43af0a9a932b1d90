//! Who answers for a service, and how proxies choose among them.

use std::net::IpAddr;
use std::time::Duration;

use gantry_api::node::v1::hash_on::Part;
use gantry_api::node::v1::{self as wire, Backend, BackendPolicy, Endpoint, EndpointGroup, ServiceAddress};
use gantry_model::wire::write_duration;
use gantry_model::{
    Autoscale, Balance, HashOn, NetworkMode, NodeId, Policy, Replica, Service, ServiceId, Snapshot,
    StackName, UpstreamProtocol,
};

use crate::decide::drain::DRAIN_TIMEOUT;
use crate::decide::overlay::entrance;

/// Requests wait this long for a service that wakes up, unless its file says otherwise: an image may have to
/// come first.
const WAKING: Duration = Duration::from_mins(1);

/// A service as the proxy on `node` sees it.
pub fn backend(snapshot: &Snapshot, node: &NodeId, id: &ServiceId) -> Option<Backend> {
    let service = snapshot.services.get(id)?;
    let mut policy = policy(&service.spec.policy);
    if policy.queue_timeout.is_none() && is_waking(snapshot, service) {
        policy.queue_timeout = Some(write_duration(WAKING));
    }
    Some(Backend {
        service: id.to_string(),
        groups: groups(snapshot, service, |replica| reached_at(snapshot, node, replica)),
        policy: Some(policy),
        asleep: service.sleeps(),
    })
}

/// Whether it sleeps, or wakes up: what waits for it then waits for a start, not for a place.
fn is_waking(snapshot: &Snapshot, service: &Service) -> bool {
    service.spec.autoscale.as_ref().is_some_and(Autoscale::may_sleep)
        && !snapshot.replicas_of(&service.id).any(|replica| snapshot.is_endpoint(replica))
}

/// The virtual addresses of a network, each with the replicas that are on it.
pub fn addresses(snapshot: &Snapshot, id: &(StackName, String)) -> Vec<ServiceAddress> {
    let Some(network) = snapshot.networks.get(id) else { return Vec::new() };
    let services = network.vips.iter().filter_map(|(name, address)| {
        let service = ServiceId::new(network.stack.clone(), name).ok()?;
        Some((snapshot.services.get(&service)?, address))
    });
    services
        .map(|(service, address)| ServiceAddress {
            address: address.to_string(),
            network: network.engine_name(),
            service: service.id.to_string(),
            groups: groups(snapshot, service, |replica| {
                replica.addresses.get(&network.key).map(ToString::to_string)
            }),
        })
        .collect()
}

/// One group of all that take traffic, by replica id (invariants 5 and 6).
fn groups(
    snapshot: &Snapshot,
    service: &Service,
    address: impl Fn(&Replica) -> Option<String>,
) -> Vec<EndpointGroup> {
    let mut endpoints: Vec<Endpoint> = snapshot
        .replicas_of(&service.id)
        .filter(|replica| snapshot.is_endpoint(replica))
        .filter_map(|replica| {
            Some(Endpoint {
                replica_id: replica.id.to_string(),
                address: address(replica)?,
                weight: 1,
                ready_for: None,
            })
        })
        .collect();
    endpoints.sort_by(|a, b| a.replica_id.cmp(&b.replica_id));
    vec![EndpointGroup { name: format!("revision {}", service.revision), weight: 1, endpoints }]
}

/// Where the proxy on `node` reaches a replica: on the network that every node has a part of, or at its node's
/// address if it has the network of its host.
fn reached_at(snapshot: &Snapshot, node: &NodeId, replica: &Replica) -> Option<String> {
    if let Some(address) = entrance(replica).and_then(|key| replica.addresses.get(key)) {
        return Some(address.to_string());
    }
    let template = &snapshot.revision_of(replica)?.template;
    if template.container.network_mode != NetworkMode::Host {
        return None;
    }
    let host = replica.node.as_ref()?;
    if host == node {
        return Some("127.0.0.1".to_owned());
    }
    let mut known = snapshot.nodes.get(host)?.addresses.iter();
    known.find(|address| address.parse::<IpAddr>().is_ok()).cloned()
}

fn policy(policy: &Policy) -> BackendPolicy {
    BackendPolicy {
        balance: match policy.balance {
            None => wire::Balance::Unspecified,
            Some(Balance::LeastRequest) => wire::Balance::LeastRequest,
            Some(Balance::RoundRobin) => wire::Balance::RoundRobin,
            Some(Balance::Random) => wire::Balance::Random,
            Some(Balance::Hash) => wire::Balance::Hash,
        }
        .into(),
        hash_on: match &policy.hash_on {
            None | Some(HashOn::Source) => None,
            Some(HashOn::Header(name)) => Some(wire::HashOn { part: Some(Part::Header(name.clone())) }),
            Some(HashOn::Cookie(name)) => Some(wire::HashOn { part: Some(Part::Cookie(name.clone())) }),
        },
        sticky_cookie: policy.sticky_cookie.clone().unwrap_or_default(),
        connect_timeout: policy.connect_timeout.map(write_duration),
        response_timeout: None,
        idle_timeout: policy.idle_timeout.map(write_duration),
        max_concurrency: policy.max_concurrency.unwrap_or_default(),
        queue_length: policy.queue_length,
        queue_timeout: policy.queue_timeout.map(write_duration),
        retry_percent: policy.retry_percent,
        slow_start: policy.slow_start.map(write_duration),
        eject_after: policy.eject_after,
        eject_for: policy.eject_for.map(write_duration),
        protocol: match policy.protocol {
            None => wire::UpstreamProtocol::Unspecified,
            Some(UpstreamProtocol::Http1) => wire::UpstreamProtocol::Http1,
            Some(UpstreamProtocol::Http2) => wire::UpstreamProtocol::Http2,
        }
        .into(),
        tls: None,
        send_proxy_protocol: 0,
        // The scheduler stops a replica after this time, so it is said in any case.
        drain_timeout: Some(write_duration(policy.drain_timeout.unwrap_or(DRAIN_TIMEOUT))),
    }
}
