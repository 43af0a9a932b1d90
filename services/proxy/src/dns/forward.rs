//! Names of the world: asked of the node's own name servers, or of those that a service names.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use hickory_net::client::Client;
use hickory_net::runtime::TokioRuntimeProvider;
use hickory_net::tcp::TcpClientStream;
use hickory_net::udp::UdpClientStream;
use hickory_net::xfer::{DnsHandle as _, Protocol};
use hickory_proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Message};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Questions to others that may be under way at a time; more are answered SERVFAIL.
const UNDER_WAY: usize = 512;
/// How long one name server may take before the next is asked.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks other name servers. Clones share the bound on questions under way.
#[derive(Clone)]
pub struct Forwarder {
    resolv_conf: PathBuf,
    under_way: Arc<Semaphore>,
}

impl Forwarder {
    /// Asks the name servers of that `resolv.conf`. It is read anew for every question, so that a
    /// change of the node's network is noticed.
    pub fn new(resolv_conf: PathBuf) -> Self {
        Self { resolv_conf, under_way: Arc::new(Semaphore::new(UNDER_WAY)) }
    }

    /// Asks `servers`, or the node's if there are none, one after the other. `None` if nobody answers.
    pub async fn ask(
        &self,
        question: &[u8],
        protocol: Protocol,
        servers: Vec<IpAddr>,
        own: &[IpAddr],
    ) -> Option<DnsResponse> {
        let _permit = self.under_way.try_acquire().ok()?;
        let servers = if servers.is_empty() { self.node_servers() } else { servers };
        for server in servers.into_iter().filter(|server| !own.contains(server)) {
            let message = Message::from_vec(question).ok()?;
            let request = DnsRequest::new(message, DnsRequestOptions::default());
            let asked = timeout(PATIENCE, ask_one(SocketAddr::new(server, 53), protocol, request)).await;
            if let Ok(Some(answer)) = asked {
                return Some(answer);
            }
        }
        None
    }

    fn node_servers(&self) -> Vec<IpAddr> {
        let text = fs::read_to_string(&self.resolv_conf).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
        lines.filter_map(|rest| rest.trim().parse().ok()).collect()
    }
}

/// A question that came by TCP is asked by TCP, so that a long answer fits.
async fn ask_one(server: SocketAddr, protocol: Protocol, request: DnsRequest) -> Option<DnsResponse> {
    let client = if protocol == Protocol::Tcp {
        let (stream, sender) =
            TcpClientStream::new(server, None, Some(PATIENCE), TokioRuntimeProvider::new());
        let (client, background) = Client::<TokioRuntimeProvider>::new(stream.await.ok()?, sender);
        tokio::spawn(background);
        client
    } else {
        let stream = UdpClientStream::builder(server, TokioRuntimeProvider::new()).build();
        let (client, background) = Client::<TokioRuntimeProvider>::from_sender(stream);
        tokio::spawn(background);
        client
    };
    client.send(request).next().await?.ok()
}
