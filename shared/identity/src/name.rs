//! The name in a certificate: `gantry://CLUSTER/ROLE/NAME` as a URI among its alternative names.

use gantry_model::ClusterId;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::role::Role;

/// Who a certificate was given to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The role.
    pub role: Role,
    /// The name: a person's, or a node's id.
    pub name: String,
}

/// A certificate that does not say who its holder is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    /// Its bytes are no certificate.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    /// It lacks the name that Gantry's CA writes.
    #[error("the certificate was not made by `gantry`: it has no gantry:// name")]
    Nameless,
}

impl Identity {
    /// The name as it stands in the certificate.
    pub fn uri(&self) -> String {
        format!("gantry://{}/{}/{}", self.cluster, self.role, self.name)
    }

    /// Under what the holder's certificates are revoked: `ROLE/NAME`. A node's agent and proxy are one
    /// holder.
    pub fn holder(&self) -> String {
        match self.role {
            Role::Node | Role::Proxy => format!("{}/{}", Role::Node, self.name),
            role => format!("{role}/{}", self.name),
        }
    }

    /// Reads the name out of a certificate that TLS has verified already.
    pub fn of_certificate(der: &[u8]) -> Result<Self, BadCertificate> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| BadCertificate::Unreadable(error.to_string()))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| BadCertificate::Unreadable(error.to_string()))?
            .ok_or(BadCertificate::Nameless)?;
        names
            .value
            .general_names
            .iter()
            .find_map(|name| match name {
                GeneralName::URI(uri) => Self::of_uri(uri),
                _ => None,
            })
            .ok_or(BadCertificate::Nameless)
    }

    fn of_uri(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix("gantry://")?.splitn(3, '/');
        Some(Self {
            cluster: ClusterId::new(parts.next()?).ok()?,
            role: parts.next()?.parse().ok()?,
            name: parts.next()?.to_owned(),
        })
    }
}

/// The DNS name under which a server is verified, whatever its address: only the scheduler's own
/// certificate carries `scheduler.gantry`, only node `x`'s carries `x.node.gantry`.
pub fn server_name(role: Role, name: &str) -> String {
    match role {
        Role::Scheduler => "scheduler.gantry".to_owned(),
        _ => format!("{name}.{role}.gantry"),
    }
}
