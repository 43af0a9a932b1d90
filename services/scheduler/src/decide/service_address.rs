//! The addresses of services: virtual ones, which lead to the proxy, and those that replicas inherit.
//!
//! Virtual addresses come from the last part of the cluster's pool, where no network lies, so that one
//! rule of the firewall leads all of them to the proxy. Where the search for a free one begins depends
//! on the service's incarnation: a later service of the same name does not get the same address, which
//! somebody may still remember.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use gantry_model::{Cluster, Ipv4Net, Network, Reached, Service, ServiceId, Snapshot};
use sha2::{Digest, Sha256};

use super::action::Action;
use super::plan::Plan;

/// The part of the pool for virtual addresses; `None` where the pool is too small for one.
pub fn vip_range(cluster: &Cluster) -> Option<Ipv4Net> {
    let length = cluster.pool.prefix_len() + 5;
    if cluster.prefix <= cluster.pool.prefix_len() || length > 29 {
        return None;
    }
    Ipv4Net::new(cluster.pool.broadcast(), length).ok().map(|range| range.trunc())
}

/// Gives each service its address on each network where it is to have one.
pub fn give(plan: &mut Plan) {
    let mut used = None;
    for service in plan.services().into_iter().filter(|service| !service.removing) {
        for key in service.spec.network_keys() {
            let id = (service.id.stack().clone(), key);
            let Some(network) = plan.working.networks.get(&id).cloned() else { continue };
            if network.vips.contains_key(service.id.name()) || !is_virtual(&service, &network) {
                continue;
            }
            let used = used.get_or_insert_with(|| in_use(&plan.working));
            if let Some(address) = allocate(plan, &service, &network, used) {
                used.insert(address);
                let (stack, key) = id;
                plan.push(Action::GiveAddress { stack, key, service: service.id.clone(), address });
            }
        }
    }
}

/// Takes back the addresses of services that are gone, or that are reached in another way now.
pub fn release(plan: &mut Plan) {
    let networks: Vec<Arc<Network>> = plan.working.networks.values().cloned().collect();
    for network in networks {
        let keeps = |name: &String, test: fn(&Service, &Network) -> bool| {
            let id = ServiceId::new(network.stack.clone(), name).ok();
            id.and_then(|id| plan.working.services.get(&id)).is_some_and(|service| test(service, &network))
        };
        let vips = network.vips.keys().filter(|name| !keeps(name, is_virtual));
        let fixed = network.fixed.keys().filter(|name| !keeps(name, is_direct));
        let mut names: Vec<String> = vips.chain(fixed).cloned().collect();
        names.dedup();
        for service in names {
            let (stack, key) = (network.stack.clone(), network.key.clone());
            plan.push(Action::ReleaseAddress { stack, key, service });
        }
    }
}

/// Whether a service has a virtual address on a network. One that was given stays when the service
/// becomes smaller: somebody may have resolved it.
pub fn is_virtual(service: &Service, network: &Network) -> bool {
    if !service.spec.network_keys().contains(&network.key) {
        return false;
    }
    let has = network.vips.contains_key(service.id.name());
    match service.reached() {
        Reached::Virtually => true,
        Reached::Directly => has,
        Reached::InRotation => false,
    }
}

/// Whether a service's replica inherits its address on a network from the one before.
pub fn is_direct(service: &Service, network: &Network) -> bool {
    service.reached() == Reached::Directly
        && service.spec.network_keys().contains(&network.key)
        && !is_virtual(service, network)
}

fn in_use(snapshot: &Snapshot) -> HashSet<Ipv4Addr> {
    snapshot.networks.values().flat_map(|network| network.vips.values().copied()).collect()
}

fn allocate(plan: &Plan, service: &Service, network: &Network, used: &HashSet<Ipv4Addr>) -> Option<Ipv4Addr> {
    let range = vip_range(&plan.working.cluster)?;
    // The first and the last address of a range mean something else to some programs.
    let count = (1_u32 << (32 - range.prefix_len())) - 2;
    let first = u32::from(range.network()) + 1;
    let digest = Sha256::digest(format!("{}\0{}\0{}", service.id, service.incarnation, network.key));
    let start = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) % count;
    (0..count).map(|step| Ipv4Addr::from(first + (start + step) % count)).find(|address| {
        let rests = || {
            let mut networks = plan.working.networks.values();
            networks.any(|network| {
                network.cooling.iter().any(|(resting, until)| resting == address && *until > plan.now)
                    || network.subnet.contains(address)
            })
        };
        !used.contains(address) && !rests()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_addresses_are_the_last_part_of_the_pool() {
        let mut cluster = gantry_testkit::World::new(Default::default()).snapshot.cluster.as_ref().clone();
        assert_eq!(vip_range(&cluster).unwrap().to_string(), "10.223.0.0/16");
        (cluster.pool, cluster.prefix) = ("10.9.0.0/24".parse().unwrap(), 27);
        assert_eq!(vip_range(&cluster).unwrap().to_string(), "10.9.0.248/29");
        (cluster.pool, cluster.prefix) = ("10.9.0.0/27".parse().unwrap(), 27);
        assert_eq!(vip_range(&cluster), None);
    }
}
