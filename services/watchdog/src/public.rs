//! `gantry.watchdog.v1.WatchdogService`: what this watchdog sees, and what it waits for.

use std::sync::Arc;

use gantry_api::watchdog::v1::watchdog_service_server::WatchdogService;
use gantry_api::watchdog::v1::{GetStatusRequest, GetStatusResponse, ReplicaOutlook};
use gantry_model::NodeId;
use gantry_model::wire::{write_duration, write_time};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::decide::{Outlook, Prospect};
use crate::seat::Seat;

/// Shows a watchdog.
pub struct Public {
    seat: Seat,
    found: watch::Receiver<Arc<Outlook>>,
}

impl Public {
    /// Shows what is seen from `seat` and `found` there.
    pub fn new(seat: Seat, found: watch::Receiver<Arc<Outlook>>) -> Self {
        Self { seat, found }
    }
}

#[tonic::async_trait]
impl WatchdogService for Public {
    async fn get_status(&self, _: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        let found = self.found.borrow().clone();
        let mirror = self.seat.mirrors.borrow().clone();
        Ok(Response::new(GetStatusResponse {
            instance: self.seat.instance.clone(),
            leads: self.seat.leads(),
            leader: self.seat.lead.borrow().leader.clone(),
            connected: mirror.connected,
            revision: mirror.revision,
            feed_age: mirror.heard.map(|heard| write_duration(heard.elapsed())),
            verdicts: found.verdicts.iter().map(ToString::to_string).collect(),
            replicas: found.prospects.iter().map(show).collect(),
        }))
    }
}

fn show(prospect: &Prospect) -> ReplicaOutlook {
    ReplicaOutlook {
        replica_id: prospect.replica.to_string(),
        service: prospect.service.to_string(),
        slot: prospect.slot,
        node_id: prospect.node.as_ref().map(NodeId::to_string).unwrap_or_default(),
        condition: prospect.condition.as_str().to_owned(),
        next: prospect.next.map(|kind| kind.as_str().to_owned()).unwrap_or_default(),
        waits_for: prospect.waits_for.clone(),
        due: prospect.due.map(write_time),
    }
}
