//! Who takes traffic, and since when replicas are as they are.

use std::sync::Arc;

use super::Snapshot;
use crate::container::RestartPolicy;
use crate::heal::{Checked, Stamp, checked};
use crate::ids::ReplicaId;
use crate::replica::{Goal, Replica};
use crate::service::Service;
use crate::status::{End, Phase, ReplicaStatus};
use crate::time::Timestamp;

impl Snapshot {
    /// Takes note of what its agent sees of a replica at that time; `None`: nothing any more. Says whether
    /// that is anything new.
    pub fn see(&mut self, id: &ReplicaId, status: Option<ReplicaStatus>, now: Timestamp) -> bool {
        let changed = match status {
            Some(mut status) => {
                let known = self.status_of(id);
                End::stamp(&mut status.ends, known.map(|known| &known.ends[..]), now);
                let is_new = known != Some(&status);
                if is_new {
                    self.statuses.insert_mut(id.clone(), Arc::new(status));
                }
                is_new
            }
            None => self.statuses.remove_mut(id),
        };
        if changed {
            self.restamp(id, now);
        }
        changed
    }

    /// Notes since when a replica is as it is, after its record, its status or its node has changed.
    pub fn restamp(&mut self, id: &ReplicaId, now: Timestamp) {
        let Some(replica) = self.replicas.get(id) else { return };
        let status = self.status_of(id);
        let known = self.stamps.get(id).map(AsRef::as_ref).copied();
        let started_at = status.and_then(|status| status.started_at);
        let passed = status.is_some_and(|status| {
            let before = known.is_some_and(|known| known.passed && known.started_at == started_at);
            status.phase == Phase::Running && (status.is_ready() || before)
        });
        let policy = self.services.get(&replica.service).map(|service| service.spec.restart());
        let checked = checked(replica, status, policy.unwrap_or(RestartPolicy::UnlessStopped), passed);
        let ready = self.takes_traffic(replica);
        let same_check = known.filter(|known| known.checked == checked);
        let stamp = Stamp {
            ready,
            ready_since: known.filter(|known| known.ready == ready).map_or(now, |known| known.ready_since),
            checked,
            checked_since: same_check.map_or(now, |known| known.checked_since),
            passed,
            started_at,
            overdue: same_check.is_some_and(|known| known.overdue),
        };
        let service = replica.service.clone();
        if ready && !self.served.contains(&service) {
            self.served.insert_mut(service);
        }
        if known != Some(stamp) {
            self.stamps.insert_mut(id.clone(), Arc::new(stamp));
        }
    }

    /// Whether none of a service's replicas has been ready since it was first deployed. Of one that was
    /// deployed before the scheduler started that is not known, and taken for no.
    pub fn was_never_ready(&self, service: &Service) -> bool {
        service.created_at >= self.started_at && !self.served.contains(&service.id)
    }

    /// What the checks of a replica say.
    pub fn checked(&self, replica: &ReplicaId) -> Checked {
        self.stamps.get(replica).map_or(Checked::Unknown, |stamp| stamp.checked)
    }

    /// Whether a replica may take traffic, as last known. One on a lost node may not.
    pub fn is_ready(&self, replica: &Replica) -> bool {
        self.status_of(&replica.id).is_some_and(ReplicaStatus::is_ready) && !self.is_lost(replica)
    }

    /// Whether proxies send a replica new requests: it is ready, and on its way neither out nor through
    /// a restart.
    pub fn takes_traffic(&self, replica: &Replica) -> bool {
        replica.goal == Goal::Run
            && replica.pause.is_none()
            && self.is_ready(replica)
            && self
                .status_of(&replica.id)
                .is_some_and(|status| status.restart_sequence >= replica.asked_restarts())
    }

    /// Whether a replica of which only the last check has failed keeps its traffic: nobody else of its
    /// service takes it, and one slow check is no reason to answer nobody.
    fn stands_in(&self, replica: &Replica) -> bool {
        let only_failing = self
            .stamps
            .get(&replica.id)
            .is_some_and(|stamp| stamp.checked == Checked::Failing && !stamp.overdue);
        only_failing
            && replica.goal == Goal::Run
            && replica.pause.is_none()
            && !self.is_lost(replica)
            && self.status_of(&replica.id).is_some_and(|status| {
                status.phase == Phase::Running && status.restart_sequence >= replica.asked_restarts()
            })
            && !self.replicas_of(&replica.service).any(|other| self.takes_traffic(other))
    }

    /// Whether proxies know a replica as one that answers. Of one that nothing can replace, because its
    /// volume is on its node, what was known last holds also when the node is lost: the way from here to
    /// there may be cut where the way from its clients is not.
    pub fn is_endpoint(&self, replica: &Replica) -> bool {
        self.takes_traffic(replica)
            || self.stands_in(replica)
            || replica.goal == Goal::Run
                && replica.pause.is_none()
                && self.is_lost(replica)
                && self.status_of(&replica.id).is_some_and(ReplicaStatus::is_ready)
                && self.pinned_by(replica).is_some()
    }
}
