//! Puts the parts together.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gantry_api::agent::v1::container_service_server::ContainerServiceServer;
use gantry_api::agent::v1::host_service_server::HostServiceServer;
use gantry_api::agent::v1::image_service_server::ImageServiceServer;
use gantry_api::agent::v1::network_service_server::NetworkServiceServer;
use gantry_api::agent::v1::volume_service_server::VolumeServiceServer;
use gantry_api::node::v1::transfer_service_server::TransferServiceServer;
use gantry_boot::admin::Readiness;
use gantry_boot::{Credentials, Members, Server, admin, dial, keep_renewed, random_id};
use gantry_identity::{Bundle, Identity, Role};
use gantry_model::NodeId;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::autoheal::{self, Chosen};
use crate::config::Config;
use crate::disks::{self, Disks};
use crate::engine::Engine;
use crate::firewall::Table;
use crate::managed::{self, Disk, DockerRuntime, Fleet, Folders};
use crate::metrics;
use crate::overlay::{Overlay, probes};
use crate::public::{Containers, HostInfo, Images, Resources};
use crate::sampling::Sampling;
use crate::scrape::Scraping;
use crate::session::{Own, Sessions};
use crate::transfer::{Copies, Dial, Moves, Transfers};

/// Calls in flight may take this long after the agent was asked to end.
const GRACE: Duration = Duration::from_secs(2);
const ENGINE_AGAIN: Duration = Duration::from_secs(1);

/// Why an agent ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its certificate is not there.
    #[error("cannot read this node's certificate; `gantry init` and `gantry join` make it")]
    Identity(#[source] std::io::Error),
    /// Its certificate is not Gantry's.
    #[error("cannot use this node's certificate")]
    Certificate(#[from] gantry_identity::BadCertificate),
    /// Its certificate is of somebody else.
    #[error("this certificate is of a {0}, not of a node")]
    NotANode(Role),
    /// Its certificate names no node.
    #[error(transparent)]
    Name(#[from] gantry_model::BadName),
    /// The engine's address is none.
    #[error("cannot use the Docker socket {socket}")]
    Engine {
        /// The socket.
        socket: String,
        /// Why.
        source: crate::engine::Error,
    },
    /// Its folder cannot be used.
    #[error("cannot use the agent's folder {}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The gRPC server failed.
    #[error(transparent)]
    Server(#[from] gantry_boot::Error),
    /// The admin port cannot be had.
    #[error("cannot serve the admin port")]
    Admin(#[source] std::io::Error),
}

/// Runs an agent until `stop`.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Error> {
    let own = Bundle::load(&config.identity).map_err(Error::Identity)?;
    let identity = own.identity()?;
    if identity.role != Role::Node {
        return Err(Error::NotANode(identity.role));
    }
    let engine = Engine::at(&config.docker)
        .map_err(|source| Error::Engine { socket: config.docker.clone(), source })?;
    let in_folder = |source| Error::Folder { path: config.data.clone(), source };
    std::fs::create_dir_all(&config.data).map_err(in_folder)?;
    let disk = Disk::load(&config.data).map_err(in_folder)?;
    let own = Credentials::kept_in(&config.identity, own)?;
    let members = Members::open(config.data.clone(), config.scheduler.clone());

    let runtime = DockerRuntime::new(engine.clone(), identity.cluster.clone());
    let moves = Moves::new(Dial::new(config.identity.clone()));
    // The lifecycle API is there at once: it says itself what the engine cannot do.
    let server = Server::bind(config.listen, &own)
        .await?
        .deny(members.deny_list())
        .serve(ContainerServiceServer::new(Containers::new(engine.clone())))
        .serve(ImageServiceServer::new(Images::new(engine.clone())))
        .serve(VolumeServiceServer::new(Resources::new(engine.clone())))
        .serve(NetworkServiceServer::new(Resources::new(engine.clone())))
        .serve(HostServiceServer::new(HostInfo::new(engine.clone())))
        .serve(TransferServiceServer::new(Transfers::new(runtime.clone(), moves.clone())));
    let address = server.address()?;
    tracing::info!(%address, node = identity.name, "agent ready");
    let channel = dial(&members, &own);
    let renewing = tokio::spawn(keep_renewed(own.clone(), channel.clone(), stop.clone()));

    let (connected, session) = watch::channel(Some("no session with the scheduler yet".to_owned()));
    let managing = manage(
        &config,
        &identity,
        engine,
        runtime,
        moves,
        disk,
        own,
        channel,
        members,
        address.port(),
        connected,
        session,
        stop.clone(),
    );
    // Neither ends without the other: the scheduler is still to hear that this agent ends.
    let serving = async {
        let served = server.run(stop.clone(), GRACE).await;
        stop.cancel();
        served
    };
    let managing = async {
        let ended = tokio::select! {
            ended = managing => ended,
            () = async { stop.cancelled().await; sleep(GRACE).await } => Ok(()),
        };
        stop.cancel();
        ended
    };
    let (served, managed) = tokio::join!(serving, managing);
    let _ = renewing.await;
    managed.and(served.map_err(Error::Server))
}

#[allow(clippy::too_many_arguments)] // One call, from the function above, which this would only make longer.
async fn manage(
    config: &Config,
    identity: &Identity,
    engine: Engine,
    runtime: DockerRuntime,
    moves: Moves,
    disk: Disk,
    credentials: Credentials,
    channel: tonic::transport::Channel,
    members: Members,
    agent_port: u16,
    connected: watch::Sender<Option<String>>,
    session: watch::Receiver<Option<String>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let Some(folders) = find_folders(config, &engine, &stop).await? else { return Ok(()) };
    let copies = Copies::new(Dial::new(config.identity.clone()));
    let fleet = Fleet::open(runtime.clone(), folders, disk, copies, moves.clone()).await;
    let (problem, problems) = watch::channel(None);
    let (network_problem, network_problems) = watch::channel(None);
    let (overlay_problem, overlay_problems) = watch::channel(None);
    let (broken, broken_paths) = watch::channel(BTreeSet::new());
    let (full, disks) = watch::channel(Disks::default());
    let firewall = Table::new(&config.nft, &identity.cluster);
    let overlay = Overlay::new(&identity.cluster);
    let name = match (&config.name, engine.host().await) {
        (Some(name), _) => name.clone(),
        (None, Ok((host, _))) if !host.hostname.is_empty() => host.hostname,
        (None, _) => identity.name.clone(),
    };
    let (sampling, scraping) = (Sampling::default(), Scraping::default());
    let sessions = Sessions {
        own: Own {
            node: NodeId::new(&identity.name)?,
            name,
            addresses: config.advertise.clone(),
            agent_port,
            instance: random_id(16),
        },
        channel,
        members,
        engine: engine.clone(),
        fleet: fleet.clone(),
        problem: problems.clone(),
        network: network_problems,
        overlay: overlay_problems,
        broken_paths,
        disks,
        credentials,
        usage: sampling.subscribe(),
        scraping: scraping.clone(),
        connected,
    };
    let readiness = Readiness::waiting_for("the Docker Engine");
    let (healed, chosen) = (Counter::default(), Chosen::new(&config.autoheal_label));
    let registry = metrics::registry(healed.clone(), fleet.board().clone(), problems.clone(), session);
    let serving_admin = admin::serve(config.admin, registry, readiness.clone(), stop.clone());
    let keeping = async {
        tokio::select! {
            () = managed::watch(fleet.clone(), runtime.clone(), problem, stop.clone()) => Ok(()),
            () = moves.run(runtime.clone(), stop.clone()) => Ok(()),
            () = fleet.keep_clean(stop.clone()) => Ok(()),
            () = fleet.keep_promises(stop.clone()) => Ok(()),
            () = firewall.keep(fleet.networks(), problems.clone(), network_problem, stop.clone()) => Ok(()),
            () = overlay.keep(
                fleet.networks(),
                fleet.networks_made(),
                problems.clone(),
                overlay_problem,
                stop.clone(),
            ) => Ok(()),
            () = probes::keep(fleet.networks(), broken, stop.clone()) => Ok(()),
            () = sampling.run(fleet.board().clone(), engine.clone(), config.cgroups.clone(), stop.clone()) => Ok(()),
            () = scraping.run(fleet.clone(), stop.clone()) => Ok(()),
            () = disks::keep(config.data.clone(), full) => Ok(()),
            () = autoheal::run(engine, chosen, healed, stop.clone()) => Ok(()),
            () = tell_readiness(readiness, problems) => Ok(()),
            ended = serving_admin => match ended {
                Ok(()) => {
                    stop.cancelled().await;
                    Ok(())
                }
                Err(error) => Err(Error::Admin(error)),
            },
        }
    };
    let keeping = async {
        let ended = Box::pin(keeping).await;
        stop.cancel();
        ended
    };
    // What is kept ends at once; the session ends with a last word.
    let (ended, ()) = tokio::join!(keeping, sessions.run(stop.clone()));
    ended
}

async fn tell_readiness(readiness: Readiness, mut problem: watch::Receiver<Option<String>>) {
    loop {
        let state = problem.borrow_and_update().clone().map_or(Ok(()), Err);
        readiness.set(state);
        if problem.changed().await.is_err() {
            return;
        }
    }
}

/// Where the agent's folder lies on the host. `None` if it was asked to end before that was known.
async fn find_folders(
    config: &Config,
    engine: &Engine,
    stop: &CancellationToken,
) -> Result<Option<Folders>, Error> {
    let own = config.data.clone();
    let Some(volume) = &config.volume else {
        let host = std::path::absolute(&own).map_err(|source| Error::Folder { path: own.clone(), source })?;
        return Ok(Some(Folders { own, host }));
    };
    let mut told = false;
    loop {
        match engine.volume(volume).await {
            Ok(found) => return Ok(Some(Folders { own, host: Path::new(&found.mountpoint).to_owned() })),
            Err(error) => {
                if !told {
                    tracing::warn!(%error, volume, "cannot find the agent's folder on the host; trying again");
                }
                told = true;
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = sleep(ENGINE_AGAIN) => {}
        }
    }
}
