//! The keys that the Compose specification knows, section by section.
//!
//! A key that is listed here and that Gantry does not read is a warning; a key that is not listed is
//! an error.

/// The file itself.
pub const TOP: &[&str] =
    &["version", "name", "services", "networks", "volumes", "configs", "secrets", "include", "models"];

/// A service.
pub const SERVICE: &[&str] = &[
    "annotations",
    "attach",
    "blkio_config",
    "build",
    "cap_add",
    "cap_drop",
    "cgroup",
    "cgroup_parent",
    "command",
    "configs",
    "container_name",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpu_shares",
    "cpus",
    "cpuset",
    "credential_spec",
    "depends_on",
    "deploy",
    "develop",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
    "entrypoint",
    "env_file",
    "environment",
    "expose",
    "extends",
    "external_links",
    "extra_hosts",
    "gpus",
    "group_add",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "ipc",
    "isolation",
    "label_file",
    "labels",
    "links",
    "logging",
    "mac_address",
    "mem_limit",
    "mem_reservation",
    "mem_swappiness",
    "memswap_limit",
    "models",
    "network_mode",
    "networks",
    "oom_kill_disable",
    "oom_score_adj",
    "pid",
    "pids_limit",
    "platform",
    "ports",
    "post_start",
    "pre_stop",
    "privileged",
    "profiles",
    "provider",
    "pull_policy",
    "pull_refresh_after",
    "read_only",
    "restart",
    "runtime",
    "scale",
    "secrets",
    "security_opt",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "storage_opt",
    "sysctls",
    "tmpfs",
    "tty",
    "ulimits",
    "use_api_socket",
    "user",
    "userns_mode",
    "uts",
    "volumes",
    "volumes_from",
    "working_dir",
];

/// One of `post_start:` and `pre_stop:` of a service.
pub const HOOK: &[&str] = &["command", "environment", "privileged", "user", "working_dir"];

/// `build:` of a service.
pub const BUILD: &[&str] = &[
    "additional_contexts",
    "args",
    "cache_from",
    "cache_to",
    "context",
    "dockerfile",
    "dockerfile_inline",
    "entitlements",
    "extra_hosts",
    "isolation",
    "labels",
    "network",
    "no_cache",
    "no_cache_filter",
    "platforms",
    "privileged",
    "provenance",
    "pull",
    "sbom",
    "secrets",
    "shm_size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];

/// `deploy:` of a service.
pub const DEPLOY: &[&str] = &[
    "endpoint_mode",
    "labels",
    "mode",
    "placement",
    "replicas",
    "resources",
    "restart_policy",
    "rollback_config",
    "update_config",
];

/// `deploy.placement`.
pub const PLACEMENT: &[&str] = &["constraints", "preferences", "max_replicas_per_node"];

/// One of `deploy.placement.preferences`.
pub const PREFERENCE: &[&str] = &["spread"];

/// `deploy.resources.limits` and `reservations`.
pub const RESOURCES: &[&str] = &["cpus", "memory", "pids", "devices", "generic_resources"];

/// `deploy.restart_policy`.
pub const RESTART_POLICY: &[&str] = &["condition", "delay", "max_attempts", "window"];

/// `deploy.update_config`.
pub const UPDATE_CONFIG: &[&str] =
    &["parallelism", "delay", "failure_action", "monitor", "max_failure_ratio", "order"];

/// `healthcheck:` of a service.
pub const HEALTHCHECK: &[&str] =
    &["test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"];

/// `logging:` of a service.
pub const LOGGING: &[&str] = &["driver", "options"];

/// The long form of a port.
pub const PORT: &[&str] = &["name", "target", "published", "host_ip", "protocol", "app_protocol", "mode"];

/// The long form of a mount.
pub const MOUNT: &[&str] =
    &["type", "source", "target", "read_only", "consistency", "bind", "volume", "tmpfs", "image"];

/// A service on a network.
pub const SERVICE_NETWORK: &[&str] = &[
    "aliases",
    "ipv4_address",
    "ipv6_address",
    "link_local_ips",
    "mac_address",
    "driver_opts",
    "gw_priority",
    "priority",
    "interface_name",
];

/// The long form of a dependency.
pub const DEPENDENCY: &[&str] = &["condition", "required", "restart"];

/// The long form of an `env_file`.
pub const ENV_FILE: &[&str] = &["path", "required", "format"];

/// A network of the file.
pub const NETWORK: &[&str] = &[
    "name",
    "driver",
    "driver_opts",
    "attachable",
    "enable_ipv4",
    "enable_ipv6",
    "external",
    "internal",
    "ipam",
    "labels",
];

/// A volume of the file.
pub const VOLUME: &[&str] = &["name", "driver", "driver_opts", "external", "labels"];

/// `x-gantry.route` of a service.
pub const ROUTE: &[&str] = &[
    "affinity",
    "allow",
    "balance",
    "basic_auth",
    "burst",
    "compress",
    "connect_timeout",
    "deny",
    "drain_timeout",
    "eject_after",
    "eject_for",
    "hash_on",
    "headers",
    "host",
    "idle_timeout",
    "max_body",
    "max_concurrency",
    "path",
    "port",
    "protocol",
    "queue",
    "queue_timeout",
    "rate",
    "redirect_https",
    "request_headers",
    "response_headers",
    "retry_percent",
    "slow_start",
    "strip_prefix",
    "timeout",
    "tls",
    "upstream_protocol",
];

/// One check of `x-gantry.health` of a service.
pub const HEALTH: &[&str] = &[
    "body",
    "exec",
    "grpc",
    "headers",
    "http",
    "interval",
    "liveness",
    "port",
    "readiness",
    "retries",
    "start_interval",
    "start_period",
    "status",
    "tcp",
    "timeout",
];

/// `x-gantry.heal` of a service.
pub const HEAL: &[&str] = &["off", "restart_limit", "window"];

/// `x-gantry.autoscale` of a service.
pub const AUTOSCALE: &[&str] = &[
    "concurrency",
    "cpu",
    "max",
    "memory",
    "metric",
    "metrics",
    "min",
    "mode",
    "p95",
    "p99",
    "rps",
    "scale_down_after",
    "scale_up_after",
    "schedule",
];

/// One of `x-gantry.autoscale.metrics`.
pub const METRIC: &[&str] = &["name", "path", "port", "service", "target"];

/// One of `x-gantry.autoscale.schedule`.
pub const SCHEDULE_ENTRY: &[&str] = &["cron", "max", "min", "timezone"];

/// `x-gantry:` of a service.
pub const X_GANTRY: &[&str] = &["health", "route", "autoscale", "rollout", "heal", "exclusive"];
