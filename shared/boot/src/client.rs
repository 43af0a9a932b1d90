//! Channels to other services.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime};

use gantry_identity::{Bundle, Role, server_name};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::alert;
use crate::problem::chain;

/// A server may take this long to be reached and to show who it is: a host with too much to do takes seconds.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// A server that could not be reached, in words that say what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// The address is none.
    #[error("{address:?} is not an address: give HOST:PORT")]
    Address {
        /// What was given.
        address: String,
    },
    /// Nobody answers there.
    #[error("cannot reach the {what} at {address}: {problem}")]
    Unreachable {
        /// What was dialled.
        what: String,
        /// Where.
        address: String,
        /// Why not.
        problem: String,
    },
    /// Somebody answers, but the certificates do not match.
    #[error("the {what} at {address} and this certificate do not belong together: {problem}")]
    Refused {
        /// What was dialled.
        what: String,
        /// Where.
        address: String,
        /// Why.
        problem: String,
    },
    /// Somebody answers, but it is not the cluster that a join token is for.
    #[error(
        "the scheduler at {address} is not of the cluster that this token is for: its CA is {theirs}, the token names {ours}"
    )]
    OtherCluster {
        /// Where.
        address: String,
        /// The fingerprint of its CA.
        theirs: String,
        /// The fingerprint in the token.
        ours: String,
    },
    /// The certificate's time is over.
    #[error("this certificate expired {ago} ago: ask an admin of the cluster for a new one")]
    Expired {
        /// How long ago, in words.
        ago: String,
    },
    /// The certificate's time has not come.
    #[error("this certificate is not good yet: is this machine's clock right?")]
    NotYet,
    /// The certificate cannot be used at all.
    #[error("this certificate cannot be used: {0}")]
    Unusable(String),
}

/// A connection to the server of that role and name at `address`, made now.
pub async fn connect(address: &str, role: Role, name: &str, own: &Bundle) -> Result<Channel, ConnectError> {
    check(own)?;
    let endpoint = endpoint(address, role, name, own)?;
    let channel = match endpoint.connect().await {
        // A server that starts, ends or has no time cuts connections that it has not served yet.
        Err(error) if was_cut(&error) => endpoint.connect().await,
        connected => connected,
    };
    let channel = channel.map_err(|error| describe(&error, address, role))?;
    // With TLS 1.3 a server refuses a certificate only after the client believes to be connected, and
    // the HTTP/2 client then says "cancelled" and not why. So the first call is one that tells.
    let greeting = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
    if greeting.is_err()
        && let Some(problem) = alert::received(address, &server_name(role, name), own).await
    {
        return Err(ConnectError::Refused { what: what(role), address: address.to_owned(), problem });
    }
    Ok(channel)
}

fn was_cut(error: &(dyn Error + 'static)) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    matches!(kind, Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset))
        || error.source().is_some_and(was_cut)
}

fn what(role: Role) -> String {
    match role {
        Role::Node => "agent".to_owned(),
        role => role.to_string(),
    }
}

/// As [`connect`], but dials when it is first used, and again whenever the connection is lost.
pub fn connect_lazy(address: &str, role: Role, name: &str, own: &Bundle) -> Result<Channel, ConnectError> {
    check(own)?;
    Ok(endpoint(address, role, name, own)?.connect_lazy())
}

/// How a connection is kept, whoever it leads to.
pub(crate) fn kept(endpoint: Endpoint) -> Endpoint {
    endpoint
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(5))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true)
}

fn endpoint(address: &str, role: Role, name: &str, own: &Bundle) -> Result<Endpoint, ConnectError> {
    let tls = ClientTlsConfig::new()
        .domain_name(server_name(role, name))
        .ca_certificate(Certificate::from_pem(&own.ca))
        .identity(Identity::from_pem(&own.certificate, &own.key));
    Endpoint::from_shared(format!("https://{address}"))
        .map_err(|_| ConnectError::Address { address: address.to_owned() })?
        .tls_config(tls)
        .map_err(|error| ConnectError::Unusable(chain(&error)))
        .map(|endpoint| kept(endpoint).connect_timeout(CONNECT_WITHIN))
}

/// What is wrong with one's own certificate is said before anybody is dialled.
pub(crate) fn check(own: &Bundle) -> Result<(), ConnectError> {
    let validity = own.validity().map_err(|error| ConnectError::Unusable(error.to_string()))?;
    let now = SystemTime::now();
    if let Ok(over) = now.duration_since(validity.until) {
        let hours = over.as_secs() / 3600;
        let ago = if hours >= 48 { format!("{} days", hours / 24) } else { format!("{hours} hours") };
        return Err(ConnectError::Expired { ago });
    }
    if now < validity.from {
        return Err(ConnectError::NotYet);
    }
    Ok(())
}

pub(crate) fn describe(error: &dyn Error, address: &str, role: Role) -> ConnectError {
    let problem = chain(error).trim_start_matches("transport error: ").to_owned();
    let what = what(role);
    let address = address.to_owned();
    if ["certificate", "Certificate", "UnknownIssuer", "HandshakeFailure", "AccessDenied"]
        .iter()
        .any(|word| problem.contains(word))
    {
        ConnectError::Refused { what, address, problem }
    } else {
        ConnectError::Unreachable { what, address, problem }
    }
}
