//! The traffic of services, asked for while this watchdog leads.

use std::sync::Arc;
use std::time::Duration;

use gantry_api::cluster::v1::traffic_service_client::TrafficServiceClient;
use gantry_api::cluster::v1::{GetTrafficRequest, TrafficReport};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// Time from one question to the next; rates are over ten seconds.
const EVERY: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(4);
/// A report that is older says nothing about now.
const STALE: Duration = Duration::from_secs(15);
const LARGEST: usize = 64 << 20;

/// What was reported last.
#[derive(Debug, Clone, Default)]
pub struct Traffic(Option<(Instant, Arc<TrafficReport>)>);

impl Traffic {
    /// The report, unless it is too old.
    pub fn fresh(&self) -> Option<&TrafficReport> {
        let (at, report) = self.0.as_ref()?;
        (at.elapsed() < STALE).then_some(report.as_ref())
    }
}

/// Asks on `channel` while `leads`, until `stop`.
pub fn follow(
    channel: Channel,
    leads: impl Fn() -> bool + Send + Sync + 'static,
    stop: CancellationToken,
) -> watch::Receiver<Traffic> {
    let (reports, receiver) = watch::channel(Traffic::default());
    tokio::spawn(async move {
        let mut client = TrafficServiceClient::new(channel).max_decoding_message_size(LARGEST);
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = reports.closed() => return,
                _ = tick.tick() => {}
            }
            if !leads() {
                continue;
            }
            match timeout(PATIENCE, client.get_traffic(GetTrafficRequest::default())).await {
                Ok(Ok(answer)) => {
                    let report = answer.into_inner().report.unwrap_or_default();
                    reports.send_replace(Traffic(Some((Instant::now(), Arc::new(report)))));
                }
                Ok(Err(status)) => tracing::debug!(reason = status.message(), "the traffic is not known"),
                Err(_) => tracing::debug!("the traffic is not known: no answer"),
            }
        }
    });
    receiver
}
