//! Listens where the table says, and nowhere else.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{Mutex, watch};

use super::forward::Forwarder;
use super::handler::Handler;
use crate::table::Table;

/// A TCP client that says nothing for this long is hung up on.
const IDLE: Duration = Duration::from_secs(10);
const TCP_BUFFER: usize = 32;
const TCP_BACKLOG: i32 = 128;

/// Network and gateway.
type Place = (String, Ipv4Addr);

/// The listeners, one pair a network.
#[derive(Clone)]
pub struct Names {
    port: u16,
    tables: watch::Receiver<Arc<Table>>,
    forwarder: Forwarder,
    servers: Arc<Mutex<HashMap<Place, Server<Handler>>>>,
}

impl Names {
    /// Answers on `port` by whatever table there is; nothing is listened on yet.
    pub fn new(port: u16, tables: watch::Receiver<Arc<Table>>, forwarder: Forwarder) -> Self {
        Self { port, tables, forwarder, servers: Arc::default() }
    }

    /// Listens on the gateways of `table`, and no longer on others. Answers with what failed; it is
    /// tried again with the next table.
    pub async fn listen(&self, table: &Table) -> Vec<String> {
        let mut servers = self.servers.lock().await;
        servers.retain(|(network, gateway), _| {
            table.zones.get(network).is_some_and(|zone| zone.gateway == *gateway)
        });
        let mut problems = Vec::new();
        for (network, zone) in &table.zones {
            let key = (network.clone(), zone.gateway);
            if servers.contains_key(&key) {
                continue;
            }
            match self.serve(network, zone.gateway) {
                Ok(server) => drop(servers.insert(key, server)),
                Err(error) => problems.push(format!(
                    "cannot answer names of the network {network} at {}:{}: {error}",
                    zone.gateway, self.port
                )),
            }
        }
        problems
    }

    /// Listens nowhere any more.
    pub async fn close(&self) {
        self.servers.lock().await.clear();
    }

    fn serve(&self, network: &str, gateway: Ipv4Addr) -> io::Result<Server<Handler>> {
        let address = SocketAddr::from((gateway, self.port));
        let udp = bind(address, Type::DGRAM, Protocol::UDP)?;
        let tcp = bind(address, Type::STREAM, Protocol::TCP)?;
        tcp.listen(TCP_BACKLOG)?;
        let mut server = Server::new(Handler {
            network: network.to_owned(),
            tables: self.tables.clone(),
            forwarder: self.forwarder.clone(),
        });
        server.register_socket(UdpSocket::from_std(udp.into())?);
        server.register_listener(TcpListener::from_std(tcp.into())?, IDLE, TCP_BUFFER);
        Ok(server)
    }
}

/// Binds an address that the host may not have yet: the agent makes the bridge when the first
/// container comes, and names must be there before it.
fn bind(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, kind, Some(protocol))?;
    socket.set_freebind_v4(true)?;
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
