//! What every service needs to start and to end well.
//!
//! A `main.rs` reads: parse the arguments, [`telemetry::start`], build the parts, [`Server::run`]
//! until [`shutdown::signal`]. The gRPC server speaks mTLS, checks the caller's role on every RPC and
//! serves health and reflection; the admin port serves metrics and liveness to this host.

mod access;
mod alert;
mod backoff;
mod client;
mod clock;
mod connection;
mod credentials;
mod deny;
mod dial;
mod members;
mod pinned;
mod problem;
mod renew;
mod server;

/// The admin port.
pub mod admin;
/// The end of a process.
pub mod shutdown;
/// Logs.
pub mod telemetry;

pub use access::{Access, caller, is_watchdog};
pub use backoff::Backoff;
pub use client::{ConnectError, connect, connect_lazy};
pub use clock::{now, random_id};
pub use credentials::Credentials;
pub use deny::DenyList;
pub use dial::dial;
pub use members::Members;
pub use pinned::connect_pinned;
pub use problem::chain;
pub use renew::keep_renewed;
pub use server::{Error, Server};

/// Gantry's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Chooses the cryptography for TLS. Call it first in every `main`: both implementations can be in
/// the dependency graph, and without a choice rustls panics at first use.
pub fn install_crypto() {
    // Fails only if a choice was made before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
