//! What the engine says of a container, for people and for supervisors.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummary, EndpointSettings, HealthStatusEnum,
    PortMap,
};
use gantry_api::agent::v1 as wire;
use gantry_model::{Health, Port, Protocol, ReplicaId, Timestamp};
use prost_types::Timestamp as WireTime;

use super::Engine;
use super::error::Result;

/// A container of a replica, as its supervisor needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The engine's id.
    pub id: String,
    /// The replica.
    pub replica: ReplicaId,
    /// The engine's id of its image.
    pub image_id: String,
    /// The engine's state.
    pub state: wire::ContainerState,
    /// The exit code of its last end.
    pub exit_code: i32,
    /// Whether the kernel killed it because its memory ran out.
    pub oom_killed: bool,
    /// Why the engine could not run it.
    pub error: String,
    /// How often the engine restarted it.
    pub restart_count: u32,
    /// Its health.
    pub health: Health,
    /// When it was started last.
    pub started_at: Option<Timestamp>,
    /// When it ended last.
    pub finished_at: Option<Timestamp>,
    /// The ports of the host that lead to it.
    pub ports: Vec<Port>,
}

/// The label with a container's cluster.
pub const CLUSTER_LABEL: &str = "gantry.cluster";
/// The label with a container's replica.
pub const REPLICA_LABEL: &str = "gantry.replica";
/// The label with the full name of a container's service.
pub const SERVICE_LABEL: &str = "gantry.service";

impl Engine {
    /// The replica's container behind an id or name; `None` if there is none, or it is not a replica's.
    pub async fn observe(&self, id: &str) -> Result<Option<Observed>> {
        match self.docker.inspect_container(id, None).await {
            Ok(answer) => Ok(observed(answer)),
            Err(error) => match super::Error::from(error) {
                error if error.kind == super::Kind::NotFound => Ok(None),
                error => Err(error),
            },
        }
    }

    /// All that is known of a container, with the values of its environment hidden.
    pub async fn inspect(&self, id: &str) -> Result<wire::InspectContainerResponse> {
        let mut answer = self.docker.inspect_container(id, None).await?;
        if let Some(config) = answer.config.as_mut() {
            for variable in config.env.iter_mut().flatten() {
                let name = variable.split('=').next().unwrap_or_default();
                *variable = format!("{name}=***");
            }
        }
        let raw_json = serde_json::to_string(&answer).unwrap_or_default();
        let state = answer.state.clone().unwrap_or_default();
        Ok(wire::InspectContainerResponse {
            pid: state.pid.unwrap_or_default(),
            restart_count: answer.restart_count.unwrap_or_default(),
            started_at: state.started_at.as_deref().and_then(parse_time),
            finished_at: state.finished_at.as_deref().and_then(parse_time),
            oom_killed: state.oom_killed.unwrap_or_default(),
            error: state.error.clone().unwrap_or_default(),
            container: Some(container_of(answer)),
            raw_json,
        })
    }
}

fn observed(answer: ContainerInspectResponse) -> Option<Observed> {
    let labels = answer.config.as_ref()?.labels.as_ref()?;
    let replica = ReplicaId::new(labels.get(REPLICA_LABEL)?).ok()?;
    let state = answer.state.unwrap_or_default();
    let settings = answer.network_settings.unwrap_or_default();
    Some(Observed {
        id: answer.id?,
        replica,
        image_id: answer.image.unwrap_or_default(),
        state: state_of(state.status),
        exit_code: i32::try_from(state.exit_code.unwrap_or_default()).unwrap_or(-1),
        oom_killed: state.oom_killed.unwrap_or_default(),
        error: state.error.unwrap_or_default(),
        restart_count: u32::try_from(answer.restart_count.unwrap_or_default()).unwrap_or_default(),
        health: health_of(state.health.and_then(|health| health.status)),
        started_at: state.started_at.as_deref().and_then(parse_millis),
        finished_at: state.finished_at.as_deref().and_then(parse_millis),
        ports: settings.ports.map(|ports| ports_of(&ports)).unwrap_or_default(),
    })
}

fn state_of(status: Option<ContainerStateStatusEnum>) -> wire::ContainerState {
    use ContainerStateStatusEnum as S;
    match status {
        Some(S::CREATED) => wire::ContainerState::Created,
        Some(S::RUNNING | S::STOPPING) => wire::ContainerState::Running,
        Some(S::PAUSED) => wire::ContainerState::Paused,
        Some(S::RESTARTING) => wire::ContainerState::Restarting,
        Some(S::REMOVING) => wire::ContainerState::Removing,
        Some(S::EXITED) => wire::ContainerState::Exited,
        Some(S::DEAD) => wire::ContainerState::Dead,
        Some(S::EMPTY) | None => wire::ContainerState::Unspecified,
    }
}

fn health_of(status: Option<HealthStatusEnum>) -> Health {
    match status {
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
        Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | None => Health::None,
    }
}

/// The engine's times; the year 1 stands for never.
pub(super) fn parse_time(text: &str) -> Option<WireTime> {
    let time: jiff::Timestamp = text.parse().ok()?;
    (time.as_second() > 0).then(|| WireTime { seconds: time.as_second(), nanos: time.subsec_nanosecond() })
}

fn parse_millis(text: &str) -> Option<Timestamp> {
    parse_time(text).map(gantry_model::wire::read_time)
}

fn ports_of(map: &PortMap) -> Vec<Port> {
    let mut ports: Vec<Port> = map
        .iter()
        .flat_map(|(target, bindings)| {
            let (number, protocol) = target.split_once('/').unwrap_or((target, "tcp"));
            let target: Option<u16> = number.parse().ok();
            let protocol = match protocol {
                "udp" => Protocol::Udp,
                "sctp" => Protocol::Sctp,
                _ => Protocol::Tcp,
            };
            bindings.iter().flatten().filter_map(move |binding| {
                // The engine lists IPv6 listeners beside IPv4 ones; one line is enough for people.
                let host_ip = match binding.host_ip.as_deref() {
                    Some("" | "0.0.0.0") | None => None,
                    Some(ip) => Some(ip.parse().ok()?),
                };
                Some(Port {
                    protocol,
                    host_ip,
                    ..Port::new(target?, binding.host_port.as_ref()?.parse().ok())
                })
            })
        })
        .collect();
    ports.sort();
    ports
}

fn container_of(answer: ContainerInspectResponse) -> wire::Container {
    let state = answer.state.unwrap_or_default();
    let config = answer.config.unwrap_or_default();
    let labels: BTreeMap<String, String> = config.labels.unwrap_or_default().into_iter().collect();
    let settings = answer.network_settings.unwrap_or_default();
    let words = answer.path.into_iter().chain(answer.args.unwrap_or_default());
    wire::Container {
        id: answer.id.unwrap_or_default(),
        name: answer.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: config.image.unwrap_or_default(),
        image_id: answer.image.unwrap_or_default(),
        state: state_of(state.status).into(),
        exit_code: i32::try_from(state.exit_code.unwrap_or_default()).unwrap_or(-1),
        health: gantry_model::wire::write_health(health_of(state.health.and_then(|health| health.status)))
            .into(),
        created_at: answer.created.as_deref().and_then(parse_time),
        service: labels.get(SERVICE_LABEL).cloned().unwrap_or_default(),
        labels,
        ports: settings
            .ports
            .map(|ports| gantry_model::wire::write_ports(&ports_of(&ports)))
            .unwrap_or_default(),
        networks: settings.networks.map(networks_of).unwrap_or_default(),
        status: String::new(),
        command: words.collect::<Vec<_>>().join(" "),
    }
}

fn networks_of(networks: HashMap<String, EndpointSettings>) -> Vec<wire::NetworkAttachment> {
    let mut list: Vec<_> = networks
        .into_iter()
        .map(|(network, endpoint)| wire::NetworkAttachment {
            network,
            aliases: endpoint.aliases.unwrap_or_default(),
            ipv4_address: endpoint.ip_address.unwrap_or_default(),
            mac_address: endpoint.mac_address.unwrap_or_default(),
        })
        .collect();
    list.sort_by(|a, b| a.network.cmp(&b.network));
    list
}

/// A container as the engine lists it.
pub(super) fn container_of_summary(summary: ContainerSummary) -> wire::Container {
    let labels: BTreeMap<String, String> = summary.labels.unwrap_or_default().into_iter().collect();
    let state = summary.state.map(|state| state.to_string()).unwrap_or_default();
    let status = summary.status.unwrap_or_default();
    let networks = summary.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
    let mut ports: Vec<_> = summary
        .ports
        .unwrap_or_default()
        .into_iter()
        .filter(|port| port.public_port.is_some() && port.ip.as_deref() != Some("::"))
        .map(|port| wire::PortBinding {
            container_port: port.private_port.into(),
            protocol: port.typ.map_or_else(|| "tcp".to_owned(), |typ| typ.to_string()),
            host_port: port.public_port.unwrap_or_default().into(),
            host_ip: port.ip.filter(|ip| ip != "0.0.0.0").unwrap_or_default(),
        })
        .collect();
    ports.sort_by_key(|port| (port.container_port, port.host_port));
    wire::Container {
        id: summary.id.unwrap_or_default(),
        name: summary
            .names
            .unwrap_or_default()
            .first()
            .map(|name| name.trim_start_matches('/').to_owned())
            .unwrap_or_default(),
        image: summary.image.unwrap_or_default(),
        image_id: summary.image_id.unwrap_or_default(),
        state: match state.as_str() {
            "created" => wire::ContainerState::Created,
            "running" | "stopping" => wire::ContainerState::Running,
            "paused" => wire::ContainerState::Paused,
            "restarting" => wire::ContainerState::Restarting,
            "removing" => wire::ContainerState::Removing,
            "exited" => wire::ContainerState::Exited,
            "dead" => wire::ContainerState::Dead,
            _ => wire::ContainerState::Unspecified,
        }
        .into(),
        // Lists say these two only in words: "Exited (3) 2 minutes ago", "Up 1 second (healthy)".
        exit_code: status
            .strip_prefix("Exited (")
            .and_then(|rest| rest.split(')').next()?.parse().ok())
            .unwrap_or(0),
        health: match &status {
            status if status.contains("(healthy)") => wire::Health::Healthy,
            status if status.contains("(unhealthy)") => wire::Health::Unhealthy,
            status if status.contains("(health: starting)") => wire::Health::Starting,
            _ => wire::Health::Unspecified,
        }
        .into(),
        created_at: summary.created.map(|seconds| WireTime { seconds, nanos: 0 }),
        service: labels.get(SERVICE_LABEL).cloned().unwrap_or_default(),
        labels,
        ports,
        networks: networks_of(networks),
        status,
        command: summary.command.unwrap_or_default(),
    }
}
