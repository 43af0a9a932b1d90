//! What agents measure of their replicas.

use gantry_api::cluster::v1::traffic_service_client::TrafficServiceClient;
use gantry_api::cluster::v1::usage_service_client::UsageServiceClient;
use gantry_api::cluster::v1::{
    GetAdviceRequest, GetHistoryRequest, GetTrafficRequest, HistoryReplicas, HistoryTraffic, TrafficQuery,
};
use gantry_identity::Role;

use crate::agent::Agent;
use crate::autoscale::Reporter;
use crate::support::{Scheduler, eventually};

#[tokio::test]
async fn what_an_agent_measured_is_shown_to_people() {
    let scheduler = Scheduler::start().await;
    let agent = Agent::default();
    let _session = agent.connect(&scheduler);
    scheduler.node_is_ready().await;
    scheduler.deploy(2).await;
    scheduler.converged().await;

    let mut viewer = TrafficServiceClient::new(scheduler.channel(Role::Viewer, "bob"));
    let query = TrafficQuery { services: vec!["shop/web".into()], replicas: true, ..TrafficQuery::default() };
    let service = eventually("the use of both replicas", async || {
        let request = GetTrafficRequest { query: Some(query.clone()) };
        let report = viewer.get_traffic(request).await.unwrap().into_inner().report?;
        report
            .services
            .into_iter()
            .next()
            .filter(|service| service.usage.is_some_and(|usage| usage.replicas == 2))
    })
    .await;
    let usage = service.usage.unwrap();
    assert!((usage.cpu_cores - 0.5).abs() < 1e-6 && usage.memory == Some(128 << 20), "{usage:?}");
    let of_first = service.replicas[0].usage.unwrap();
    assert!((of_first.cpu_cores - 0.25).abs() < 1e-6 && of_first.memory == Some(64 << 20), "{of_first:?}");

    let mut viewer = UsageServiceClient::new(scheduler.channel(Role::Viewer, "bob"));
    let mut advice = async |service: &str| {
        let request = GetAdviceRequest { services: vec![service.to_owned()], ..GetAdviceRequest::default() };
        viewer.get_advice(request).await.map(|answer| answer.into_inner().services.remove(0))
    };
    let web = advice("shop/web").await.unwrap();
    assert_eq!((web.replicas, web.cpu.is_none()), (2, true));
    assert!(web.missing.contains("a minute is needed"), "{web:?}");
    assert!(advice("shop/gone").await.unwrap_err().message().contains("it has web"));
}

#[tokio::test]
async fn the_last_seconds_of_a_service_are_shown_to_people() {
    let scheduler = Scheduler::start().await;
    let agent = Agent::default();
    let _session = agent.connect(&scheduler);
    scheduler.node_is_ready().await;
    scheduler.deploy(2).await;
    scheduler.converged().await;
    let mut viewer = UsageServiceClient::new(scheduler.channel(Role::Viewer, "bob"));
    let mut history = async |service: &str, seconds: i64| {
        let last = Some(prost_types::Duration { seconds, nanos: 0 });
        let request = GetHistoryRequest { service: service.to_owned(), last };
        viewer.get_history(request).await.map(tonic::Response::into_inner)
    };
    // Nobody asks anything of it yet, and what it uses is known all the same.
    let point = eventually("the use of both replicas", async || {
        let points = history("shop/web", 900).await.unwrap().points;
        points.into_iter().find(|point| point.usage.is_some_and(|usage| usage.replicas == 2))
    })
    .await;
    assert!((point.usage.unwrap().cpu_cores - 0.5).abs() < 1e-6, "{point:?}");
    assert_eq!(point.traffic, None, "{point:?}");

    let _reporter = Reporter::start(&scheduler, 25);
    let point = eventually("what is asked of it", async || {
        let points = history("shop/web", 900).await.unwrap().points;
        let asked = |traffic: &HistoryTraffic| traffic.arrived == 25 && traffic.answered > 0;
        points.into_iter().find(|point| point.traffic.as_ref().is_some_and(asked))
    })
    .await;
    assert_eq!(point.replicas, Some(HistoryReplicas { wanted: 2, ready: 2 }));
    assert!(
        point.time.is_some() && point.usage.is_some_and(|usage| usage.memory == Some(128 << 20)),
        "{point:?}"
    );

    assert!(history("shop/web", 901).await.unwrap_err().message().contains("15 minutes"));
    assert!(history("shop/gone", 900).await.unwrap_err().message().contains("it has web"));
}
