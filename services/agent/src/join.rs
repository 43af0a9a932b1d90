//! A host becomes a node: its keys are made here and stay here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use gantry_api::cluster::v1::join_service_client::JoinServiceClient;
use gantry_api::cluster::v1::{HostRoute, JoinRequest, JoinResponse};
use gantry_boot::{ConnectError, connect_pinned, now};
use gantry_identity::{BadToken, Bundle, Request, Token};
use gantry_model::{HostFacts, wire};
use tokio::time::{sleep, timeout};
use tonic::Code;

/// Where the scheduler listens unless told otherwise.
const PORT: u16 = 7070;
const PATIENCE: Duration = Duration::from_secs(20);
const BUSY_AGAIN: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 10;

/// A join token and where to use it: `TOKEN@HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The token.
    pub token: Token,
    /// Where the scheduler is, HOST:PORT.
    pub address: String,
}

impl FromStr for Invitation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (token, host) = text.split_once('@').ok_or(Error::NoHost)?;
        let has_port = host.rsplit_once(':').is_some_and(|(before, port)| {
            port.parse::<u16>().is_ok() && (!before.contains(':') || before.ends_with(']'))
        });
        let address = match host {
            "" => return Err(Error::NoHost),
            host if has_port => host.to_owned(),
            host if host.parse::<std::net::Ipv6Addr>().is_ok() => format!("[{host}]:{PORT}"),
            host => format!("{host}:{PORT}"),
        };
        Ok(Self { token: token.parse()?, address })
    }
}

/// How the node is to be.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Its name; the host's unless given.
    pub name: Option<String>,
    /// Where others reach it; found out unless given.
    pub addresses: Vec<IpAddr>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A host that did not become a node.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The invitation has no address.
    #[error("give the token with the scheduler's address: TOKEN@HOST:{PORT}")]
    NoHost,
    /// The token is none.
    #[error(transparent)]
    Token(#[from] BadToken),
    /// It is not clear which address others reach the host at.
    #[error("{0}: choose with --advertise-addr")]
    Ambiguous(#[from] gantry_model::Ambiguous),
    /// A key could not be made.
    #[error(transparent)]
    Key(#[from] gantry_identity::Error),
    /// The scheduler was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The scheduler refused.
    #[error("{}", .0.message())]
    Refused(tonic::Status),
    /// The scheduler did not answer.
    #[error("the scheduler at {0} did not answer within {seconds} s", seconds = PATIENCE.as_secs())]
    Silent(String),
}

/// What a new node has.
#[derive(Debug)]
pub struct Joined {
    /// What the scheduler said.
    pub answer: JoinResponse,
    /// Where others reach the node.
    pub addresses: Vec<String>,
    /// The name it has.
    pub name: String,
    /// The agent's certificate.
    pub agent: Bundle,
    /// The proxy's certificate.
    pub proxy: Bundle,
}

/// Makes the host of these `facts` a node.
pub async fn join(invitation: &Invitation, wish: Wish, facts: &HostFacts) -> Result<Joined, Error> {
    let mut addresses = wish.addresses;
    if addresses.is_empty() {
        addresses.extend(facts.advertised()?);
    }
    let interface = addresses.first().and_then(|address| facts.interface_of(*address));
    let name = wish.name.unwrap_or_else(|| facts.hostname.clone());
    let (agent, proxy) = (Request::create()?, Request::create()?);
    let routes = facts
        .foreign_routes()
        .map(|route| HostRoute { range: route.range.to_string(), interface: route.interface.clone() })
        .collect();
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let mut request = JoinRequest {
        token: invitation.token.to_string(),
        agent_request: agent.request,
        proxy_request: proxy.request,
        time: None,
        name: name.clone(),
        addresses: addresses.clone(),
        labels: wish.labels,
        routes,
        interface: interface.map(|interface| interface.name.clone()).unwrap_or_default(),
        interface_mtu: interface.map_or(0, |interface| interface.mtu),
    };
    let channel = connect_pinned(&invitation.address, &invitation.token.fingerprint).await?;
    let mut client = JoinServiceClient::new(channel);
    let mut attempt = 0;
    let answer = loop {
        attempt += 1;
        request.time = Some(wire::write_time(now()));
        let asked = timeout(PATIENCE, client.join(request.clone())).await;
        match asked.map_err(|_| Error::Silent(invitation.address.clone()))? {
            Ok(answer) => break answer.into_inner(),
            Err(status) if status.code() == Code::ResourceExhausted && attempt < ATTEMPTS => {
                sleep(BUSY_AGAIN).await;
            }
            Err(status) => return Err(Error::Refused(status)),
        }
    };
    let bundle = |certificate: &str, key: String| Bundle {
        ca: answer.ca.clone(),
        certificate: certificate.to_owned(),
        key,
    };
    let agent = bundle(&answer.agent_certificate, agent.key);
    let proxy = bundle(&answer.proxy_certificate, proxy.key);
    Ok(Joined { answer, addresses, name, agent, proxy })
}

#[cfg(test)]
mod tests {
    use gantry_identity::Fingerprint;

    use super::*;

    #[test]
    fn an_invitation_is_a_token_and_an_address_with_or_without_port() {
        let token = Token::create(Fingerprint::of_der(b"ca"));
        let address = |host: &str| format!("{token}@{host}").parse::<Invitation>().unwrap().address;
        assert_eq!(address("192.0.2.1:7170"), "192.0.2.1:7170");
        assert_eq!(address("gantry.example.com"), "gantry.example.com:7070");
        assert_eq!(address("2001:db8::1"), "[2001:db8::1]:7070");
        assert_eq!(address("[2001:db8::1]:80"), "[2001:db8::1]:80");
        assert!(matches!(token.to_string().parse::<Invitation>(), Err(Error::NoHost)));
        assert!(matches!(format!("{token}@").parse::<Invitation>(), Err(Error::NoHost)));
        assert!(matches!("x@h".parse::<Invitation>(), Err(Error::Token(_))));
    }
}
