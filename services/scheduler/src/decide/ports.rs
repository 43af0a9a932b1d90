//! Ports for services that leave the choice to Gantry.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use gantry_model::{Port, PublishMode, Service, Snapshot};
use sha2::{Digest, Sha256};

use super::action::Action;
use super::plan::Plan;

/// From where ports are chosen: below the range that kernels give to outgoing connections.
const RANGE: RangeInclusive<u16> = 30_000..=32_767;

/// Gives every published port that names no number one of its own, which it keeps.
pub fn choose(plan: &mut Plan) {
    for service in plan.services() {
        if service.removing {
            continue;
        }
        let ports = chosen(&plan.working, &service);
        if ports != service.assigned_ports {
            plan.push(Action::AssignPorts { service: service.id.clone(), ports });
        }
    }
}

fn chosen(snapshot: &Snapshot, service: &Service) -> BTreeMap<String, u16> {
    let mut ports = BTreeMap::new();
    for port in service.spec.ingress_ports().filter(|port| port.published.is_none()) {
        let name = port.to_string();
        let number = match service.assigned_ports.get(&name) {
            Some(number) => Some(*number),
            None => {
                let own: Vec<u16> = ports.values().chain(service.assigned_ports.values()).copied().collect();
                free(snapshot, service, port).find(|number| !own.contains(number))
            }
        };
        if let Some(number) = number {
            ports.insert(name, number);
        }
    }
    ports
}

/// The ports that nobody has, beginning at one that depends on the service's name only.
fn free(snapshot: &Snapshot, service: &Service, port: &Port) -> impl Iterator<Item = u16> {
    let taken: Vec<Port> = snapshot.services.values().flat_map(|service| published(service)).collect();
    let digest = Sha256::digest(format!("{} {port}", service.id));
    let count = RANGE.end() - RANGE.start() + 1;
    let start = u16::from_be_bytes([digest[0], digest[1]]) % count;
    let wanted = Port { host_ip: None, ..port.clone() };
    (0..count).map(move |step| RANGE.start() + (start + step) % count).filter(move |number| {
        let candidate = Port { published: Some(*number), ..wanted.clone() };
        !taken.iter().any(|held| held.collides(&candidate))
    })
}

/// All ports of nodes that lead to a service, with the chosen ones.
pub fn published(service: &Service) -> impl Iterator<Item = Port> {
    let of_hosts = service.spec.ports.iter().filter(|port| port.mode == PublishMode::Host).cloned();
    service.ingress_ports().chain(of_hosts)
}
