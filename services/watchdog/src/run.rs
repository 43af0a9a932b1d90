//! Puts the parts together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::watchdog::v1::watchdog_service_server::WatchdogServiceServer;
use gantry_boot::admin::{self, Readiness};
use gantry_boot::{Credentials, Members, Server, dial, keep_renewed, random_id};
use gantry_identity::{Bundle, Role};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::alerts;
use crate::config::Config;
use crate::decide::Outlook;
use crate::judge::{Counts, Judge};
use crate::lead::{self, Lead};
use crate::metrics;
use crate::public::Public;
use crate::seat::Seat;

const GRACE: Duration = Duration::from_secs(2);

/// Why a watchdog ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its certificate is not there.
    #[error("cannot read this watchdog's certificate; `gantry init` makes it")]
    Identity(#[source] std::io::Error),
    /// Its certificate is not Gantry's.
    #[error("cannot use this watchdog's certificate")]
    Certificate(#[from] gantry_identity::BadCertificate),
    /// Its certificate is of somebody else.
    #[error("this certificate is of a {0}, not of a watchdog")]
    NotAWatchdog(Role),
    /// Its folder cannot be used.
    #[error("cannot use the watchdog's folder {}", .path.display())]
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

/// A watchdog that watches, until it is dropped.
pub struct Running {
    /// From where it does.
    pub seat: Seat,
    found: watch::Receiver<Arc<Outlook>>,
    counts: Arc<Counts>,
    tasks: JoinSet<()>,
}

/// Begins to watch over `own`'s cluster, until `stop`.
pub fn start(members: &Members, own: &Credentials, stop: &CancellationToken) -> Running {
    let channel = dial(members, own);
    let (leads, lead) = watch::channel(Lead::default());
    let seat = Seat {
        instance: random_id(16),
        mirrors: gantry_feed::follow(channel.clone(), stop.clone()),
        channel,
        lead,
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(lead::keep(
        seat.instance.clone(),
        seat.channel.clone(),
        members.clone(),
        leads,
        stop.clone(),
    ));
    let (outlooks, found) = watch::channel(Arc::default());
    let counts = Arc::new(Counts::default());
    tasks.spawn(Judge::new(seat.clone(), outlooks, counts.clone()).run(stop.clone()));
    let leads = {
        let seat = seat.clone();
        move || seat.leads()
    };
    let sight = alerts::Sight { mirrors: seat.mirrors.clone(), found: found.clone() };
    tasks.spawn(alerts::run(seat.instance.clone(), seat.channel.clone(), sight, leads, stop.clone()));
    Running { seat, found, counts, tasks }
}

/// Runs a watchdog until `stop`.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Error> {
    let own = Bundle::load(&config.identity).map_err(Error::Identity)?;
    let identity = own.identity()?;
    if identity.role != Role::Watchdog {
        return Err(Error::NotAWatchdog(identity.role));
    }
    let data = config.data.clone();
    std::fs::create_dir_all(&data).map_err(|source| Error::Folder { path: data.clone(), source })?;
    let own = Credentials::kept_in(&config.identity, own)?;
    let members = Members::open(data, config.scheduler.clone());
    let server = Server::bind(config.listen, &own).await?;
    let over = stop.child_token();
    let Running { seat, found, counts, mut tasks } = start(&members, &own, &over);
    let server = server
        .deny(members.deny_list())
        .serve(WatchdogServiceServer::new(Public::new(seat.clone(), found.clone())));
    tracing::info!(address = %server.address()?, instance = seat.instance, "watchdog ready");

    tasks.spawn(keep_renewed(own, seat.channel.clone(), over.clone()));
    let readiness = Readiness::waiting_for("the feed is not open yet");
    tasks.spawn(follow_readiness(seat.clone(), readiness.clone(), over.clone()));
    let ended = serve(server, config.admin, metrics::registry(seat, found, counts), readiness, stop).await;
    over.cancel();
    tasks.join_all().await;
    ended
}

async fn serve(
    server: Server,
    admin_port: SocketAddr,
    registry: prometheus_client::registry::Registry,
    readiness: Readiness,
    stop: CancellationToken,
) -> Result<(), Error> {
    let admin = admin::serve(admin_port, registry, readiness, stop.clone());
    tokio::select! {
        ended = server.run(stop, GRACE) => ended.map_err(Error::Server),
        ended = admin => ended.map_err(Error::Admin),
    }
}

/// It can do its work while it sees the state.
async fn follow_readiness(mut seat: Seat, readiness: Readiness, stop: CancellationToken) {
    loop {
        let mirror = seat.mirrors.borrow_and_update().clone();
        readiness.set(match (mirror.connected, mirror.now) {
            (false, _) => Err("the feed is not open".to_owned()),
            (true, None) => Err("the scheduler does not say its time; is it older than this?".to_owned()),
            (true, Some(_)) => Ok(()),
        });
        tokio::select! {
            () = stop.cancelled() => return,
            changed = seat.mirrors.changed() => if changed.is_err() { return },
        }
    }
}
