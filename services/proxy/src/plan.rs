//! A [`Spec`] made ready for use: names resolved, certificates and headers parsed, routes in order.
//!
//! A plan is immutable and shared by all cores. What in a spec cannot be used is left out as a whole
//! and told; the rest goes on.

mod auth;
mod filters;
mod rate;
mod router;
mod site;

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

pub use filters::Filters;
pub use router::{Request, Router, Rule};
pub use site::{Place, Site};

use crate::spec::{Listener, Policy, Spec, Target};
use crate::tls::Certificates;

/// Everything that is served, ready for use.
#[derive(Default)]
pub struct Plan {
    /// Counts plans, from 1 up; 0 is the empty one.
    pub number: u64,
    /// What is served where.
    pub sites: HashMap<Place, Arc<Site>>,
    /// The endpoints and policies behind the sites, as they were given.
    pub spec: Arc<Spec>,
    /// Where rules lead; they name these by number.
    pub targets: Vec<Target>,
    /// Virtual addresses: the network, and where its entry stands in the spec.
    pub virtuals: HashMap<Ipv4Addr, usize>,
    /// Containers by address, with their networks: who may use which virtual address.
    pub members: HashMap<IpAddr, Vec<String>>,
}

impl Plan {
    /// Makes a plan of `spec`. Also answers what of it cannot be used.
    pub fn new(number: u64, spec: Spec, members: HashMap<IpAddr, Vec<String>>) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let (certificates, bad) = Certificates::read(&spec.certificates);
        problems.extend(bad);
        let certificates = Arc::new(certificates);
        let mut targets = Vec::new();
        let mut rules = Vec::new();
        for route in &spec.routes {
            if !spec.backends.contains_key(&route.target.backend) {
                problems.push(format!("route {}: there is no backend {}", route.name, route.target.backend));
                continue;
            }
            match Rule::new(route, slot(&mut targets, &route.target)) {
                Ok(rule) => rules.push(Arc::new(rule)),
                Err(problem) => problems.push(format!("route {}: {problem}", route.name)),
            }
        }
        let routed = Router::new(rules);
        let mut sites = HashMap::new();
        let mut taken = BTreeSet::new();
        for listener in &spec.listeners {
            let place = Place::of(listener);
            if !taken.insert(place) {
                problems.push(format!("{place}: {} wants a port that is taken", listener.owner));
                continue;
            }
            match site(listener, &spec, &routed, &certificates, &mut targets) {
                Ok(site) => drop(sites.insert(place, Arc::new(site))),
                Err(problem) => problems.push(format!("{place}: {problem}")),
            }
        }
        let virtuals = spec.addresses.iter().enumerate().map(|(at, address)| (address.address, at)).collect();
        (Self { number, sites, spec: Arc::new(spec), targets, virtuals, members }, problems)
    }

    /// The policy of a backend.
    pub fn policy(&self, target: &Target) -> Policy {
        self.spec.backends.get(&target.backend).map(|backend| backend.policy.clone()).unwrap_or_default()
    }
}

fn site(
    listener: &Listener,
    spec: &Spec,
    routed: &Router,
    certificates: &Arc<Certificates>,
    targets: &mut Vec<Target>,
) -> Result<Site, String> {
    if let Some(target) = &listener.target
        && !spec.backends.contains_key(&target.backend)
    {
        return Err(format!("there is no backend {}", target.backend));
    }
    let tls = if listener.tls { Some(certificates.server(listener.protocol)?) } else { None };
    let router = if listener.routed { routed.clone() } else { Router::default() };
    Ok(Site {
        protocol: listener.protocol,
        router: router.with_fallback(
            listener.target.clone().map(|target| Arc::new(Rule::plain(slot(targets, &target), target))),
        ),
        tls,
        port: listener.port,
        proxy_protocol_from: listener.proxy_protocol_from.clone(),
        trusted_proxies: listener.trusted_proxies.clone(),
        owner: listener.owner.clone(),
    })
}

/// The number of a target.
fn slot(targets: &mut Vec<Target>, target: &Target) -> usize {
    targets.iter().position(|known| known == target).unwrap_or_else(|| {
        targets.push(target.clone());
        targets.len() - 1
    })
}
