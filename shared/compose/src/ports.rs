//! `ports:` of a service, in both forms.

use std::net::Ipv4Addr;

use gantry_model::{AppProtocol, Port, Protocol, PublishMode};

use crate::diagnostic::At;
use crate::keys;
use crate::section::{Log, Section};
use crate::tree::{Node, Value};

/// More ports than this in one range are hardly meant.
const MAX_RANGE: usize = 1000;

/// The ports of a service, each with its place.
pub fn read(section: &Section<'_>) -> Vec<(Port, At)> {
    let Some(node) = section.get("ports") else { return Vec::new() };
    let Value::List(items) = &node.value else {
        section.log.error(node.at, format!("ports must be a list, and this is {}", node.kind()));
        return Vec::new();
    };
    let mut ports = Vec::new();
    for item in items {
        match &item.value {
            Value::Scalar { text, .. } => match short(text) {
                Ok(found) => ports.extend(found.into_iter().map(|port| (port, item.at))),
                Err(problem) => {
                    section.log.error_with(item.at, problem, "write HOST:CONTAINER, such as \"8080:80\"");
                }
            },
            Value::Map(_) => ports.extend(long(section.log, item).map(|port| (port, item.at))),
            _ => section
                .log
                .error(item.at, format!("a port must be a text or a map, and this is {}", item.kind())),
        }
    }
    ports
}

/// `[[IP:]HOST:]CONTAINER[/PROTOCOL]`, where HOST and CONTAINER may be ranges of the same length.
pub fn short(text: &str) -> Result<Vec<Port>, String> {
    let (rest, protocol) = match text.split_once('/') {
        Some((rest, protocol)) => (rest, read_protocol(protocol)?),
        None => (text, Protocol::Tcp),
    };
    if rest.contains('[') {
        return Err(format!("{text:?} listens on an IPv6 address, which is not supported"));
    }
    let parts: Vec<&str> = rest.split(':').collect();
    let (host_ip, published, target) = match parts.as_slice() {
        [target] => (None, None, *target),
        [published, target] => (None, Some(*published), *target),
        [ip, published, target] => (Some(*ip), Some(*published), *target),
        _ => return Err(format!("{text:?} is no port")),
    };
    let host_ip = host_ip.map(read_ip).transpose()?.flatten();
    let targets = range(target)?;
    let published = published.filter(|published| !published.is_empty()).map(range).transpose()?;
    if let Some(published) = &published
        && published.len() != targets.len()
    {
        return Err(format!(
            "{text:?} maps {} ports of the node to {} of the container: give ranges of the same length",
            published.len(),
            targets.len()
        ));
    }
    let port = |(at, target)| Port {
        protocol,
        host_ip,
        ..Port::new(target, published.as_ref().map(|published| published[at]))
    };
    Ok(targets.into_iter().enumerate().map(port).collect())
}

fn long(log: &Log, node: &Node) -> Option<Port> {
    let section = Section::open(log, "a port", node)?;
    let text = |key| section.text(key);
    let one = |key: &'static str, text: Option<String>| {
        let text = text?;
        match range(&text) {
            Ok(found) if found.len() == 1 => found.first().copied(),
            Ok(_) => {
                log.error(section.value_at(key), format!("{key} is a range: give one port"));
                None
            }
            Err(problem) => {
                log.error(section.value_at(key), problem);
                None
            }
        }
    };
    let target = one("target", text("target"));
    let published = one("published", text("published").filter(|published| !published.is_empty()));
    let host_ip = match text("host_ip").map(|ip| read_ip(&ip)) {
        Some(Ok(ip)) => ip,
        Some(Err(problem)) => {
            log.error(section.value_at("host_ip"), problem);
            None
        }
        None => None,
    };
    let protocol = match text("protocol").map(|protocol| read_protocol(&protocol)) {
        Some(Ok(protocol)) => protocol,
        Some(Err(problem)) => {
            log.error(section.value_at("protocol"), problem);
            Protocol::Tcp
        }
        None => Protocol::Tcp,
    };
    let mode = match text("mode").as_deref() {
        None | Some("ingress") => PublishMode::Ingress,
        Some("host") => PublishMode::Host,
        Some(other) => {
            log.error(
                section.value_at("mode"),
                format!("mode must be host or ingress, and this is {other:?}"),
            );
            PublishMode::Ingress
        }
    };
    let app_protocol = text("app_protocol").and_then(|word| {
        let known = AppProtocol::parse(&word);
        if known.is_none() {
            let near = crate::section::nearest(&word, &AppProtocol::WORDS);
            // Compose takes any word here, and so does Gantry: it looks at the first bytes instead.
            log.warning(
                section.value_at("app_protocol"),
                match near {
                    Some(near) => format!("app_protocol {word:?} is not known; did you mean {near}?"),
                    None => format!(
                        "app_protocol {word:?} is not known, and is found out from the first bytes: \
                         {} are known",
                        AppProtocol::WORDS.join(", ")
                    ),
                },
            );
        }
        known
    });
    // A name is for people.
    let _ = text("name");
    if node.get("target").is_none() {
        log.error(node.at, "a port needs a target, the port in the container");
    }
    section.finish(keys::PORT);
    Some(Port { target: target?, published, protocol, host_ip, mode, app_protocol })
}

/// One port, or `FROM-TO`.
fn range(text: &str) -> Result<Vec<u16>, String> {
    let port = |text: &str| match text.trim().parse::<u32>() {
        Ok(number @ 1..=65535) => Ok(u16::try_from(number).unwrap_or(u16::MAX)),
        Ok(number) => Err(format!("{number} is no port: ports are 1 to 65535")),
        Err(_) => Err(format!("{text:?} is no port")),
    };
    match text.split_once('-') {
        None => Ok(vec![port(text)?]),
        Some((from, to)) => {
            let (from, to) = (port(from)?, port(to)?);
            if from > to {
                return Err(format!("the range {text} goes backwards"));
            }
            if usize::from(to - from) >= MAX_RANGE {
                return Err(format!("the range {text} has more than {MAX_RANGE} ports"));
            }
            Ok((from..=to).collect())
        }
    }
}

fn read_protocol(text: &str) -> Result<Protocol, String> {
    match text.to_ascii_lowercase().as_str() {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        other => Err(format!("{other:?} is no protocol that can be published: use tcp or udp")),
    }
}

fn read_ip(text: &str) -> Result<Option<Ipv4Addr>, String> {
    match text {
        "" | "0.0.0.0" => Ok(None),
        ip => ip.parse().map(Some).map_err(|_| format!("{ip:?} is no IPv4 address of a node")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match short(text) {
            Ok(ports) => ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            Err(problem) => format!("! {problem}"),
        }
    }

    #[test]
    fn every_short_form() {
        for (text, want) in [
            ("80", "80/tcp"),
            ("8080:80", "8080->80/tcp"),
            ("53:53/udp", "53->53/udp"),
            ("127.0.0.1:8080:80", "127.0.0.1:8080->80/tcp"),
            ("0.0.0.0:8080:80", "8080->80/tcp"),
            ("3000-3002", "3000/tcp 3001/tcp 3002/tcp"),
            ("8000-8001:80-81", "8000->80/tcp 8001->81/tcp"),
            ("127.0.0.1::80", "127.0.0.1:80/tcp"),
        ] {
            assert_eq!(shown(text), want, "{text}");
        }
    }

    #[test]
    fn what_is_no_port_says_why() {
        assert_eq!(shown("70000:80"), "! 70000 is no port: ports are 1 to 65535");
        assert_eq!(shown("0:80"), "! 0 is no port: ports are 1 to 65535");
        assert_eq!(shown("web:80"), "! \"web\" is no port");
        assert!(shown("8000-8005:80").contains("same length"));
        assert!(shown("90-80").contains("backwards"));
        assert!(shown("80/sctp").contains("tcp or udp"));
        assert!(shown("1:2:3:4").contains("is no port"));
        assert!(shown("[::1]:80:80").contains("IPv6"));
    }
}
