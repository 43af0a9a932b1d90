//! The ports that every proxy opens.

use std::collections::BTreeMap;

use gantry_api::node::v1::{Listener, ListenerProtocol};
use gantry_model::{AppProtocol, Port, Protocol, Service, Snapshot};

/// Where routes are served.
pub const HTTP_PORT: u16 = 80;
/// Where routes are served to clients that speak TLS.
pub const HTTPS_PORT: u16 = 443;

/// The published ports of all services, and the ports of routes. A service that is stopped is not
/// listened for, so that its clients learn of it at once.
pub fn listeners(snapshot: &Snapshot, has_routes: bool, has_certificates: bool) -> Vec<Listener> {
    let mut listeners: BTreeMap<(u16, bool, String), Listener> = BTreeMap::new();
    for service in snapshot.services.values().filter(|service| !service.removing && !service.stopped) {
        for port in service.ingress_ports() {
            if let Some(listener) = published(service, &port) {
                let key = (port.published.unwrap_or_default(), listener.udp, listener.address.clone());
                // Admission refuses two of one port; if there are, the first one by name has it.
                listeners.entry(key).or_insert(listener);
            }
        }
    }
    if has_routes {
        let listener = listeners
            .entry((HTTP_PORT, false, String::new()))
            .or_insert_with(|| Listener { protocol: ListenerProtocol::Http.into(), ..for_routes(HTTP_PORT) });
        // A service that publishes this port gets what no route wants.
        listener.routed = true;
    }
    if has_certificates {
        let key = (HTTPS_PORT, false, String::new());
        listeners.entry(key).or_insert_with(|| Listener { tls: true, ..for_routes(HTTPS_PORT) });
    }
    listeners.into_values().collect()
}

fn published(service: &Service, port: &Port) -> Option<Listener> {
    Some(Listener {
        address: port.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        port: port.published?.into(),
        udp: port.protocol == Protocol::Udp,
        protocol: match port.app_protocol {
            None => ListenerProtocol::Unspecified,
            Some(AppProtocol::Http | AppProtocol::Http2 | AppProtocol::Grpc) => ListenerProtocol::Http,
            Some(AppProtocol::Tcp) => ListenerProtocol::Tcp,
        }
        .into(),
        service: service.id.to_string(),
        target_port: port.target.into(),
        owner: service.id.to_string(),
        ..Listener::default()
    })
}

fn for_routes(port: u16) -> Listener {
    Listener {
        port: port.into(),
        protocol: ListenerProtocol::Http.into(),
        routed: true,
        owner: "routes".to_owned(),
        ..Listener::default()
    }
}
