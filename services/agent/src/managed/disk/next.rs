//! What the scheduler's messages make of what was wanted before.

use std::collections::BTreeMap;

use gantry_api::node::v1 as wire;
use gantry_model::{Lineage, ReplicaId, Timestamp};

use super::Disk;
use crate::managed::assignment::{Assignment, Redirect};

impl Disk {
    /// What is wanted once `message` was taken, which came from the state `lineage` at `now`.
    pub fn next(&self, lineage: Lineage, message: wire::Assignments, now: Timestamp) -> Self {
        let mut assignments = if message.full { BTreeMap::new() } else { self.assignments.clone() };
        for upsert in message.upserts {
            let id = upsert.replica_id.clone();
            match Assignment::try_from(upsert) {
                Ok(mut assignment) => {
                    // A restart that this agent has not heard of yet counts from this moment, and one that it
                    // knows from when it heard; a replica that is new altogether has nothing to restart.
                    if let Some(known) = self.assignments.get(&assignment.replica) {
                        assignment.restart_asked_at = if known.restart_sequence < assignment.restart_sequence
                        {
                            Some(now)
                        } else {
                            known.restart_asked_at
                        };
                    }
                    assignments.insert(assignment.replica.clone(), assignment);
                }
                Err(problem) => {
                    tracing::error!(replica = id, %problem, "cannot read an assignment; keeping the one before");
                    if let Some((id, known)) =
                        ReplicaId::new(&id).ok().and_then(|id| self.assignments.get_key_value(&id))
                    {
                        assignments.insert(id.clone(), known.clone());
                    }
                }
            }
        }
        for id in message.removals.iter().filter_map(|id| ReplicaId::new(id).ok()) {
            assignments.remove(&id);
        }
        Self {
            lineage: Some(lineage),
            assignments,
            segments: message.segments.into_iter().map(Into::into).collect(),
            volumes: message.volumes.into_iter().map(Into::into).collect(),
            volume_removals: message.volume_removals,
            redirect: message.redirect.and_then(|redirect| match Redirect::try_from(redirect) {
                Ok(redirect) => Some(redirect),
                Err(problem) => {
                    tracing::error!(%problem, "cannot read how service addresses are led to the proxy");
                    self.redirect.clone()
                }
            }),
            members: message.members.iter().filter_map(|address| address.parse().ok()).collect(),
        }
    }
}
