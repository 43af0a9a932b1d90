//! [`Container`] as `gantry.agent.v1.ContainerSpec`.

#[cfg(test)]
mod tests;

use gantry_api::Invalid;
use gantry_api::agent::v1 as wire;

use super::parts::{bounded, read_duration, some_number, some_text, write_duration};
use crate::container::{
    Container, Device, Healthcheck, Hook, LogConfig, Mount, MountSource, NetworkMode, Resources,
    RestartPolicy, Ulimit,
};

/// Reads what a container is made from. Its networks and ports are not part of it.
pub fn read_container(spec: wire::ContainerSpec) -> Result<Container, Invalid> {
    if spec.image.trim().is_empty() {
        return Err(Invalid::missing("image"));
    }
    bounded("mounts", &spec.mounts)?;
    bounded("labels", &spec.labels.iter().collect::<Vec<_>>())?;
    bounded("environment", &spec.environment.iter().collect::<Vec<_>>())?;
    if let Some(name) = spec.environment.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
        return Err(Invalid::new("environment", format!("has a variable with the name {name:?}")));
    }
    let network_mode = match spec.network_mode.as_str() {
        "" => NetworkMode::Networks,
        "host" => NetworkMode::Host,
        "none" => NetworkMode::None,
        other => {
            return Err(Invalid::new(
                "network_mode",
                format!("is {other:?}; use \"host\", \"none\" or nothing"),
            ));
        }
    };
    if !matches!(spec.pid_mode.as_str(), "" | "host") {
        return Err(Invalid::new("pid_mode", format!("is {:?}; use \"host\" or nothing", spec.pid_mode)));
    }
    let dns = spec
        .dns
        .iter()
        .map(|address| {
            address.parse().map_err(|_| Invalid::new("dns", format!("{address:?} is not an address")))
        })
        .collect::<Result<_, _>>()?;
    Ok(Container {
        image: spec.image,
        entrypoint: spec.entrypoint.map(|words| words.words),
        command: spec.command.map(|words| words.words),
        environment: spec.environment,
        working_dir: some_text(spec.working_dir),
        user: some_text(spec.user),
        hostname: some_text(spec.hostname),
        domainname: some_text(spec.domainname),
        tty: spec.tty,
        stdin_open: spec.stdin_open,
        stdin_once: spec.stdin_once,
        init: spec.init,
        stop_signal: some_text(spec.stop_signal),
        stop_grace: read_duration("stop_grace", spec.stop_grace)?,
        restart: spec.restart.map(read_restart).transpose()?.flatten(),
        healthcheck: spec.healthcheck.map(read_healthcheck).transpose()?,
        resources: spec.resources.map(read_resources).transpose()?.unwrap_or_default(),
        ulimits: spec
            .ulimits
            .into_iter()
            .map(|limit| Ulimit { name: limit.name, soft: limit.soft, hard: limit.hard })
            .collect(),
        cap_add: spec.cap_add,
        cap_drop: spec.cap_drop,
        privileged: spec.privileged,
        read_only: spec.read_only,
        devices: spec
            .devices
            .into_iter()
            .map(|device| Device {
                source: device.source,
                target: device.target,
                permissions: device.permissions,
            })
            .collect(),
        security_opt: spec.security_opt,
        sysctls: spec.sysctls,
        mounts: spec.mounts.into_iter().map(read_mount).collect::<Result<_, _>>()?,
        extra_hosts: spec.extra_hosts,
        dns,
        dns_search: spec.dns_search,
        dns_options: spec.dns_options,
        log: spec.log.map(|log| LogConfig { driver: some_text(log.driver), options: log.options }),
        labels: spec.labels,
        group_add: spec.group_add,
        shm_size: some_number(spec.shm_size),
        network_mode,
        pid_mode: some_text(spec.pid_mode),
        ipc_mode: some_text(spec.ipc_mode),
        expose: spec.expose,
        platform: some_text(spec.platform),
        runtime: some_text(spec.runtime),
        oom_score_adj: spec.oom_score_adj,
        post_start: read_hooks("post_start", spec.post_start)?,
        pre_stop: read_hooks("pre_stop", spec.pre_stop)?,
    })
}

fn read_hooks(field: &'static str, hooks: Vec<wire::LifecycleHook>) -> Result<Vec<Hook>, Invalid> {
    bounded(field, &hooks)?;
    let read = |hook: wire::LifecycleHook| {
        if hook.command.first().is_none_or(String::is_empty) {
            return Err(Invalid::new(format!("{field}.command"), "is empty"));
        }
        Ok(Hook {
            command: hook.command,
            user: some_text(hook.user),
            working_dir: some_text(hook.working_dir),
            environment: hook.environment,
            privileged: hook.privileged,
        })
    };
    hooks.into_iter().map(read).collect()
}

fn write_hook(hook: &Hook) -> wire::LifecycleHook {
    wire::LifecycleHook {
        command: hook.command.clone(),
        user: hook.user.clone().unwrap_or_default(),
        working_dir: hook.working_dir.clone().unwrap_or_default(),
        environment: hook.environment.clone(),
        privileged: hook.privileged,
    }
}

fn read_restart(policy: wire::RestartPolicy) -> Result<Option<RestartPolicy>, Invalid> {
    use wire::RestartCondition as C;
    Ok(match C::try_from(policy.condition) {
        Ok(C::Unspecified) => None,
        Ok(C::No) => Some(RestartPolicy::No),
        Ok(C::OnFailure) => Some(RestartPolicy::OnFailure { max_retries: some_number(policy.max_retries) }),
        Ok(C::Always) => Some(RestartPolicy::Always),
        Ok(C::UnlessStopped) => Some(RestartPolicy::UnlessStopped),
        Err(_) => return Err(Invalid::new("restart.condition", "is not known to this version")),
    })
}

fn read_healthcheck(check: wire::Healthcheck) -> Result<Healthcheck, Invalid> {
    match check.test.first().map(String::as_str) {
        None | Some("NONE" | "CMD" | "CMD-SHELL") => {}
        Some(other) => {
            return Err(Invalid::new(
                "healthcheck.test",
                format!("begins with {other:?}; use CMD, CMD-SHELL or NONE"),
            ));
        }
    }
    Ok(Healthcheck {
        test: check.test,
        interval: read_duration("healthcheck.interval", check.interval)?,
        timeout: read_duration("healthcheck.timeout", check.timeout)?,
        retries: some_number(check.retries),
        start_period: read_duration("healthcheck.start_period", check.start_period)?,
        start_interval: read_duration("healthcheck.start_interval", check.start_interval)?,
    })
}

fn read_resources(resources: wire::Resources) -> Result<Resources, Invalid> {
    for (field, value) in [
        ("nano_cpus", resources.nano_cpus),
        ("memory", resources.memory),
        ("pids", resources.pids),
        ("reserved_nano_cpus", resources.reserved_nano_cpus),
        ("reserved_memory", resources.reserved_memory),
    ] {
        if value < 0 {
            return Err(Invalid::new(format!("resources.{field}"), "is negative"));
        }
    }
    Ok(Resources {
        nano_cpus: some_number(resources.nano_cpus),
        memory: some_number(resources.memory),
        memory_swap: some_number(resources.memory_swap),
        pids: some_number(resources.pids),
        cpu_shares: some_number(resources.cpu_shares),
        cpuset: some_text(resources.cpuset),
        reserved_nano_cpus: some_number(resources.reserved_nano_cpus),
        reserved_memory: some_number(resources.reserved_memory),
    })
}

fn read_mount(mount: wire::Mount) -> Result<Mount, Invalid> {
    if !mount.target.starts_with('/') {
        return Err(Invalid::new("mounts.target", format!("is {:?}; give an absolute path", mount.target)));
    }
    let source = match wire::MountType::try_from(mount.r#type) {
        Ok(wire::MountType::Volume) => {
            MountSource::Volume { name: some_text(mount.source), no_copy: mount.no_copy }
        }
        Ok(wire::MountType::Bind) if mount.source.starts_with('/') => {
            MountSource::Bind { path: mount.source, propagation: some_text(mount.propagation) }
        }
        Ok(wire::MountType::Bind) => {
            return Err(Invalid::new(
                "mounts.source",
                format!("is {:?}; a bind needs an absolute path on the host", mount.source),
            ));
        }
        Ok(wire::MountType::Tmpfs) => {
            MountSource::Tmpfs { size: some_number(mount.tmpfs_size), mode: some_number(mount.tmpfs_mode) }
        }
        Ok(wire::MountType::Unspecified) | Err(_) => return Err(Invalid::missing("mounts.type")),
    };
    Ok(Mount { target: mount.target, source, read_only: mount.read_only })
}

/// Writes what a container is made from.
pub fn write_container(container: &Container) -> wire::ContainerSpec {
    wire::ContainerSpec {
        image: container.image.clone(),
        entrypoint: container.entrypoint.clone().map(|words| wire::Words { words }),
        command: container.command.clone().map(|words| wire::Words { words }),
        environment: container.environment.clone(),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        user: container.user.clone().unwrap_or_default(),
        hostname: container.hostname.clone().unwrap_or_default(),
        domainname: container.domainname.clone().unwrap_or_default(),
        tty: container.tty,
        stdin_open: container.stdin_open,
        stdin_once: container.stdin_once,
        init: container.init,
        stop_signal: container.stop_signal.clone().unwrap_or_default(),
        stop_grace: container.stop_grace.map(write_duration),
        restart: container.restart.map(write_restart),
        healthcheck: container.healthcheck.as_ref().map(write_healthcheck),
        resources: Some(write_resources(&container.resources)),
        ulimits: container
            .ulimits
            .iter()
            .map(|limit| wire::Ulimit { name: limit.name.clone(), soft: limit.soft, hard: limit.hard })
            .collect(),
        cap_add: container.cap_add.clone(),
        cap_drop: container.cap_drop.clone(),
        privileged: container.privileged,
        read_only: container.read_only,
        devices: container
            .devices
            .iter()
            .map(|device| wire::Device {
                source: device.source.clone(),
                target: device.target.clone(),
                permissions: device.permissions.clone(),
            })
            .collect(),
        security_opt: container.security_opt.clone(),
        sysctls: container.sysctls.clone(),
        mounts: container.mounts.iter().map(write_mount).collect(),
        extra_hosts: container.extra_hosts.clone(),
        dns: container.dns.iter().map(ToString::to_string).collect(),
        dns_search: container.dns_search.clone(),
        dns_options: container.dns_options.clone(),
        log: container.log.as_ref().map(|log| wire::LogConfig {
            driver: log.driver.clone().unwrap_or_default(),
            options: log.options.clone(),
        }),
        labels: container.labels.clone(),
        group_add: container.group_add.clone(),
        shm_size: container.shm_size.unwrap_or_default(),
        network_mode: match container.network_mode {
            NetworkMode::Networks => String::new(),
            NetworkMode::Host => "host".to_owned(),
            NetworkMode::None => "none".to_owned(),
        },
        pid_mode: container.pid_mode.clone().unwrap_or_default(),
        ipc_mode: container.ipc_mode.clone().unwrap_or_default(),
        networks: Vec::new(),
        ports: Vec::new(),
        expose: container.expose.clone(),
        platform: container.platform.clone().unwrap_or_default(),
        runtime: container.runtime.clone().unwrap_or_default(),
        oom_score_adj: container.oom_score_adj,
        post_start: container.post_start.iter().map(write_hook).collect(),
        pre_stop: container.pre_stop.iter().map(write_hook).collect(),
    }
}

fn write_restart(policy: RestartPolicy) -> wire::RestartPolicy {
    use wire::RestartCondition as C;
    let (condition, max_retries) = match policy {
        RestartPolicy::No => (C::No, None),
        RestartPolicy::OnFailure { max_retries } => (C::OnFailure, max_retries),
        RestartPolicy::Always => (C::Always, None),
        RestartPolicy::UnlessStopped => (C::UnlessStopped, None),
    };
    wire::RestartPolicy { condition: condition.into(), max_retries: max_retries.unwrap_or_default() }
}

fn write_healthcheck(check: &Healthcheck) -> wire::Healthcheck {
    wire::Healthcheck {
        test: check.test.clone(),
        interval: check.interval.map(write_duration),
        timeout: check.timeout.map(write_duration),
        retries: check.retries.unwrap_or_default(),
        start_period: check.start_period.map(write_duration),
        start_interval: check.start_interval.map(write_duration),
    }
}

fn write_resources(resources: &Resources) -> wire::Resources {
    wire::Resources {
        nano_cpus: resources.nano_cpus.unwrap_or_default(),
        memory: resources.memory.unwrap_or_default(),
        memory_swap: resources.memory_swap.unwrap_or_default(),
        pids: resources.pids.unwrap_or_default(),
        cpu_shares: resources.cpu_shares.unwrap_or_default(),
        cpuset: resources.cpuset.clone().unwrap_or_default(),
        reserved_nano_cpus: resources.reserved_nano_cpus.unwrap_or_default(),
        reserved_memory: resources.reserved_memory.unwrap_or_default(),
    }
}

fn write_mount(mount: &Mount) -> wire::Mount {
    let mut written =
        wire::Mount { target: mount.target.clone(), read_only: mount.read_only, ..wire::Mount::default() };
    match &mount.source {
        MountSource::Volume { name, no_copy } => {
            written.set_type(wire::MountType::Volume);
            written.source = name.clone().unwrap_or_default();
            written.no_copy = *no_copy;
        }
        MountSource::Bind { path, propagation } => {
            written.set_type(wire::MountType::Bind);
            written.source.clone_from(path);
            written.propagation = propagation.clone().unwrap_or_default();
        }
        MountSource::Tmpfs { size, mode } => {
            written.set_type(wire::MountType::Tmpfs);
            written.tmpfs_size = size.unwrap_or_default();
            written.tmpfs_mode = mode.unwrap_or_default();
        }
    }
    written
}
