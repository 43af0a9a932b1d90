//! What one replica uses, from its agent to a person.

use gantry_api::cluster::v1::StreamStatsResponse;
use gantry_api::node::v1::StatsWanted;
use gantry_api::node::v1::open_relay::Want;
use gantry_api::node::v1::relay_request::Message as FromAgent;
use gantry_model::Replica;
use tokio::sync::mpsc;
use tonic::Status;

use super::replicas::{Replicas, node_of};

/// Sends samples until the reader hangs up. A replica that cannot be reached is a warning.
pub async fn stream(
    replicas: &Replicas,
    replica: &Replica,
    once: bool,
    answers: &mpsc::Sender<Result<StreamStatsResponse, Status>>,
) {
    let snapshot = replicas.state.snapshot();
    let mut answer = StreamStatsResponse {
        service: replica.service.to_string(),
        replica: replica.id.to_string(),
        slot: replica.slot,
        node: node_of(&snapshot, replica).map(|node| node.name.clone()).unwrap_or_default(),
        ..StreamStatsResponse::default()
    };
    let carried = async {
        let node = node_of(&snapshot, replica)?;
        let want = Want::Stats(StatsWanted { replica_id: replica.id.to_string(), once });
        let mut relay = replicas.relays.open(&node.id, &node.name, want).await?;
        while let Some(message) = relay.next().await? {
            if let FromAgent::Stats(mut sample) = message {
                // The same numbers here, in `gantry top` and in decisions. The engine knows the rest.
                if let Some(measured) = replicas.usage.of_replica(&replica.id) {
                    sample.cpu_cores = Some(measured.cpu_cores);
                    sample.memory = measured.memory_bytes.or(sample.memory);
                }
                let answer = StreamStatsResponse { sample: Some(sample), ..answer.clone() };
                if answers.send(Ok(answer)).await.is_err() {
                    return Ok(());
                }
            }
        }
        Ok::<_, Status>(())
    };
    let ended = tokio::select! {
        ended = carried => ended,
        () = answers.closed() => return,
    };
    if let Err(status) = ended {
        answer.warning = status.message().to_owned();
        let _ = answers.send(Ok(answer)).await;
    }
}
