//! Gantry's gRPC APIs, generated from `proto/`, one module a package.
//!
//! Besides the generated code there is only [`Invalid`], the error of every conversion from a
//! message to a type of the model. The feature `grpc` adds clients and servers; without it the
//! crate needs no runtime.

#![allow(missing_docs, clippy::all, clippy::pedantic)]

mod invalid;

pub use invalid::Invalid;

/// The descriptors of all packages, for gRPC reflection and for tests that walk every RPC.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The lifecycle API that every agent serves.
pub mod agent {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/gantry.agent.v1.rs"));

        impl std::fmt::Debug for ContainerSpec {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "ContainerSpec({})", self.image)
            }
        }

        impl std::fmt::Debug for RegistryCredential {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "RegistryCredential({})", self.registry)
            }
        }

        impl std::fmt::Debug for ExecStart {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "ExecStart({})", self.id)
            }
        }
    }
}

/// The API that the scheduler serves to people.
pub mod cluster {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/gantry.cluster.v1.rs"));

        impl std::fmt::Debug for ServiceRoute {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "ServiceRoute({}{} → {})", self.host, self.path, self.target_port)
            }
        }

        impl std::fmt::Debug for JoinRequest {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "JoinRequest({})", self.name)
            }
        }

        impl std::fmt::Debug for CreateTokenResponse {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "CreateTokenResponse({:?})", self.expires_at)
            }
        }

        impl std::fmt::Debug for BackupResponse {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "BackupResponse({} bytes)", self.chunk.len())
            }
        }

        impl std::fmt::Debug for RouteCertificate {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "RouteCertificate({})", self.name)
            }
        }

        impl std::fmt::Debug for SetAlertConfigRequest {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "SetAlertConfigRequest({}, {} bytes)", self.name, self.text.len())
            }
        }
    }
}

/// The stream of state that the scheduler serves to other services.
pub mod feed {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/gantry.feed.v1.rs"));

        impl std::fmt::Debug for AlertReceiverAccess {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let name = self.receiver.as_ref().map_or("", |receiver| receiver.name.as_str());
                write!(f, "AlertReceiverAccess({name})")
            }
        }
    }
}

/// The API that the scheduler serves to agents and proxies.
pub mod node {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/gantry.node.v1.rs"));

        impl std::fmt::Debug for Certificate {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "Certificate({})", self.name)
            }
        }

        impl std::fmt::Debug for RouteFilters {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "RouteFilters(strip_prefix: {}, …)", self.strip_prefix)
            }
        }

        impl std::fmt::Debug for UpstreamTls {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "UpstreamTls({})", self.server_name)
            }
        }
    }
}

/// The API that every proxy serves to people.
pub mod proxy {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/gantry.proxy.v1.rs"));
    }
}

/// The API that every watchdog serves to people.
pub mod watchdog {
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/gantry.watchdog.v1.rs"));
    }
}
