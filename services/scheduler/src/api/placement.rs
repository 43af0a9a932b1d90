//! `gantry.cluster.v1.PlacementService`.

use gantry_api::cluster::v1::placement_service_server::PlacementService;
use gantry_api::cluster::v1::{RebalanceRequest, RebalanceResponse, ReplicaMove};
use gantry_boot::{caller, now};
use gantry_model::{NodeId, Severity, Snapshot};
use tonic::{Request, Response, Status};

use super::Refused;
use crate::decide::{Move, mark, moves, record_event};
use crate::state::State;

/// Serves moves between nodes.
pub struct Placements {
    state: State,
}

impl Placements {
    /// Moves the replicas of `state`.
    pub fn new(state: State) -> Self {
        Self { state }
    }
}

#[tonic::async_trait]
impl PlacementService for Placements {
    async fn rebalance(
        &self,
        request: Request<RebalanceRequest>,
    ) -> Result<Response<RebalanceResponse>, Status> {
        let by = caller(&request)?.clone();
        if request.into_inner().plan {
            let snapshot = self.state.snapshot();
            return Ok(Response::new(shown(&snapshot, &moves(&snapshot))));
        }
        let answer = self
            .state
            .commit(|snapshot| {
                let moving = snapshot.replicas.values().filter(|replica| replica.leave).count();
                if moving > 0 {
                    return Err(Refused(Status::failed_precondition(format!(
                        "{moving} replicas still move: wait until they have, `gantry events` shows how far it is"
                    ))));
                }
                let planned = moves(snapshot);
                let answer = shown(snapshot, &planned);
                if planned.is_empty() {
                    return Ok((Vec::new(), answer));
                }
                let message =
                    format!("{} replicas are to move, asked for by {} {}", planned.len(), by.role, by.name);
                let mut changes =
                    record_event(snapshot, now(), Severity::Normal, "cluster", None, "Rebalancing", message);
                let mut working = snapshot.clone();
                for change in &changes {
                    working.apply(change);
                }
                changes.extend(mark(&working, &planned, now()));
                Ok((changes, answer))
            })
            .await
            .map_err(|Refused(status)| status)?;
        Ok(Response::new(answer))
    }
}

fn shown(snapshot: &Snapshot, moves: &[Move]) -> RebalanceResponse {
    let name = |id: &NodeId| snapshot.nodes.get(id).map_or_else(|| id.to_string(), |node| node.name.clone());
    let moves = moves.iter().map(|planned| ReplicaMove {
        service: planned.replica.service.to_string(),
        slot: planned.replica.slot,
        replica: planned.replica.id.to_string(),
        from: name(&planned.from),
        to: name(&planned.to),
    });
    RebalanceResponse { moves: moves.collect() }
}
