//! Whether a stack is what it was asked to be.

use gantry_model::{Goal, Replica, Service, Snapshot, StackName};

/// Whether every service of `stack` has what it wants, and nothing is on its way.
pub fn converged(snapshot: &Snapshot, stack: &StackName) -> bool {
    snapshot.services_of(stack).all(|service| service_converged(snapshot, service))
}

/// Whether every connected proxy serves by a table that has the stored change `revision`: so that a port
/// is open when somebody is told that all is there.
pub fn proxies_serve(snapshot: &Snapshot, revision: u64) -> bool {
    snapshot.acks.values().all(|ack| ack.revision >= revision)
}

fn service_converged(snapshot: &Snapshot, service: &Service) -> bool {
    let replicas: Vec<_> = snapshot.replicas_of(&service.id).collect();
    !service.removing
        && replicas.len() == service.wanted() as usize
        && replicas.iter().all(|replica| {
            // A node that is lost holds nobody up who runs on every node.
            settled(snapshot, service, replica) || service.is_global() && snapshot.is_lost(replica)
        })
}

fn settled(snapshot: &Snapshot, service: &Service, replica: &Replica) -> bool {
    let restarted = replica.restart_sequence == service.restart_sequence
        && snapshot
            .status_of(&replica.id)
            .is_some_and(|status| status.restart_sequence >= replica.asked_restarts());
    let done = replica.outcome.is_some_and(|outcome| outcome.exit_code == 0);
    replica.goal == Goal::Run
        && replica.revision == service.revision
        && (done || (restarted && snapshot.is_ready(replica)))
}
