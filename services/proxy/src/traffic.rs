//! Says once a second to the scheduler what traffic there was.
//!
//! [`Totals`] are read from the counters that the cores write anyway, [`Summaries`] makes of them what is
//! new, and the newest summary is what goes out. Nothing here is waited for by a request: a summary that
//! cannot be sent in its second is dropped, never kept or sent again.

mod summaries;
mod totals;

use std::sync::Arc;
use std::time::Duration;

use gantry_api::node::v1::routing_service_client::RoutingServiceClient;
use gantry_api::node::v1::{ReportTrafficRequest, ServiceTraffic};
use gantry_boot::Backoff;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use crate::balance::{LATENCY_BOUNDS, Registry};
use summaries::Summaries;
use totals::Totals;

const EVERY: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A scheduler that cannot take summaries is asked at least this often whether it can by now.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Reports traffic.
pub struct Reporter {
    node: String,
    instance: String,
    channel: Channel,
    registry: Arc<Registry>,
    every: Duration,
}

impl Reporter {
    /// Reports what `registry` counts, as the proxy `instance` on `node`, over `channel`.
    pub fn new(node: String, instance: String, channel: Channel, registry: Arc<Registry>) -> Self {
        Self { node, instance, channel, registry, every: EVERY }
    }

    /// Reports once a second until `stop`, whenever there is somebody to report to.
    pub async fn run(self, stop: CancellationToken) {
        let (newest, summaries) = watch::channel(Vec::new());
        tokio::select! {
            () = stop.cancelled() => {}
            () = measure(&self.registry, self.every, &newest) => {}
            () = self.follow(summaries) => {}
        }
    }

    async fn follow(&self, mut summaries: watch::Receiver<Vec<ServiceTraffic>>) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut last = String::new();
        loop {
            let since = Instant::now();
            let why = match self.stream(&mut summaries).await {
                Ok(()) => "the scheduler hung up".to_owned(),
                Err(status) => status.message().to_owned(),
            };
            if why != last {
                tracing::debug!(why, "nobody takes summaries of the traffic; connecting again");
            }
            last = why;
            if since.elapsed() > LONGEST_PAUSE {
                backoff.reset();
            }
            sleep(backoff.pause()).await;
        }
    }

    /// Sends what is measured from now on, until the scheduler hangs up.
    async fn stream(&self, summaries: &mut watch::Receiver<Vec<ServiceTraffic>>) -> Result<(), Status> {
        let (outgoing, stream) = mpsc::channel(1);
        let mut client = RoutingServiceClient::new(self.channel.clone());
        let mut call = std::pin::pin!(client.report_traffic(ReceiverStream::new(stream)));
        summaries.mark_unchanged();
        loop {
            tokio::select! {
                ended = &mut call => return ended.map(drop),
                changed = summaries.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let services = summaries.borrow_and_update().clone();
                    // Where the one before has not gone out yet, this one is too many.
                    let _ = outgoing.try_send(self.report(services));
                }
            }
        }
    }

    fn report(&self, services: Vec<ServiceTraffic>) -> ReportTrafficRequest {
        ReportTrafficRequest {
            node_id: self.node.clone(),
            instance: self.instance.clone(),
            latency_bounds: LATENCY_BOUNDS.to_vec(),
            services,
        }
    }
}

async fn measure(registry: &Registry, every: Duration, newest: &watch::Sender<Vec<ServiceTraffic>>) {
    let mut summaries = Summaries::default();
    let mut seconds = interval(every);
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        newest.send_replace(summaries.next(Totals::read(registry)));
    }
}

#[cfg(test)]
mod tests {
    use gantry_api::node::v1::routing_service_server::{RoutingService, RoutingServiceServer};
    use gantry_api::node::v1::{ReportTrafficResponse, StreamTablesRequest, StreamTablesResponse};
    use tokio::net::TcpListener;
    use tokio::time::timeout;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::transport::{Endpoint, Server};
    use tonic::{Request, Response, Streaming};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Takes some reports and hangs up, again and again.
    struct Forgetful(mpsc::UnboundedSender<ReportTrafficRequest>);

    #[tonic::async_trait]
    impl RoutingService for Forgetful {
        type StreamTablesStream = ReceiverStream<Result<StreamTablesResponse, Status>>;

        async fn stream_tables(
            &self,
            _: Request<Streaming<StreamTablesRequest>>,
        ) -> Result<Response<Self::StreamTablesStream>, Status> {
            Err(Status::unimplemented("no tables here"))
        }

        async fn report_traffic(
            &self,
            request: Request<Streaming<ReportTrafficRequest>>,
        ) -> Result<Response<ReportTrafficResponse>, Status> {
            let mut reports = request.into_inner();
            for _ in 0..3 {
                if let Some(report) = reports.message().await? {
                    let _ = self.0.send(report);
                }
            }
            Ok(Response::new(ReportTrafficResponse {}))
        }
    }

    #[tokio::test]
    async fn a_scheduler_that_hangs_up_is_called_again_and_hears_each_request_at_most_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (heard, mut reports) = mpsc::unbounded_channel();
        let service = RoutingServiceServer::new(Forgetful(heard));
        let serving =
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(serving);

        let registry = Arc::new(Registry::new(1));
        let endpoint = registry.endpoint("shop/web", "r1", ([10, 0, 0, 1], 80).into(), Duration::ZERO);
        let channel = Endpoint::from_shared(address).unwrap().connect_lazy();
        let mut reporter = Reporter::new("n1".into(), "p1".into(), channel, registry);
        reporter.every = Duration::from_millis(10);
        let stop = CancellationToken::new();
        let reporting = tokio::spawn(reporter.run(stop.clone()));

        let mut told = 0;
        for _ in 0..7 {
            endpoint.cores[0].ended(2);
            let report = timeout(PATIENCE, reports.recv()).await.unwrap().unwrap();
            assert_eq!((report.node_id.as_str(), report.instance.as_str()), ("n1", "p1"));
            assert_eq!(report.latency_bounds, LATENCY_BOUNDS);
            let endpoints = report.services.iter().flat_map(|service| &service.endpoints);
            told += endpoints.flat_map(|one| &one.classes).sum::<u32>();
        }
        assert!((1..=7).contains(&told), "{told}");
        stop.cancel();
        timeout(PATIENCE, reporting).await.unwrap().unwrap();
        server.abort();
    }
}
