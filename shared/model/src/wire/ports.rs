//! Ports of a host that lead to a container.

use std::net::Ipv4Addr;

use gantry_api::Invalid;
use gantry_api::agent::v1 as wire;

use super::parts::{bounded, some_number};
use crate::port::{Port, Protocol, PublishMode};

/// Reads ports of a host that lead to a container.
pub fn read_ports(ports: &[wire::PortBinding]) -> Result<Vec<Port>, Invalid> {
    bounded("ports", ports)?;
    ports
        .iter()
        .map(|port| {
            read_port(port.container_port, port.host_port, &port.protocol, &port.host_ip)
                .map_err(|problem| problem.within("ports"))
        })
        .collect()
}

/// Reads a port of the engine.
pub(super) fn read_port(target: u32, published: u32, protocol: &str, host_ip: &str) -> Result<Port, Invalid> {
    let port = |field: &str, number: u32| {
        u16::try_from(number).map_err(|_| Invalid::new(field, format!("is {number}; ports go up to 65535")))
    };
    let target = port("target", target)?;
    if target == 0 {
        return Err(Invalid::missing("target"));
    }
    Ok(Port {
        target,
        published: some_number(port("published", published)?),
        protocol: match protocol {
            "" | "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            other => return Err(Invalid::new("protocol", format!("is {other:?}; use tcp, udp or sctp"))),
        },
        host_ip: match host_ip {
            "" | "0.0.0.0" | "::" => None,
            address => Some(
                address
                    .parse::<Ipv4Addr>()
                    .map_err(|_| Invalid::new("host_ip", format!("is {address:?}; give an IPv4 address")))?,
            ),
        },
        mode: PublishMode::default(),
        app_protocol: None,
    })
}

/// Writes ports of a host that lead to a container.
pub fn write_ports(ports: &[Port]) -> Vec<wire::PortBinding> {
    ports
        .iter()
        .map(|port| wire::PortBinding {
            container_port: port.target.into(),
            protocol: port.protocol.to_string(),
            host_port: port.published.unwrap_or_default().into(),
            host_ip: port.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_above_65535_is_refused() {
        assert!(read_port(70_000, 0, "tcp", "").is_err());
        assert!(read_port(0, 80, "tcp", "").is_err());
        assert_eq!(read_port(80, 8080, "", "").unwrap().to_string(), "8080->80/tcp");
    }
}
