//! Agents that fetch from each other, over mutual TLS on real ports, on simulated engines.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use futures_util::{Stream, StreamExt as _};
use gantry_api::agent::v1::{ContainerSpec, RegistryCredential};
use gantry_api::cluster::v1::Goal;
use gantry_api::node::v1::piece::Kind as PieceKind;
use gantry_api::node::v1::transfer_service_server::{TransferService, TransferServiceServer};
use gantry_api::node::v1::{
    Assignment, Assignments, FetchImageRequest, FetchImageResponse, FetchVolumeRequest, FetchVolumeResponse,
    ImageSource, Peer as WirePeer, Piece,
};
use gantry_boot::{Server, install_crypto};
use gantry_identity::{Authority, Grant, Identity, Role};
use gantry_model::{ClusterId, Lineage, Phase, ReplicaId, ReplicaStatus, Term, Timestamp};
use tempfile::TempDir;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{Copies, Dial, ImageNeeded, Moves, Transfers, pieces};
use crate::engine::{Error, Kind};
use crate::managed::simulated::Simulated;
use crate::managed::{Disk, Fleet, Folders, Runtime};

mod volumes;

const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster's authority, and the folders of its nodes.
struct Cluster {
    authority: Authority,
    folder: TempDir,
    stop: CancellationToken,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// How a source fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// A bit on the way is another one.
    Damages,
    /// It hangs up in the middle.
    HangsUp,
    /// It says that all came, when it has not.
    EndsEarly,
}

/// An agent that fails in the middle of a transfer.
struct Faulty {
    engine: Simulated,
    fault: Fault,
    asked: Arc<Mutex<usize>>,
}

#[tonic::async_trait]
impl TransferService for Faulty {
    type FetchImageStream = Pin<Box<dyn Stream<Item = Result<FetchImageResponse, Status>> + Send>>;

    async fn fetch_image(
        &self,
        request: Request<FetchImageRequest>,
    ) -> Result<Response<Self::FetchImageStream>, Status> {
        *self.asked.lock().unwrap() += 1;
        let (about, archive) = self.engine.export_image(&request.into_inner().digest).await?;
        let mut all: Vec<Piece> = pieces::cut(archive, about).map(|piece| piece.unwrap()).collect().await;
        let middle = all.len() / 2;
        match self.fault {
            Fault::Damages => {
                if let Some(PieceKind::Data(data)) = &mut all[middle].kind {
                    data[0] ^= 1;
                }
            }
            Fault::HangsUp => all.truncate(middle),
            Fault::EndsEarly => drop(all.remove(middle)),
        }
        let answers = all.into_iter().map(|piece| Ok(FetchImageResponse { piece: Some(piece) }));
        Ok(Response::new(Box::pin(tokio_stream::iter(answers))))
    }

    type FetchVolumeStream = Pin<Box<dyn Stream<Item = Result<FetchVolumeResponse, Status>> + Send>>;

    async fn fetch_volume(
        &self,
        _: Request<FetchVolumeRequest>,
    ) -> Result<Response<Self::FetchVolumeStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

impl Cluster {
    fn new() -> Self {
        install_crypto();
        let authority = Authority::create(&ClusterId::new("c1").unwrap(), SystemTime::now()).unwrap();
        Self { authority, folder: TempDir::new().unwrap(), stop: CancellationToken::new() }
    }

    /// The certificate of a node, in a folder.
    fn dial(&self, node: &str) -> Dial {
        let folder = self.folder.path().join(node);
        let identity =
            Identity { cluster: ClusterId::new("c1").unwrap(), role: Role::Node, name: node.into() };
        let grant = Grant {
            identity,
            hosts: vec!["127.0.0.1".into()],
            from: SystemTime::now(),
            lifetime: Duration::from_hours(1),
        };
        self.authority.issue(&grant).unwrap().save(&folder).unwrap();
        Dial::new(folder)
    }

    async fn serve<S: TransferService>(&self, node: &str, service: S) -> WirePeer {
        self.dial(node);
        let own = gantry_identity::Bundle::load(&self.folder.path().join(node)).unwrap();
        let own = gantry_boot::Credentials::of(own).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(any, &own).await.unwrap().serve(TransferServiceServer::new(service));
        let port = server.address().unwrap().port();
        tokio::spawn(server.run(self.stop.clone(), Duration::ZERO));
        WirePeer {
            node_id: node.into(),
            name: node.into(),
            addresses: vec!["127.0.0.1".into()],
            port: port.into(),
        }
    }

    /// A node whose engine has an image.
    async fn source(&self, node: &str, content: &[u8]) -> WirePeer {
        let engine = Simulated::default();
        engine.has_image(content);
        self.serve(node, Transfers::new(engine, Moves::new(self.dial(node)))).await
    }

    async fn faulty(&self, node: &str, content: &[u8], fault: Fault) -> (WirePeer, Arc<Mutex<usize>>) {
        let (engine, asked) = (Simulated::default(), Arc::default());
        engine.has_image(content);
        let service = Faulty { engine, fault, asked: Arc::clone(&asked) };
        (self.serve(node, service).await, asked)
    }
}

/// Something like an image: large enough for many pieces.
fn content(seed: u8) -> Vec<u8> {
    (0..900_000_u32).map(|at| (at.wrapping_mul(31) >> 3).to_le_bytes()[0] ^ seed).collect()
}

fn needed(digest: &str) -> ImageNeeded<'_> {
    ImageNeeded { image: "web", digest, platform: "" }
}

fn sources(digest: &str, nodes: Vec<WirePeer>) -> Vec<ImageSource> {
    vec![ImageSource { digest: digest.into(), nodes }]
}

async fn obtain(copies: &Copies, engine: &Simulated, digest: &str) -> Result<String, Error> {
    timeout(PATIENCE, copies.obtain(engine, needed(digest), |_| ())).await.unwrap()
}

async fn has(engine: &Simulated, digest: &str) -> bool {
    engine.kept_images().await.unwrap().contains(digest)
}

#[tokio::test]
async fn an_image_that_another_node_has_is_fetched_from_there() {
    let (cluster, engine, content) = (Cluster::new(), Simulated::default(), content(1));
    let digest = crate::managed::simulated::digest_of(&content);
    let copies = Copies::new(cluster.dial("n2"));
    copies.set_sources(sources(&digest, vec![cluster.source("n1", &content).await]));
    obtain(&copies, &engine, &digest).await.unwrap();
    assert!(has(&engine, &digest).await);
    assert_eq!(engine.pulls(), 0);
    assert_eq!(*copies.running().borrow(), BTreeMap::new());
}

#[tokio::test]
async fn whatever_goes_wrong_at_one_source_the_next_one_is_asked() {
    for fault in [Fault::Damages, Fault::HangsUp, Fault::EndsEarly] {
        let (cluster, engine, content) = (Cluster::new(), Simulated::default(), content(2));
        let digest = crate::managed::simulated::digest_of(&content);
        let (bad, asked) = cluster.faulty("n1", &content, fault).await;
        let copies = Copies::new(cluster.dial("n3"));

        copies.set_sources(sources(&digest, vec![bad.clone()]));
        let error = obtain(&copies, &engine, &digest).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable, "{fault:?}: {error}");
        assert!(error.message.contains("n1: "), "{fault:?}: {error}");
        assert!(!has(&engine, &digest).await, "{fault:?}");

        copies.set_sources(sources(&digest, vec![bad, cluster.source("n2", &content).await]));
        obtain(&copies, &engine, &digest).await.unwrap();
        assert!(has(&engine, &digest).await);
        assert_eq!(*asked.lock().unwrap(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_or_is_another_one_is_passed_over() {
    let (cluster, engine, content) = (Cluster::new(), Simulated::default(), content(3));
    let digest = crate::managed::simulated::digest_of(&content);
    let good = cluster.source("n2", &content).await;
    let gone = WirePeer { node_id: "n1".into(), name: "n1".into(), port: 1, ..good.clone() };
    let impostor = WirePeer { node_id: "n9".into(), name: "n9".into(), ..good.clone() };
    let copies = Copies::new(cluster.dial("n3"));

    copies.set_sources(sources(&digest, vec![gone.clone(), impostor.clone()]));
    let error = obtain(&copies, &engine, &digest).await.unwrap_err();
    assert!(error.message.contains("n1: ") && error.message.contains("n9: "), "{error}");

    copies.set_sources(sources(&digest, vec![gone, impostor, good]));
    obtain(&copies, &engine, &digest).await.unwrap();
}

#[tokio::test]
async fn several_replicas_that_need_one_image_fetch_it_once() {
    let (cluster, engine, content) = (Cluster::new(), Simulated::default(), content(4));
    let digest = crate::managed::simulated::digest_of(&content);
    // A source that fails after the first time would be asked again by anybody who does not wait.
    let source = cluster.source("n1", &content).await;
    let copies = Copies::new(cluster.dial("n2"));
    copies.set_sources(sources(&digest, vec![source]));
    let mut most = 0;
    let running = copies.running();
    let all = futures_util::future::join_all((0..8).map(|_| obtain(&copies, &engine, &digest)));
    let mut all = std::pin::pin!(all);
    let done = loop {
        tokio::select! {
            done = &mut all => break done,
            () = tokio::task::yield_now() => most = most.max(running.borrow().len()),
        }
    };
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert_eq!((engine.imports(), most), (1, 1));
}

#[tokio::test]
async fn a_node_waits_for_its_turn_and_then_goes_on() {
    let (cluster, engine, content) = (Cluster::new(), Simulated::default(), content(5));
    let digest = crate::managed::simulated::digest_of(&content);
    let copies = Copies::new(cluster.dial("n2"));
    copies.set_sources(sources(&digest, Vec::new()));
    let (said, mut told) = tokio::sync::mpsc::unbounded_channel();
    let tell = |words: String| drop(said.send(words));
    let obtaining = copies.obtain(&engine, needed(&digest), tell);
    let mut obtaining = std::pin::pin!(obtaining);
    tokio::select! {
        done = &mut obtaining => panic!("it did not wait: {done:?}"),
        words = told.recv() => assert!(words.unwrap().contains("waits for a copy")),
    }
    copies.set_sources(sources(&digest, vec![cluster.source("n1", &content).await]));
    timeout(PATIENCE, obtaining).await.unwrap().unwrap();
    assert!(has(&engine, &digest).await);
}

#[tokio::test]
async fn an_image_that_no_node_has_is_pulled() {
    let (cluster, engine, content) = (Cluster::new(), Simulated::default(), content(6));
    let digest = engine.registry_has(&content);
    let copies = Copies::new(cluster.dial("n2"));
    obtain(&copies, &engine, &digest).await.unwrap();
    assert_eq!(engine.pulls(), 1);

    // A node that was said to have it, and has it no more, is no reason to give up.
    let other = engine.registry_has(b"another");
    copies.set_sources(sources(&other, vec![cluster.source("n1", &content).await]));
    obtain(&copies, &engine, &other).await.unwrap();
    assert_eq!(engine.pulls(), 2);
}

#[tokio::test]
async fn a_pull_logs_in_and_does_not_wait_for_other_nodes() {
    let (cluster, engine, content) = (Cluster::new(), Simulated::default(), content(10));
    let digest = engine.registry_has(&content);
    let copies = Copies::new(cluster.dial("n2"));
    copies.set_sources(sources(&digest, Vec::new()));
    let credential = |registry: &str| RegistryCredential {
        registry: registry.into(),
        username: "ada".into(),
        password: "hunter2".into(),
        ..RegistryCredential::default()
    };
    copies.set_credentials(vec![credential("ghcr.io"), credential("docker.io")]);
    obtain(&copies, &engine, &digest).await.unwrap();
    assert_eq!(engine.logins(), [credential("docker.io")]);
}

fn lineage() -> Lineage {
    Lineage {
        cluster: ClusterId::new("c1").unwrap(),
        epoch: 1,
        terms: vec![Term { id: "t1".into(), first_revision: 1 }],
        revision: 1,
    }
}

/// A fleet that was told to run one replica with that image.
async fn fleet(
    cluster: &Cluster,
    engine: &Simulated,
    digest: &str,
    nodes: Vec<WirePeer>,
) -> Fleet<Simulated> {
    let path = cluster.folder.path().join("state");
    std::fs::create_dir_all(&path).unwrap();
    let folders = Folders { own: path.clone(), host: path };
    let fleet = Fleet::open(
        engine.clone(),
        folders,
        Disk::default(),
        Copies::new(cluster.dial("n2")),
        Moves::new(cluster.dial("n2")),
    )
    .await;
    fleet.see_all(Vec::new()).await;
    let assignment = Assignment {
        replica_id: "r1".into(),
        stack: "shop".into(),
        service: "web".into(),
        slot: 1,
        goal: Goal::Run.into(),
        container_name: "shop-web-1".into(),
        container: Some(ContainerSpec { image: "web".into(), ..ContainerSpec::default() }),
        image_digest: digest.into(),
        ..Assignment::default()
    };
    let message = Assignments {
        full: true,
        upserts: vec![assignment],
        image_sources: sources(digest, nodes),
        ..Assignments::default()
    };
    fleet.assign(lineage(), message, Timestamp::default()).await.unwrap();
    fleet
}

async fn status(fleet: &Fleet<Simulated>, wanted: impl Fn(&ReplicaStatus) -> bool) -> ReplicaStatus {
    let id = ReplicaId::new("r1").unwrap();
    let mut statuses = fleet.board().subscribe();
    let found = statuses.wait_for(|all| all.get(&id).is_some_and(&wanted));
    timeout(PATIENCE, found).await.unwrap().unwrap()[&id].clone()
}

#[tokio::test]
async fn a_replica_starts_with_an_image_that_came_from_another_node() {
    let (cluster, engine, content) = (Cluster::new(), Simulated::default(), content(7));
    let digest = crate::managed::simulated::digest_of(&content);
    let source = cluster.source("n1", &content).await;
    let fleet = fleet(&cluster, &engine, &digest, vec![source]).await;
    status(&fleet, |status| status.phase == Phase::Running).await;
}

#[tokio::test]
async fn a_full_disk_is_the_replicas_reason() {
    let (cluster, engine, content) = (Cluster::new(), Simulated::default(), content(8));
    engine.set_room(1000);
    let digest = crate::managed::simulated::digest_of(&content);
    let (source, other) = (cluster.source("n1", &content).await, cluster.source("n3", &content).await);
    let fleet = fleet(&cluster, &engine, &digest, vec![source, other]).await;
    let failed = status(&fleet, |status| status.phase == Phase::Failed).await;
    assert!(failed.message.contains("from n1: write /var: no space left on device"), "{}", failed.message);
    engine.set_room(usize::MAX);
    status(&fleet, |status| status.phase == Phase::Running).await;
}

#[tokio::test]
async fn a_replica_that_is_not_wanted_any_more_waits_for_no_image() {
    let (cluster, engine) = (Cluster::new(), Simulated::default());
    let digest = crate::managed::simulated::digest_of(&content(9));
    let fleet = fleet(&cluster, &engine, &digest, Vec::new()).await;
    status(&fleet, |status| status.phase == Phase::Preparing && !status.message.is_empty()).await;
    let message = Assignments { full: true, ..Assignments::default() };
    fleet.assign(lineage(), message, Timestamp::default()).await.unwrap();
    let id = ReplicaId::new("r1").unwrap();
    let mut statuses = fleet.board().subscribe();
    let gone = statuses.wait_for(|all| !all.contains_key(&id));
    timeout(PATIENCE, gone).await.unwrap().unwrap();
}
