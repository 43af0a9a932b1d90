//! A stack's networks and volumes: made once, and never changed while they are there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gantry_api::cluster::v1::ChangeAction;
use gantry_model::{
    Change, Network, NetworkSpec, Record, ServiceSpec, Snapshot, StackSpec, Volume, VolumeSpec,
};
use ipnet::Ipv4Net;
use tonic::Status;

use super::Admission;
use crate::decide::{Pool, SMALLEST_PREFIX, vip_range};

/// Gives each network that is used, and new, a range and a number.
pub fn networks(snapshot: &Snapshot, spec: &StackSpec, admission: &mut Admission) -> Result<(), Status> {
    let used: BTreeSet<String> = spec.services.values().flat_map(ServiceSpec::network_keys).collect();
    let (mut ranges, mut numbers): (Vec<Ipv4Net>, Vec<u32>) = (Vec::new(), Vec::new());
    for key in used {
        let wanted = spec.networks.get(&key).cloned().unwrap_or_default();
        if let Some(known) = snapshot.networks.get(&(spec.name.clone(), key.clone())) {
            same_network(known, &wanted)?;
            continue;
        }
        let pool = Pool(snapshot);
        let subnet = match wanted.subnet {
            Some(subnet) => check_subnet(snapshot, &key, subnet, &ranges)?,
            None => pool.next(&ranges).map_err(|full| Status::resource_exhausted(full.to_string()))?,
        };
        let vni = pool.next_vni(&numbers);
        ranges.push(subnet);
        numbers.push(vni);
        admission.plan(
            ChangeAction::Create,
            "network",
            &format!("{}/{key}", spec.name),
            vec![format!("range {subnet}")],
        );
        admission.changes.push(Change::Put(Record::Network(Arc::new(Network {
            stack: spec.name.clone(),
            key,
            vni,
            subnet,
            internal: wanted.internal,
            labels: wanted.labels,
            nodes: BTreeMap::new(),
            cursor: 0,
            cooling: Vec::new(),
            vips: BTreeMap::new(),
            fixed: BTreeMap::new(),
        }))));
    }
    Ok(())
}

fn check_subnet(
    snapshot: &Snapshot,
    key: &str,
    subnet: Ipv4Net,
    taken: &[Ipv4Net],
) -> Result<Ipv4Net, Status> {
    let subnet = subnet.trunc();
    if subnet.prefix_len() > SMALLEST_PREFIX {
        return Err(Status::invalid_argument(format!(
            "the network {key} has the range {subnet}, which is too small: give a /{SMALLEST_PREFIX} or larger"
        )));
    }
    let overlaps = |other: &Ipv4Net| other.contains(&subnet) || subnet.contains(other);
    if let Some(other) = snapshot.networks.values().find(|network| overlaps(&network.subnet)) {
        return Err(Status::failed_precondition(format!(
            "the network {key} has the range {subnet}, which overlaps {} of {}/{}",
            other.subnet, other.stack, other.key
        )));
    }
    if let Some(range) = vip_range(&snapshot.cluster).filter(overlaps) {
        return Err(Status::failed_precondition(format!(
            "the network {key} has the range {subnet}, which overlaps {range}, the addresses of services"
        )));
    }
    if let Some(other) = taken.iter().find(|other| overlaps(other)) {
        return Err(Status::invalid_argument(format!(
            "the network {key} has the range {subnet}, which overlaps {other}"
        )));
    }
    Ok(subnet)
}

fn same_network(known: &Network, wanted: &NetworkSpec) -> Result<(), Status> {
    let subnet_differs = wanted.subnet.is_some_and(|subnet| subnet.trunc() != known.subnet);
    if known.internal != wanted.internal || subnet_differs {
        return Err(Status::failed_precondition(format!(
            "the network {}/{} cannot change while it is in use: `gantry down` the stack first",
            known.stack, known.key
        )));
    }
    Ok(())
}

/// Makes the records of volumes that are new.
pub fn volumes(snapshot: &Snapshot, spec: &StackSpec, admission: &mut Admission) -> Result<(), Status> {
    for (key, wanted) in &spec.volumes {
        let volume = Volume {
            stack: spec.name.clone(),
            key: key.clone(),
            name: wanted.name.clone().unwrap_or_else(|| format!("{}_{key}", spec.name)),
            external: wanted.external,
            driver: wanted.driver.clone(),
            options: wanted.options.clone(),
            labels: wanted.labels.clone(),
            node: None,
            removing: false,
            moving: None,
        };
        match snapshot.volumes.get(&(spec.name.clone(), key.clone())) {
            Some(known) if known.removing => {
                return Err(Status::failed_precondition(format!(
                    "the volume {key} is being removed: try again in a moment"
                )));
            }
            Some(known) => same_volume(known, &volume, wanted)?,
            None => {
                let details =
                    if wanted.external { vec!["it must exist already".to_owned()] } else { Vec::new() };
                admission.plan(ChangeAction::Create, "volume", &format!("{}/{key}", spec.name), details);
                admission.changes.push(Change::Put(Record::Volume(Arc::new(volume))));
            }
        }
    }
    Ok(())
}

fn same_volume(known: &Volume, wanted: &Volume, spec: &VolumeSpec) -> Result<(), Status> {
    let same = (&known.name, known.external, &known.driver, &known.options)
        == (&wanted.name, spec.external, &spec.driver, &spec.options);
    if same {
        return Ok(());
    }
    Err(Status::failed_precondition(format!(
        "the volume {}/{} exists with another name, driver or options; they cannot change: \
         use another key, or remove it with `gantry down -v` (its content is lost)",
        known.stack, known.key
    )))
}
