//! From a message: a stack and all that is in it.

use std::collections::BTreeMap;

use gantry_api::Invalid;
use gantry_api::cluster::v1 as wire;

use super::references::check_references;
use crate::ids::{ServiceId, StackName};
use crate::placement::{BadPlacement, Mode, Placement};
use crate::port::{AppProtocol, Port, PublishMode};
use crate::probe::only_port;
use crate::spec::{
    Condition, Dependency, EndpointMode, PullPolicy, ServiceNetwork, ServiceSpec, UpdateOrder, UpdatePolicy,
};
use crate::stack::{NetworkSpec, StackSpec, VolumeSpec};
use crate::wire::autoscale::read_autoscale;
use crate::wire::container::read_container;
use crate::wire::parts::{bounded, read_duration, some_number, some_text};
use crate::wire::ports::read_port;
use crate::wire::probe::{fill_port, read_heal, read_probe};
use crate::wire::route::{read_policy, read_routes};

/// Reads a whole stack, and checks that what it names is there.
pub fn read_stack(spec: wire::StackSpec) -> Result<StackSpec, Invalid> {
    let name = StackName::new(&spec.name).map_err(|bad| Invalid::new("name", bad.to_string()))?;
    bounded("services", &spec.services)?;
    bounded("networks", &spec.networks)?;
    bounded("volumes", &spec.volumes)?;

    let mut networks = BTreeMap::new();
    for network in spec.networks {
        let key = network.key.clone();
        check_key("networks.key", &key)?;
        if networks.insert(key.clone(), read_network(network)?).is_some() {
            return Err(Invalid::new("networks", format!("names {key:?} twice")));
        }
    }
    let mut volumes = BTreeMap::new();
    for volume in spec.volumes {
        let key = volume.key.clone();
        check_key("volumes.key", &key)?;
        if volumes.insert(key.clone(), read_volume(volume)?).is_some() {
            return Err(Invalid::new("volumes", format!("names {key:?} twice")));
        }
    }
    let mut services = BTreeMap::new();
    for service in spec.services {
        let id = ServiceId::new(name.clone(), &service.name)
            .map_err(|bad| Invalid::new("services.name", bad.to_string()))?;
        let field = format!("services.{}", id.name());
        let read = read_service(service).map_err(|problem| problem.within(&field))?;
        if services.insert(id.name().to_owned(), read).is_some() {
            return Err(Invalid::new("services", format!("names {:?} twice", id.name())));
        }
    }
    let stack = StackSpec { name, services, networks, volumes };
    check_references(&stack)?;
    Ok(stack)
}

fn check_key(field: &str, key: &str) -> Result<(), Invalid> {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=40).contains(&key.len()) && key.chars().all(word) {
        Ok(())
    } else {
        Err(Invalid::new(field, format!("is {key:?}; use letters, digits, '-', '_' and '.', at most 40")))
    }
}

fn read_service(service: wire::ServiceSpec) -> Result<ServiceSpec, Invalid> {
    let container = service.container.ok_or_else(|| Invalid::missing("container"))?;
    if !container.networks.is_empty() {
        return Err(Invalid::new("container.networks", "must be empty; use the service's own networks"));
    }
    if !container.ports.is_empty() {
        return Err(Invalid::new("container.ports", "must be empty; use the service's own ports"));
    }
    bounded("ports", &service.ports)?;
    let mut depends_on = BTreeMap::new();
    for dependency in service.depends_on {
        use wire::DependencyCondition as C;
        let condition = match C::try_from(dependency.condition) {
            Ok(C::Unspecified | C::Started) => Condition::Started,
            Ok(C::Healthy) => Condition::Healthy,
            Ok(C::Completed) => Condition::Completed,
            Err(_) => return Err(Invalid::new("depends_on.condition", "is not known to this version")),
        };
        depends_on.insert(dependency.service, Dependency { condition, required: dependency.required });
    }
    let container = read_container(container).map_err(|problem| problem.within("container"))?;
    let ports: Vec<Port> = service
        .ports
        .iter()
        .map(read_published)
        .collect::<Result<_, _>>()
        .map_err(|problem| problem.within("ports"))?;
    let only = only_port(&ports, &container.expose);
    let probe = |field: &str, probe: Option<wire::HealthProbe>| {
        probe.map(|mut probe| {
            fill_port(&mut probe, only);
            read_probe(field, probe)
        })
    };
    let spec = ServiceSpec {
        networks: service
            .networks
            .into_iter()
            .map(|network| ServiceNetwork { network: network.network, aliases: network.aliases })
            .collect(),
        ports,
        depends_on,
        replicas: service
            .replicas
            .map(|count| match count {
                0..=10_000 => Ok(count),
                _ => Err(Invalid::new("replicas", format!("is {count}; at most 10000 are taken"))),
            })
            .transpose()?,
        update: service.update.map(read_update).transpose()?.unwrap_or_default(),
        pull_policy: match wire::PullPolicy::try_from(service.pull_policy) {
            Ok(wire::PullPolicy::Unspecified | wire::PullPolicy::Missing) => PullPolicy::Missing,
            Ok(wire::PullPolicy::Always) => PullPolicy::Always,
            Ok(wire::PullPolicy::Never) => PullPolicy::Never,
            Err(_) => return Err(Invalid::new("pull_policy", "is not known to this version")),
        },
        labels: service.labels,
        endpoint_mode: match wire::EndpointMode::try_from(service.endpoint_mode) {
            Ok(wire::EndpointMode::Unspecified) => None,
            Ok(wire::EndpointMode::Vip) => Some(EndpointMode::Vip),
            Ok(wire::EndpointMode::Dnsrr) => Some(EndpointMode::Dnsrr),
            Err(_) => return Err(Invalid::new("endpoint_mode", "is not known to this version")),
        },
        routes: read_routes(service.routes)?,
        policy: service.traffic.map(read_policy).transpose()?.unwrap_or_default(),
        mode: match wire::ServiceMode::try_from(service.mode) {
            Ok(wire::ServiceMode::Unspecified | wire::ServiceMode::Replicated) => Mode::Replicated,
            Ok(wire::ServiceMode::Global) if service.replicas.is_some() => {
                return Err(Invalid::new("replicas", "goes with the mode REPLICATED only"));
            }
            Ok(wire::ServiceMode::Global) => Mode::Global,
            Err(_) => return Err(Invalid::new("mode", "is not known to this version")),
        },
        placement: service.placement.as_ref().map(read_placement).transpose()?.unwrap_or_default(),
        exclusive: match service.exclusive {
            true if service.replicas.is_some_and(|count| count > 1)
                || service.mode == i32::from(wire::ServiceMode::Global) =>
            {
                return Err(Invalid::new("exclusive", "goes with one replica only"));
            }
            exclusive => exclusive,
        },
        readiness: probe("readiness", service.readiness).transpose()?,
        liveness: probe("liveness", service.liveness).transpose()?,
        heal: read_heal(service.heal)?,
        container,
        autoscale: service.autoscale.map(read_autoscale).transpose()?,
    };
    match spec.autoscale_faults().into_iter().next() {
        Some(fault) => Err(Invalid::new("autoscale", format!("makes no sense: {}", fault.message))),
        None => Ok(spec),
    }
}

fn read_placement(placement: &wire::Placement) -> Result<Placement, Invalid> {
    bounded("placement.constraints", &placement.constraints)?;
    bounded("placement.spread", &placement.spread)?;
    let bad = |field: &'static str| move |bad: BadPlacement| Invalid::new(field, bad.to_string());
    let constraints = placement.constraints.iter().map(|text| text.parse());
    let spread = placement.spread.iter().map(|text| text.parse());
    Ok(Placement {
        constraints: constraints.collect::<Result<_, _>>().map_err(bad("placement.constraints"))?,
        spread: spread.collect::<Result<_, _>>().map_err(bad("placement.spread"))?,
        max_replicas_per_node: some_number(placement.max_replicas_per_node),
    })
}

fn read_published(port: &wire::PublishedPort) -> Result<Port, Invalid> {
    let read = read_port(port.target, port.published, &port.protocol, &port.host_ip)?;
    Ok(Port {
        mode: match wire::PublishMode::try_from(port.mode) {
            Ok(wire::PublishMode::Unspecified | wire::PublishMode::Ingress) => PublishMode::Ingress,
            Ok(wire::PublishMode::Host) => PublishMode::Host,
            Err(_) => return Err(Invalid::new("mode", "is not known to this version")),
        },
        app_protocol: match port.app_protocol.as_str() {
            "" => None,
            word => Some(AppProtocol::parse(word).ok_or_else(|| {
                Invalid::new(
                    "app_protocol",
                    format!("is {word:?}; use one of {}", AppProtocol::WORDS.join(", ")),
                )
            })?),
        },
        ..read
    })
}

fn read_update(update: wire::UpdateConfig) -> Result<UpdatePolicy, Invalid> {
    use wire::UpdateOrder as O;
    Ok(UpdatePolicy {
        parallelism: update.parallelism.unwrap_or(1),
        delay: read_duration("update.delay", update.delay)?.unwrap_or_default(),
        order: match O::try_from(update.order) {
            Ok(O::Unspecified) => None,
            Ok(O::StopFirst) => Some(UpdateOrder::StopFirst),
            Ok(O::StartFirst) => Some(UpdateOrder::StartFirst),
            Err(_) => return Err(Invalid::new("update.order", "is not known to this version")),
        },
    })
}

fn read_network(network: wire::NetworkSpec) -> Result<NetworkSpec, Invalid> {
    Ok(NetworkSpec {
        internal: network.internal,
        labels: network.labels,
        subnet: some_text(network.subnet)
            .map(|subnet| {
                subnet.parse().map_err(|_| {
                    Invalid::new(
                        "networks.subnet",
                        format!("is {subnet:?}; give a range such as 10.5.0.0/16"),
                    )
                })
            })
            .transpose()?,
    })
}

fn read_volume(volume: wire::VolumeSpec) -> Result<VolumeSpec, Invalid> {
    if volume.external && !(volume.driver.is_empty() && volume.options.is_empty()) {
        return Err(Invalid::new("volumes", format!("{:?} is external, so it takes no driver", volume.key)));
    }
    Ok(VolumeSpec {
        name: some_text(volume.name),
        external: volume.external,
        driver: some_text(volume.driver),
        options: volume.options,
        labels: volume.labels,
    })
}
