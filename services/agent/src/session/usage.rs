//! What replicas use, on its way to the scheduler.

use gantry_api::node::v1::session_request::Message as ToScheduler;
use gantry_api::node::v1::{ReplicaUsage, SessionRequest, UsageReport};
use tokio::sync::mpsc;
use tonic::Status;

use super::{QUEUE, Sessions, send};
use crate::managed::Runtime;
use crate::sampling::Sample;

/// Replicas whose use is told at a time; a node does not have more.
const MEASURED: usize = 4_096;

impl<R: Runtime> Sessions<R> {
    /// What replicas use, each second. Where messages pile up, a second is left out: nobody wants it later.
    pub(super) async fn report_usage(&self, outgoing: &mpsc::Sender<SessionRequest>) -> Result<(), Status> {
        let mut usage = self.usage.clone();
        while usage.changed().await.is_ok() {
            let mut report = usage_report(&usage.borrow_and_update());
            report.metrics = self.scraping.take();
            if outgoing.capacity() > QUEUE / 2 && report != UsageReport::default() {
                send(outgoing, ToScheduler::Usage(report)).await?;
            }
        }
        Ok(())
    }
}

/// What is told of these samples, at most 4,096 of them.
pub fn usage_report(samples: &[Sample]) -> UsageReport {
    let usage = |sample: &Sample| ReplicaUsage {
        replica_id: sample.replica.to_string(),
        cpu_microcores: sample.cpu_microcores,
        memory_bytes: sample.memory_bytes,
    };
    UsageReport { replicas: samples.iter().take(MEASURED).map(usage).collect(), metrics: Vec::new() }
}

#[cfg(test)]
mod tests {
    use gantry_model::ReplicaId;

    use super::*;

    #[test]
    fn a_report_has_what_was_measured_and_is_bounded() {
        let sample = |number: usize| Sample {
            replica: ReplicaId::new(format!("r{number}")).unwrap(),
            cpu_microcores: (number > 0).then_some(250_000),
            memory_bytes: Some(4_096),
        };
        let report = usage_report(&(0..MEASURED + 5).map(sample).collect::<Vec<_>>());
        assert_eq!(report.replicas.len(), MEASURED);
        assert_eq!(
            (report.replicas[0].cpu_microcores, report.replicas[1].cpu_microcores),
            (None, Some(250_000))
        );
    }
}
