//! The way to other agents.

use std::path::PathBuf;
use std::time::Duration;

use gantry_api::node::v1 as wire;
use gantry_api::node::v1::transfer_service_client::TransferServiceClient;
use gantry_boot::connect;
use gantry_identity::{Bundle, Role};
use tokio::time::timeout;
use tonic::transport::Channel;

use crate::engine::{Error, Kind};

/// To connect to one address may take this long.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The agent of another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The node's id, as in its certificate.
    pub id: String,
    /// The node's name.
    pub name: String,
    /// Where it may be reached, in the order in which to try.
    pub addresses: Vec<String>,
    /// The port of its agent's API.
    pub port: u16,
}

impl From<wire::Peer> for Peer {
    fn from(peer: wire::Peer) -> Self {
        Self {
            id: peer.node_id,
            name: peer.name,
            addresses: peer.addresses,
            // Nobody answers on port 0, which says as much as an error would.
            port: u16::try_from(peer.port).unwrap_or_default(),
        }
    }
}

/// Dials other agents as this node.
#[derive(Debug, Clone)]
pub struct Dial {
    identity: PathBuf,
}

impl Dial {
    /// Dials with the certificate in that folder, which is read each time: it may have been renewed.
    pub fn new(identity: PathBuf) -> Self {
        Self { identity }
    }

    /// Connects to a peer, and makes sure that it is that peer.
    pub async fn peer(&self, peer: &Peer) -> Result<TransferServiceClient<Channel>, Error> {
        let failed = |why: String| Error::new(Kind::Unavailable, format!("node {}: {why}", peer.name));
        let own = Bundle::load(&self.identity).map_err(|error| failed(error.to_string()))?;
        let mut why = "it has said no address of its own".to_owned();
        for address in &peer.addresses {
            let address = with_port(address, peer.port);
            match timeout(CONNECT_WITHIN, connect(&address, Role::Node, &peer.id, &own)).await {
                Ok(Ok(channel)) => return Ok(TransferServiceClient::new(channel)),
                Ok(Err(error)) => why = error.to_string(),
                Err(_) => why = format!("{address} did not answer within {} s", CONNECT_WITHIN.as_secs()),
            }
        }
        Err(failed(why))
    }
}

fn with_port(address: &str, port: u16) -> String {
    if address.contains(':') && !address.starts_with('[') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_the_agents_port() {
        assert_eq!(with_port("10.99.0.1", 7071), "10.99.0.1:7071");
        assert_eq!(with_port("h1.example.com", 7071), "h1.example.com:7071");
        assert_eq!(with_port("fd00::1", 7071), "[fd00::1]:7071");
    }
}
