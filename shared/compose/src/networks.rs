//! `networks:` of a service, and of the file.

use std::collections::BTreeMap;

use gantry_model::{NetworkSpec, ServiceNetwork};

use crate::keys;
use crate::project::Context;
use crate::section::{Log, Section, texts};
use crate::tree::{Node, Value};

/// The networks that a service joins; empty is `default`.
pub fn of_service(section: &Section<'_>, context: &Context<'_>) -> Vec<ServiceNetwork> {
    let Some(node) = section.get("networks") else { return Vec::new() };
    let log = section.log;
    let mut joined = Vec::new();
    match &node.value {
        Value::List(items) => {
            for (item, network) in items.iter().zip(texts(log, "networks", node)) {
                check(log, item, &network, context);
                joined.push(ServiceNetwork { network, aliases: Vec::new() });
            }
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                let placed = Node { at: key.at, ..value.clone() };
                check(log, &placed, &key.name, context);
                let Some(options) = Section::open(log, format!("network {}", key.name), value) else {
                    continue;
                };
                let aliases = options.texts("aliases");
                options.finish(keys::SERVICE_NETWORK);
                joined.push(ServiceNetwork { network: key.name.to_string(), aliases });
            }
        }
        _ => log.error(node.at, format!("networks must be a list or a map, and this is {}", node.kind())),
    }
    joined
}

fn check(log: &Log, node: &Node, network: &str, context: &Context<'_>) {
    if network != "default" && !context.networks.contains(network) {
        log.error_with(
            node.at,
            format!("the network {network} is not declared"),
            format!("add it at the end of the file:\nnetworks:\n  {network}:"),
        );
    }
}

/// The networks of the file.
pub fn of_file(log: &Log, node: &Node) -> BTreeMap<String, NetworkSpec> {
    let mut networks = BTreeMap::new();
    let Some(section) = Section::open(log, "networks", node) else { return networks };
    for (key, value) in section.entries() {
        let Some(network) = Section::open(log, format!("network {}", key.name), value) else { continue };
        match network.text("driver").as_deref() {
            None | Some("bridge" | "overlay" | "default") => {}
            Some(other) => log.error(
                network.key_at("driver"),
                format!(
                    "there is no network driver {other:?} here: every network works on one node and on many"
                ),
            ),
        }
        if let Some(external) = network.get("external")
            && !matches!(&external.value, Value::Scalar { text, .. } if text == "false")
        {
            log.error(
                network.key_at("external"),
                "external networks are not supported yet: every stack has networks of its own",
            );
        }
        // Every network can be attached to by hand, so asking for it says nothing new.
        let _ = network.flag("attachable");
        let spec = NetworkSpec {
            internal: network.flag("internal").unwrap_or(false),
            labels: network.pairs("labels"),
            subnet: network.get("ipam").and_then(|ipam| subnet(log, ipam)),
        };
        network.finish(keys::NETWORK);
        networks.insert(key.name.to_string(), spec);
    }
    networks
}

fn subnet(log: &Log, node: &Node) -> Option<ipnet::Ipv4Net> {
    let ipam = Section::open(log, "ipam", node)?;
    let config = ipam.get("config");
    let _ = ipam.text("driver");
    ipam.finish(&["driver", "config", "options"]);
    let config = config?;
    let Value::List(ranges) = &config.value else {
        log.error(config.at, format!("config must be a list, and this is {}", config.kind()));
        return None;
    };
    if let Some(second) = ranges.get(1) {
        log.warning(second.at, "a network has one range here; this one is left out");
    }
    let range = Section::open(log, "config of ipam", ranges.first()?)?;
    let text = range.text("subnet");
    let at = range.key_at("subnet");
    range.finish(&["subnet", "gateway", "ip_range", "aux_addresses"]);
    let text = text?;
    match text.parse() {
        Ok(subnet) => Some(subnet),
        Err(_) => {
            log.error(at, format!("{text:?} is no IPv4 range such as 172.28.0.0/16"));
            None
        }
    }
}
