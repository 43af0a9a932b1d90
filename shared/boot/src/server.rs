//! The gRPC server of every service.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use gantry_identity::{BadCertificate, Bundle};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::Service;

use crate::access::Access;

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
    /// TLS or the server itself failed.
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
    tls: ServerTlsConfig,
    access: Access,
}

impl Server {
    /// Listens on `address` with the service's own certificate. Port 0 takes any free one.
    pub async fn bind(address: SocketAddr, own: &Bundle) -> Result<Self, Error> {
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
            tls: ServerTlsConfig::new()
                .identity(Identity::from_pem(&own.certificate, &own.key))
                .client_ca_root(Certificate::from_pem(&own.ca))
                .timeout(Duration::from_secs(5)),
            access: Access::new(own.identity()?.cluster),
        })
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

        let mut server = tonic::transport::Server::builder()
            .tls_config(self.tls)?
            .layer(self.access)
            .max_concurrent_streams(1024)
            .http2_max_header_list_size(16 * 1024)
            .http2_keepalive_interval(Some(Duration::from_secs(10)))
            .http2_keepalive_timeout(Some(Duration::from_secs(10)))
            .tcp_nodelay(true);
        let serving = server.add_routes(self.routes.routes()).serve_with_incoming_shutdown(
            TcpListenerStream::new(self.listener),
            stop.clone().cancelled_owned(),
        );
        tokio::select! {
            ended = serving => Ok(ended?),
            () = async { stop.cancelled().await; tokio::time::sleep(grace).await } => Ok(()),
        }
    }
}
