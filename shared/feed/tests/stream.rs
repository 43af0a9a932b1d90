//! The feed over a real connection: mutual TLS, a server that goes away, a reader of the wrong role.

#![allow(clippy::unwrap_used)] // A test that cannot be set up has failed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gantry_api::feed::v1::feed_service_client::FeedServiceClient;
use gantry_api::feed::v1::feed_service_server::FeedServiceServer;
use gantry_api::feed::v1::watch_response::Message;
use gantry_api::feed::v1::{Delta, Kind, WatchRequest};
use gantry_boot::{Credentials, Server, connect_lazy, install_crypto};
use gantry_feed::{Feed, Mirror, follow};
use gantry_identity::{Authority, Bundle, Grant, Identity, Role};
use gantry_model::{ClusterId, Snapshot, Timestamp};
use gantry_testkit::World;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Code;

const PATIENCE: Duration = Duration::from_secs(20);

struct Certificates {
    authority: Authority,
    cluster: ClusterId,
}

impl Certificates {
    fn new() -> Self {
        install_crypto();
        let cluster = ClusterId::new("c1").unwrap();
        Self { authority: Authority::create(&cluster, SystemTime::now()).unwrap(), cluster }
    }

    fn of(&self, role: Role) -> Bundle {
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

/// A server that can be stopped, and another started at its address.
struct Running {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn serve(own: &Bundle, address: &str, snapshots: watch::Receiver<Arc<Snapshot>>) -> Running {
    let server =
        Server::bind(address.parse().unwrap(), &Credentials::of(own.clone()).unwrap()).await.unwrap();
    let server = server.serve(FeedServiceServer::new(Feed::new(snapshots)));
    let (address, stop) = (server.address().unwrap(), CancellationToken::new());
    let stopped = stop.clone();
    let task = tokio::spawn(async move { server.run(stopped, Duration::ZERO).await.unwrap() });
    Running { address, stop, task }
}

async fn until(mirrors: &mut watch::Receiver<Arc<Mirror>>, right: impl Fn(&Mirror) -> bool) -> Arc<Mirror> {
    let found = timeout(PATIENCE, mirrors.wait_for(|mirror| right(mirror))).await.unwrap().unwrap();
    found.clone()
}

#[tokio::test]
async fn a_reader_keeps_up_and_catches_up_after_the_server_was_away() {
    let certificates = Certificates::new();
    let own = certificates.of(Role::Scheduler);
    let mut world =
        World::new(Timestamp::from_millis(1)).node("n1").service("shop/web", |web| web.replicas(2));
    let (states, snapshots) = watch::channel(Arc::new(world.snapshot.clone()));
    let server = serve(&own, "127.0.0.1:0", snapshots.clone()).await;

    let channel =
        connect_lazy(&server.address.to_string(), Role::Scheduler, "", &certificates.of(Role::Watchdog))
            .unwrap();
    let stop = CancellationToken::new();
    let mut mirrors = follow(channel, stop.clone());
    let first = until(&mut mirrors, |mirror| mirror.services.contains_key("shop/web")).await;
    assert_eq!(first.nodes.len(), 1);

    world.change_service("shop/web", |web| web.replicas = 5);
    states.send(Arc::new(world.snapshot.clone())).unwrap();
    until(&mut mirrors, |mirror| mirror.services["shop/web"].wanted == 5).await;

    // While it is away the mirror stays as it was, and afterwards it is as the state is then.
    server.stop.cancel();
    server.task.await.unwrap();
    assert_eq!(mirrors.borrow().services["shop/web"].wanted, 5);
    world.change_service("shop/web", |web| web.replicas = 7);
    world = world.node("n2");
    states.send(Arc::new(world.snapshot.clone())).unwrap();
    let again = serve(&own, &server.address.to_string(), snapshots).await;
    let last = until(&mut mirrors, |mirror| mirror.services["shop/web"].wanted == 7).await;
    assert_eq!(last.nodes.len(), 2);
    stop.cancel();
    again.stop.cancel();
    again.task.await.unwrap();
}

#[tokio::test]
async fn a_watchdog_reads_of_health_and_hears_the_time_while_nothing_changes() {
    let certificates = Certificates::new();
    let world = World::new(Timestamp::from_millis(1)).node("n1").service("shop/web", |web| web);
    let (_states, snapshots) = watch::channel(Arc::new(world.snapshot.clone()));
    let server = serve(&certificates.of(Role::Scheduler), "127.0.0.1:0", snapshots).await;
    for (role, of_watchdogs) in [(Role::Watchdog, 2), (Role::Viewer, 0)] {
        let channel =
            connect_lazy(&server.address.to_string(), Role::Scheduler, "", &certificates.of(role)).unwrap();
        let mut feed = FeedServiceClient::new(channel).watch(WatchRequest {}).await.unwrap().into_inner();
        let mut next = async || timeout(PATIENCE, feed.message()).await.unwrap().unwrap().unwrap();
        let first = next().await;
        let Some(Message::State(state)) = first.message else { panic!("{first:?}") };
        let health = [Kind::Case, Kind::Hearing, Kind::Course];
        let told =
            state.objects.iter().filter(|object| health.contains(&object.key.as_ref().unwrap().kind()));
        assert_eq!(told.count(), of_watchdogs, "{role}");
        let second = next().await;
        assert_eq!(second.message, Some(Message::Delta(Delta::default())));
        assert!(first.now.is_some() && second.now.map(|now| now.seconds) >= first.now.map(|now| now.seconds));
    }
    server.stop.cancel();
}

#[tokio::test]
async fn a_node_may_not_read_the_feed() {
    let certificates = Certificates::new();
    let world = World::new(Timestamp::from_millis(1));
    let (_states, snapshots) = watch::channel(Arc::new(world.snapshot.clone()));
    let server = serve(&certificates.of(Role::Scheduler), "127.0.0.1:0", snapshots).await;
    let channel =
        connect_lazy(&server.address.to_string(), Role::Scheduler, "", &certificates.of(Role::Node)).unwrap();
    let refused = FeedServiceClient::new(channel).watch(WatchRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    server.stop.cancel();
}
