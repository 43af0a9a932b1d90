//! What proxies report of traffic.

use gantry_api::cluster::v1::traffic_service_client::TrafficServiceClient;
use gantry_api::cluster::v1::{Traffic, TrafficQuery, WatchTrafficRequest};
use gantry_api::node::v1::routing_service_client::RoutingServiceClient;
use gantry_api::node::v1::{EndpointTraffic, ReportTrafficRequest, ServiceTraffic};
use gantry_identity::Role;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use crate::agent::Agent;
use crate::people::ids;
use crate::support::{PATIENCE, Scheduler};

/// One second of traffic: ten answers, one of them with 5xx.
fn traffic(replica: &str) -> ReportTrafficRequest {
    let endpoint = EndpointTraffic {
        replica_id: replica.to_owned(),
        classes: vec![0, 0, 9, 0, 0, 1],
        latency: vec![0, 10],
        in_flight: 2,
    };
    let service =
        ServiceTraffic { service: "shop/web".into(), endpoints: vec![endpoint], ..ServiceTraffic::default() };
    ReportTrafficRequest {
        node_id: "n1".into(),
        instance: "p1".into(),
        latency_bounds: vec![0.5, 1.0],
        services: vec![service],
    }
}

#[tokio::test]
async fn what_a_proxy_has_seen_is_shown_to_people_and_fades_when_it_hangs_up() {
    let scheduler = Scheduler::start().await;
    let agent = Agent::default();
    let _session = agent.connect(&scheduler);
    scheduler.node_is_ready().await;
    scheduler.deploy(1).await;
    scheduler.converged().await;
    let replica = ids(&scheduler.replicas().await).remove(0);

    let (reports, stream) = mpsc::channel(16);
    let mut proxy = RoutingServiceClient::new(scheduler.channel(Role::Proxy, "n1"));
    let reporting = tokio::spawn(async move { proxy.report_traffic(ReceiverStream::new(stream)).await });
    reports.send(traffic(&replica)).await.unwrap();

    let mut viewer = TrafficServiceClient::new(scheduler.channel(Role::Viewer, "bob"));
    let query = TrafficQuery { services: vec!["shop/web".into()], replicas: true, ..TrafficQuery::default() };
    let mut seen =
        viewer.watch_traffic(WatchTrafficRequest { query: Some(query) }).await.unwrap().into_inner();
    let mut wait_for = async |wanted: fn(&Traffic) -> bool| {
        let wait = async {
            loop {
                let report = seen.message().await.unwrap().unwrap().report.unwrap();
                let service = report.services[0].clone();
                if wanted(&service.traffic.unwrap()) {
                    return service;
                }
            }
        };
        timeout(PATIENCE, wait).await.unwrap()
    };
    let service = wait_for(|traffic| traffic.in_flight == 2 && traffic.requests_per_second > 0.0).await;
    let whole = service.traffic.unwrap();
    assert!((whole.error_rate - 0.1).abs() < 1e-9, "{whole:?}");
    assert!(whole.p95.is_some_and(|time| time.seconds == 0 && time.nanos < 1_000_000), "{whole:?}");
    assert_eq!((service.replicas.len(), service.replicas[0].replica.as_str()), (1, replica.as_str()));

    drop(reports);
    reporting.await.unwrap().unwrap();
    let left = wait_for(|traffic| traffic.in_flight == 0).await;
    assert_eq!(left.wanted, 1);
}

#[tokio::test]
async fn a_proxy_cannot_report_for_another_node() {
    let scheduler = Scheduler::start().await;
    let mut proxy = RoutingServiceClient::new(scheduler.channel(Role::Proxy, "n2"));
    let refused = proxy.report_traffic(tokio_stream::iter([traffic("r1")])).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied, "{refused}");
}
