//! A scheduler that serves a feed, takes verdicts and does nothing.

#![allow(clippy::unwrap_used, dead_code)] // A test that cannot be set up has failed; not every test uses all.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use gantry_api::feed::v1::feed_service_server::{FeedService, FeedServiceServer};
use gantry_api::feed::v1::object::Object as Content;
use gantry_api::feed::v1::verdict_service_server::{VerdictService, VerdictServiceServer};
use gantry_api::feed::v1::watch_response::Message;
use gantry_api::feed::v1::{
    Case, Condition, Course, Hearing, Key, Kind, LeadRequest, LeadResponse, Object, Presence, State,
    SubmitRequest, SubmitResponse, Verdict, WatchRequest, WatchResponse,
};
use gantry_api::node::v1::Membership;
use gantry_boot::{Credentials, Server, install_crypto, now};
use gantry_identity::{Authority, Bundle, Grant, Identity, Role};
use gantry_model::wire::{write_duration, write_time};
use gantry_model::{ClusterId, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long the right to act lasts here.
pub const LEASE: Duration = Duration::from_millis(1_500);

pub struct Certificates {
    authority: Authority,
    cluster: ClusterId,
}

impl Certificates {
    pub fn new() -> Self {
        install_crypto();
        let cluster = ClusterId::new("c1").unwrap();
        Self { authority: Authority::create(&cluster, SystemTime::now()).unwrap(), cluster }
    }

    pub fn of(&self, role: Role) -> Bundle {
        let identity = Identity { cluster: self.cluster.clone(), role, name: "test".into() };
        let grant = Grant {
            identity,
            hosts: vec!["127.0.0.1".into()],
            from: SystemTime::now() - Duration::from_mins(1),
            lifetime: Duration::from_hours(1),
        };
        self.authority.issue(&grant).unwrap()
    }
}

/// What it shows and what it was told.
#[derive(Clone)]
pub struct Fake {
    pub objects: watch::Sender<Vec<Object>>,
    pub told: watch::Sender<Vec<(String, Verdict)>>,
    lease: Arc<Mutex<Option<(String, Instant)>>>,
    /// What is answered to every verdict.
    pub refusal: Arc<Mutex<String>>,
    /// The holders of certificates that are to be refused.
    pub denied: Arc<Mutex<Vec<String>>>,
    /// Ends the streams of the server that runs: they end with a process.
    ending: Arc<Mutex<CancellationToken>>,
}

impl Fake {
    pub fn new(objects: Vec<Object>) -> Self {
        Self {
            objects: watch::channel(objects).0,
            told: watch::channel(Vec::new()).0,
            lease: Arc::default(),
            refusal: Arc::default(),
            denied: Arc::default(),
            ending: Arc::default(),
        }
    }

    pub async fn serve(&self, own: &Bundle, address: &str) -> Serving {
        let server =
            Server::bind(address.parse().unwrap(), &Credentials::of(own.clone()).unwrap()).await.unwrap();
        let server =
            server.serve(FeedServiceServer::new(self.clone())).serve(VerdictServiceServer::new(self.clone()));
        let (address, stop) = (server.address().unwrap(), CancellationToken::new());
        *self.ending.lock().unwrap() = stop.clone();
        let stopped = stop.clone();
        let task = tokio::spawn(async move { server.run(stopped, Duration::ZERO).await.unwrap() });
        Serving { address, stop, task }
    }

    pub fn leader(&self) -> Option<String> {
        self.lease.lock().unwrap().as_ref().map(|(leader, _)| leader.clone())
    }

    /// Waits until it was told what is `right`.
    pub async fn until_told(&self, right: impl Fn(&[(String, Verdict)]) -> bool) -> Vec<(String, Verdict)> {
        let mut told = self.told.subscribe();
        let found = timeout(PATIENCE, told.wait_for(|told| right(told))).await;
        found.unwrap().unwrap().clone()
    }
}

pub struct Serving {
    pub address: SocketAddr,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
}

#[tonic::async_trait]
impl FeedService for Fake {
    type WatchStream = ReceiverStream<Result<WatchResponse, Status>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let mut objects = self.objects.subscribe();
        let (answers, stream) = mpsc::channel(2);
        let ending = self.ending.lock().unwrap().clone();
        tokio::spawn(ending.run_until_cancelled_owned(async move {
            loop {
                let all = objects.borrow_and_update().clone();
                let message = Some(Message::State(State { objects: all }));
                let response = WatchResponse { message, revision: 7, now: Some(write_time(now())) };
                if answers.send(Ok(response)).await.is_err() || objects.changed().await.is_err() {
                    return;
                }
            }
        }));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[tonic::async_trait]
impl VerdictService for Fake {
    async fn lead(&self, request: Request<LeadRequest>) -> Result<Response<LeadResponse>, Status> {
        let instance = request.into_inner().instance;
        let mut lease = self.lease.lock().unwrap();
        let taken =
            lease.as_ref().is_some_and(|(leader, until)| *leader != instance && Instant::now() < *until);
        if !taken {
            *lease = Some((instance.clone(), Instant::now() + LEASE));
        }
        let leader = lease.as_ref().map(|(leader, _)| leader.clone()).unwrap_or_default();
        let membership =
            Some(Membership { denied: self.denied.lock().unwrap().clone(), ..Default::default() });
        let expires_in = Some(write_duration(LEASE));
        Ok(Response::new(LeadResponse { leads: !taken, leader, expires_in, membership }))
    }

    async fn submit(&self, request: Request<SubmitRequest>) -> Result<Response<SubmitResponse>, Status> {
        let SubmitRequest { instance, verdicts } = request.into_inner();
        let leads = self
            .lease
            .lock()
            .unwrap()
            .as_ref()
            .is_some_and(|(leader, until)| *leader == instance && Instant::now() < *until);
        if !leads {
            return Err(Status::failed_precondition("another watchdog leads"));
        }
        let refusals = vec![self.refusal.lock().unwrap().clone(); verdicts.len()];
        self.told
            .send_modify(|told| told.extend(verdicts.into_iter().map(|verdict| (instance.clone(), verdict))));
        Ok(Response::new(SubmitResponse { refusals }))
    }
}

fn object(kind: Kind, id: &str, content: Content) -> Object {
    Object { key: Some(Key { kind: kind.into(), id: id.into() }), object: Some(content) }
}

pub fn node(id: &str, silent_since: Option<Timestamp>) -> Object {
    let hearing = Hearing {
        node_id: id.into(),
        name: id.into(),
        connected: silent_since.is_none(),
        silent_since: silent_since.map(write_time),
        presence: Presence::Ready.into(),
        schedulable: true,
        ..Hearing::default()
    };
    object(Kind::Hearing, id, Content::Hearing(hearing))
}

pub fn case(id: &str, slot: u32, condition: Condition) -> Object {
    let ready = condition == Condition::Healthy;
    let case = Case {
        replica_id: id.into(),
        service: "shop/web".into(),
        slot,
        node_id: "n1".into(),
        reported: true,
        wanted: true,
        ready,
        ready_since: Some(write_time(now())),
        condition: condition.into(),
        condition_since: Some(write_time(now())),
        ..Case::default()
    };
    object(Kind::Case, id, Content::Case(case))
}

pub fn course(wanted: u32) -> Object {
    let course = Course { service: "shop/web".into(), wanted, ..Course::default() };
    object(Kind::Course, "shop/web", Content::Course(course))
}
