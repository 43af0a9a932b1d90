//! The keys of each table.

/// Of the file itself.
pub const FILE: &[&str] = &[
    "admin",
    "workers",
    "cookie_secret",
    "access_log",
    "limits",
    "listen",
    "backend",
    "route",
    "certificate",
];
/// Of `[access_log]`.
pub const ACCESS_LOG: &[&str] = &["path", "format"];
/// Of `[limits]`.
pub const LIMITS: &[&str] = &[
    "header_timeout",
    "body_timeout",
    "keep_alive_timeout",
    "max_header_bytes",
    "max_headers",
    "max_connections",
];
/// Of `[[listen]]`.
pub const LISTEN: &[&str] = &[
    "address",
    "port",
    "protocol",
    "udp",
    "backend",
    "routed",
    "tls",
    "proxy_protocol_from",
    "trusted_proxies",
];
/// Of `[backend.NAME]`: its own, and those of a policy.
pub const BACKEND: &[&str] = &[
    "endpoints",
    "groups",
    "tls",
    "balance",
    "hash_on",
    "sticky_cookie",
    "connect_timeout",
    "response_timeout",
    "idle_timeout",
    "max_concurrency",
    "queue_length",
    "queue_timeout",
    "retry_percent",
    "slow_start",
    "eject_after",
    "eject_for",
    "protocol",
    "send_proxy_protocol",
    "drain_timeout",
];
/// Of an endpoint that is a table.
pub const ENDPOINT: &[&str] = &["address", "weight"];
/// Of one of `groups`.
pub const GROUP: &[&str] = &["name", "weight", "endpoints"];
/// Of `tls` of a backend.
pub const UPSTREAM_TLS: &[&str] = &["server_name", "ca", "cert", "key", "insecure"];
/// Of `[[route]]`: its own, and those of filters.
pub const ROUTE: &[&str] = &[
    "host",
    "path",
    "headers",
    "backend",
    "basic_auth_file",
    "strip_prefix",
    "redirect_https",
    "request_headers",
    "response_headers",
    "max_body",
    "allow",
    "deny",
    "basic_auth",
    "rate",
    "burst",
    "compress",
    "response_timeout",
];
/// Of `[[certificate]]`.
pub const CERTIFICATE: &[&str] = &["cert", "key"];
