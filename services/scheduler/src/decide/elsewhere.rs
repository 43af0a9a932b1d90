//! Whether a replica would find another node, were its own to go.

use gantry_model::{Goal, Replica, Snapshot};

use super::filter::{FIXED, SHRINKING, Wanted, refusal};
use super::load::Load;

/// What all nodes carry, to be asked about many replicas.
pub struct Elsewhere<'a> {
    snapshot: &'a Snapshot,
    load: Load,
}

impl<'a> Elsewhere<'a> {
    /// As everything is now.
    pub fn new(snapshot: &'a Snapshot) -> Self {
        Self { snapshot, load: Load::new(snapshot) }
    }

    /// Whether a node that is not its own could take the replica as things are. One that is on its way out needs
    /// none, and neither does one of a service that has a replica on every node.
    pub fn has_place_for(&self, replica: &Replica) -> bool {
        let service = self.snapshot.services.get(&replica.service);
        let Some((service, revision)) = service.zip(self.snapshot.revision_of(replica)) else { return false };
        if replica.goal != Goal::Run || service.is_global() {
            return true;
        }
        let wanted = Wanted::new(self.snapshot, service, revision, replica);
        self.load.nodes().iter().filter(|node| Some(&node.node.id) != replica.node.as_ref()).any(|node| {
            refusal(&FIXED, &wanted, node).is_none() && refusal(&SHRINKING, &wanted, node).is_none()
        })
    }
}
