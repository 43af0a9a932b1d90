//! The gRPC server of every service.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gantry_identity::BadCertificate;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::Service;

use crate::access::Access;
use crate::connection;
use crate::credentials::{Credentials, roots};
use crate::deny::DenyList;

/// A server that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The certificate does not say who we are.
    #[error("cannot use this service's own certificate")]
    Certificate(#[from] BadCertificate),
    /// The certificates do not fit together.
    #[error("cannot set TLS up: {0}")]
    Tls(String),
    /// The server itself failed.
    #[error("the gRPC server failed")]
    Transport(#[from] tonic::transport::Error),
    /// The descriptors are broken, which is a mistake in the build.
    #[error("cannot serve reflection")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A gRPC server with mTLS, role checks, health and reflection.
pub struct Server {
    listener: TcpListener,
    routes: RoutesBuilder,
    names: Vec<&'static str>,
    health: HealthReporter,
    credentials: Credentials,
    deny: DenyList,
    strangers: bool,
}

/// Connections that wait to be served.
const BACKLOG: usize = 64;

impl Server {
    /// Listens on `address` with the service's own certificate. Port 0 takes any free one.
    pub async fn bind(address: SocketAddr, own: &Credentials) -> Result<Self, Error> {
        let listener =
            TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
        let (health, health_service) = tonic_health::server::health_reporter();
        let mut routes = Routes::builder();
        routes.add_service(health_service);
        Ok(Self {
            listener,
            routes,
            names: Vec::new(),
            health,
            credentials: own.clone(),
            deny: DenyList::default(),
            strangers: false,
        })
    }

    /// Refuses those on the list, and cuts their connections.
    #[must_use]
    pub fn deny(self, list: DenyList) -> Self {
        Self { deny: list, ..self }
    }

    /// Lets those connect who have no certificate yet. They may call what is open, and nothing else.
    #[must_use]
    pub fn open_to_strangers(self) -> Self {
        Self { strangers: true, ..self }
    }

    fn tls(&self) -> Result<TlsAcceptor, Error> {
        let wrong = |error: &dyn std::error::Error| Error::Tls(error.to_string());
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots(&self.credentials.bundle().ca)?));
        let verifier = if self.strangers { verifier.allow_unauthenticated() } else { verifier };
        let verifier = verifier.build().map_err(|error| wrong(&error))?;
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(self.credentials.clone()));
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A session that is resumed is not verified again: its certificate may have expired meanwhile.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Where it listens.
    pub fn address(&self) -> Result<SocketAddr, Error> {
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        self.listener.local_addr().map_err(|source| Error::Listen { address: unknown, source })
    }

    /// Serves one more gRPC service.
    #[must_use]
    pub fn serve<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.routes.add_service(service);
        self
    }

    /// Serves until `stop`, then lets calls in flight end, at most for `grace`.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) -> Result<(), Error> {
        let mut reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(gantry_api::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        let mut reflection_alpha = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(gantry_api::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        for name in self.names.iter().chain(&["grpc.health.v1.Health"]) {
            reflection = reflection.with_service_name(*name);
            reflection_alpha = reflection_alpha.with_service_name(*name);
        }
        self.routes.add_service(reflection.build_v1()?);
        self.routes.add_service(reflection_alpha.build_v1alpha()?);
        for name in &self.names {
            self.health.set_service_status(*name, ServingStatus::Serving).await;
        }

        let access = Access::new(self.credentials.bundle().identity()?.cluster, self.deny.clone());
        let (accepted, connections) = mpsc::channel(BACKLOG);
        let tls = self.tls()?;
        let mut accepting = JoinSet::new();
        accepting.spawn(connection::accept(self.listener, tls, self.deny, accepted));
        let stopping = stop.clone();
        accepting.spawn(async move { stopping.cancelled().await });

        let mut server = tonic::transport::Server::builder()
            .layer(access)
            .max_concurrent_streams(1024)
            .http2_max_header_list_size(16 * 1024)
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)));
        let serving = server
            .add_routes(self.routes.routes())
            .serve_with_incoming_shutdown(ReceiverStream::new(connections), stop.clone().cancelled_owned());
        // The port is free as soon as the server is told to end, whatever its last calls take.
        let closing = async {
            accepting.join_next().await;
            accepting.abort_all();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = serving => Ok(ended?),
            () = closing => Ok(()),
            () = async { stop.cancelled().await; tokio::time::sleep(grace).await } => Ok(()),
        }
    }
}
