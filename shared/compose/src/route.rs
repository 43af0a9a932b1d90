//! `x-gantry.route` of a service: one map, or a list of them.

use std::collections::BTreeMap;

use gantry_model::{
    Certificate, NetworkMode, Protocol, Route, RouteFilters, ServiceSpec, is_host_pattern, is_token,
};
use ipnet::IpNet;

use crate::diagnostic::At;
use crate::project::Context;
use crate::section::Section;
use crate::tree::Value;
use crate::{keys, policy};

/// A file with a certificate or a key is hardly larger.
const MAX_PEM: u64 = 256 << 10;

/// Reads the routes of the service `name` into its spec, whose ports are there already. The places of
/// the routes are for messages about several services.
pub fn read(gantry: &Section<'_>, name: &str, spec: &mut ServiceSpec, context: &Context<'_>) -> Vec<At> {
    let Some(node) = gantry.get("route") else { return Vec::new() };
    let nodes = match &node.value {
        Value::List(items) => items.iter().collect(),
        _ => vec![node],
    };
    let mut places = Vec::new();
    for node in nodes {
        let Some(route) = Section::open(gantry.log, format!("a route of service {name}"), node) else {
            continue;
        };
        if spec.container.network_mode == NetworkMode::None {
            gantry.log.error(route.at, "a route does not go together with network_mode: none");
        }
        policy::read(&route, name, &mut spec.policy);
        let at = route.at;
        if let Some(read) = one(&route, spec, context) {
            if spec.routes.iter().any(|other| other.is_same_as(&read)) {
                gantry.log.error(at, format!("the service has the route {read} twice"));
            }
            spec.routes.push(read);
            places.push(at);
        }
        route.finish(keys::ROUTE);
    }
    places
}

fn one(route: &Section<'_>, spec: &ServiceSpec, context: &Context<'_>) -> Option<Route> {
    let log = route.log;
    let host = route.text("host").unwrap_or_default().to_ascii_lowercase();
    if !host.is_empty() && !is_host_pattern(&host) {
        log.error_with(
            route.value_at("host"),
            format!("{host:?} is no host"),
            "write a name without a port, such as shop.example.com or *.example.com",
        );
    }
    let given = route.text("path").unwrap_or_else(|| "/".to_owned());
    let path = Route::normal_path(&given);
    if path.is_none() {
        log.error(
            route.value_at("path"),
            format!("path must be a prefix such as /api, and this is {given:?}"),
        );
    }
    route.choice("protocol", &[("http", ())]);
    let headers = headers(route, "headers").into_iter();
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    let (filters, certificate) = (filters(route), certificate(route, context));
    let target = target(route, spec)?;
    Some(Route { host, path: path?, headers, target, filters, certificate })
}

/// The port in the containers: the one that is named, else the first that the service knows.
fn target(route: &Section<'_>, spec: &ServiceSpec) -> Option<u16> {
    if route.get("port").is_some() {
        let port = route.number::<u16>("port")?;
        if port == 0 {
            route.log.error(route.value_at("port"), "0 is no port: ports are 1 to 65535");
        }
        return Some(port).filter(|port| *port > 0);
    }
    let published = spec.ports.iter().find(|port| port.protocol == Protocol::Tcp).map(|port| port.target);
    let exposed = || {
        let tcp = spec.container.expose.iter().filter_map(|port| port.strip_suffix("/tcp"));
        tcp.map(str::parse).find_map(Result::ok)
    };
    let target = published.or_else(exposed);
    if target.is_none() {
        route.log.error_with(
            route.at,
            "it is not clear to which port of the container this route leads",
            "set port: NUMBER",
        );
    }
    target
}

fn filters(route: &Section<'_>) -> RouteFilters {
    RouteFilters {
        strip_prefix: route.flag("strip_prefix").unwrap_or(false),
        redirect_https: route.flag("redirect_https").unwrap_or(false),
        request_headers: headers(route, "request_headers"),
        response_headers: headers(route, "response_headers"),
        max_body: route.bytes("max_body").and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        allow: ranges(route, "allow"),
        deny: ranges(route, "deny"),
        basic_auth: basic_auth(route),
        rate: route.decimal("rate").unwrap_or_default(),
        burst: route.number("burst").unwrap_or_default(),
        compress: route.flag("compress").unwrap_or(false),
        timeout: route.duration("timeout"),
    }
}

fn headers(route: &Section<'_>, key: &'static str) -> BTreeMap<String, String> {
    let mut headers = route.pairs(key);
    headers.retain(|name, value| {
        let good = is_token(name) && !value.contains(['\r', '\n', '\0']);
        if !good {
            route.log.error(route.value_at(key), format!("{name:?} is no header with such a value"));
        }
        good
    });
    headers
}

/// Ranges, or single addresses.
fn ranges(route: &Section<'_>, key: &'static str) -> Vec<IpNet> {
    let texts = route.text_or_texts(key).into_iter();
    texts
        .filter_map(|text| {
            let read = text.parse().or_else(|_| text.parse().map(|address: std::net::IpAddr| address.into()));
            if read.is_err() {
                route.log.error(
                    route.value_at(key),
                    format!("{text:?} is neither an address nor a range such as 192.0.2.0/24"),
                );
            }
            read.ok()
        })
        .collect()
}

fn basic_auth(route: &Section<'_>) -> Vec<String> {
    let mut lines = route.text_or_texts("basic_auth");
    lines.retain(|line| {
        let good = line.split_once(':').is_some_and(|(user, hash)| !user.is_empty() && !hash.is_empty());
        if !good {
            // The line may hold a password: it is not shown.
            route.log.error_with(
                route.value_at("basic_auth"),
                "basic_auth must be lines of an htpasswd file, each USER:HASH",
                "make one with `htpasswd -nB USER`, and write each $ in it as $$",
            );
        }
        good
    });
    lines
}

fn certificate(route: &Section<'_>, context: &Context<'_>) -> Option<Certificate> {
    let tls = route.section("tls")?;
    let (cert, key) = (pem(&tls, "cert", "CERTIFICATE", context), pem(&tls, "key", "PRIVATE KEY", context));
    tls.finish(&["cert", "key"]);
    let (cert, key) = (cert?, key?);
    Some(Certificate { name: cert.0, cert_pem: cert.1, key_pem: key.1 })
}

/// The name and the content of a file that holds what `label` says.
fn pem(tls: &Section<'_>, key: &'static str, label: &str, context: &Context<'_>) -> Option<(String, String)> {
    let Some(name) = tls.text(key) else {
        if tls.get(key).is_none() {
            tls.log.error(tls.at, format!("tls needs {key}: FILE"));
        }
        return None;
    };
    let path = context.path(&name);
    let text = std::fs::metadata(&path).and_then(|found| {
        if found.len() > MAX_PEM {
            return Err(std::io::Error::other(format!("it is larger than {} KiB", MAX_PEM >> 10)));
        }
        std::fs::read_to_string(&path)
    });
    let problem = match text {
        // Such as `-----BEGIN EC PRIVATE KEY-----`.
        Ok(text) if text.contains("-----BEGIN ") && text.contains(&format!("{label}-----")) => {
            return Some((name, text));
        }
        Ok(_) => format!("{} holds no {} in PEM", path.display(), label.to_lowercase()),
        Err(error) => format!("cannot read {}: {error}", path.display()),
    };
    tls.log.error(tls.value_at(key), problem);
    None
}
