//! Where replicas may run, in the words of Docker Swarm.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::node::{Node, NodeRole};

/// These words are in the reason why a replica waits where nodes have too little processor time or memory left.
pub const NO_ROOM: &str = "no room";

/// How many replicas a service has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As many as it is told to.
    #[default]
    Replicated,
    /// One on every node that it may run on.
    Global,
}

/// Where the replicas of a service may run, and how they are spread.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Placement {
    /// What must hold of a node. All of them.
    pub constraints: Vec<Constraint>,
    /// What replicas are spread over evenly, the most important first.
    pub spread: Vec<Attribute>,
    /// At most that many on one node.
    pub max_replicas_per_node: Option<u32>,
}

/// Something that is known of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Attribute {
    NodeId,
    /// The node's name or its host's.
    NodeHostname,
    NodeRole,
    NodeIp,
    NodeLabel(String),
    PlatformOs,
    PlatformArch,
    EngineLabel(String),
}

/// One condition on a node, such as `node.labels.zone == a`. Values are compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Constraint {
    /// What is looked at.
    pub attribute: Attribute,
    /// `==`, or `!=`.
    pub equal: bool,
    /// What it is compared with.
    pub value: String,
}

/// A constraint or an attribute that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadPlacement(String);

/// The attributes, as they are written.
pub const ATTRIBUTES: &str = "node.id, node.hostname, node.role, node.ip, node.labels.NAME, node.platform.os, \
                              node.platform.arch, engine.labels.NAME";

impl FromStr for Attribute {
    type Err = BadPlacement;

    fn from_str(text: &str) -> Result<Self, BadPlacement> {
        let labels = [("node.labels.", Self::NodeLabel as fn(String) -> Self)];
        let labels = labels.into_iter().chain([("engine.labels.", Self::EngineLabel as fn(String) -> Self)]);
        for (start, make) in labels {
            if let Some(name) = text.strip_prefix(start) {
                let word = |c: char| c.is_ascii_graphic() && !matches!(c, '=' | '!');
                if name.is_empty() || !name.chars().all(word) {
                    return Err(BadPlacement(format!("{text:?} names no label")));
                }
                return Ok(make(name.to_owned()));
            }
        }
        Ok(match text {
            "node.id" => Self::NodeId,
            "node.hostname" => Self::NodeHostname,
            "node.role" => Self::NodeRole,
            "node.ip" => Self::NodeIp,
            "node.platform.os" => Self::PlatformOs,
            "node.platform.arch" => Self::PlatformArch,
            _ => {
                return Err(BadPlacement(format!("nothing is known as {text:?}: use one of {ATTRIBUTES}")));
            }
        })
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeId => f.write_str("node.id"),
            Self::NodeHostname => f.write_str("node.hostname"),
            Self::NodeRole => f.write_str("node.role"),
            Self::NodeIp => f.write_str("node.ip"),
            Self::NodeLabel(name) => write!(f, "node.labels.{name}"),
            Self::PlatformOs => f.write_str("node.platform.os"),
            Self::PlatformArch => f.write_str("node.platform.arch"),
            Self::EngineLabel(name) => write!(f, "engine.labels.{name}"),
        }
    }
}

impl Serialize for Attribute {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Attribute {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Attribute {
    /// What a node has there; several for addresses and names, none for a label that is not set.
    pub fn values(&self, node: &Node) -> BTreeSet<String> {
        let one = |text: &str| BTreeSet::from([text.to_owned()]);
        match self {
            Self::NodeId => one(node.id.as_str()),
            Self::NodeHostname => [&node.name, &node.host.hostname].into_iter().cloned().collect(),
            Self::NodeRole => one(node.role.word()),
            Self::NodeIp => node.addresses.iter().cloned().collect(),
            Self::NodeLabel(name) => node.labels.get(name).cloned().into_iter().collect(),
            Self::PlatformOs => one(&node.host.os),
            Self::PlatformArch => one(architecture(&node.host.architecture)),
            Self::EngineLabel(name) => {
                let pairs = node.host.engine_labels.iter().filter_map(|label| label.split_once('='));
                pairs.filter(|(known, _)| known == name).map(|(_, value)| value.to_owned()).collect()
            }
        }
    }

    /// The value by which replicas are spread; a node without it is one more group.
    pub fn group(&self, node: &Node) -> String {
        self.values(node).into_iter().next().unwrap_or_default()
    }
}

impl FromStr for Constraint {
    type Err = BadPlacement;

    fn from_str(text: &str) -> Result<Self, BadPlacement> {
        let (left, equal, right) = match (text.split_once("=="), text.split_once("!=")) {
            // The first operator counts: a value may have the other in it.
            (Some((left, _)), Some((before, right))) if before.len() < left.len() => (before, false, right),
            (Some((left, right)), _) => (left, true, right),
            (None, Some((left, right))) => (left, false, right),
            (None, None) => {
                return Err(BadPlacement(format!(
                    "{text:?} compares nothing: write it as node.labels.zone == a, or with !="
                )));
            }
        };
        let attribute: Attribute = left.trim().parse()?;
        let value = right.trim().to_owned();
        if value.is_empty() {
            return Err(BadPlacement(format!("{text:?} compares {attribute} with nothing")));
        }
        match attribute {
            Attribute::NodeIp if value.parse::<IpAddr>().is_err() && value.parse::<IpNet>().is_err() => {
                return Err(BadPlacement(format!(
                    "{value:?} is no address and no range: write it as 10.0.0.7 or 10.0.0.0/24"
                )));
            }
            Attribute::NodeRole if NodeRole::parse(&value).is_none() => {
                return Err(BadPlacement(format!("there is no role {value:?}: use manager or worker")));
            }
            _ => {}
        }
        Ok(Self { attribute, equal, value })
    }
}

impl TryFrom<String> for Constraint {
    type Error = BadPlacement;

    fn try_from(text: String) -> Result<Self, BadPlacement> {
        text.parse()
    }
}

impl From<Constraint> for String {
    fn from(constraint: Constraint) -> Self {
        constraint.to_string()
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = if self.equal { "==" } else { "!=" };
        write!(f, "{} {operator} {}", self.attribute, self.value)
    }
}

impl Constraint {
    /// Whether it holds of a node. A label that is not set differs from every value.
    pub fn matches(&self, node: &Node) -> bool {
        let same = |value: &String| match self.attribute {
            Attribute::NodeIp => has_address(&self.value, value),
            Attribute::PlatformArch => architecture(&self.value).eq_ignore_ascii_case(architecture(value)),
            _ => self.value.eq_ignore_ascii_case(value),
        };
        self.attribute.values(node).iter().any(same) == self.equal
    }
}

fn has_address(wanted: &str, address: &str) -> bool {
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    match wanted.parse::<IpNet>() {
        Ok(range) => range.contains(&address),
        Err(_) => wanted.parse() == Ok(address),
    }
}

/// One name for each architecture: kernels and images have different ones.
pub fn architecture(name: &str) -> &str {
    match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "armv7l" | "armhf" => "arm",
        "i386" | "i686" => "386",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::node::{Availability, Host};
    use crate::{NodeId, Timestamp};

    fn node() -> Node {
        Node {
            id: NodeId::new("n1").unwrap(),
            name: "alpha".into(),
            addresses: vec!["10.0.0.7".into(), "fd00::7".into()],
            agent_port: 7071,
            labels: BTreeMap::from([("zone".into(), "A".into())]),
            availability: Availability::Active,
            quarantined_since: None,
            role: NodeRole::Worker,
            host: Host {
                hostname: "machine".into(),
                os: "linux".into(),
                architecture: "x86_64".into(),
                engine_labels: vec!["storage=ssd".into()],
                ..Host::default()
            },
            joined_at: Timestamp::default(),
        }
    }

    #[test]
    fn a_constraint_holds_or_does_not() {
        for (text, holds) in [
            ("node.id == n1", true),
            ("node.id != n1", false),
            ("node.hostname==alpha", true),
            ("node.hostname == machine", true),
            ("node.hostname != machine", false),
            ("node.role == worker", true),
            ("node.role == manager", false),
            ("node.ip == 10.0.0.7", true),
            ("node.ip == 10.0.0.0/24", true),
            ("node.ip != 10.0.0.0/24", false),
            ("node.ip == fd00::/64", true),
            ("node.ip == 10.0.1.0/24", false),
            ("node.labels.zone == a", true),
            ("node.labels.zone != b", true),
            ("node.labels.rack == 1", false),
            ("node.labels.rack != 1", true),
            ("node.platform.os == linux", true),
            ("node.platform.arch == amd64", true),
            ("node.platform.arch == x86_64", true),
            ("node.platform.arch == arm64", false),
            ("engine.labels.storage == ssd", true),
            ("engine.labels.storage != ssd", false),
        ] {
            assert_eq!(text.parse::<Constraint>().unwrap().matches(&node()), holds, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for (text, says) in [
            ("node.labels.zone = a", "compares nothing"),
            ("node.labels. == a", "names no label"),
            ("node.zone == a", "nothing is known as \"node.zone\""),
            ("node.id ==", "with nothing"),
            ("node.ip == 10.0.0", "is no address"),
            ("node.role == boss", "use manager or worker"),
        ] {
            let problem = text.parse::<Constraint>().unwrap_err().to_string();
            assert!(problem.contains(says), "{text}: {problem}");
        }
    }

    #[test]
    fn a_constraint_is_stored_as_it_is_written() {
        let placement = Placement {
            constraints: vec!["node.labels.x!=a==b".parse().unwrap()],
            spread: vec!["node.labels.zone".parse().unwrap()],
            max_replicas_per_node: Some(2),
        };
        let json = serde_json::to_string(&placement).unwrap();
        assert!(json.contains("node.labels.x != a==b") && json.contains("\"node.labels.zone\""), "{json}");
        assert_eq!(serde_json::from_str::<Placement>(&json).unwrap(), placement);
    }
}
