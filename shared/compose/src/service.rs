//! One service of the file.

use gantry_model::{
    Container, Device, LogConfig, Mode, NetworkMode, PullPolicy, Resources, RestartPolicy, ServiceSpec,
    Ulimit, UpdateOrder,
};

use crate::build::{self, Build};
use crate::diagnostic::At;
use crate::project::Context;
use crate::section::Section;
use crate::tree::Value;
use crate::{
    autoscale, depends, deploy, environment, health, hooks, keys, mounts, networks, ports, probe, route,
    units,
};

/// What one service is.
pub struct Service {
    /// What is asked for.
    pub spec: ServiceSpec,
    /// How its image is built, if it is.
    pub build: Option<Build>,
    /// Where its ports stand, for messages about several services.
    pub ports_at: Vec<At>,
    /// Where its routes stand.
    pub routes_at: Vec<At>,
}

/// Reads the service `name`.
pub fn read(name: &str, section: Section<'_>, context: &Context<'_>) -> Service {
    let log = section.log;
    let build = build::read(&section, context);
    let image = section.text("image").filter(|image| !image.trim().is_empty());
    if image.is_none() && build.is_none() && section.get("build").is_none() {
        log.error_with(
            section.at,
            format!("the service {name} has neither image nor build"),
            "add image: NAME, or build: FOLDER",
        );
    }
    let (ports, ports_at) = ports::read(&section).into_iter().unzip();
    let mut spec = ServiceSpec {
        container: container(&section, context, image.unwrap_or_else(|| format!("{}-{name}", context.name))),
        networks: networks::of_service(&section, context),
        ports,
        depends_on: depends::read(&section, context),
        replicas: section.number("scale"),
        pull_policy: pull_policy(&section, build.is_some()),
        ..ServiceSpec::default()
    };
    deploy::read(&section, &mut spec);
    if spec.container.network_mode != NetworkMode::Networks {
        for key in ["networks", "ports"] {
            if section.get(if key == "networks" { "networks" } else { "ports" }).is_some() {
                log.error(section.value_at(key), format!("{key} do not go together with network_mode"));
            }
        }
    }
    // Read by the caller, before it was clear whether the service is part of the project.
    let _ = section.get("profiles");
    let mut routes_at = Vec::new();
    if let Some(own) = section.section("x-gantry") {
        routes_at = route::read(&own, name, &mut spec, context);
        probe::read(&own, &mut spec);
        exclusive(&own, &mut spec);
        autoscale::read(&own, name, &mut spec, context);
        own.finish(keys::X_GANTRY);
    }
    section.finish(keys::SERVICE);
    Service { spec, build, ports_at, routes_at }
}

/// A service that never runs twice has one replica.
fn exclusive(own: &Section<'_>, spec: &mut ServiceSpec) {
    spec.exclusive = own.flag("exclusive").unwrap_or(false);
    if !spec.exclusive {
        return;
    }
    if spec.mode == Mode::Global || spec.replicas.is_some_and(|replicas| replicas > 1) {
        own.log.error(own.value_at("exclusive"), "an exclusive service has one replica");
    }
    if spec.update.order == Some(UpdateOrder::StartFirst) {
        own.log.error(own.value_at("exclusive"), "an exclusive service is updated stop-first");
    }
}

fn container(section: &Section<'_>, context: &Context<'_>, image: String) -> Container {
    let dns = section.text_or_texts("dns");
    Container {
        image,
        entrypoint: section.words("entrypoint"),
        command: section.words("command"),
        environment: environment::read(section, context),
        working_dir: section.text("working_dir"),
        user: section.text("user"),
        hostname: section.text("hostname"),
        domainname: section.text("domainname"),
        tty: section.flag("tty").unwrap_or(false),
        stdin_open: section.flag("stdin_open").unwrap_or(false),
        stdin_once: false,
        init: section.flag("init"),
        stop_signal: section.text("stop_signal"),
        stop_grace: section.duration("stop_grace_period"),
        restart: restart(section),
        healthcheck: health::read(section),
        resources: resources(section),
        ulimits: ulimits(section),
        cap_add: section.texts("cap_add"),
        cap_drop: section.texts("cap_drop"),
        privileged: section.flag("privileged").unwrap_or(false),
        read_only: section.flag("read_only").unwrap_or(false),
        devices: devices(section),
        security_opt: section.texts("security_opt"),
        sysctls: section.pairs("sysctls"),
        mounts: mounts::read(section, context),
        extra_hosts: extra_hosts(section),
        dns: dns
            .iter()
            .filter_map(|address| match address.parse() {
                Ok(address) => Some(address),
                Err(_) => {
                    section.log.error(
                        section.value_at("dns"),
                        format!("{address:?} is no address of a name server"),
                    );
                    None
                }
            })
            .collect(),
        dns_search: section.text_or_texts("dns_search"),
        dns_options: section.texts("dns_opt"),
        log: section.section("logging").map(|logging| {
            let read = LogConfig { driver: logging.text("driver"), options: logging.pairs("options") };
            logging.finish(keys::LOGGING);
            read
        }),
        labels: labels(section),
        group_add: section.texts("group_add"),
        shm_size: section.bytes("shm_size").and_then(|size| u64::try_from(size).ok()),
        network_mode: network_mode(section),
        pid_mode: host_or_nothing(section, "pid"),
        ipc_mode: section.text("ipc"),
        expose: section
            .texts("expose")
            .into_iter()
            .map(|port| if port.contains('/') { port } else { format!("{port}/tcp") })
            .collect(),
        platform: section.text("platform"),
        runtime: section.text("runtime"),
        oom_score_adj: section.number("oom_score_adj"),
        post_start: hooks::read(section, "post_start", context),
        pre_stop: hooks::read(section, "pre_stop", context),
    }
}

fn labels(section: &Section<'_>) -> std::collections::BTreeMap<String, String> {
    let labels = section.pairs("labels");
    if let Some(label) = labels.keys().find(|label| label.starts_with("gantry.")) {
        section.log.error(
            section.value_at("labels"),
            format!("the label {label} begins with \"gantry.\": those are Gantry's own"),
        );
    }
    labels
}

fn restart(section: &Section<'_>) -> Option<RestartPolicy> {
    let text = section.text("restart")?;
    let policy = restart_policy(&text);
    if policy.is_none() {
        section.log.error_with(
            section.value_at("restart"),
            format!("there is no restart policy {text:?}"),
            "use \"no\", always, unless-stopped, on-failure or on-failure:3",
        );
    }
    policy
}

/// A restart policy in Docker's words.
pub fn restart_policy(text: &str) -> Option<RestartPolicy> {
    match text.split_once(':') {
        // An unquoted `no` is a false in YAML.
        None if matches!(text, "no" | "false") => Some(RestartPolicy::No),
        None if text == "always" => Some(RestartPolicy::Always),
        None if text == "unless-stopped" => Some(RestartPolicy::UnlessStopped),
        None if text == "on-failure" => Some(RestartPolicy::OnFailure { max_retries: None }),
        Some(("on-failure", retries)) => {
            let retries: u32 = retries.parse().ok()?;
            Some(RestartPolicy::OnFailure { max_retries: Some(retries).filter(|count| *count > 0) })
        }
        _ => None,
    }
}

/// The keys from before `deploy.resources`.
fn resources(section: &Section<'_>) -> Resources {
    let swap = match section.text("memswap_limit").as_deref() {
        None => None,
        Some("-1") => Some(-1),
        Some(text) => match units::bytes(text) {
            Some(size) => i64::try_from(size).ok(),
            None => {
                section.log.error(
                    section.value_at("memswap_limit"),
                    format!("memswap_limit must be a size or -1, and this is {text:?}"),
                );
                None
            }
        },
    };
    Resources {
        nano_cpus: section.cpus("cpus"),
        memory: section.bytes("mem_limit"),
        memory_swap: swap,
        pids: section.number("pids_limit"),
        cpu_shares: section.number("cpu_shares"),
        cpuset: section.text("cpuset"),
        reserved_nano_cpus: None,
        reserved_memory: section.bytes("mem_reservation"),
    }
}

fn ulimits(section: &Section<'_>) -> Vec<Ulimit> {
    let Some(limits) = section.section("ulimits") else { return Vec::new() };
    limits
        .entries()
        .iter()
        .filter_map(|(key, value)| {
            let name = key.name.to_string();
            if let Value::Scalar { text, .. } = &value.value {
                if let Ok(both) = text.trim().parse() {
                    return Some(Ulimit { name, soft: both, hard: both });
                }
                section.log.error(
                    value.at,
                    format!("the limit {name} must be a whole number, and this is {text:?}"),
                );
                return None;
            }
            let one = Section::open(section.log, format!("the limit {name}"), value)?;
            let (soft, hard) = (one.number("soft"), one.number("hard"));
            let at = one.at;
            one.finish(&["soft", "hard"]);
            match (soft, hard) {
                (Some(soft), Some(hard)) => Some(Ulimit { name, soft, hard }),
                _ => {
                    section.log.error(at, format!("the limit {name} needs soft and hard"));
                    None
                }
            }
        })
        .collect()
}

fn devices(section: &Section<'_>) -> Vec<Device> {
    section
        .texts("devices")
        .into_iter()
        .filter_map(|text| {
            let parts: Vec<&str> = text.split(':').collect();
            let (source, target, permissions) = match parts.as_slice() {
                [source] => (*source, *source, "rwm"),
                [source, target] => (*source, *target, "rwm"),
                [source, target, permissions] => (*source, *target, *permissions),
                _ => {
                    section.log.error(
                        section.value_at("devices"),
                        format!("{text:?} is no device: write /dev/x or /dev/x:/dev/y:rwm"),
                    );
                    return None;
                }
            };
            Some(Device {
                source: source.to_owned(),
                target: target.to_owned(),
                permissions: permissions.to_owned(),
            })
        })
        .collect()
}

fn extra_hosts(section: &Section<'_>) -> Vec<String> {
    let Some(node) = section.get("extra_hosts") else { return Vec::new() };
    match &node.value {
        // A list may write name:address or name=address.
        Value::List(_) => section
            .texts("extra_hosts")
            .into_iter()
            .map(|line| match line.split_once('=') {
                Some((name, address)) => format!("{name}:{address}"),
                None => line,
            })
            .collect(),
        _ => section
            .pairs("extra_hosts")
            .into_iter()
            .map(|(name, address)| format!("{name}:{address}"))
            .collect(),
    }
}

fn network_mode(section: &Section<'_>) -> NetworkMode {
    match section.text("network_mode").as_deref() {
        None | Some("bridge" | "default") => NetworkMode::Networks,
        Some("host") => NetworkMode::Host,
        Some("none") => NetworkMode::None,
        Some(other) => {
            section.log.error(
                section.value_at("network_mode"),
                format!("network_mode {other:?} is not supported: use host or none, or networks"),
            );
            NetworkMode::Networks
        }
    }
}

fn host_or_nothing(section: &Section<'_>, key: &'static str) -> Option<String> {
    let text = section.text(key)?;
    if text == "host" {
        return Some(text);
    }
    section.log.error(section.value_at(key), format!("{key} {text:?} is not supported: use host"));
    None
}

fn pull_policy(section: &Section<'_>, builds: bool) -> PullPolicy {
    match section.text("pull_policy").as_deref() {
        // What is built here need not be anywhere else.
        None if builds => PullPolicy::Never,
        None | Some("missing" | "if_not_present") => PullPolicy::Missing,
        Some("always") => PullPolicy::Always,
        Some("never" | "build") => PullPolicy::Never,
        Some(other) => {
            section.log.error(
                section.value_at("pull_policy"),
                format!("there is no pull_policy {other:?}: use missing, always, never or build"),
            );
            PullPolicy::Missing
        }
    }
}
