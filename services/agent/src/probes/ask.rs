//! Does one check, from the host. What is wrong is said in a few words for people.

mod exec;
mod grpc;
mod http;
mod tcp;

use std::net::{IpAddr, SocketAddr};

use gantry_model::Check;
use tokio::io;
use tokio::net::TcpStream;

pub use exec::Process;
pub use http::read;

use super::plan::Ask;

/// Passes, or says why not. Takes as long as whoever is asked takes; processes are for [`Process`].
pub async fn ask(ask: &Ask, address: Option<IpAddr>) -> Result<(), String> {
    let Some(address) = address else { return Err("it has no network".to_owned()) };
    let at = |port: u16| SocketAddr::new(address, port);
    match ask {
        Ask::AnyPort(ports) => tcp::any(address, ports).await,
        Ask::One(Check::Tcp { port }) => connect(at(*port)).await.map(drop),
        Ask::One(Check::Http { port, path, headers, status, body }) => {
            http::get(at(*port), path, headers, *status, body).await
        }
        Ask::One(Check::Grpc { port, service }) => grpc::check(at(*port), service).await,
        Ask::One(Check::Exec { .. }) => Err("a process is not asked over the network".to_owned()),
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| words(&error))
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "it closed the connection".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "it is not reached".to_owned(),
        _ => error.to_string(),
    }
}
