//! From the text to the settings.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;

use super::mistake::{Mistake, Mistakes};
use super::source::Source;
use super::tables::{BackendTable, CertificateTable, EndpointValue, File, Listen, RouteTable, TlsTable};
use super::{Settings, keys, shape};
use crate::access::Format;
use crate::http::{ClientLimits, HeadLimits};
use crate::plan::Rule;
use crate::spec::{
    Backend, Certificate, Endpoint, Filters, Group, Listener, Policy, Route, Spec, Target, UpstreamTls,
};
use crate::tls::{self, Certificates};

/// Reads the file at `path`, and every file that it names.
pub fn read(path: &Path) -> Result<Settings, Vec<Mistake>> {
    let source = Source::look(path);
    let text = fs::read_to_string(path).map_err(|error| {
        let message = format!("cannot read it: {error}");
        vec![Mistake { file: path.to_owned(), line: 1, column: 1, message }]
    })?;
    let mut mistakes = Mistakes::new(path, &text);
    match toml::de::DeTable::parse(&text) {
        Ok(table) => shape::check(table.get_ref(), &mut mistakes),
        Err(error) => {
            mistakes.add(&error.span().unwrap_or_default(), first_line(error.message()));
            return Err(mistakes.into_all());
        }
    }
    let file: File = match toml::from_str(&text) {
        Ok(file) => file,
        Err(error) => {
            mistakes.add(&error.span().unwrap_or_default(), first_line(error.message()));
            return Err(mistakes.into_all());
        }
    };
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut reader = Reader { folder, mistakes, files: vec![source] };
    let settings = reader.settings(file);
    if reader.mistakes.is_empty() { Ok(settings) } else { Err(reader.mistakes.into_all()) }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

struct Reader<'a> {
    folder: PathBuf,
    mistakes: Mistakes<'a>,
    files: Vec<Source>,
}

impl Reader<'_> {
    fn settings(&mut self, file: File) -> Settings {
        let mut spec = Spec::default();
        for (name, table) in &file.backend {
            let backend = self.backend(name, table);
            spec.backends.insert(name.clone(), backend);
        }
        for table in &file.certificate {
            spec.certificates.extend(self.certificate(table));
        }
        for table in &file.route {
            spec.routes.extend(self.route(table, &file.backend));
        }
        let mut taken = HashSet::new();
        for table in &file.listen {
            let Some(listener) = self.listener(table, &file.backend) else { continue };
            if !taken.insert((listener.address, listener.port, listener.udp)) {
                self.mistakes.add(
                    &table.get_ref().port.span(),
                    format!("port {} is listened on twice", listener.port),
                );
            }
            if listener.tls && file.certificate.is_empty() {
                self.mistakes.add(&table.span(), "tls needs a [[certificate]]");
            }
            if listener.target.is_none() && !listener.routed {
                self.mistakes.add(&table.span(), "it leads nowhere: name a backend, or say routed = true");
            }
            spec.listeners.push(listener);
        }
        if file.listen.is_empty() {
            self.mistakes.add(&(0..0), "it listens nowhere: add a [[listen]]");
        }
        let admin =
            file.admin.as_ref().and_then(|text| self.parse::<SocketAddr>(text, "an address with a port"));
        let access_log = file.access_log.and_then(|log| {
            let format = match log.format.as_ref().map(|format| format.get_ref().as_str()) {
                None | Some("json") => Format::Json,
                Some("combined") => Format::Combined,
                Some(other) => {
                    let at = log.format.as_ref().map(Spanned::span).unwrap_or_default();
                    self.mistakes.add(&at, format!("there is no format {other:?}: use json or combined"));
                    return None;
                }
            };
            let path = if log.path == Path::new("-") { log.path } else { self.folder.join(log.path) };
            Some((path, format))
        });
        let default = ClientLimits::default();
        let limits = &file.limits;
        Settings {
            spec,
            admin,
            workers: file.workers,
            access_log,
            limits: ClientLimits {
                head: HeadLimits {
                    bytes: limits.max_header_bytes.unwrap_or(default.head.bytes),
                    fields: limits.max_headers.unwrap_or(default.head.fields),
                },
                header_timeout: limits.header_timeout.unwrap_or(default.header_timeout),
                body_timeout: limits.body_timeout.unwrap_or(default.body_timeout),
                keep_alive_timeout: limits.keep_alive_timeout.unwrap_or(default.keep_alive_timeout),
            },
            max_connections: limits.max_connections.unwrap_or(100_000),
            cookie_secret: file.cookie_secret,
            files: std::mem::take(&mut self.files),
        }
    }

    fn parse<T: std::str::FromStr>(&mut self, text: &Spanned<String>, what: &str) -> Option<T> {
        let parsed = text.get_ref().parse().ok();
        if parsed.is_none() {
            self.mistakes.add(&text.span(), format!("{:?} is not {what}", text.get_ref()));
        }
        parsed
    }

    fn ranges(&mut self, texts: &[Spanned<String>]) -> Vec<IpNet> {
        let mut ranges = Vec::new();
        for text in texts {
            let read = text.get_ref().parse().or_else(|_| text.get_ref().parse::<IpAddr>().map(IpNet::from));
            match read {
                Ok(range) => ranges.push(range),
                Err(_) => self.mistakes.add(
                    &text.span(),
                    format!("{:?} is not a range of addresses, such as 10.0.0.0/8", text.get_ref()),
                ),
            }
        }
        ranges
    }

    fn listener(
        &mut self,
        table: &Spanned<Listen>,
        backends: &BTreeMap<String, Spanned<BackendTable>>,
    ) -> Option<Listener> {
        let listen = table.get_ref();
        let address = match &listen.address {
            None => None,
            Some(text) => Some(self.parse::<IpAddr>(text, "an address")?),
        };
        if let Some(backend) = &listen.backend {
            self.exists(backend, backends);
        }
        if *listen.port.get_ref() == 0 {
            self.mistakes.add(&listen.port.span(), "0 is not a port");
        }
        Some(Listener {
            address,
            port: *listen.port.get_ref(),
            udp: listen.udp,
            protocol: listen.protocol,
            target: listen
                .backend
                .as_ref()
                .map(|name| Target { backend: name.get_ref().clone(), port: None }),
            routed: listen.routed,
            tls: listen.tls,
            proxy_protocol_from: self.ranges(&listen.proxy_protocol_from),
            trusted_proxies: self.ranges(&listen.trusted_proxies),
            owner: "the file".to_owned(),
        })
    }

    fn exists(&mut self, name: &Spanned<String>, backends: &BTreeMap<String, Spanned<BackendTable>>) {
        if !backends.contains_key(name.get_ref()) {
            let known: Vec<&str> = backends.keys().map(String::as_str).collect();
            let hint = super::mistake::nearest(name.get_ref(), &known);
            let hint = hint.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
            self.mistakes.add(&name.span(), format!("there is no backend {}{hint}", name.get_ref()));
        }
    }

    fn backend(&mut self, name: &str, table: &Spanned<BackendTable>) -> Backend {
        let backend = table.get_ref();
        let mut table_keys = backend.policy.clone();
        // Those that do not exist were told already.
        table_keys.retain(|key: &str, _| keys::BACKEND.contains(&key));
        let policy: Result<Policy, _> = toml::Value::Table(table_keys).try_into();
        let mut policy = policy.unwrap_or_else(|error| {
            self.mistakes.add(&table.span(), format!("backend {name}: {}", first_line(error.message())));
            Policy::default()
        });
        if policy.send_proxy_protocol > 2 {
            self.mistakes.add(&table.span(), format!("backend {name}: send_proxy_protocol is 1 or 2"));
        }
        policy.tls = backend.tls.as_ref().and_then(|tls| self.upstream_tls(tls));
        let mut groups = Vec::new();
        if !backend.endpoints.is_empty() {
            groups.push(Group {
                name: "all".to_owned(),
                weight: 1,
                endpoints: self.endpoints(&backend.endpoints),
            });
        }
        for group in &backend.groups {
            let read = group.get_ref();
            let endpoints = self.endpoints(&read.endpoints);
            groups.push(Group { name: read.name.clone(), weight: read.weight, endpoints });
        }
        if !backend.endpoints.is_empty() && !backend.groups.is_empty() {
            self.mistakes
                .add(&table.span(), format!("backend {name} has endpoints and groups: use one of them"));
        }
        if groups.iter().all(|group| group.weight == 0) {
            self.mistakes
                .add(&table.span(), format!("backend {name} has nobody to answer: give it endpoints"));
        }
        Backend { groups, policy }
    }

    fn endpoints(&mut self, values: &[Spanned<EndpointValue>]) -> Vec<Endpoint> {
        let mut endpoints = Vec::new();
        for value in values {
            let (text, weight) = match value.get_ref() {
                EndpointValue::Address(address) => (address, 1),
                EndpointValue::Weighted { address, weight } => (address, *weight),
            };
            match text.parse::<SocketAddr>() {
                Ok(address) if weight > 0 && address.port() > 0 => {
                    let ready_for = Duration::from_hours(24);
                    endpoints.push(Endpoint { name: text.clone(), address, weight, ready_for });
                }
                Ok(_) => self.mistakes.add(&value.span(), "an endpoint has a weight and a port above 0"),
                Err(_) => self.mistakes.add(
                    &value.span(),
                    format!("{text:?} is not an address with a port, such as 10.0.0.1:8080"),
                ),
            }
        }
        endpoints
    }

    fn upstream_tls(&mut self, table: &Spanned<TlsTable>) -> Option<UpstreamTls> {
        let read = table.get_ref();
        if read.ca.is_none() && !read.insecure {
            self.mistakes.add(
                &table.span(),
                "tls needs the authority's certificate as ca, or insecure = true to trust everybody",
            );
        }
        if read.ca.is_some() && read.insecure {
            self.mistakes
                .add(&table.span(), "ca says whom to trust, and insecure to trust everybody: use one");
        }
        let mut pem = |path: &Option<Spanned<PathBuf>>| match path {
            None => Some(String::new()),
            Some(path) => self.load(path),
        };
        let tls = UpstreamTls {
            server_name: read.server_name.clone(),
            ca_pem: pem(&read.ca)?,
            cert_pem: pem(&read.cert)?,
            key_pem: pem(&read.key)?,
        };
        if let Err(problem) = tls::client(&tls) {
            self.mistakes.add(&table.span(), problem);
            return None;
        }
        Some(tls)
    }

    fn load(&mut self, path: &Spanned<PathBuf>) -> Option<String> {
        let whole = self.folder.join(path.get_ref());
        self.files.push(Source::look(&whole));
        match fs::read_to_string(&whole) {
            Ok(text) => Some(text),
            Err(error) => {
                self.mistakes.add(&path.span(), format!("cannot read {}: {error}", whole.display()));
                None
            }
        }
    }

    fn certificate(&mut self, table: &Spanned<CertificateTable>) -> Option<Certificate> {
        let read = table.get_ref();
        let certificate = Certificate {
            name: read.cert.get_ref().display().to_string(),
            cert_pem: self.load(&read.cert)?,
            key_pem: self.load(&read.key)?,
        };
        let (_, problems) = Certificates::read(std::slice::from_ref(&certificate));
        for problem in problems {
            self.mistakes.add(&table.span(), problem);
        }
        Some(certificate)
    }

    fn route(
        &mut self,
        table: &Spanned<RouteTable>,
        backends: &BTreeMap<String, Spanned<BackendTable>>,
    ) -> Option<Route> {
        let read = table.get_ref();
        self.exists(&read.backend, backends);
        let mut given = read.filters.clone();
        given.retain(|key: &str, _| keys::ROUTE.contains(&key));
        if let Some(toml::Value::String(size)) = given.get("max_body") {
            match size.parse::<bytesize::ByteSize>() {
                Ok(size) => {
                    let size = i64::try_from(size.as_u64()).unwrap_or(i64::MAX);
                    given.insert("max_body".to_owned(), toml::Value::Integer(size));
                }
                Err(_) => self.mistakes.add(&table.span(), format!("{size:?} is not a size, such as 10MiB")),
            }
        }
        if let Some(toml::Value::Integer(rate)) = given.get("rate") {
            #[allow(clippy::cast_precision_loss)] // A rate.
            let rate = *rate as f64;
            given.insert("rate".to_owned(), toml::Value::Float(rate));
        }
        for key in ["allow", "deny"] {
            // One address is a range too.
            if let Some(toml::Value::Array(list)) = given.get_mut(key) {
                for item in list {
                    if let toml::Value::String(text) = item
                        && let Ok(address) = text.parse::<IpAddr>()
                    {
                        *text = IpNet::from(address).to_string();
                    }
                }
            }
        }
        let filters: Result<Filters, _> = toml::Value::Table(given).try_into();
        let mut filters = match filters {
            Ok(filters) => filters,
            Err(error) => {
                self.mistakes.add(&table.span(), first_line(error.message()));
                return None;
            }
        };
        if let Some(path) = &read.basic_auth_file {
            filters.basic_auth.extend(self.load(path)?.lines().map(str::to_owned));
        }
        let path = read.path.clone().unwrap_or_else(|| "/".to_owned());
        if !path.starts_with('/') {
            self.mistakes.add(&table.span(), format!("the path {path:?} does not begin with /"));
        }
        if read.host.contains([':', '/']) || read.host.strip_prefix("*.").unwrap_or(&read.host).contains('*')
        {
            self.mistakes.add(
                &table.span(),
                format!("{:?} is not a host, such as shop.example.com or *.example.com", read.host),
            );
        }
        let route = Route {
            name: format!("{}{path}", read.host),
            host: read.host.to_lowercase(),
            path,
            headers: read.headers.clone(),
            target: Target { backend: read.backend.get_ref().clone(), port: None },
            filters,
        };
        if let Err(problem) = Rule::new(&route, 0) {
            self.mistakes.add(&table.span(), problem);
        }
        Some(route)
    }
}
