//! Alerts over the wire: what people set is stored, what a watchdog reports is shown.

#![allow(clippy::unwrap_used)] // A test that cannot be set up has failed.

mod support;

use std::sync::Arc;
use std::time::Duration;

use gantry_api::cluster::v1::alert_service_client::AlertServiceClient;
use gantry_api::cluster::v1::event_service_client::EventServiceClient;
use gantry_api::cluster::v1::{
    Alert, AlertDelivery, AlertSeverity, CreateSilenceRequest, GetAlertConfigRequest, GetAlertConfigResponse,
    ListAlertHistoryRequest, ListAlertsRequest, ListEventsRequest, ListSilencesRequest, RemoveSilenceRequest,
    Service, SetAlertConfigRequest, TestReceiversRequest,
};
use gantry_api::feed::v1::alert_feed_service_client::AlertFeedServiceClient;
use gantry_api::feed::v1::notice_outcome::Notice;
use gantry_api::feed::v1::verdict_service_client::VerdictServiceClient;
use gantry_api::feed::v1::{
    LeadRequest, NoticeOutcome, ReportAlertsRequest, WaitingFinding, WaitingFindings, WatchAlertsRequest,
    WatchAlertsResponse,
};
use gantry_feed::Mirror;
use gantry_identity::Role;
use gantry_watchdog::alerts::Sight;
use support::{Scheduler, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

const FILE: &str = "\
rules:
  - {name: slow, metric: p95_ms, service: shop/*, above: 250, for: 1m}
receivers:
  - {name: chat, type: slack, url: https://hooks.example.com/hunter2, headers: {X-Key: hunter2}}
  - {name: ops, type: webhook, url: http://127.0.0.1:9/in}
";

fn people(scheduler: &Scheduler, role: Role) -> AlertServiceClient<Channel> {
    AlertServiceClient::new(scheduler.channel(role, "ada"))
}

fn watchdog(scheduler: &Scheduler) -> AlertFeedServiceClient<Channel> {
    AlertFeedServiceClient::new(scheduler.channel(Role::Watchdog, "w1"))
}

/// Reports as the watchdog that leads.
async fn report(scheduler: &Scheduler, report: ReportAlertsRequest) -> Result<u64, Status> {
    lead(scheduler.channel(Role::Watchdog, "w1"), "w1").await?;
    let report = ReportAlertsRequest { instance: "w1".into(), ..report };
    Ok(watchdog(scheduler).report_alerts(report).await?.into_inner().revision)
}

async fn lead(channel: Channel, instance: &str) -> Result<bool, Status> {
    let request = LeadRequest { instance: instance.into() };
    Ok(VerdictServiceClient::new(channel).lead(request).await?.into_inner().leads)
}

/// The warnings.
async fn set(scheduler: &Scheduler, text: &str) -> Result<Vec<String>, Status> {
    let request = SetAlertConfigRequest { name: "alerts.yaml".into(), text: text.into() };
    let answer = people(scheduler, Role::Admin).set_alert_config(request).await?;
    Ok(answer.into_inner().warnings)
}

async fn config(scheduler: &Scheduler) -> GetAlertConfigResponse {
    let mut people = people(scheduler, Role::Viewer);
    people.get_alert_config(GetAlertConfigRequest {}).await.unwrap().into_inner()
}

async fn active(scheduler: &Scheduler) -> Vec<Alert> {
    let mut people = people(scheduler, Role::Viewer);
    people.list_alerts(ListAlertsRequest {}).await.unwrap().into_inner().alerts
}

fn alert(rule: &str, subject: &str) -> Alert {
    Alert {
        rule: rule.into(),
        subject: subject.into(),
        severity: AlertSeverity::Critical.into(),
        summary: "it is gone".into(),
        ..Alert::default()
    }
}

async fn began(scheduler: &Scheduler, alerts: Vec<Alert>) -> u64 {
    report(scheduler, ReportAlertsRequest { began: alerts, ..ReportAlertsRequest::default() }).await.unwrap()
}

async fn watch(scheduler: &Scheduler) -> Streaming<WatchAlertsResponse> {
    watchdog(scheduler).watch_alerts(WatchAlertsRequest {}).await.unwrap().into_inner()
}

#[tokio::test]
async fn what_was_set_and_what_fired_survives_a_restart_and_secrets_are_for_watchdogs_only() {
    let mut scheduler = Scheduler::start().await;
    set(&scheduler, FILE).await.unwrap();
    began(&scheduler, vec![alert("node-lost", "node:n1")]).await;
    scheduler.stop().await;
    scheduler.resume().await;

    let config = config(&scheduler).await;
    assert_eq!((config.rules[0].name.as_str(), config.rules[0].metric.as_str()), ("slow", "p95_ms"));
    assert_eq!(config.receivers[0].host, "https://hooks.example.com");
    assert_eq!(config.receivers[0].headers, ["X-Key"]);
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    assert_eq!(active(&scheduler).await[0].subject, "node:n1");

    let all = watch(&scheduler).await.message().await.unwrap().unwrap();
    assert_eq!(all.receivers[0].url, "https://hooks.example.com/hunter2");
    assert_eq!(all.receivers[0].headers["X-Key"], "hunter2");
    assert_eq!((all.alerts[0].id, all.rules.len()), (1, 1));
    assert!(!format!("{all:?}").contains("hunter2"), "{all:?}");
}

#[tokio::test]
async fn only_the_watchdog_that_leads_reports() {
    let scheduler = Scheduler::start().await;
    began(&scheduler, vec![alert("node-lost", "node:n1")]).await;
    for instance in ["w2", ""] {
        let report = ReportAlertsRequest {
            began: vec![alert("service-down", "shop/web")],
            ended: vec![1],
            instance: instance.into(),
            ..ReportAlertsRequest::default()
        };
        let refused = watchdog(&scheduler).report_alerts(report).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    }
    let active_now = active(&scheduler).await;
    assert_eq!(active_now.iter().map(|one| one.rule.as_str()).collect::<Vec<_>>(), ["node-lost"]);
    // What became of a notice is true whoever leads now.
    let delivery = AlertDelivery { receiver: "ops".into(), attempts: 1, ..AlertDelivery::default() };
    let outcome = NoticeOutcome { notice: Some(Notice::Alert(1)), delivery: Some(delivery) };
    let history =
        ReportAlertsRequest { outcomes: vec![outcome], instance: "w2".into(), ..Default::default() };
    watchdog(&scheduler).report_alerts(history).await.unwrap();
    assert_eq!(active(&scheduler).await[0].deliveries.len(), 1);
}

#[tokio::test]
async fn a_file_with_a_mistake_is_refused_with_its_line_and_changes_nothing() {
    let scheduler = Scheduler::start().await;
    set(&scheduler, FILE).await.unwrap();
    let status =
        set(&scheduler, "rules:\n  - name: slow\n    metric: p59_ms\n    above: 1\n").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("alerts.yaml:3:13: there is no metric \"p59_ms\""), "{status:?}");
    assert_eq!(config(&scheduler).await.receivers.len(), 2);
    for role in [Role::Viewer, Role::Operator] {
        let empty = SetAlertConfigRequest::default();
        let refused = people(&scheduler, role).set_alert_config(empty).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().ends_with("it takes admin"), "{refused:?}");
    }
    let warnings = set(&scheduler, FILE).await.unwrap();
    assert_eq!(warnings, ["rule slow: no service is like \"shop/*\" now"], "it is taken all the same");
    assert_eq!(config(&scheduler).await.receivers.len(), 2, "an empty file would have taken them back");
}

#[tokio::test]
async fn an_alert_that_is_silenced_is_listed_and_says_so_until_the_silence_ends() {
    let scheduler = Scheduler::start().await;
    began(&scheduler, vec![alert("node-lost", "node:n1"), alert("service-down", "shop/web")]).await;
    let mut people = people(&scheduler, Role::Operator);
    let silence = |seconds| CreateSilenceRequest {
        subject: "node:*".into(),
        duration: Some(prost_types::Duration { seconds, nanos: 0 }),
        comment: "moving house".into(),
        ..CreateSilenceRequest::default()
    };
    let refused = people.create_silence(silence(0)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let made = people.create_silence(silence(3_600)).await.unwrap().into_inner();
    assert_eq!((made.silenced, made.warnings.len()), (1, 0));
    let unknown = CreateSilenceRequest { rule: "node-los".into(), ..silence(60) };
    let unknown = people.create_silence(unknown).await.unwrap_err();
    assert!(unknown.code() == Code::NotFound && unknown.message().contains("node-lost"), "{unknown:?}");
    let id = made.silence.unwrap().id;
    let silenced = |alerts: Vec<Alert>| alerts.into_iter().map(|alert| alert.silenced_by).collect::<Vec<_>>();
    assert_eq!(silenced(active(&scheduler).await), ["", id.as_str()], "newest first");
    let silences = people.list_silences(ListSilencesRequest {}).await.unwrap().into_inner().silences;
    assert_eq!(
        (silences[0].comment.as_str(), silences[0].created_by.as_str()),
        ("moving house", "operator ada")
    );

    let mut watching = watch(&scheduler).await;
    assert_eq!(watching.message().await.unwrap().unwrap().silences.len(), 1);
    people.remove_silence(RemoveSilenceRequest { id: id.clone() }).await.unwrap();
    assert!(watching.message().await.unwrap().unwrap().silences.is_empty(), "the watchdog hears of it");
    assert_eq!(silenced(active(&scheduler).await), ["", ""]);
    let gone = people.remove_silence(RemoveSilenceRequest { id }).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
}

#[tokio::test]
async fn history_is_newest_first_bounded_and_says_what_receivers_answered() {
    let scheduler = Scheduler::start().await;
    let first =
        began(&scheduler, vec![alert("service-down", "shop/web"), alert("node-lost", "node:n1")]).await;
    let again = began(&scheduler, vec![alert("service-down", "shop/web")]).await;
    assert_eq!(first, again, "what is known changes nothing");
    let delivery =
        AlertDelivery { receiver: "ops".into(), attempts: 5, error: "404".into(), ..Default::default() };
    let outcome = NoticeOutcome { notice: Some(Notice::Alert(1)), delivery: Some(delivery) };
    let ended = ReportAlertsRequest { ended: vec![1], outcomes: vec![outcome], ..Default::default() };
    report(&scheduler, ended).await.unwrap();

    let mut people = people(&scheduler, Role::Viewer);
    let mut history = async |limit, subject: &str| {
        let request = ListAlertHistoryRequest { limit, subject: subject.into() };
        people.list_alert_history(request).await.unwrap().into_inner().alerts
    };
    let all = history(0, "").await;
    assert_eq!(all.iter().map(|alert| alert.id).collect::<Vec<_>>(), [2, 1]);
    assert!(all[1].ended_at.is_some() && all[1].deliveries[0].error == "404");
    assert_eq!(history(1, "").await.len(), 1);
    assert_eq!(history(0, "shop").await[0].subject, "shop/web");
    assert_eq!(active(&scheduler).await.len(), 1);

    let request = ListEventsRequest { subject: "shop/web".into(), limit: 0 };
    let mut events = EventServiceClient::new(scheduler.channel(Role::Viewer, "bob"));
    let events = events.list_events(request).await.unwrap().into_inner().events;
    assert_eq!(events.iter().map(|event| event.reason.as_str()).collect::<Vec<_>>(), ["Alert", "AlertEnded"]);

    let many = (0..1_001).map(|number| alert("node-lost", &format!("node:{number}"))).collect();
    let many = ReportAlertsRequest { began: many, ..Default::default() };
    let refused = report(&scheduler, many).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}

#[tokio::test]
async fn what_waits_is_told_to_the_next_watchdog_and_forgotten_with_the_scheduler() {
    let mut scheduler = Scheduler::start().await;
    let first = watch(&scheduler).await.message().await.unwrap().unwrap();
    assert_eq!(first.waiting, None);
    let since = Some(prost_types::Timestamp { seconds: 7, nanos: 0 });
    let finding = WaitingFinding { rule: "slow".into(), subject: "shop/web".into(), since };
    let waiting = Some(WaitingFindings { findings: vec![finding.clone()] });
    let waits = ReportAlertsRequest { waiting: waiting.clone(), ..Default::default() };
    report(&scheduler, waits).await.unwrap();
    // A report that says nothing of it leaves it as it is.
    began(&scheduler, vec![alert("node-lost", "node:n1")]).await;
    let next = watch(&scheduler).await.message().await.unwrap().unwrap();
    assert_eq!(next.waiting, waiting);
    let many = Some(WaitingFindings { findings: vec![finding; 1_001] });
    let many = ReportAlertsRequest { waiting: many, ..Default::default() };
    let refused = report(&scheduler, many).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    scheduler.stop().await;
    scheduler.resume().await;
    let anew = watch(&scheduler).await.message().await.unwrap().unwrap();
    assert_eq!(anew.waiting, None, "the watchdog says it again");
}

#[tokio::test]
async fn a_test_of_receivers_answers_with_what_the_watchdog_heard_of_each() {
    let scheduler = Scheduler::start().await;
    let mut people = people(&scheduler, Role::Operator);
    let everybody = TestReceiversRequest { receivers: Vec::new() };
    let nobody = people.test_receivers(everybody.clone()).await.unwrap_err();
    assert!(nobody.message().contains("gantry alerts apply"), "{nobody:?}");
    set(&scheduler, FILE).await.unwrap();
    let unwatched = people.test_receivers(everybody.clone()).await.unwrap_err();
    assert!(unwatched.message().contains("no watchdog is connected"), "{unwatched:?}");
    let mut watching = watch(&scheduler).await;
    watching.message().await.unwrap().unwrap();
    let unknown = TestReceiversRequest { receivers: vec!["boss".into()] };
    let unknown = people.test_receivers(unknown).await.unwrap_err();
    assert!(unknown.message().contains("there are chat, ops"), "{unknown:?}");

    let answering = async {
        let test = loop {
            if let Some(test) = watching.message().await.unwrap().unwrap().tests.pop() {
                break test;
            }
        };
        assert_eq!(test.receivers, ["chat", "ops"]);
        let outcome = |receiver: &str, error: &str| NoticeOutcome {
            notice: Some(Notice::Test(test.id.clone())),
            delivery: Some(AlertDelivery {
                receiver: receiver.into(),
                attempts: 1,
                error: error.into(),
                ..AlertDelivery::default()
            }),
        };
        let outcomes = vec![outcome("ops", "connection refused"), outcome("chat", "")];
        report(&scheduler, ReportAlertsRequest { outcomes, ..ReportAlertsRequest::default() }).await.unwrap();
    };
    let (answer, ()) = tokio::join!(people.test_receivers(everybody), answering);
    let answer = answer.unwrap().into_inner().deliveries;
    let said: Vec<_> = answer.iter().map(|one| (one.receiver.as_str(), one.error.as_str())).collect();
    assert_eq!(said, [("chat", ""), ("ops", "connection refused")]);
}

/// A server that takes everything, and how often it was asked.
async fn hook() -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (asked, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            // The body is JSON: it ends with the brace that its head begins with.
            while !bytes.ends_with(b"}") {
                assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the request ends too early");
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            if asked.send(String::from_utf8_lossy(&bytes).into_owned()).is_err() {
                return;
            }
        }
    });
    (url, requests)
}

#[tokio::test]
async fn a_real_watchdog_tells_a_receiver_once_and_the_scheduler_what_it_answered() {
    let mut scheduler = Scheduler::start().await;
    let (url, mut requests) = hook().await;
    let rules = "[{name: none-ready, metric: replicas_ready, below: 1}]";
    let built_in: Vec<&str> = gantry_model::alert::BUILT_IN.iter().map(|rule| rule.name).collect();
    let receivers = format!("[{{name: ops, type: slack, url: '{url}'}}]");
    let file = format!("rules: {rules}\nreceivers: {receivers}\ndisable: [{}]\n", built_in.join(", "));
    set(&scheduler, &file).await.unwrap();

    let service = Service { name: "shop/web".into(), wanted: 1, ..Service::default() };
    let services = [("shop/web".to_owned(), service)].into();
    let mirror = watch::Sender::new(Arc::new(Mirror { revision: 1, services, ..Mirror::default() }));
    let stop = CancellationToken::new();
    let channel = scheduler.channel(Role::Watchdog, "w1");
    // It leads all the while.
    let (leading, leader) = (channel.clone(), stop.clone());
    lead(channel.clone(), "w1").await.unwrap();
    tokio::spawn(leader.run_until_cancelled_owned(async move {
        let mut again = interval(Duration::from_millis(200));
        loop {
            again.tick().await;
            // While the scheduler is away nobody answers.
            let _ = lead(leading.clone(), "w1").await;
        }
    }));
    let start = || {
        let sight = Sight { mirrors: mirror.subscribe(), found: watch::channel(Arc::default()).1 };
        tokio::spawn(gantry_watchdog::alerts::run("w1".into(), channel.clone(), sight, || true, stop.clone()))
    };
    let running = start();
    let delivered = async |scheduler: &Scheduler| {
        let alerts = active(scheduler).await;
        alerts.first().filter(|alert| !alert.deliveries.is_empty()).cloned()
    };
    let alert = eventually("the delivery", || delivered(&scheduler)).await;
    assert_eq!((alert.rule.as_str(), alert.deliveries[0].error.as_str()), ("none-ready", ""));
    assert!(requests.recv().await.unwrap().contains("none-ready shop/web: replicas_ready is 0, below 1"));

    // Neither a new watchdog nor a new scheduler tells it again: what comes next is the test.
    running.abort();
    scheduler.stop().await;
    scheduler.resume().await;
    let running = start();
    let tested = eventually("the test", async || {
        let mut people = people(&scheduler, Role::Operator);
        let answer = people.test_receivers(TestReceiversRequest::default()).await;
        answer.ok().map(|answer| answer.into_inner().deliveries)
    })
    .await;
    assert_eq!((tested.len(), tested[0].error.as_str()), (1, ""));
    assert!(requests.recv().await.unwrap().contains("test notice of Gantry"));
    assert_eq!(active(&scheduler).await.len(), 1);
    stop.cancel();
    running.await.unwrap();
}
