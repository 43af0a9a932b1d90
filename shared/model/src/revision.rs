//! What a service's containers see, and the numbered versions of it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::container::{Container, MountSource};
use crate::ids::ServiceId;
use crate::port::Port;
use crate::probe::Checks;
use crate::spec::{ServiceNetwork, network_keys};
use crate::time::Timestamp;

/// What a service's containers see. A change of it makes a new revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// What the container is made from.
    pub container: Container,
    /// The networks that it joins.
    pub networks: Vec<ServiceNetwork>,
    /// The ports of its host that lead to it. Those on which proxies listen are not its business.
    pub ports: Vec<Port>,
    /// What the image's name stood for at admission.
    pub image_digest: Option<String>,
}

impl Template {
    /// The keys of the networks that it joins.
    pub fn network_keys(&self) -> Vec<String> {
        network_keys(&self.container, &self.networks)
    }

    /// The keys of the named volumes that it mounts.
    pub fn volume_keys(&self) -> impl Iterator<Item = &str> {
        self.container.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume { name: Some(key), .. } => Some(key.as_str()),
            _ => None,
        })
    }

    /// A stable fingerprint: equal templates have equal ones, in every version of Gantry that has
    /// the same fields.
    pub fn hash(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        Sha256::digest(json).iter().take(8).fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    }
}

/// One immutable, numbered version of what a service's containers see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// The service.
    pub service: ServiceId,
    /// Its number, from 1 up.
    pub number: u64,
    /// The template.
    pub template: Template,
    /// The template's fingerprint.
    pub hash: String,
    /// What its image runs on, such as `linux/amd64`, where that is known.
    #[serde(default)]
    pub platform: Option<String>,
    /// How its replicas are checked. Containers do not see that, so it may change; but while a service is
    /// updated, old replicas are checked as they were before.
    #[serde(default)]
    pub checks: Checks,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Revision {
    /// Revisions of a service that are kept.
    pub const KEPT: u64 = 10;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::PublishMode;
    use crate::spec::ServiceSpec;

    #[test]
    fn only_what_the_container_sees_changes_the_fingerprint() {
        let spec = ServiceSpec {
            container: Container { image: "redis".into(), ..Default::default() },
            ..Default::default()
        };
        let scaled = ServiceSpec { replicas: Some(5), ..spec.clone() };
        let changed = ServiceSpec {
            container: Container { user: Some("7".into()), ..spec.container.clone() },
            ..spec.clone()
        };
        assert_eq!(spec.template(None).hash(), scaled.template(None).hash());
        assert_ne!(spec.template(None).hash(), changed.template(None).hash());
        assert_ne!(spec.template(None).hash(), spec.template(Some("sha256:1".into())).hash());
    }

    #[test]
    fn the_fingerprint_does_not_change_between_versions() {
        // If this fails, every service of every user would be replaced at the next upgrade: add
        // fields so that their default is left out of the JSON instead.
        assert_eq!(ServiceSpec::default().template(None).hash(), "97ec423772921bfd");
    }

    #[test]
    fn a_port_of_the_proxies_is_not_what_the_container_sees() {
        let plain = ServiceSpec::default();
        let mut published = plain.clone();
        published.ports.push(Port::new(80, Some(8000)));
        assert_eq!(published.template(None).hash(), plain.template(None).hash());
        published.ports[0].mode = PublishMode::Host;
        assert_ne!(published.template(None).hash(), plain.template(None).hash());
    }
}
