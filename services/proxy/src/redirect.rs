//! Connections to virtual addresses, which the kernel has redirected to this proxy.

use std::net::{SocketAddr, SocketAddrV4};

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::core::Core;
use crate::plan::Place;

/// Where a redirected connection was meant to go. `None`: nowhere that its client may go to.
pub fn meant(stream: &TcpStream, core: &Core, peer: SocketAddr) -> Option<Place> {
    let meant: SocketAddrV4 = SockRef::from(stream).original_dst_v4().ok()?.as_socket_ipv4()?;
    let from_host = peer.ip().to_canonical().is_loopback();
    if from_host || core.may_use(peer.ip().to_canonical(), *meant.ip()) {
        Some(Place::Virtual(*meant.ip(), meant.port()))
    } else {
        tracing::debug!(%peer, %meant, "refused a connection to a service address");
        None
    }
}
