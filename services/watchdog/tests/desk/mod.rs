//! A scheduler that keeps what it is told of alerts, and an HTTP server that listens, with the real loop
//! between them.

#![allow(clippy::unwrap_used)] // A test that cannot be set up has failed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gantry_api::cluster::v1::traffic_service_server::{TrafficService, TrafficServiceServer};
use gantry_api::cluster::v1::{
    AlertReceiver, AlertRule, GetTrafficRequest, GetTrafficResponse, Service, WatchTrafficRequest,
    WatchTrafficResponse, alert_rule,
};
use gantry_api::feed::v1::alert_feed_service_server::{AlertFeedService, AlertFeedServiceServer};
use gantry_api::feed::v1::notice_outcome::Notice;
use gantry_api::feed::v1::{
    AlertReceiverAccess, NoticeOutcome, ReportAlertsRequest, ReportAlertsResponse, WatchAlertsRequest,
    WatchAlertsResponse,
};
use gantry_boot::now;
use gantry_feed::Mirror;
use gantry_model::wire::write_time;
use gantry_watchdog::alerts::Sight;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};

pub const PATIENCE: Duration = Duration::from_secs(20);

/// A scheduler that keeps what it is told.
#[derive(Clone)]
pub struct Kept {
    pub book: Arc<Mutex<WatchAlertsResponse>>,
    /// How much later it is than it is.
    pub ahead: Arc<Mutex<Duration>>,
    pub news: Arc<watch::Sender<()>>,
    /// What became of test notices.
    pub tests: Arc<Mutex<Vec<NoticeOutcome>>>,
}

impl Kept {
    pub fn change(&self, change: impl FnOnce(&mut WatchAlertsResponse)) {
        let mut book = self.book.lock().unwrap();
        change(&mut book);
        book.revision += 1;
        drop(book);
        self.news.send_replace(());
    }

    /// Time goes by at once.
    pub fn wait(&self, time: Duration) {
        *self.ahead.lock().unwrap() += time;
        self.news.send_replace(());
    }

    pub fn message(&self) -> WatchAlertsResponse {
        let now = now().after(*self.ahead.lock().unwrap());
        WatchAlertsResponse { now: Some(write_time(now)), ..self.book.lock().unwrap().clone() }
    }

    pub async fn until<T>(&self, what: &str, holds: impl Fn(&Self) -> Option<T>) -> T {
        let found = timeout(PATIENCE, self.first(holds)).await;
        found.unwrap_or_else(|_| panic!("{what} did not come: {:?}", self.message()))
    }

    /// What `holds` answers with first; it is asked again and again.
    pub async fn first<T>(&self, holds: impl Fn(&Self) -> Option<T>) -> T {
        let mut again = interval(Duration::from_millis(10));
        loop {
            again.tick().await;
            if let Some(found) = holds(self) {
                return found;
            }
        }
    }

    /// Waits until the first alert has so many outcomes of notices.
    pub async fn told(&self, alert: usize, times: usize) {
        let told = |kept: &Self| {
            let book = kept.book.lock().unwrap();
            book.alerts.get(alert).is_some_and(|alert| alert.deliveries.len() == times).then_some(())
        };
        self.until("the outcome of a notice", told).await;
    }
}

#[tonic::async_trait]
impl AlertFeedService for Kept {
    type WatchAlertsStream = ReceiverStream<Result<WatchAlertsResponse, Status>>;

    async fn watch_alerts(
        &self,
        _: Request<WatchAlertsRequest>,
    ) -> Result<Response<Self::WatchAlertsStream>, Status> {
        let (answers, stream) = mpsc::channel(1);
        let kept = self.clone();
        let mut news = self.news.subscribe();
        tokio::spawn(async move {
            while answers.send(Ok(kept.message())).await.is_ok() {
                tokio::select! {
                    changed = news.changed() => if changed.is_err() { return },
                    () = answers.closed() => return,
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn report_alerts(
        &self,
        request: Request<ReportAlertsRequest>,
    ) -> Result<Response<ReportAlertsResponse>, Status> {
        let report = request.into_inner();
        self.change(|book| {
            for mut alert in report.began {
                alert.id = book.alerts.len() as u64 + 1;
                book.alerts.push(alert);
            }
            if let Some(waiting) = report.waiting {
                book.waiting = Some(waiting);
            }
            for id in report.ended {
                book.alerts[usize::try_from(id).unwrap() - 1].ended_at = Some(write_time(now()));
            }
            for outcome in report.outcomes {
                match outcome.notice {
                    Some(Notice::Alert(id)) => {
                        let alert = &mut book.alerts[usize::try_from(id).unwrap() - 1];
                        alert.deliveries.push(outcome.delivery.unwrap());
                    }
                    _ => self.tests.lock().unwrap().push(outcome),
                }
            }
        });
        Ok(Response::new(ReportAlertsResponse { revision: self.book.lock().unwrap().revision }))
    }
}

#[tonic::async_trait]
impl TrafficService for Kept {
    async fn get_traffic(
        &self,
        _: Request<GetTrafficRequest>,
    ) -> Result<Response<GetTrafficResponse>, Status> {
        Ok(Response::new(GetTrafficResponse::default()))
    }

    type WatchTrafficStream = ReceiverStream<Result<WatchTrafficResponse, Status>>;

    async fn watch_traffic(
        &self,
        _: Request<WatchTrafficRequest>,
    ) -> Result<Response<Self::WatchTrafficStream>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }
}

/// All that takes part.
pub struct World {
    pub kept: Kept,
    pub channel: Channel,
    pub mirror: watch::Sender<Arc<Mirror>>,
    pub leads: watch::Sender<bool>,
    pub notices: mpsc::UnboundedReceiver<Value>,
    /// Whether the receiver answers.
    pub answers: watch::Sender<bool>,
    /// How often it asked whether it leads, and did not.
    pub unled: Arc<AtomicUsize>,
    pub running: Option<(CancellationToken, JoinHandle<()>)>,
}

/// A server that answers so when it may, and the bodies that it was sent.
pub async fn hook(
    status: &'static str,
    mut may_answer: watch::Receiver<bool>,
) -> (String, mpsc::UnboundedReceiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in", listener.local_addr().unwrap());
    let (bodies, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let body: Value = loop {
                let count = stream.read_buf(&mut bytes).await.unwrap();
                assert!(count > 0, "the request ends too early");
                let text = String::from_utf8_lossy(&bytes);
                let body = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
                if let Some(body) = body {
                    break body;
                }
            };
            if bodies.send(body).is_err() || may_answer.wait_for(|may| *may).await.is_err() {
                return;
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            // Who asked may be gone.
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    (url, received)
}

impl World {
    /// A rule that holds for every service without ready replicas, and one receiver.
    pub async fn new(status: &'static str, leads: bool) -> Self {
        let answers = watch::Sender::new(true);
        let (url, notices) = hook(status, answers.subscribe()).await;
        let receiver = AlertReceiver {
            name: "ops".into(),
            r#type: "webhook".into(),
            send_resolved: true,
            ..AlertReceiver::default()
        };
        let rule = AlertRule {
            name: "none-ready".into(),
            metric: "replicas_ready".into(),
            subject: "*".into(),
            bound: Some(alert_rule::Bound::Below(1.0)),
            ..AlertRule::default()
        };
        let built_in = gantry_model::alert::BUILT_IN.iter().map(|rule| rule.name.to_owned());
        let book = WatchAlertsResponse {
            revision: 1,
            cluster: "test".into(),
            rules: vec![rule],
            disabled: built_in.collect(),
            receivers: vec![AlertReceiverAccess {
                receiver: Some(receiver),
                url,
                headers: BTreeMap::new(),
                ca: String::new(),
            }],
            ..WatchAlertsResponse::default()
        };
        let kept = Kept {
            book: Arc::new(Mutex::new(book)),
            ahead: Arc::default(),
            news: Arc::new(watch::Sender::new(())),
            tests: Arc::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let server = Server::builder()
            .add_service(AlertFeedServiceServer::new(kept.clone()))
            .add_service(TrafficServiceServer::new(kept.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        let mirror = watch::Sender::new(Arc::new(Mirror::default()));
        let mut world = Self {
            kept,
            channel: endpoint.connect_lazy(),
            mirror,
            leads: watch::Sender::new(leads),
            notices,
            answers,
            unled: Arc::default(),
            running: None,
        };
        world.start();
        world
    }

    pub fn start(&mut self) {
        let stop = CancellationToken::new();
        let (mirrors, leads) = (self.mirror.subscribe(), self.leads.subscribe());
        let unled = self.unled.clone();
        let leads = move || {
            let leads = *leads.borrow();
            unled.fetch_add(usize::from(!leads), Ordering::Relaxed);
            leads
        };
        let sight = Sight { mirrors, found: watch::channel(Arc::default()).1 };
        let task = tokio::spawn(gantry_watchdog::alerts::run(
            "w1".into(),
            self.channel.clone(),
            sight,
            leads,
            stop.clone(),
        ));
        self.running = Some((stop, task));
    }

    pub async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.cancel();
        task.await.unwrap();
    }

    /// What the feed says of services: their names, and how many replicas are ready.
    pub fn services(&self, services: &[(&str, u32)]) {
        let service = |(name, ready): &(&str, u32)| {
            let service =
                Service { name: (*name).to_owned(), wanted: 1, ready: *ready, ..Service::default() };
            ((*name).to_owned(), service)
        };
        let services = services.iter().map(service).collect();
        self.mirror.send_replace(Arc::new(Mirror { revision: 1, services, ..Mirror::default() }));
        self.kept.news.send_replace(());
    }

    /// The next notice: what kind, and of each alert its subject and whether it begins or ends.
    pub async fn notice(&mut self) -> (String, Vec<(String, String)>) {
        let body = timeout(PATIENCE, self.notices.recv()).await.unwrap().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let alerts = body["alerts"].as_array().unwrap().iter();
        let alerts = alerts.map(|alert| (text(&alert["subject"]), text(&alert["status"])));
        (text(&body["kind"]), alerts.collect())
    }
}
