//! The tables of the file as they are written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use crate::spec::{self, Protocol};

#[derive(Deserialize)]
pub(super) struct File {
    pub admin: Option<Spanned<String>>,
    pub workers: Option<usize>,
    pub cookie_secret: Option<String>,
    pub access_log: Option<AccessLog>,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub listen: Vec<Spanned<Listen>>,
    #[serde(default)]
    pub backend: BTreeMap<String, Spanned<BackendTable>>,
    #[serde(default)]
    pub route: Vec<Spanned<RouteTable>>,
    #[serde(default)]
    pub certificate: Vec<Spanned<CertificateTable>>,
}

#[derive(Deserialize)]
pub(super) struct AccessLog {
    pub path: PathBuf,
    pub format: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Limits {
    #[serde(deserialize_with = "some_duration")]
    pub header_timeout: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    pub body_timeout: Option<Duration>,
    #[serde(deserialize_with = "some_duration")]
    pub keep_alive_timeout: Option<Duration>,
    pub max_header_bytes: Option<usize>,
    pub max_headers: Option<usize>,
    pub max_connections: Option<u64>,
}

fn some_duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    spec::duration::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
pub(super) struct Listen {
    pub address: Option<Spanned<String>>,
    pub port: Spanned<u16>,
    #[serde(default)]
    pub protocol: Protocol,
    #[serde(default)]
    pub udp: bool,
    pub backend: Option<Spanned<String>>,
    #[serde(default)]
    pub routed: bool,
    #[serde(default)]
    pub tls: bool,
    #[serde(default)]
    pub proxy_protocol_from: Vec<Spanned<String>>,
    #[serde(default)]
    pub trusted_proxies: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
pub(super) struct BackendTable {
    #[serde(default)]
    pub endpoints: Vec<Spanned<EndpointValue>>,
    #[serde(default)]
    pub groups: Vec<Spanned<GroupTable>>,
    pub tls: Option<Spanned<TlsTable>>,
    #[serde(flatten)]
    pub policy: toml::Table,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum EndpointValue {
    Address(String),
    Weighted { address: String, weight: u32 },
}

#[derive(Deserialize)]
pub(super) struct GroupTable {
    pub name: String,
    pub weight: u32,
    pub endpoints: Vec<Spanned<EndpointValue>>,
}

#[derive(Deserialize)]
pub(super) struct TlsTable {
    pub server_name: String,
    pub ca: Option<Spanned<PathBuf>>,
    pub cert: Option<Spanned<PathBuf>>,
    pub key: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub insecure: bool,
}

#[derive(Deserialize)]
pub(super) struct RouteTable {
    #[serde(default)]
    pub host: String,
    pub path: Option<String>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub backend: Spanned<String>,
    pub basic_auth_file: Option<Spanned<PathBuf>>,
    #[serde(flatten)]
    pub filters: toml::Table,
}

#[derive(Deserialize)]
pub(super) struct CertificateTable {
    pub cert: Spanned<PathBuf>,
    pub key: Spanned<PathBuf>,
}
