//! To a message: a stack and all that is in it.

use gantry_api::cluster::v1 as wire;

use crate::placement::{Mode, Placement};
use crate::port::PublishMode;
use crate::route::Policy;
use crate::spec::{Condition, EndpointMode, PullPolicy, ServiceSpec, UpdateOrder};
use crate::stack::StackSpec;
use crate::wire::autoscale::write_autoscale;
use crate::wire::container::write_container;
use crate::wire::parts::write_duration;
use crate::wire::probe::{write_heal, write_probe};
use crate::wire::route::{write_policy, write_route};

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
        readiness: service.readiness.as_ref().map(write_probe),
        liveness: service.liveness.as_ref().map(write_probe),
        heal: Some(write_heal(&service.heal)),
        autoscale: service.autoscale.as_ref().map(write_autoscale),
    }
}

fn write_placement(placement: &Placement) -> wire::Placement {
    wire::Placement {
        constraints: placement.constraints.iter().map(ToString::to_string).collect(),
        spread: placement.spread.iter().map(ToString::to_string).collect(),
        max_replicas_per_node: placement.max_replicas_per_node.unwrap_or_default(),
    }
}
