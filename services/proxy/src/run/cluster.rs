//! A proxy of a cluster.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::proxy::v1::proxy_service_server::ProxyServiceServer;
use gantry_boot::admin::Readiness;
use gantry_boot::{Credentials, Members, Server, admin, dial, keep_renewed, random_id};
use gantry_identity::{Bundle, Role};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Error, cores, relay};
use crate::access::{AccessLog, Format};
use crate::config::Config;
use crate::control::Control;
use crate::dns::{Forwarder, Names};
use crate::engine::Engine;
use crate::handover::Inheritance;
use crate::http::ClientLimits;
use crate::metrics::{self, Sources};
use crate::pages;
use crate::public::Public;
use crate::table::Table;
use crate::traffic::Reporter;
use crate::worker::Settings;

const GRACE: Duration = Duration::from_secs(2);
/// Docker kills after ten seconds.
const LAST_REQUESTS: Duration = Duration::from_secs(8);
/// A proxy that is being relieved frees its ports within this time.
const PORTS_FREE: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_millis(20);
/// Connections of clients on one core at most.
const MAX_CONNECTIONS: u64 = 100_000;

/// Runs a proxy of a cluster until `stop`.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Error> {
    let own = Bundle::load(&config.identity).map_err(Error::Identity)?;
    let identity = own.identity()?;
    if identity.role != Role::Proxy {
        return Err(Error::NotAProxy(identity.role));
    }
    let data = config.data.clone();
    std::fs::create_dir_all(&data).map_err(|source| Error::Folder { path: data.clone(), source })?;
    let handover = config.handover.clone().unwrap_or_else(|| data.join("handover.sock"));
    let handover = Some(handover.as_path());
    let log = match &config.access_log {
        None => None,
        Some(path) => Some(
            AccessLog::open(path, Format::Json)
                .map_err(|source| Error::AccessLog { path: path.clone(), source })?,
        ),
    };
    let settings =
        Settings { limits: ClientLimits::default(), log: log.clone(), max_connections: MAX_CONNECTIONS };
    let mut inheritance = relay::inherit(handover).await?;
    let relieves = inheritance.is_some();
    let sockets = inheritance.as_mut().map(take_sockets).unwrap_or_default();
    let mut engine = Engine::start(cores(config.cores), &settings, sockets).map_err(Error::Cores)?;
    if let Err(error) = engine.listen_redirected(config.redirect_port).await {
        tracing::warn!(%error, port = config.redirect_port, "service addresses do not work: cannot listen");
    }
    let sources = |engine: &Engine, cluster| Sources {
        registry: engine.registry.clone(),
        cores: engine.workers.iter().map(|worker| worker.gauges.clone()).collect(),
        log: log.clone(),
        cluster,
    };
    let (tables, current) = watch::channel(Arc::new(Table::default()));
    let (connected, session) = watch::channel(Some("no tables from the scheduler yet".to_owned()));
    let registry = metrics::registry(sources(&engine, Some((current.clone(), session))));
    let counters = engine.registry.clone();
    let engine = Arc::new(Mutex::new(engine));
    let own = Credentials::kept_in(&config.identity, own)?;
    let members = Members::open(data.clone(), config.scheduler.clone());
    let control = Control {
        node: identity.name.clone(),
        instance: random_id(16),
        cluster: identity.cluster.to_string(),
        folder: data,
        channel: dial(&members, &own),
        members: members.clone(),
        names: Names::new(config.dns_port, current.clone(), Forwarder::new(config.resolv_conf.clone())),
        engine: engine.clone(),
        problems: watch::channel(Vec::new()).0,
        tables,
        connected,
    };
    control.restore().await;
    relay::take_over(handover, inheritance)?;
    if relieves {
        control.listen_again(PORTS_FREE).await;
    }
    let server = bind(&config, &own, relieves).await?;
    let server = server.deny(members.deny_list()).serve(ProxyServiceServer::new(Public::new(engine.clone())));
    engine.lock().await.forget_inherited();
    tracing::info!(address = %server.address()?, node = identity.name, "proxy ready");

    let readiness = Readiness::waiting_for("nothing");
    readiness.set(Ok(()));
    let pages = pages::routes(engine.clone());
    let names = control.names.clone();
    let over = stop.child_token();
    let reporter =
        Reporter::new(control.node.clone(), control.instance.clone(), control.channel.clone(), counters);
    let reporting = tokio::spawn(reporter.run(over.clone()));
    let renewing = tokio::spawn(keep_renewed(own, control.channel.clone(), over.clone()));
    let following = tokio::spawn(control.run(over.clone()));
    let serving_admin = admin::serve_with(config.admin, registry, readiness, pages, stop.clone());
    let (ended, patience) = tokio::select! {
        ended = server.run(stop.clone(), GRACE) => (ended.map_err(Error::Server), Some(LAST_REQUESTS)),
        ended = serving_admin => (ended.map_err(Error::Admin), Some(LAST_REQUESTS)),
        ended = relay::relieved(handover, &engine) => {
            tracing::info!("another proxy has taken over; waiting for the last requests");
            (ended, None)
        }
    };
    // The successor wants the ports; what is left to do here needs none.
    names.close().await;
    relay::drain(&engine, patience).await;
    over.cancel();
    let _ = tokio::join!(following, reporting, renewing);
    ended
}

fn take_sockets(inheritance: &mut Inheritance) -> HashMap<crate::plan::Place, crate::engine::Listening> {
    std::mem::take(&mut inheritance.sockets)
}

/// The gRPC port; where another proxy is just giving it up, as soon as it has.
async fn bind(config: &Config, own: &Credentials, relieves: bool) -> Result<Server, Error> {
    let until = Instant::now() + PORTS_FREE;
    loop {
        let admin_free = tokio::net::TcpListener::bind(config.admin).await.is_ok();
        match Server::bind(config.listen, own).await {
            Ok(server) if admin_free || !relieves => return Ok(server),
            Err(error) if !relieves || Instant::now() >= until => return Err(error.into()),
            Ok(server) if Instant::now() >= until => return Ok(server),
            _ => sleep(AGAIN).await,
        }
    }
}
