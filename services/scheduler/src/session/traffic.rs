//! What proxies say once a second of the traffic that they have seen.

use gantry_api::node::v1::{ReportTrafficRequest, ReportTrafficResponse};
use gantry_model::NodeId;
use tonic::{Response, Status, Streaming};

use super::hearing::Hearing;
use crate::state::State;
use crate::traffic::{Report, Traffic};

/// Takes the reports of the proxy on `node` until it hangs up.
pub async fn listen(
    state: &State,
    traffic: &Traffic,
    hearing: &Hearing,
    node: &str,
    mut reports: Streaming<ReportTrafficRequest>,
) -> Result<Response<ReportTrafficResponse>, Status> {
    let id = NodeId::new(node).map_err(|bad| Status::invalid_argument(bad.to_string()))?;
    let mut session = Session { traffic, instance: String::new() };
    while let Some(message) = reports.message().await? {
        if message.node_id != node {
            return Err(Status::permission_denied(format!(
                "the certificate is of node {node}, the report of node {}",
                message.node_id
            )));
        }
        hearing.proxy(&id);
        if session.instance.is_empty() {
            session.instance.clone_from(&message.instance);
        }
        if message.instance.is_empty() || message.instance != session.instance {
            return Err(Status::invalid_argument("every report of a stream must name the same instance"));
        }
        let report = Report::read(&message, &state.snapshot())
            .map_err(|invalid| Status::invalid_argument(invalid.to_string()))?;
        traffic.add(&session.instance, report);
    }
    Ok(Response::new(ReportTrafficResponse {}))
}

/// However a stream ends, the proxy has nothing in flight any more, as far as is known.
struct Session<'a> {
    traffic: &'a Traffic,
    instance: String,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.traffic.forget(&self.instance);
    }
}
