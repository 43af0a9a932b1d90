//! How nodes log in to registries. Known to the scheduler as long as it runs: nothing of this is stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use gantry_api::agent::v1::RegistryCredential;
use gantry_model::{Goal, NodeId, Snapshot, registry_of};

/// Registries that may be known. Who deploys from more loses the first ones.
const MOST: usize = 256;

/// What people gave with their stacks, by registry; the newest counts. Clones share it.
#[derive(Clone, Default)]
pub struct Credentials {
    known: Arc<Mutex<BTreeMap<String, RegistryCredential>>>,
}

impl Credentials {
    /// Takes in what came with a stack.
    pub fn learn(&self, credentials: Vec<RegistryCredential>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for credential in credentials {
            known.insert(credential.registry.clone(), credential);
        }
        while known.len() > MOST {
            known.pop_first();
        }
    }

    /// What to log in with for an image.
    pub fn of_image(&self, image: &str) -> Option<RegistryCredential> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(registry_of(image)).cloned()
    }

    /// What a node needs for the images that it is to run and does not have.
    pub fn of_node(&self, snapshot: &Snapshot, node: &NodeId) -> Vec<RegistryCredential> {
        let has = snapshot.node_statuses.get(node).map(|status| &status.images);
        let registries: BTreeSet<String> = snapshot
            .replicas_on(node)
            .filter(|replica| replica.goal == Goal::Run)
            .filter_map(|replica| snapshot.revision_of(replica))
            .filter(|revision| match (&revision.template.image_digest, has) {
                (Some(digest), Some(has)) => !has.contains(digest),
                _ => true,
            })
            .map(|revision| registry_of(&revision.template.container.image).to_owned())
            .collect();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        registries.iter().filter_map(|registry| known.get(registry).cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use gantry_model::Timestamp;
    use gantry_testkit::World;

    use super::*;
    use crate::decide::decide;

    fn credential(registry: &str) -> RegistryCredential {
        RegistryCredential {
            registry: registry.into(),
            username: "ada".into(),
            password: "hunter2".into(),
            identity_token: String::new(),
        }
    }

    #[test]
    fn a_node_gets_what_it_needs_to_pull_and_nothing_else() {
        let mut world = World::new(Timestamp::from_millis(1)).node("n1").service("shop/web", |service| {
            service.container(|container| container.image = "ghcr.io/team/web".into())
        });
        world.resolve_image("shop/web", "sha256:1");
        let plan = decide(&world.snapshot, world.now);
        world.commit(&plan.changes);
        let credentials = Credentials::default();
        credentials.learn(vec![credential("ghcr.io"), credential("docker.io")]);

        let node = NodeId::new("n1").unwrap();
        assert_eq!(credentials.of_node(&world.snapshot, &node), [credential("ghcr.io")]);
        world.change_node_status("n1", |status| {
            status.images.insert("sha256:1".into());
        });
        assert_eq!(credentials.of_node(&world.snapshot, &node), [], "it has the image");
    }

    #[test]
    fn the_newest_credential_counts_and_none_is_printed() {
        let credentials = Credentials::default();
        credentials.learn(vec![credential("ghcr.io")]);
        let newer = RegistryCredential { password: "hunter3".into(), ..credential("ghcr.io") };
        credentials.learn(vec![newer.clone()]);
        assert_eq!(credentials.of_image("ghcr.io/team/web:1"), Some(newer.clone()));
        assert_eq!(credentials.of_image("redis"), None);
        let request = gantry_api::cluster::v1::ApplyStackRequest {
            credentials: vec![newer],
            ..gantry_api::cluster::v1::ApplyStackRequest::default()
        };
        let printed = format!("{request:?}");
        assert!(printed.contains("ghcr.io") && !printed.contains("hunter3"), "{printed}");
    }
}
