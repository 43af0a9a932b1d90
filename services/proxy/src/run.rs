//! Puts the parts together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gantry_boot::admin::Readiness;
use gantry_boot::{ConnectError, Server, admin, connect_lazy, random_id};
use gantry_identity::{Bundle, Role};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::control::Control;
use crate::dns::{Forwarder, Names};
use crate::metrics;
use crate::table::Table;

const GRACE: Duration = Duration::from_secs(2);

/// Why a proxy ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its certificate is not there.
    #[error("cannot read this proxy's certificate; `gantry init` makes it")]
    Identity(#[source] std::io::Error),
    /// Its certificate is not Gantry's.
    #[error("cannot use this proxy's certificate")]
    Certificate(#[from] gantry_identity::BadCertificate),
    /// Its certificate is of somebody else.
    #[error("this certificate is of a {0}, not of a proxy")]
    NotAProxy(Role),
    /// Its folder cannot be used.
    #[error("cannot use the proxy's folder {}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The gRPC server failed.
    #[error(transparent)]
    Server(#[from] gantry_boot::Error),
    /// The scheduler's address or the certificate cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The admin port cannot be had.
    #[error("cannot serve the admin port")]
    Admin(#[source] std::io::Error),
}

/// Runs a proxy until `stop`.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Error> {
    let own = Bundle::load(&config.identity).map_err(Error::Identity)?;
    let identity = own.identity()?;
    if identity.role != Role::Proxy {
        return Err(Error::NotAProxy(identity.role));
    }
    std::fs::create_dir_all(&config.data)
        .map_err(|source| Error::Folder { path: config.data.clone(), source })?;
    let server = Server::bind(config.listen, &own).await?;
    let (tables, current) = watch::channel(Arc::new(Table::default()));
    let (connected, session) = watch::channel(Some("no tables from the scheduler yet".to_owned()));
    let control = Control {
        node: identity.name.clone(),
        instance: random_id(16),
        cluster: identity.cluster.to_string(),
        folder: config.data,
        channel: connect_lazy(&config.scheduler, Role::Scheduler, "", &own)?,
        names: Names::new(config.dns_port, current.clone(), Forwarder::new(config.resolv_conf)),
        tables,
        connected,
    };
    control.restore().await;
    tracing::info!(address = %server.address()?, node = identity.name, "proxy ready");

    let readiness = Readiness::waiting_for("nothing");
    readiness.set(Ok(()));
    let serving_admin =
        admin::serve(config.admin, metrics::registry(current, session), readiness, stop.clone());
    let ended = tokio::select! {
        ended = server.run(stop.clone(), GRACE) => ended.map_err(Error::Server),
        ended = serving_admin => ended.map_err(Error::Admin),
        () = control.run(stop.clone()) => Ok(()),
    };
    stop.cancel();
    ended
}
