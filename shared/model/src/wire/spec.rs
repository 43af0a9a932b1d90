//! [`StackSpec`] as `gantry.cluster.v1.StackSpec`.

use std::collections::{BTreeMap, BTreeSet};

use gantry_api::Invalid;
use gantry_api::cluster::v1 as wire;

use super::container::{read_container, write_container};
use super::parts::{bounded, read_duration, some_number, some_text, write_duration};
use super::ports::read_port;
use super::route::{read_policy, read_routes, write_policy, write_route};
use crate::container::{AppProtocol, MountSource, Port, PublishMode};
use crate::ids::{ServiceId, StackName};
use crate::placement::{BadPlacement, Mode, Placement};
use crate::route::Policy;
use crate::service::{
    Condition, Dependency, EndpointMode, PullPolicy, ServiceNetwork, ServiceSpec, UpdateOrder, UpdatePolicy,
};
use crate::stack::{NetworkSpec, StackSpec, VolumeSpec};

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

/// What services name must exist, and dependencies must not go in a circle.
fn check_references(stack: &StackSpec) -> Result<(), Invalid> {
    for (name, service) in &stack.services {
        let field = format!("services.{name}");
        for network in &service.networks {
            if network.network != "default" && !stack.networks.contains_key(&network.network) {
                return Err(Invalid::new(
                    format!("{field}.networks"),
                    format!("names {:?}, which the stack does not have", network.network),
                ));
            }
        }
        for mount in &service.container.mounts {
            if let MountSource::Volume { name: Some(volume), .. } = &mount.source
                && !stack.volumes.contains_key(volume)
            {
                return Err(Invalid::new(
                    format!("{field}.mounts"),
                    format!("names the volume {volume:?}, which the stack does not have"),
                ));
            }
        }
        for (target, dependency) in &service.depends_on {
            if dependency.required && !stack.services.contains_key(target) {
                return Err(Invalid::new(
                    format!("{field}.depends_on"),
                    format!("names {target:?}, which the stack does not have"),
                ));
            }
        }
    }
    if let Some(cycle) = cycle(stack) {
        return Err(Invalid::new("depends_on", format!("goes in a circle: {}", cycle.join(" → "))));
    }
    Ok(())
}

/// A circle of dependencies, if there is one, with its first service repeated at the end.
fn cycle(stack: &StackSpec) -> Option<Vec<String>> {
    fn visit<'a>(
        stack: &'a StackSpec,
        name: &'a str,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(start) = path.iter().position(|seen| *seen == name) {
            let circle = path[start..].iter().chain([&name]);
            return Some(circle.map(|name| (*name).to_owned()).collect());
        }
        if !done.insert(name) {
            return None;
        }
        path.push(name);
        let found = stack
            .services
            .get(name)
            .and_then(|service| service.depends_on.keys().find_map(|next| visit(stack, next, path, done)));
        path.pop();
        found
    }
    let mut done = BTreeSet::new();
    stack.services.keys().find_map(|name| visit(stack, name, &mut Vec::new(), &mut done))
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
    Ok(ServiceSpec {
        container: read_container(container).map_err(|problem| problem.within("container"))?,
        networks: service
            .networks
            .into_iter()
            .map(|network| ServiceNetwork { network: network.network, aliases: network.aliases })
            .collect(),
        ports: service
            .ports
            .iter()
            .map(read_published)
            .collect::<Result<_, _>>()
            .map_err(|problem| problem.within("ports"))?,
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
    })
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

fn write_placement(placement: &Placement) -> wire::Placement {
    wire::Placement {
        constraints: placement.constraints.iter().map(ToString::to_string).collect(),
        spread: placement.spread.iter().map(ToString::to_string).collect(),
        max_replicas_per_node: placement.max_replicas_per_node.unwrap_or_default(),
    }
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

/// Writes a whole stack.
pub fn write_stack(stack: &StackSpec) -> wire::StackSpec {
    wire::StackSpec {
        name: stack.name.to_string(),
        services: stack.services.iter().map(|(name, service)| write_service_spec(name, service)).collect(),
        networks: stack
            .networks
            .iter()
            .map(|(key, network)| wire::NetworkSpec {
                key: key.clone(),
                internal: network.internal,
                labels: network.labels.clone(),
                subnet: network.subnet.map(|subnet| subnet.to_string()).unwrap_or_default(),
            })
            .collect(),
        volumes: stack
            .volumes
            .iter()
            .map(|(key, volume)| wire::VolumeSpec {
                key: key.clone(),
                name: volume.name.clone().unwrap_or_default(),
                external: volume.external,
                driver: volume.driver.clone().unwrap_or_default(),
                options: volume.options.clone(),
                labels: volume.labels.clone(),
            })
            .collect(),
    }
}

/// Writes what is asked for one service.
pub fn write_service_spec(name: &str, service: &ServiceSpec) -> wire::ServiceSpec {
    use wire::DependencyCondition as C;
    use wire::UpdateOrder as O;
    wire::ServiceSpec {
        name: name.to_owned(),
        container: Some(write_container(&service.container)),
        networks: service
            .networks
            .iter()
            .map(|network| wire::ServiceNetwork {
                network: network.network.clone(),
                aliases: network.aliases.clone(),
            })
            .collect(),
        ports: service
            .ports
            .iter()
            .map(|port| wire::PublishedPort {
                target: port.target.into(),
                published: port.published.unwrap_or_default().into(),
                protocol: port.protocol.to_string(),
                host_ip: port.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
                mode: match port.mode {
                    PublishMode::Ingress => wire::PublishMode::Ingress,
                    PublishMode::Host => wire::PublishMode::Host,
                }
                .into(),
                app_protocol: port.app_protocol.map(|word| word.to_string()).unwrap_or_default(),
            })
            .collect(),
        depends_on: service
            .depends_on
            .iter()
            .map(|(target, dependency)| wire::Dependency {
                service: target.clone(),
                condition: match dependency.condition {
                    Condition::Started => C::Started,
                    Condition::Healthy => C::Healthy,
                    Condition::Completed => C::Completed,
                }
                .into(),
                required: dependency.required,
            })
            .collect(),
        replicas: service.replicas,
        update: Some(wire::UpdateConfig {
            parallelism: Some(service.update.parallelism),
            delay: Some(write_duration(service.update.delay)),
            order: match service.update.order {
                None => O::Unspecified,
                Some(UpdateOrder::StopFirst) => O::StopFirst,
                Some(UpdateOrder::StartFirst) => O::StartFirst,
            }
            .into(),
        }),
        pull_policy: match service.pull_policy {
            PullPolicy::Missing => wire::PullPolicy::Missing,
            PullPolicy::Always => wire::PullPolicy::Always,
            PullPolicy::Never => wire::PullPolicy::Never,
        }
        .into(),
        labels: service.labels.clone(),
        endpoint_mode: match service.endpoint_mode {
            None => wire::EndpointMode::Unspecified,
            Some(EndpointMode::Vip) => wire::EndpointMode::Vip,
            Some(EndpointMode::Dnsrr) => wire::EndpointMode::Dnsrr,
        }
        .into(),
        routes: service.routes.iter().map(write_route).collect(),
        traffic: (service.policy != Policy::default()).then(|| write_policy(&service.policy)),
        mode: match service.mode {
            Mode::Replicated => wire::ServiceMode::Replicated,
            Mode::Global => wire::ServiceMode::Global,
        }
        .into(),
        placement: (service.placement != Placement::default()).then(|| write_placement(&service.placement)),
        exclusive: service.exclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Container;

    fn stack(services: &[(&str, &[&str])]) -> StackSpec {
        let service = |needs: &[&str]| ServiceSpec {
            container: Container { image: "x".into(), ..Container::default() },
            depends_on: needs
                .iter()
                .map(|name| {
                    ((*name).to_owned(), Dependency { condition: Condition::Healthy, required: true })
                })
                .collect(),
            ..ServiceSpec::default()
        };
        StackSpec {
            name: StackName::new("s").unwrap(),
            services: services.iter().map(|(name, needs)| ((*name).to_owned(), service(needs))).collect(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
        }
    }

    #[test]
    fn a_stack_reads_back_as_it_was_written() {
        let mut stack = stack(&[("web", &["db"]), ("db", &[])]);
        let web = stack.services.get_mut("web").unwrap();
        let port = Port::new(80, Some(8000));
        web.ports = vec![
            Port { mode: PublishMode::Host, ..port.clone() },
            Port { app_protocol: Some(AppProtocol::Grpc), ..port },
        ];
        web.endpoint_mode = Some(EndpointMode::Dnsrr);
        web.placement = Placement {
            constraints: vec!["node.role != manager".parse().unwrap()],
            spread: vec!["node.labels.zone".parse().unwrap()],
            max_replicas_per_node: Some(1),
        };
        stack.services.get_mut("db").unwrap().exclusive = true;
        let everywhere = ServiceSpec { mode: Mode::Global, ..stack.services["db"].clone() };
        stack.services.insert("log".into(), ServiceSpec { exclusive: false, ..everywhere });
        assert_eq!(read_stack(write_stack(&stack)).unwrap(), stack);
    }

    #[test]
    fn a_circle_of_dependencies_is_shown() {
        let error =
            read_stack(write_stack(&stack(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]))).unwrap_err();
        assert_eq!(error.to_string(), "depends_on goes in a circle: b → c → b");
    }

    #[test]
    fn what_is_named_must_exist() {
        let error = read_stack(write_stack(&stack(&[("a", &["nobody"])]))).unwrap_err();
        assert!(error.to_string().contains("\"nobody\""), "{error}");
        let mut with_volume = stack(&[("a", &[])]);
        with_volume.services.get_mut("a").unwrap().container.mounts.push(crate::Mount {
            target: "/d".into(),
            source: MountSource::Volume { name: Some("gone".into()), no_copy: false },
            read_only: false,
        });
        assert!(read_stack(write_stack(&with_volume)).unwrap_err().to_string().contains("\"gone\""));
    }
}
