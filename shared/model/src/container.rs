//! What a container is made from, in Docker's words.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Everything that Docker's create call takes and that Gantry honours.
///
/// Optional fields that are `None` keep what the image or the engine says.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// A name with an optional tag or digest, or an image id.
    pub image: String,
    /// Replaces the image's entrypoint; an empty list clears it.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command; an empty list clears it.
    pub command: Option<Vec<String>>,
    /// Values may be secret: this type's `Debug` shows names only.
    pub environment: BTreeMap<String, String>,
    /// The working directory.
    pub working_dir: Option<String>,
    /// User name or uid, with an optional `:group`.
    pub user: Option<String>,
    /// The host name that the container sees.
    pub hostname: Option<String>,
    /// The domain name that the container sees.
    pub domainname: Option<String>,
    /// Allocates a pseudo terminal.
    pub tty: bool,
    /// Keeps standard input open.
    pub stdin_open: bool,
    /// Closes standard input when the first client that attached to it lets go.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stdin_once: bool,
    /// Runs an init process as pid 1.
    pub init: Option<bool>,
    /// The signal that asks the process to end.
    pub stop_signal: Option<String>,
    /// How long the process may take to end before it is killed.
    pub stop_grace: Option<Duration>,
    /// What the engine does when the process ends by itself.
    pub restart: Option<RestartPolicy>,
    /// The engine's own health check.
    pub healthcheck: Option<Healthcheck>,
    /// Limits and reservations.
    pub resources: Resources,
    /// Kernel limits of the process.
    pub ulimits: Vec<Ulimit>,
    /// Capabilities to add.
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    pub cap_drop: Vec<String>,
    /// Every capability and every device of the host.
    pub privileged: bool,
    /// A read-only root file system.
    pub read_only: bool,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Security options, such as `no-new-privileges:true`.
    pub security_opt: Vec<String>,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Volumes, host folders and memory file systems.
    pub mounts: Vec<Mount>,
    /// Lines for `/etc/hosts`, each `name:address`.
    pub extra_hosts: Vec<String>,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Options of the resolver.
    pub dns_options: Vec<String>,
    /// Where output goes.
    pub log: Option<LogConfig>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Further groups of the process.
    pub group_add: Vec<String>,
    /// Size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
    /// Whether it has networks of its own.
    pub network_mode: NetworkMode,
    /// `host` or nothing.
    pub pid_mode: Option<String>,
    /// The engine's ipc mode.
    pub ipc_mode: Option<String>,
    /// Ports that the container listens on, each `port/protocol`.
    pub expose: Vec<String>,
    /// The platform of the image, such as `linux/arm64`.
    pub platform: Option<String>,
    /// The engine's runtime.
    pub runtime: Option<String>,
    /// How readily the kernel kills it when memory runs out, -1000..=1000.
    pub oom_score_adj: Option<i32>,
    /// What runs in it after every start, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub post_start: Vec<Hook>,
    /// What runs in it before it is asked to end, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pre_stop: Vec<Hook>,
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Container")
            .field("image", &self.image)
            .field("command", &self.command)
            .field("environment", &self.environment.keys().collect::<Vec<_>>())
            .field("mounts", &self.mounts)
            .finish_non_exhaustive()
    }
}

impl Container {
    /// Docker's own stop grace, where none is given.
    pub const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(10);

    /// How long the process may take to end before it is killed.
    pub fn stop_grace(&self) -> Duration {
        self.stop_grace.unwrap_or(Self::DEFAULT_STOP_GRACE)
    }

    /// What in here makes the container as powerful as root on its host; empty if nothing does.
    ///
    /// Only admins may ask for these.
    pub fn host_powers(&self) -> Vec<String> {
        let mut powers = Vec::new();
        if self.privileged {
            powers.push("privileged".to_owned());
        }
        for (key, hooks) in [("post_start", &self.post_start), ("pre_stop", &self.pre_stop)] {
            if hooks.iter().any(|hook| hook.privileged) {
                powers.push(format!("privileged in {key}"));
            }
        }
        if !self.devices.is_empty() {
            powers.push("devices".to_owned());
        }
        if self.network_mode == NetworkMode::Host {
            powers.push("network_mode: host".to_owned());
        }
        if self.pid_mode.is_some() {
            powers.push("pid: host".to_owned());
        }
        if self.ipc_mode.as_deref() == Some("host") {
            powers.push("ipc: host".to_owned());
        }
        powers.extend(self.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Bind { path, .. } => Some(format!("a bind of {path}")),
            _ => None,
        }));
        powers.extend(self.cap_add.iter().map(|name| format!("cap_add: {name}")));
        powers.extend(
            self.security_opt
                .iter()
                .filter(|option| !option.starts_with("no-new-privileges"))
                .map(|option| format!("security_opt: {option}")),
        );
        powers
    }
}

/// What the engine does when a process ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// Nothing: the container runs once.
    No,
    /// Starts it again after an exit code other than 0.
    OnFailure {
        /// How many times at most; `None` is without end.
        max_retries: Option<u32>,
    },
    /// Starts it again after every end, and when the engine starts.
    Always,
    /// As `Always`, but not at the engine's start if it was stopped by hand.
    UnlessStopped,
}

impl RestartPolicy {
    /// Whether the process is meant to end at some time by itself.
    pub fn runs_once(self) -> bool {
        matches!(self, Self::No | Self::OnFailure { .. })
    }
}

/// A test that the engine runs inside the container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    /// `["CMD", …]`, `["CMD-SHELL", line]`, `["NONE"]`, or empty for the image's own.
    pub test: Vec<String>,
    /// Time between two tests.
    pub interval: Option<Duration>,
    /// Time after which a test counts as failed.
    pub timeout: Option<Duration>,
    /// Failures in a row that make it unhealthy.
    pub retries: Option<u32>,
    /// Time after the start in which failures do not count.
    pub start_period: Option<Duration>,
    /// Time between two tests in the start period.
    pub start_interval: Option<Duration>,
}

impl Healthcheck {
    /// Whether it switches the image's own check off.
    pub fn is_none(&self) -> bool {
        self.test.first().is_some_and(|word| word == "NONE")
    }
}

/// A further process that runs in a container at a point of its life.
///
/// Values of its environment may be secret: `Debug` shows names only.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hook {
    /// Its words.
    pub command: Vec<String>,
    /// The user; `None` is the container's.
    pub user: Option<String>,
    /// The folder; `None` is the container's.
    pub working_dir: Option<String>,
    /// Further environment.
    pub environment: BTreeMap<String, String>,
    /// With all powers of the host.
    pub privileged: bool,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hook")
            .field("command", &self.command)
            .field("environment", &self.environment.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// Limits that the kernel enforces, and reservations that placement counts with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// CPU limit in billionths of a core.
    pub nano_cpus: Option<i64>,
    /// Memory limit in bytes.
    pub memory: Option<i64>,
    /// Memory and swap in bytes; -1 is unlimited swap.
    pub memory_swap: Option<i64>,
    /// Limit of processes and threads.
    pub pids: Option<i64>,
    /// CPU weight.
    pub cpu_shares: Option<i64>,
    /// Cores that may be used, such as `0-2,7`.
    pub cpuset: Option<String>,
    /// CPU that placement sets aside, in billionths of a core.
    pub reserved_nano_cpus: Option<i64>,
    /// Memory that placement sets aside, in bytes.
    pub reserved_memory: Option<i64>,
}

/// One kernel limit of a process; -1 is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// Its name, such as `nofile`.
    pub name: String,
    /// The limit that applies.
    pub soft: i64,
    /// The limit that the process may raise it to.
    pub hard: i64,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// The path on the host.
    pub source: String,
    /// The path in the container.
    pub target: String,
    /// Any of `r`, `w` and `m`.
    pub permissions: String,
}

/// Something at a path in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The path in the container.
    pub target: String,
    /// What is there.
    pub source: MountSource,
    /// Refuses writes.
    pub read_only: bool,
}

/// Where the content of a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A named volume (a key of the stack in a spec, the engine's name in an assignment), or an
    /// anonymous one.
    Volume {
        /// The name; `None` is anonymous.
        name: Option<String>,
        /// Does not copy the image's content into a new volume.
        no_copy: bool,
    },
    /// A folder or file of the host. It must exist.
    Bind {
        /// The absolute path on the host.
        path: String,
        /// Docker's mount propagation.
        propagation: Option<String>,
    },
    /// Memory, gone with the container.
    Tmpfs {
        /// Size in bytes.
        size: Option<i64>,
        /// Mode bits of the folder.
        mode: Option<u32>,
    },
}

/// Where a container's output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogConfig {
    /// The engine's log driver; `None` is its default.
    pub driver: Option<String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
}

/// Whether a container has networks of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    /// It joins the networks that it names.
    #[default]
    Networks,
    /// It uses the host's network.
    Host,
    /// It has none.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_never_shows_a_value_of_the_environment() {
        let container = Container {
            environment: BTreeMap::from([("PASSWORD".into(), "hunter2".into())]),
            ..Container::default()
        };
        let shown = format!("{container:?}");
        assert!(shown.contains("PASSWORD") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn what_equals_root_on_the_host_is_named() {
        let bind = Mount {
            target: "/x".into(),
            source: MountSource::Bind { path: "/etc".into(), propagation: None },
            read_only: true,
        };
        let container = Container {
            privileged: true,
            mounts: vec![bind],
            security_opt: vec!["no-new-privileges:true".into()],
            ..Container::default()
        };
        assert_eq!(container.host_powers(), ["privileged", "a bind of /etc"]);
        assert!(Container::default().host_powers().is_empty());
    }
}
