//! Services that are scaled by their load: what proxies tell is followed, what people set holds, and who waits
//! for a service that sleeps is served.

use std::time::Duration;

use gantry_api::cluster::v1::autoscale_service_client::AutoscaleServiceClient;
use gantry_api::cluster::v1::service_service_client::ServiceServiceClient;
use gantry_api::cluster::v1::{
    Autoscale, AutoscaleMode, AutoscaledService, ListAutoscaledRequest, ScaleServiceRequest,
    SetAutoscaleRequest,
};
use gantry_api::node::v1::routing_service_client::RoutingServiceClient;
use gantry_api::node::v1::{EndpointTraffic, ReportTrafficRequest, ServiceTraffic, Table};
use gantry_identity::Role;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::interval;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::agent::Agent;
use crate::people::finish;
use crate::proxy::Proxy;
use crate::support::{Scheduler, eventually};

/// 10 requests a second for each replica, and quick about it.
fn rules(min: u32) -> Autoscale {
    let second = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    Autoscale { min: Some(min), max: 4, rps: 10.0, scale_down_after: second, ..Autoscale::default() }
}

async fn deploy(scheduler: &Scheduler, replicas: Option<u32>, rules: Autoscale) {
    let begun =
        scheduler.begin_deploy_of(|web| (web.replicas, web.autoscale) = (replicas, Some(rules))).await;
    finish(begun).await;
}

async fn web(scheduler: &Scheduler) -> AutoscaledService {
    let mut viewer = AutoscaleServiceClient::new(scheduler.channel(Role::Viewer, "bob"));
    let listed = viewer.list_autoscaled(ListAutoscaledRequest { stack: "shop".into() }).await.unwrap();
    listed.into_inner().services.remove(0)
}

async fn has(scheduler: &Scheduler, replicas: u32) -> AutoscaledService {
    eventually("another count", async || {
        let web = web(scheduler).await;
        (web.replicas == replicas).then_some(web)
    })
    .await
}

async fn set(scheduler: &Scheduler, request: SetAutoscaleRequest) -> AutoscaledService {
    let mut operator = AutoscaleServiceClient::new(scheduler.channel(Role::Operator, "ada"));
    let request = SetAutoscaleRequest { name: "shop/web".into(), ..request };
    operator.set_autoscale(request).await.unwrap().into_inner().service.unwrap()
}

async fn scale(scheduler: &Scheduler, replicas: u32) -> Result<String, tonic::Status> {
    let mut operator = ServiceServiceClient::new(scheduler.channel(Role::Operator, "ada"));
    let request = ScaleServiceRequest { name: "shop/web".into(), replicas };
    Ok(operator.scale_service(request).await?.into_inner().note)
}

/// A proxy that tells of so many requests a second of shop/web, until it is dropped.
pub struct Reporter {
    rps: watch::Sender<u32>,
    task: JoinHandle<()>,
}

impl Reporter {
    pub fn start(scheduler: &Scheduler, rps: u32) -> Self {
        let channel = scheduler.channel(Role::Proxy, "n1");
        let (sender, receiver) = watch::channel(rps);
        let task = tokio::spawn(async move {
            let (reports, stream) = mpsc::channel(4);
            tokio::spawn(async move {
                let mut client = RoutingServiceClient::new(channel);
                client.report_traffic(ReceiverStream::new(stream)).await
            });
            let mut often = interval(Duration::from_millis(200));
            loop {
                often.tick().await;
                let rps = *receiver.borrow();
                if reports.send(report(rps)).await.is_err() {
                    return;
                }
            }
        });
        Self { rps: sender, task }
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One second of the proxy's.
fn report(rps: u32) -> ReportTrafficRequest {
    let endpoint = EndpointTraffic { classes: vec![0, 0, rps, 0, 0, 0], ..EndpointTraffic::default() };
    let service =
        ServiceTraffic { service: "shop/web".into(), endpoints: vec![endpoint], ..ServiceTraffic::default() };
    ReportTrafficRequest {
        node_id: "n1".into(),
        instance: "p1".into(),
        services: if rps == 0 { Vec::new() } else { vec![service] },
        ..ReportTrafficRequest::default()
    }
}

#[tokio::test]
async fn a_service_gets_the_replicas_that_its_load_needs_and_a_deploy_leaves_them() {
    let scheduler = Scheduler::start().await;
    let agent = Agent::default();
    let _session = agent.connect(&scheduler);
    scheduler.node_is_ready().await;
    deploy(&scheduler, Some(1), rules(1)).await;
    let reporter = Reporter::start(&scheduler, 25);
    let web = has(&scheduler, 3).await;
    assert!(web.change.starts_with("1 → 3: rps 25 of 10 target"), "{web:?}");
    assert!(web.changed_at.is_some(), "{web:?}");
    assert_eq!((web.min, web.max), (1, 4));
    scheduler.converged().await;
    eventually("what is measured beside its target", async || {
        let signal = self::web(&scheduler).await.signals.remove(0);
        let near = signal.value.is_some_and(|value| (value - 25.0 / 3.0).abs() < 0.1);
        (signal.name == "rps" && near && (signal.target - 10.0).abs() < 1e-9).then_some(())
    })
    .await;
    // The file's count is the first one only.
    deploy(&scheduler, Some(1), Autoscale { max: 5, ..rules(1) }).await;
    let web = self::web(&scheduler).await;
    assert_eq!((web.replicas, web.max), (3, 5));
    reporter.rps.send_replace(5);
    let web = has(&scheduler, 1).await;
    assert!(web.change.contains("→ 1: rps at most"), "{web:?}");
}

#[tokio::test]
async fn people_change_the_rules_switch_them_off_and_set_counts_within_them() {
    let scheduler = Scheduler::start().await;
    let agent = Agent::default();
    let _session = agent.connect(&scheduler);
    scheduler.node_is_ready().await;
    deploy(&scheduler, Some(2), rules(1)).await;

    let refused = scale(&scheduler, 9).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("`gantry autoscale set shop/web --max 9`"), "{refused}");
    let note = scale(&scheduler, 3).await.unwrap();
    assert!(note.contains("goes on being scaled"), "{note}");
    assert_eq!(web(&scheduler).await.replicas, 3);

    // Bounds hold at once, whatever the load is.
    let changed = set(&scheduler, SetAutoscaleRequest { max: Some(2), ..Default::default() }).await;
    assert_eq!(changed.max, 2);
    let web = has(&scheduler, 2).await;
    assert!(web.change.starts_with("3 → 2"), "{web:?}");

    let off = SetAutoscaleRequest { mode: AutoscaleMode::Off.into(), ..Default::default() };
    assert_eq!(set(&scheduler, off).await.rules.unwrap().mode(), AutoscaleMode::Off);
    assert_eq!(scale(&scheduler, 9).await.unwrap(), "");
    assert_eq!(self::web(&scheduler).await.replicas, 9);

    let mut viewer = AutoscaleServiceClient::new(scheduler.channel(Role::Viewer, "bob"));
    let request = SetAutoscaleRequest { name: "shop/web".into(), ..Default::default() };
    assert_eq!(viewer.set_autoscale(request).await.unwrap_err().code(), Code::PermissionDenied);
    let mut operator = AutoscaleServiceClient::new(scheduler.channel(Role::Operator, "ada"));
    let senseless =
        SetAutoscaleRequest { name: "shop/web".into(), min: Some(7), max: Some(3), ..Default::default() };
    assert_eq!(operator.set_autoscale(senseless).await.unwrap_err().code(), Code::InvalidArgument);
}

fn backend(table: &Table) -> Option<&gantry_api::node::v1::Backend> {
    table.backends.iter().find(|backend| backend.service == "shop/web")
}

fn endpoints(table: &Table) -> usize {
    backend(table).map_or(0, |backend| backend.groups.iter().map(|group| group.endpoints.len()).sum())
}

#[tokio::test]
async fn a_service_that_nobody_wants_sleeps_and_wakes_for_who_waits() {
    let scheduler = Scheduler::start().await;
    let agent = Agent::default();
    let _session = agent.connect(&scheduler);
    scheduler.node_is_ready().await;
    deploy(&scheduler, None, rules(0)).await;
    let mut proxy = Proxy::connect(&scheduler).await;
    let awake = proxy.table(|table| endpoints(table) == 1).await;
    assert!(!backend(&awake).unwrap().asleep);
    proxy.ack(&awake).await;
    let _reporter = Reporter::start(&scheduler, 0);
    let sleeps =
        |table: &Table| backend(table).is_some_and(|backend| backend.asleep) && endpoints(table) == 0;
    let asleep = proxy.table(sleeps).await;
    let queue = backend(&asleep).unwrap().policy.as_ref().unwrap().queue_timeout.unwrap();
    assert_eq!(queue.seconds, 60, "whoever waits has time for a start");
    proxy.ack(&asleep).await;
    eventually("no replicas", async || scheduler.replicas().await.is_empty().then_some(())).await;

    proxy.wants("shop/web").await;
    let awake = proxy.table(|table| endpoints(table) == 1).await;
    assert!(!backend(&awake).unwrap().asleep);
    eventually("why it woke up, among the changes", async || {
        let events = scheduler.events("shop/web").await;
        events.iter().any(|event| event.starts_with("0 → 1: ")).then_some(())
    })
    .await;
}
