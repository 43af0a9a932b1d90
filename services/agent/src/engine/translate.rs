//! What a container is made from, as the engine's create call takes it. Pure.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount as EngineMount, MountBindOptions, MountBindOptionsPropagationEnum,
    MountTmpfsOptions, MountType, MountVolumeOptions, NetworkingConfig, PortBinding, ResourcesUlimits,
    RestartPolicy as EngineRestart, RestartPolicyNameEnum,
};
use gantry_model::{Container, Healthcheck, Mount, MountSource, NetworkMode, Port, RestartPolicy};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A network that a container joins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The network's name on the engine.
    pub network: String,
    /// Further names.
    pub aliases: Vec<String>,
    /// A fixed address.
    pub ipv4_address: Option<String>,
    /// A fixed MAC address.
    pub mac_address: Option<String>,
}

impl Attachment {
    pub(super) fn endpoint(&self) -> EndpointSettings {
        EndpointSettings {
            aliases: (!self.aliases.is_empty()).then(|| self.aliases.clone()),
            ipam_config: self.ipv4_address.as_ref().map(|address| EndpointIpamConfig {
                ipv4_address: Some(address.clone()),
                ..EndpointIpamConfig::default()
            }),
            mac_address: self.mac_address.clone(),
            ..EndpointSettings::default()
        }
    }
}

/// The body of the create call. Only the first network is part of it: engines before API 1.44 take
/// no more, the others are joined before the start.
pub fn create_body(
    container: &Container,
    image: &str,
    networks: &[Attachment],
    ports: &[Port],
) -> ContainerCreateBody {
    let exposed = container.expose.iter().cloned();
    let published = ports.iter().map(|port| format!("{}/{}", port.target, port.protocol));
    let environment = container.environment.iter().map(|(name, value)| format!("{name}={value}"));
    ContainerCreateBody {
        hostname: container.hostname.clone(),
        domainname: container.domainname.clone(),
        user: container.user.clone(),
        exposed_ports: some(exposed.chain(published)),
        tty: Some(container.tty),
        open_stdin: Some(container.stdin_open),
        stdin_once: Some(container.stdin_once),
        env: some(environment),
        cmd: container.command.clone(),
        entrypoint: container
            .entrypoint
            .clone()
            .map(|words| if words.is_empty() { vec![String::new()] } else { words }),
        healthcheck: container.healthcheck.as_ref().map(healthcheck),
        image: Some(image.to_owned()),
        working_dir: container.working_dir.clone(),
        labels: some_map(&container.labels),
        stop_signal: container.stop_signal.clone(),
        stop_timeout: container.stop_grace.map(|grace| i64::try_from(grace.as_secs()).unwrap_or(i64::MAX)),
        host_config: Some(host_config(container, networks, ports)),
        networking_config: networks.first().map(|first| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(first.network.clone(), first.endpoint())])),
        }),
        ..ContainerCreateBody::default()
    }
}

fn host_config(container: &Container, networks: &[Attachment], ports: &[Port]) -> HostConfig {
    let resources = &container.resources;
    let network_mode = match container.network_mode {
        NetworkMode::Host => Some("host".to_owned()),
        NetworkMode::None => Some("none".to_owned()),
        NetworkMode::Networks => networks.first().map(|first| first.network.clone()),
    };
    HostConfig {
        nano_cpus: resources.nano_cpus,
        memory: resources.memory,
        memory_swap: resources.memory_swap,
        memory_reservation: resources.reserved_memory,
        pids_limit: resources.pids,
        cpu_shares: resources.cpu_shares,
        cpuset_cpus: resources.cpuset.clone(),
        init: container.init,
        ulimits: some(container.ulimits.iter().map(|limit| ResourcesUlimits {
            name: Some(limit.name.clone()),
            soft: Some(limit.soft),
            hard: Some(limit.hard),
        })),
        devices: some(container.devices.iter().map(|device| DeviceMapping {
            path_on_host: Some(device.source.clone()),
            path_in_container: Some(device.target.clone()),
            cgroup_permissions: Some(device.permissions.clone()),
        })),
        log_config: container
            .log
            .as_ref()
            .map(|log| HostConfigLogConfig { typ: log.driver.clone(), config: some_map(&log.options) }),
        network_mode,
        port_bindings: (!ports.is_empty()).then(|| port_bindings(ports)),
        restart_policy: container.restart.map(restart_policy),
        mounts: some(container.mounts.iter().map(mount)),
        cap_add: some(container.cap_add.iter().cloned()),
        cap_drop: some(container.cap_drop.iter().cloned()),
        dns: some(container.dns.iter().map(ToString::to_string)),
        dns_options: some(container.dns_options.iter().cloned()),
        dns_search: some(container.dns_search.iter().cloned()),
        extra_hosts: some(container.extra_hosts.iter().cloned()),
        group_add: some(container.group_add.iter().cloned()),
        ipc_mode: container.ipc_mode.clone(),
        oom_score_adj: container.oom_score_adj.map(i64::from),
        pid_mode: container.pid_mode.clone(),
        privileged: Some(container.privileged),
        readonly_rootfs: Some(container.read_only),
        security_opt: some(container.security_opt.iter().cloned()),
        shm_size: container.shm_size.map(|size| i64::try_from(size).unwrap_or(i64::MAX)),
        sysctls: some_map(&container.sysctls),
        runtime: container.runtime.clone(),
        ..HostConfig::default()
    }
}

fn healthcheck(check: &Healthcheck) -> HealthConfig {
    let nanos = |time: Option<Duration>| time.map(|time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX));
    HealthConfig {
        test: some(check.test.iter().cloned()),
        interval: nanos(check.interval),
        timeout: nanos(check.timeout),
        retries: check.retries.map(i64::from),
        start_period: nanos(check.start_period),
        start_interval: nanos(check.start_interval),
    }
}

fn restart_policy(policy: RestartPolicy) -> EngineRestart {
    let (name, maximum_retry_count) = match policy {
        RestartPolicy::No => (RestartPolicyNameEnum::NO, None),
        RestartPolicy::OnFailure { max_retries } => {
            (RestartPolicyNameEnum::ON_FAILURE, max_retries.map(i64::from))
        }
        RestartPolicy::Always => (RestartPolicyNameEnum::ALWAYS, None),
        RestartPolicy::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
    };
    EngineRestart { name: Some(name), maximum_retry_count }
}

fn port_bindings(ports: &[Port]) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in ports {
        let binding = PortBinding {
            host_ip: port.host_ip.map(|ip| ip.to_string()),
            host_port: port.published.map(|published| published.to_string()),
        };
        let of_port = bindings.entry(format!("{}/{}", port.target, port.protocol)).or_default();
        of_port.get_or_insert_default().push(binding);
    }
    bindings
}

/// The engine's newer kind of mount: a bind whose source is not there is an error, and is not made
/// as an empty folder.
fn mount(mount: &Mount) -> EngineMount {
    let mut engine = EngineMount {
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..EngineMount::default()
    };
    match &mount.source {
        MountSource::Volume { name, no_copy } => {
            engine.typ = Some(MountType::VOLUME);
            engine.source.clone_from(name);
            engine.volume_options =
                no_copy.then(|| MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() });
        }
        MountSource::Bind { path, propagation } => {
            engine.typ = Some(MountType::BIND);
            engine.source = Some(path.clone());
            engine.bind_options = propagation.as_deref().map(|propagation| MountBindOptions {
                propagation: propagation.parse::<MountBindOptionsPropagationEnum>().ok(),
                ..MountBindOptions::default()
            });
        }
        MountSource::Tmpfs { size, mode } => {
            engine.typ = Some(MountType::TMPFS);
            engine.tmpfs_options = (size.is_some() || mode.is_some()).then(|| MountTmpfsOptions {
                size_bytes: *size,
                mode: mode.map(i64::from),
                ..MountTmpfsOptions::default()
            });
        }
    }
    engine
}

fn some<T>(items: impl IntoIterator<Item = T>) -> Option<Vec<T>> {
    let items: Vec<T> = items.into_iter().collect();
    (!items.is_empty()).then_some(items)
}

fn some_map(map: &std::collections::BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then(|| map.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn only_the_first_network_is_part_of_the_create_call() {
        let network = |name: &str| Attachment {
            network: name.into(),
            ipv4_address: Some("10.192.0.5".into()),
            ..Attachment::default()
        };
        let body = create_body(&Container::default(), "redis", &[network("a"), network("b")], &[]);
        let endpoints = body.networking_config.unwrap().endpoints_config.unwrap();
        assert_eq!(endpoints.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(endpoints["a"].ipam_config.as_ref().unwrap().ipv4_address.as_deref(), Some("10.192.0.5"));
        assert_eq!(body.host_config.unwrap().network_mode.as_deref(), Some("a"));
    }

    #[test]
    fn two_host_ports_may_lead_to_one_port() {
        let port = |published| Port::new(80, Some(published));
        let body = create_body(&Container::default(), "x", &[], &[port(8080), port(8081)]);
        let bindings = body.host_config.unwrap().port_bindings.unwrap();
        assert_eq!(bindings["80/tcp"].as_ref().unwrap().len(), 2);
    }

    #[test]
    fn what_is_not_given_is_not_sent() {
        let body = create_body(&Container::default(), "x", &[], &[]);
        let json = serde_json::to_value(&body).unwrap();
        for absent in ["Cmd", "Entrypoint", "Env", "Healthcheck", "StopSignal", "NetworkingConfig"] {
            assert!(json.get(absent).is_none(), "{absent}: {json}");
        }
        assert!(json["HostConfig"].get("RestartPolicy").is_none());
    }

    #[test]
    fn a_cleared_entrypoint_is_sent_as_docker_wants_it() {
        let container = Container { entrypoint: Some(vec![]), command: Some(vec![]), ..Container::default() };
        let body = create_body(&container, "x", &[], &[]);
        assert_eq!((body.entrypoint, body.cmd), (Some(vec![String::new()]), Some(vec![])));
    }
}
