//! Who may speak to whom.
//!
//! `gantry init` makes an [`Authority`]; everything and everybody of the cluster has a certificate
//! from it that carries an [`Identity`] (cluster, role, name). [`may_call`] is the one table that
//! says which role may call which RPC. [`Bundle`] is a certificate with its key and CA on disk. A
//! machine gets its first certificate for a [`Token`].

mod access;
mod authority;
mod bundle;
mod name;
mod role;
mod token;

pub use access::{is_open, may_call, roles_for};
pub use authority::{Authority, Error, Grant, Request};
pub use bundle::{Bundle, Validity};
pub use name::{BadCertificate, Identity, server_name};
pub use role::Role;
pub use token::{BadToken, Fingerprint, Token, TokenHash};
