//! What makes certificates: the CA, and what the cluster's members are told of it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gantry_identity::{Authority, Fingerprint, Grant, Identity, Role};
use gantry_model::{ClusterId, Snapshot};
use tonic::Status;

/// Addresses of nodes that members are told as places where the scheduler may be one day.
const PLACES: usize = 24;

/// The CA and how it is used. Clones share it.
#[derive(Clone)]
pub struct Office {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: ClusterId,
    authority: Option<Authority>,
    addresses: Vec<String>,
    port: u16,
    redirect_port: u16,
    lifetime: Duration,
}

impl Office {
    /// The office of `cluster`, whose CA lies in `folder`. The scheduler is reached at `addresses`, and
    /// listens on `port`; certificates are made for `lifetime`.
    pub fn open(
        cluster: ClusterId,
        folder: &Path,
        addresses: Vec<String>,
        port: u16,
        redirect_port: u16,
        lifetime: Duration,
    ) -> Self {
        let read = |name: &str| std::fs::read_to_string(folder.join(name));
        let authority = match (read("ca.pem"), read("ca.key")) {
            (Ok(certificate), Ok(key)) => match Authority::load(&certificate, &key) {
                Ok(authority) => Some(authority),
                Err(error) => {
                    let error = gantry_boot::chain(&error);
                    tracing::error!(error, "cannot use the CA; no certificates are made");
                    None
                }
            },
            _ => {
                tracing::warn!(folder = %folder.display(), "the CA is not here; no certificates are made");
                None
            }
        };
        Self { inner: Arc::new(Inner { cluster, authority, addresses, port, redirect_port, lifetime }) }
    }

    /// The CA.
    pub fn authority(&self) -> Result<&Authority, Status> {
        self.inner.authority.as_ref().ok_or_else(|| {
            Status::failed_precondition(
                "this scheduler has no CA, so it makes no certificates: its folder must hold ca/ca.pem and ca/ca.key",
            )
        })
    }

    /// The CA's fingerprint.
    pub fn fingerprint(&self) -> Result<Fingerprint, Status> {
        Fingerprint::of_pem(self.authority()?.certificate())
            .map_err(|error| Status::internal(error.to_string()))
    }

    /// Signs a request for a member.
    pub fn sign(&self, request: &str, role: Role, name: &str, hosts: Vec<String>) -> Result<String, Status> {
        let identity = Identity { cluster: self.inner.cluster.clone(), role, name: name.to_owned() };
        let grant = Grant { identity, hosts, from: SystemTime::now(), lifetime: self.inner.lifetime };
        self.authority()?
            .sign(request, &grant)
            .map_err(|error| Status::invalid_argument(gantry_boot::chain(&error)))
    }

    /// How long certificates are good.
    pub fn lifetime(&self) -> Duration {
        self.inner.lifetime
    }

    /// Where the scheduler is reached.
    pub fn addresses(&self) -> &[String] {
        &self.inner.addresses
    }

    /// The port at which every node's proxy takes connections to service addresses.
    pub fn redirect_port(&self) -> u16 {
        self.inner.redirect_port
    }

    /// Where members look for a scheduler.
    pub fn places(&self, snapshot: &Snapshot) -> Vec<String> {
        scheduler_addresses(&self.inner.addresses, self.inner.port, snapshot)
    }
}

/// Where members look for a scheduler: at its `own` addresses, then at every node, where it may be
/// restored some day. A cluster for one machine only has no addresses.
pub fn scheduler_addresses(own: &[String], port: u16, snapshot: &Snapshot) -> Vec<String> {
    let mut places = own.to_vec();
    if own.is_empty() {
        return places;
    }
    let mut nodes: Vec<_> = snapshot.nodes.values().collect();
    nodes.sort_by(|a, b| (a.joined_at, &a.id).cmp(&(b.joined_at, &b.id)));
    for ip in nodes.iter().filter_map(|node| node.addresses.first()).take(PLACES) {
        let place = if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gantry_model::{Change, Record, Timestamp};
    use gantry_testkit::World;

    use super::*;

    #[test]
    fn a_scheduler_is_looked_for_where_it_is_and_then_at_every_node() {
        let mut snapshot = World::new(Timestamp::from_millis(1)).node("n1").node("n2").snapshot;
        for (id, address) in [("n1", "192.0.2.1"), ("n2", "2001:db8::2")] {
            let id = gantry_model::NodeId::new(id).unwrap();
            let mut node = snapshot.nodes[&id].as_ref().clone();
            node.addresses = vec![address.into()];
            snapshot.apply(&Change::Put(Record::Node(Arc::new(node))));
        }
        let own = vec!["192.0.2.1:7070".to_owned()];
        let places = scheduler_addresses(&own, 7070, &snapshot);
        assert_eq!(places, ["192.0.2.1:7070", "[2001:db8::2]:7070"]);
        assert!(scheduler_addresses(&[], 7070, &snapshot).is_empty());
    }
}
