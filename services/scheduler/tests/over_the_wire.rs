//! A real scheduler on a real store, with clients over mutual TLS and an agent whose containers are only a map.

#![allow(clippy::unwrap_used)] // A test that cannot be set up has failed.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use clap::Parser as _;
use gantry_api::agent::v1::ContainerSpec;
use gantry_api::cluster::v1::node_service_client::NodeServiceClient;
use gantry_api::cluster::v1::placement_service_client::PlacementServiceClient;
use gantry_api::cluster::v1::replica_service_client::ReplicaServiceClient;
use gantry_api::cluster::v1::stack_service_client::StackServiceClient;
use gantry_api::cluster::v1::traffic_service_client::TrafficServiceClient;
use gantry_api::cluster::v1::{
    ApplyStackRequest, Goal, ListNodesRequest, ListReplicasRequest, Phase, PublishedPort, RebalanceRequest,
    Replica, ServiceSpec, StackSpec, Traffic, TrafficQuery, WatchStackRequest, WatchTrafficRequest,
    apply_stack_response,
};
use gantry_api::node::v1::relay_service_client::RelayServiceClient;
use gantry_api::node::v1::routing_service_client::RoutingServiceClient;
use gantry_api::node::v1::session_service_client::SessionServiceClient;
use gantry_api::node::v1::{
    Assignments, EndpointTraffic, Heartbeat, Hello, ImageFound, ProxyHello, RelayRequest, ReplicaStatus,
    ReportTrafficRequest, ServiceTraffic, SessionRequest, StatusReport, StillServing, StreamTablesRequest,
    StreamTablesResponse, Table, TableAck, open_relay, relay_request, session_request, session_response,
    stream_tables_request,
};
use gantry_boot::{connect, connect_lazy, install_crypto};
use gantry_identity::{Authority, Bundle, Grant, Identity, Role};
use gantry_model::ClusterId;
use gantry_scheduler::config::Config;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Channel;

const PATIENCE: Duration = Duration::from_secs(20);

/// A scheduler that can be stopped and started again on its folder.
struct Scheduler {
    folder: TempDir,
    authority: Authority,
    address: SocketAddr,
    admin: SocketAddr,
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

/// A port that nobody has at this moment.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Scheduler {
    async fn start() -> Self {
        install_crypto();
        let authority = Authority::create(&ClusterId::new("c1").unwrap(), SystemTime::now()).unwrap();
        let (folder, address, admin) = (TempDir::new().unwrap(), free_port(), free_port());
        let mut scheduler = Self { folder, authority, address, admin, running: None };
        scheduler.bundle(Role::Scheduler, "").save(&scheduler.path("identity")).unwrap();
        scheduler.resume().await;
        scheduler
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        Path::join(self.folder.path(), name)
    }

    async fn resume(&mut self) {
        let config = Config::try_parse_from([
            "scheduler".into(),
            format!("--listen={}", self.address),
            format!("--admin={}", self.admin),
            format!("--data={}", self.folder.path().display()),
            format!("--identity={}", self.path("identity").display()),
        ])
        .unwrap();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        // Here the sessions of the run before live on for a moment; those of a process end with it.
        let task = tokio::spawn(async move {
            loop {
                match gantry_scheduler::run(config.clone(), stopped.clone()).await {
                    Err(error) if format!("{error:?}").contains("InUse") => {
                        sleep(Duration::from_millis(20)).await;
                    }
                    ended => return ended.unwrap(),
                }
            }
        });
        self.running = Some((stop, task));
        let (address, own) = (self.address.to_string(), self.bundle(Role::Admin, "ada"));
        let up = async {
            while connect(&address, Role::Scheduler, "", &own).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, up).await.unwrap();
    }

    async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.cancel();
        task.await.unwrap();
    }

    fn bundle(&self, role: Role, name: &str) -> Bundle {
        let identity = Identity { cluster: ClusterId::new("c1").unwrap(), role, name: name.into() };
        let from = SystemTime::now() - Duration::from_mins(1);
        let grant =
            Grant { identity, hosts: vec!["127.0.0.1".into()], from, lifetime: Duration::from_hours(1) };
        self.authority.issue(&grant).unwrap()
    }

    fn channel(&self, role: Role, name: &str) -> Channel {
        connect_lazy(&self.address.to_string(), Role::Scheduler, "", &self.bundle(role, name)).unwrap()
    }

    async fn replicas(&self) -> Vec<Replica> {
        let mut client = ReplicaServiceClient::new(self.channel(Role::Viewer, "bob"));
        client.list_replicas(ListReplicasRequest::default()).await.unwrap().into_inner().replicas
    }

    /// Waits until the agent is known and has said what it runs.
    async fn node_is_ready(&self) {
        self.nodes_are_ready(1).await;
    }

    /// Waits until so many agents are known and have said what they run.
    async fn nodes_are_ready(&self, count: usize) {
        let mut client = NodeServiceClient::new(self.channel(Role::Viewer, "bob"));
        let wait = async {
            loop {
                let nodes = client.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes;
                if nodes.iter().filter(|node| node.ready).count() == count {
                    return;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap();
    }

    async fn deploy(&self, replicas: u32) {
        let container = ContainerSpec { image: "test".into(), ..ContainerSpec::default() };
        let web = ServiceSpec {
            name: "web".into(),
            container: Some(container),
            replicas: Some(replicas),
            ports: vec![PublishedPort { target: 80, published: 8080, ..PublishedPort::default() }],
            ..ServiceSpec::default()
        };
        let spec = StackSpec { name: "shop".into(), services: vec![web], ..StackSpec::default() };
        let mut client = StackServiceClient::new(self.channel(Role::Operator, "ada"));
        let request = ApplyStackRequest { spec: Some(spec), ..ApplyStackRequest::default() };
        let mut steps = client.apply_stack(request).await.unwrap().into_inner();
        let mut done = false;
        while let Some(step) = steps.message().await.unwrap() {
            done = matches!(step.message, Some(apply_stack_response::Message::Result(_)));
        }
        assert!(done, "the last message is the result");
    }

    async fn converged(&self) {
        let mut client = StackServiceClient::new(self.channel(Role::Viewer, "bob"));
        let request = WatchStackRequest { name: "shop".into() };
        let mut states = client.watch_stack(request).await.unwrap().into_inner();
        let wait = async { while !states.message().await.unwrap().unwrap().converged {} };
        timeout(PATIENCE, wait).await.unwrap();
    }
}

/// An agent that runs whatever it is told to.
#[derive(Clone, Default)]
struct Agent {
    /// The id of its node; `n1` where it is empty.
    node: String,
    /// What it runs.
    containers: Arc<Mutex<BTreeMap<String, Phase>>>,
    /// What it was told, message by message.
    heard: Arc<Mutex<Vec<Assignments>>>,
}

impl Agent {
    /// Connects, and works until the session ends.
    fn connect(&self, scheduler: &Scheduler) -> JoinHandle<()> {
        let (agent, channel) = (self.clone(), scheduler.channel(Role::Node, self.node()));
        tokio::spawn(async move { agent.session(channel).await })
    }

    fn node(&self) -> &str {
        if self.node.is_empty() { "n1" } else { &self.node }
    }

    async fn session(self, channel: Channel) {
        let (messages, stream) = mpsc::channel(16);
        let send = |message| {
            let messages = messages.clone();
            async move { drop(messages.send(SessionRequest { message: Some(message) }).await) }
        };
        let hello = Hello {
            node_id: self.node().into(),
            name: format!("node-{}", self.node()),
            instance: "i1".into(),
            addresses: vec!["127.0.0.1".into()],
            ..Hello::default()
        };
        send(session_request::Message::Hello(hello)).await;
        send(session_request::Message::Status(self.report(true))).await;
        let answers = SessionServiceClient::new(channel.clone()).session(ReceiverStream::new(stream)).await;
        let Ok(mut answers) = answers.map(tonic::Response::into_inner) else { return };
        let mut beat = interval(Duration::from_secs(1));
        loop {
            let answer = tokio::select! {
                answer = answers.message() => answer,
                _ = beat.tick() => {
                    send(session_request::Message::Heartbeat(Heartbeat::default())).await;
                    continue;
                }
            };
            let Ok(Some(answer)) = answer else { return };
            match answer.message {
                Some(session_response::Message::Assignments(assignments)) => {
                    self.take(assignments);
                    send(session_request::Message::Status(self.report(false))).await;
                }
                Some(session_response::Message::OpenRelay(relay)) => {
                    assert!(matches!(relay.want, Some(open_relay::Want::Image(_))), "{relay:?}");
                    tokio::spawn(image(channel.clone(), relay.relay_id));
                }
                _ => {}
            }
        }
    }

    fn take(&self, assignments: Assignments) {
        let mut containers = self.containers.lock().unwrap();
        for assignment in &assignments.upserts {
            let phase = if assignment.goal() == Goal::Stop { Phase::Removed } else { Phase::Running };
            containers.insert(assignment.replica_id.clone(), phase);
        }
        self.heard.lock().unwrap().push(assignments);
    }

    fn report(&self, full: bool) -> StatusReport {
        let containers = self.containers.lock().unwrap();
        let status = |(id, phase): (&String, &Phase)| ReplicaStatus {
            replica_id: id.clone(),
            phase: (*phase).into(),
            ..ReplicaStatus::default()
        };
        StatusReport { full, replicas: containers.iter().map(status).collect() }
    }
}

/// Answers what an image stands for.
async fn image(channel: Channel, relay: String) {
    let found =
        ImageFound { digest: "sha256:1".into(), platform: "linux/amd64".into(), ..ImageFound::default() };
    let messages = [relay_request::Message::RelayId(relay), relay_request::Message::Image(found)];
    let requests = tokio_stream::iter(messages.map(|message| RelayRequest { message: Some(message) }));
    let mut answers = RelayServiceClient::new(channel).relay(requests).await.unwrap().into_inner();
    while let Ok(Some(_)) = answers.message().await {}
}

/// A proxy that takes every table, and says of requests in flight what it is told to say.
struct Proxy {
    messages: mpsc::Sender<StreamTablesRequest>,
    tables: Streaming<StreamTablesResponse>,
}

impl Proxy {
    async fn connect(scheduler: &Scheduler) -> Self {
        let (messages, stream) = mpsc::channel(16);
        let hello = ProxyHello { node_id: "n1".into(), instance: "p1".into() };
        let message = Some(stream_tables_request::Message::Hello(hello));
        messages.send(StreamTablesRequest { message }).await.unwrap();
        let mut client = RoutingServiceClient::new(scheduler.channel(Role::Proxy, "n1"));
        let tables = client.stream_tables(ReceiverStream::new(stream)).await.unwrap().into_inner();
        Self { messages, tables }
    }

    async fn say(&self, message: stream_tables_request::Message) {
        self.messages.send(StreamTablesRequest { message: Some(message) }).await.unwrap();
    }

    /// Takes tables until one is as wanted, and acknowledges every one before it.
    async fn table(&mut self, wanted: impl Fn(&Table) -> bool) -> Table {
        let wait = async {
            loop {
                let Some(table) = self.tables.message().await.unwrap().unwrap().table else { continue };
                if wanted(&table) {
                    return table;
                }
                self.ack(&table).await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap()
    }

    async fn ack(&self, table: &Table) {
        let ack = TableAck { version: table.version, problems: Vec::new() };
        self.say(stream_tables_request::Message::Ack(ack)).await;
    }

    async fn still_serving(&self, table: &Table, replica_ids: Vec<String>) {
        let still = StillServing { replica_ids, version: table.version };
        self.say(stream_tables_request::Message::StillServing(still)).await;
    }
}

fn endpoints(table: &Table) -> usize {
    table.backends.iter().flat_map(|backend| &backend.groups).map(|group| group.endpoints.len()).sum()
}

fn ids(replicas: &[Replica]) -> Vec<String> {
    replicas.iter().map(|replica| replica.id.clone()).collect()
}

#[tokio::test]
async fn a_deploy_reaches_the_agent_and_scaling_in_ends_the_highest_slots() {
    let scheduler = Scheduler::start().await;
    let agent = Agent::default();
    let _session = agent.connect(&scheduler);
    scheduler.node_is_ready().await;
    scheduler.deploy(3).await;
    scheduler.converged().await;
    let before = scheduler.replicas().await;
    assert_eq!(
        before.iter().map(|replica| (replica.slot, replica.state.as_str())).collect::<Vec<_>>(),
        [(1, "running"), (2, "running"), (3, "running")]
    );

    scheduler.deploy(1).await;
    scheduler.converged().await;
    assert_eq!(ids(&scheduler.replicas().await), ids(&before)[..1]);
    let heard = agent.heard.lock().unwrap();
    assert!(heard[0].full, "first everything, then changes");
    let stopped = heard.iter().flat_map(|message| &message.upserts).filter(|one| one.goal() == Goal::Stop);
    assert_eq!(stopped.count(), 2);
}

#[tokio::test]
async fn a_restarted_scheduler_knows_everything_and_disturbs_nothing_while_the_agent_is_away() {
    let mut scheduler = Scheduler::start().await;
    let agent = Agent::default();
    let session = agent.connect(&scheduler);
    scheduler.node_is_ready().await;
    scheduler.deploy(2).await;
    scheduler.converged().await;
    let before = ids(&scheduler.replicas().await);

    scheduler.stop().await;
    session.abort();
    scheduler.resume().await;
    let alone = scheduler.replicas().await;
    assert_eq!(ids(&alone), before);
    assert!(alone.iter().all(|replica| replica.goal() == Goal::Run), "{alone:?}");

    agent.heard.lock().unwrap().clear();
    let _session = agent.connect(&scheduler);
    scheduler.converged().await;
    assert_eq!(ids(&scheduler.replicas().await), before);
    let heard = agent.heard.lock().unwrap();
    assert!(
        heard.iter().flat_map(|message| &message.upserts).all(|one| one.goal() == Goal::Run),
        "{heard:?}"
    );
}

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

#[tokio::test]
async fn a_replica_ends_when_its_proxy_has_let_go_of_it_and_its_requests_are_over() {
    let scheduler = Scheduler::start().await;
    let agent = Agent::default();
    let _session = agent.connect(&scheduler);
    scheduler.node_is_ready().await;
    let mut proxy = Proxy::connect(&scheduler).await;
    scheduler.deploy(2).await;
    let table = proxy.table(|table| endpoints(table) == 2).await;
    proxy.ack(&table).await;
    assert_eq!((table.listeners[0].port, table.listeners[0].service.as_str()), (8080, "shop/web"));

    scheduler.deploy(1).await;
    let table = proxy.table(|table| endpoints(table) == 1).await;
    let leaving = scheduler.replicas().await[1].id.clone();
    proxy.still_serving(&table, vec![leaving.clone()]).await;
    proxy.ack(&table).await;
    sleep(Duration::from_millis(1500)).await;
    let draining = scheduler.replicas().await;
    assert_eq!(
        (draining[1].id.as_str(), draining[1].goal()),
        (leaving.as_str(), Goal::Drain),
        "one is in flight"
    );

    proxy.still_serving(&table, Vec::new()).await;
    let gone = async {
        while scheduler.replicas().await.len() > 1 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    // Well before the drain timeout, which is 10 s.
    timeout(Duration::from_secs(5), gone).await.unwrap();
}

#[tokio::test]
async fn the_replicas_of_a_node_that_is_gone_are_replaced_and_it_finds_nothing_to_run_when_it_is_back() {
    let scheduler = Scheduler::start().await;
    let (one, two) = (Agent::default(), Agent { node: "n2".into(), ..Agent::default() });
    let _session = one.connect(&scheduler);
    let session = two.connect(&scheduler);
    scheduler.nodes_are_ready(2).await;
    scheduler.deploy(4).await;
    scheduler.converged().await;
    let on = |node: &'static str| {
        let scheduler = &scheduler;
        async move { scheduler.replicas().await.iter().filter(|replica| replica.node == node).count() }
    };
    assert_eq!((on("node-n1").await, on("node-n2").await), (2, 2));

    session.abort();
    let moved = async {
        while (on("node-n1").await, on("node-n2").await) != (4, 0) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, moved).await.unwrap();
    scheduler.converged().await;

    two.heard.lock().unwrap().clear();
    let _session = two.connect(&scheduler);
    scheduler.nodes_are_ready(2).await;
    let told = async {
        while two.heard.lock().unwrap().is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, told).await.unwrap();
    let heard = two.heard.lock().unwrap().clone();
    assert!(heard[0].full && heard.iter().all(|message| message.upserts.is_empty()), "{heard:?}");

    // People may have it even again.
    let mut client = PlacementServiceClient::new(scheduler.channel(Role::Operator, "ada"));
    let planned = client.rebalance(RebalanceRequest { plan: true }).await.unwrap().into_inner();
    assert_eq!(planned.moves.len(), 2);
    assert_eq!(on("node-n2").await, 0, "a plan moves nothing");
    client.rebalance(RebalanceRequest { plan: false }).await.unwrap();
    let even = async {
        while (on("node-n1").await, on("node-n2").await) != (2, 2) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, even).await.unwrap();
}
