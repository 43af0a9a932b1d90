//! The scheduler's table, read into a [`Spec`].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use gantry_api::Invalid;
use gantry_api::node::v1 as wire;
use ipnet::IpNet;

use super::{
    Backend, Balance, Certificate, Endpoint, Filters, Group, HashOn, Listener, Policy, Protocol, Route, Spec,
    Target, UpstreamProtocol, UpstreamTls, VirtualAddress,
};

/// Reads what a table says of traffic.
pub fn read(table: &wire::Table) -> Result<Spec, Invalid> {
    let mut spec = Spec::default();
    for backend in &table.backends {
        let read = Backend {
            groups: groups(&backend.groups)?,
            policy: backend.policy.as_ref().map_or_else(|| Ok(Policy::default()), policy)?,
        };
        spec.backends.insert(backend.service.clone(), read);
    }
    for listener in &table.listeners {
        spec.listeners.push(read_listener(listener)?);
    }
    for route in &table.routes {
        spec.routes.push(read_route(route)?);
    }
    for address in &table.addresses {
        spec.addresses.push(VirtualAddress {
            address: ip4("addresses.address", &address.address)?,
            network: address.network.clone(),
            backend: address.service.clone(),
            groups: groups(&address.groups)?,
        });
    }
    spec.certificates = table
        .certificates
        .iter()
        .map(|certificate| Certificate {
            name: certificate.name.clone(),
            cert_pem: certificate.cert_pem.clone(),
            key_pem: certificate.key_pem.clone(),
        })
        .collect();
    Ok(spec)
}

fn read_listener(listener: &wire::Listener) -> Result<Listener, Invalid> {
    let address = match listener.address.as_str() {
        "" => None,
        text => Some(
            text.parse::<IpAddr>()
                .map_err(|_| Invalid::new("listeners.address", format!("is {text:?}, not an address")))?,
        ),
    };
    let target = match listener.service.as_str() {
        "" => None,
        service => Some(Target { backend: service.to_owned(), port: Some(port(listener.target_port)?) }),
    };
    Ok(Listener {
        address,
        port: port(listener.port)?,
        udp: listener.udp,
        protocol: match listener.protocol() {
            wire::ListenerProtocol::Unspecified => Protocol::Detect,
            wire::ListenerProtocol::Http => Protocol::Http,
            wire::ListenerProtocol::Tcp => Protocol::Tcp,
        },
        target,
        routed: listener.routed,
        tls: listener.tls,
        proxy_protocol_from: ranges("listeners.proxy_protocol_from", &listener.proxy_protocol_from)?,
        trusted_proxies: ranges("listeners.trusted_proxies", &listener.trusted_proxies)?,
        owner: listener.owner.clone(),
    })
}

fn read_route(route: &wire::Route) -> Result<Route, Invalid> {
    let filters = route.filters.clone().unwrap_or_default();
    Ok(Route {
        name: route.name.clone(),
        host: route.host.to_lowercase(),
        path: if route.path.is_empty() { "/".to_owned() } else { route.path.clone() },
        headers: route.headers.clone(),
        target: Target { backend: route.service.clone(), port: Some(port(route.target_port)?) },
        filters: Filters {
            strip_prefix: filters.strip_prefix,
            redirect_https: filters.redirect_https,
            request_headers: filters.request_headers,
            response_headers: filters.response_headers,
            max_body: filters.max_body,
            allow: ranges("routes.filters.allow", &filters.allow)?,
            deny: ranges("routes.filters.deny", &filters.deny)?,
            basic_auth: filters.basic_auth,
            rate: filters.rate,
            burst: filters.burst,
            compress: filters.compress,
            response_timeout: filters.response_timeout.map(duration),
        },
    })
}

fn groups(groups: &[wire::EndpointGroup]) -> Result<Vec<Group>, Invalid> {
    let endpoint = |endpoint: &wire::Endpoint| {
        Ok(Endpoint {
            name: endpoint.replica_id.clone(),
            address: SocketAddr::from((ip4("endpoints.address", &endpoint.address)?, 0)),
            weight: endpoint.weight.max(1),
            ready_for: endpoint.ready_for.map(duration).unwrap_or_default(),
        })
    };
    groups
        .iter()
        .map(|group| {
            Ok(Group {
                name: group.name.clone(),
                weight: group.weight,
                endpoints: group.endpoints.iter().map(endpoint).collect::<Result<_, _>>()?,
            })
        })
        .collect()
}

fn policy(policy: &wire::BackendPolicy) -> Result<Policy, Invalid> {
    let default = Policy::default();
    let or = |given: Option<prost_types::Duration>, default| given.map_or(default, duration);
    Ok(Policy {
        balance: match policy.balance() {
            wire::Balance::Unspecified | wire::Balance::LeastRequest => Balance::LeastRequest,
            wire::Balance::RoundRobin => Balance::RoundRobin,
            wire::Balance::Random => Balance::Random,
            wire::Balance::Hash => Balance::Hash,
        },
        hash_on: match policy.hash_on.as_ref().and_then(|on| on.part.clone()) {
            None => HashOn::Source,
            Some(wire::hash_on::Part::Header(name)) => HashOn::Header(name.to_lowercase()),
            Some(wire::hash_on::Part::Cookie(name)) => HashOn::Cookie(name),
        },
        sticky_cookie: (!policy.sticky_cookie.is_empty()).then(|| policy.sticky_cookie.clone()),
        connect_timeout: or(policy.connect_timeout, default.connect_timeout),
        response_timeout: or(policy.response_timeout, default.response_timeout),
        idle_timeout: or(policy.idle_timeout, default.idle_timeout),
        max_concurrency: policy.max_concurrency,
        queue_length: policy.queue_length.unwrap_or(default.queue_length),
        queue_timeout: or(policy.queue_timeout, default.queue_timeout),
        retry_percent: policy.retry_percent.unwrap_or(default.retry_percent),
        slow_start: or(policy.slow_start, default.slow_start),
        eject_after: policy.eject_after.unwrap_or(default.eject_after),
        eject_for: or(policy.eject_for, default.eject_for),
        protocol: match policy.protocol() {
            wire::UpstreamProtocol::Unspecified => UpstreamProtocol::Auto,
            wire::UpstreamProtocol::Http1 => UpstreamProtocol::Http1,
            wire::UpstreamProtocol::Http2 => UpstreamProtocol::Http2,
        },
        tls: policy.tls.as_ref().map(|tls| UpstreamTls {
            server_name: tls.server_name.clone(),
            ca_pem: tls.ca_pem.clone(),
            cert_pem: tls.cert_pem.clone(),
            key_pem: tls.key_pem.clone(),
        }),
        send_proxy_protocol: match policy.send_proxy_protocol {
            0 => 0,
            1 => 1,
            2 => 2,
            other => {
                return Err(Invalid::new("policy.send_proxy_protocol", format!("is {other}, not 0, 1 or 2")));
            }
        },
        drain_timeout: or(policy.drain_timeout, default.drain_timeout),
    })
}

fn duration(duration: prost_types::Duration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}

fn port(port: u32) -> Result<u16, Invalid> {
    u16::try_from(port)
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(|| Invalid::new("port", format!("is {port}, not a port")))
}

fn ip4(field: &str, text: &str) -> Result<Ipv4Addr, Invalid> {
    text.parse().map_err(|_| Invalid::new(field, format!("is {text:?}, not an IPv4 address")))
}

fn ranges(field: &str, texts: &[String]) -> Result<Vec<IpNet>, Invalid> {
    let range = |text: &String| {
        text.parse()
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map_err(|_| Invalid::new(field, format!("has {text:?}, which is not a range")))
    };
    texts.iter().map(range).collect()
}
