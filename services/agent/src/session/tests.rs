//! One session with a scheduler that only listens.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use gantry_api::node::v1::session_request::Message as FromAgent;
use gantry_api::node::v1::session_service_server::{SessionService, SessionServiceServer};
use gantry_api::node::v1::{SessionRequest, SessionResponse};
use gantry_boot::{Credentials, Members, install_crypto};
use gantry_identity::{Authority, Grant, Identity, Role};
use gantry_model::{ClusterId, NodeId};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::{Own, Sessions};
use crate::engine::Engine;
use crate::managed::simulated::Simulated;
use crate::managed::{Disk, Fleet, Folders};
use crate::sampling::Samples;
use crate::scrape::Scraping;
use crate::transfer::{Copies, Dial, Moves};

const PATIENCE: Duration = Duration::from_secs(20);

/// Hangs up when the agent says that it ends.
#[derive(Clone)]
struct Scheduler {
    heard: mpsc::Sender<FromAgent>,
}

#[tonic::async_trait]
impl SessionService for Scheduler {
    type SessionStream = ReceiverStream<Result<SessionResponse, Status>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (mut incoming, heard) = (request.into_inner(), self.heard.clone());
        let (answers, stream) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                let message = message.message.unwrap();
                let over = matches!(message, FromAgent::Restarting(_));
                heard.send(message).await.unwrap();
                if over {
                    break;
                }
            }
            drop(answers);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

fn never_changes<T: 'static>(value: T) -> watch::Receiver<T> {
    let sender: &'static watch::Sender<T> = Box::leak(Box::new(watch::Sender::new(value)));
    sender.subscribe()
}

/// A session's agent side, whose engine does not answer.
async fn sessions(address: String, folder: &Path) -> Sessions<Simulated> {
    let cluster = ClusterId::new("c1").unwrap();
    let grant = Grant {
        identity: Identity { cluster: cluster.clone(), role: Role::Node, name: "n1".into() },
        hosts: Vec::new(),
        from: SystemTime::now(),
        lifetime: Duration::from_hours(1),
    };
    let own = Authority::create(&cluster, SystemTime::now()).unwrap().issue(&grant).unwrap();
    let path = folder.to_owned();
    let folders = Folders { own: path.clone(), host: path.clone() };
    let (copies, moves) = (Copies::new(Dial::new(path.clone())), Moves::new(Dial::new(path.clone())));
    let fleet = Fleet::open(Simulated::default(), folders, Disk::default(), copies, moves).await;
    fleet.see_all(Vec::new()).await;
    let socket = path.join("docker.sock");
    std::fs::write(&socket, "").unwrap();
    Sessions {
        own: Own {
            node: NodeId::new("n1").unwrap(),
            name: "n1".into(),
            addresses: Vec::new(),
            agent_port: 7071,
            instance: "i1".into(),
        },
        channel: Endpoint::from_shared(address).unwrap().connect_lazy(),
        members: Members::open(path.clone(), Vec::new()),
        engine: Engine::at(socket.to_str().unwrap()).unwrap(),
        fleet,
        problem: never_changes(None),
        network: never_changes(None),
        overlay: never_changes(None),
        broken_paths: never_changes(BTreeSet::new()),
        usage: never_changes(Samples::default()),
        scraping: Scraping::default(),
        disks: never_changes(Default::default()),
        credentials: Credentials::of(own).unwrap(),
        connected: watch::channel(None).0,
    }
}

#[tokio::test]
async fn an_agent_that_is_asked_to_end_says_so_as_its_last_word() {
    install_crypto();
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = format!("http://{}", incoming.local_addr().unwrap());
    let (heard, mut hears) = mpsc::channel(64);
    let scheduler = Server::builder().add_service(SessionServiceServer::new(Scheduler { heard }));
    tokio::spawn(scheduler.serve_with_incoming(incoming));
    let (folder, stop) = (TempDir::new().unwrap(), CancellationToken::new());
    let sessions = sessions(address, folder.path()).await;
    let running = tokio::spawn(sessions.run(stop.clone()));

    let mut all = Vec::new();
    while !all.iter().any(|message| matches!(message, FromAgent::Heartbeat(_))) {
        all.push(timeout(PATIENCE, hears.recv()).await.unwrap().unwrap());
    }
    assert!(matches!(all[0], FromAgent::Hello(_)), "{all:?}");
    stop.cancel();
    timeout(PATIENCE, running).await.unwrap().unwrap();
    let mut last = None;
    while let Ok(message) = hears.try_recv() {
        last = Some(message);
    }
    assert!(matches!(last, Some(FromAgent::Restarting(_))), "{last:?}");
}
