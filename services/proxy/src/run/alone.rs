//! A proxy that runs alone, by a file.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gantry_boot::admin;
use gantry_boot::admin::Readiness;
use tokio::sync::Mutex;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Error, cores, relay};
use crate::access::AccessLog;
use crate::config::Config;
use crate::engine::Engine;
use crate::file::{self, Mistake, Settings, Source};
use crate::metrics::{self, Sources};
use crate::{http, pages, worker};

/// How often it is looked whether a file has changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs a proxy by `file` until `stop`.
pub async fn run(config: Config, file: &Path, stop: CancellationToken) -> Result<(), Error> {
    let settings = file::read(file).map_err(|mistakes| wrong(&mistakes))?;
    if config.check {
        println!("{} is fine", file.display());
        return Ok(());
    }
    let log = match &settings.access_log {
        None => None,
        Some((path, format)) => Some(
            AccessLog::open(path, *format)
                .map_err(|source| Error::AccessLog { path: path.clone(), source })?,
        ),
    };
    if let Some(secret) = &settings.cookie_secret {
        http::set_key(secret.as_bytes());
    }
    let handover = config.handover.as_deref();
    let mut inheritance = relay::inherit(handover).await?;
    let sockets = inheritance.as_mut().map(|left| std::mem::take(&mut left.sockets)).unwrap_or_default();
    let cores = cores(config.cores.or(settings.workers));
    let worker_settings = worker::Settings {
        limits: settings.limits,
        log: log.clone(),
        max_connections: settings.max_connections,
    };
    let mut engine = Engine::start(cores, &worker_settings, sockets).map_err(Error::Cores)?;
    let problems = engine.apply(settings.spec.clone(), HashMap::new()).await;
    if !problems.is_empty() {
        return Err(Error::File(problems));
    }
    engine.forget_inherited();
    relay::take_over(handover, inheritance)?;
    tracing::info!(file = %file.display(), cores, "proxy ready");

    let sources = Sources {
        registry: engine.registry.clone(),
        cores: engine.workers.iter().map(|worker| worker.gauges.clone()).collect(),
        log,
        cluster: None,
    };
    let engine = Arc::new(Mutex::new(engine));
    let admin = serve_admin(settings.admin, metrics::registry(sources), engine.clone(), stop.clone());
    let (ended, patience) = tokio::select! {
        () = stop.cancelled() => (Ok(()), None),
        ended = admin => (ended, None),
        () = follow(file, settings, &engine) => (Ok(()), None),
        ended = relay::relieved(handover, &engine) => {
            tracing::info!("another proxy has taken over; waiting for the last requests");
            (ended, None)
        }
    };
    relay::drain(&engine, patience).await;
    ended
}

fn wrong(mistakes: &[Mistake]) -> Error {
    Error::File(mistakes.iter().map(ToString::to_string).collect())
}

async fn serve_admin(
    address: Option<std::net::SocketAddr>,
    registry: prometheus_client::registry::Registry,
    engine: Arc<Mutex<Engine>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let Some(address) = address else { return std::future::pending().await };
    let readiness = Readiness::waiting_for("nothing");
    readiness.set(Ok(()));
    // A proxy that is being relieved frees the port in a moment.
    while tokio::net::TcpListener::bind(address)
        .await
        .is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
    {
        sleep(Duration::from_millis(50)).await;
    }
    let pages = pages::routes(engine);
    admin::serve_with(address, registry, readiness, pages, stop).await.map_err(Error::Admin)?;
    std::future::pending().await
}

/// Serves by the file as it changes. One that is wrong is told, and changes nothing.
async fn follow(file: &Path, mut current: Settings, engine: &Arc<Mutex<Engine>>) {
    let mut seen = std::mem::take(&mut current.files);
    let mut problems = Vec::new();
    loop {
        sleep(LOOK_EVERY).await;
        let now: Vec<_> = seen.iter().map(Source::again).collect();
        if now == seen {
            if !problems.is_empty() {
                // A port that another program had may be free by now.
                problems = engine.lock().await.apply(current.spec.clone(), HashMap::new()).await;
            }
            continue;
        }
        seen = now;
        let path = file.to_owned();
        let read = tokio::task::spawn_blocking(move || file::read(&path)).await;
        match read {
            Ok(Ok(mut next)) => {
                // Those that are known stay what they are; others have just come.
                for endpoint in next.spec.endpoints_mut() {
                    endpoint.ready_for = Duration::ZERO;
                }
                problems = engine.lock().await.apply(next.spec.clone(), HashMap::new()).await;
                for problem in &problems {
                    tracing::error!(problem, "cannot use part of the changed file");
                }
                tracing::info!(file = %file.display(), "serving by the changed file");
                current = next;
                seen = std::mem::take(&mut current.files);
            }
            Ok(Err(mistakes)) => {
                for mistake in &mistakes {
                    tracing::error!(%mistake, "the changed file is wrong; nothing was changed");
                }
            }
            Err(error) => tracing::error!(%error, "cannot read the changed file"),
        }
    }
}
