//! Tries the ways to other nodes over the networks that they share.
//!
//! From this node's address in a network a small packet goes to that of each other node, which answers it;
//! now and then one that is as large as the cluster allows. A way on which several in a row are lost is
//! broken, until they arrive again.

mod paths;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use gantry_boot::random_id;
use gantry_model::{BrokenPath, NodeId};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::managed::{Networks, Segment};
use paths::{Path, Paths};

/// Where nodes answer each other's probes.
pub const PORT: u16 = 7076;
/// How often the ways are tried.
const ROUND: Duration = Duration::from_millis(1500);
/// Answers that wait to be looked at; what comes beyond counts as lost.
const QUEUE: usize = 1024;
const AFTER_AN_ERROR: Duration = Duration::from_millis(10);
/// The headers of IP and UDP.
const HEADERS: u32 = 28;
const ASK: [u8; 8] = *b"gantry?1";
const ANSWER: [u8; 8] = *b"gantry!1";

/// Tries the ways until `stop`; `broken` says which are broken.
pub async fn keep(
    wanted: watch::Receiver<Arc<Networks>>,
    broken: watch::Sender<BTreeSet<BrokenPath>>,
    stop: CancellationToken,
) {
    let mut paths = Paths::new(first_number());
    let (answers, mut answered) = mpsc::channel(QUEUE);
    let mut posts: BTreeMap<String, Post> = BTreeMap::new();
    let mut rounds = interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some((number, path)) = answered.recv() => paths.answered(number, &path),
            _ = rounds.tick() => {
                let networks = wanted.borrow().clone();
                posts.retain(|network, post| {
                    networks.segments.iter().any(|segment| segment.name == *network && post.is_of(segment))
                });
                for segment in &networks.segments {
                    if !posts.contains_key(&segment.name)
                        && let Some(post) = Post::open(segment, answers.clone())
                    {
                        posts.insert(segment.name.clone(), post);
                    }
                }
                let ways: BTreeSet<Path> = posts.iter().flat_map(|(network, post)| post.ways(network)).collect();
                for probe in paths.round(&ways) {
                    if let Some(post) = posts.get(&probe.path.network) {
                        post.send(&probe.path.node, probe.number, probe.large);
                    }
                }
                broken.send_if_modified(|known| {
                    let now = paths.broken();
                    let changed = *known != now;
                    *known = now;
                    changed
                });
            }
        }
    }
}

/// Another one in every run.
fn first_number() -> u64 {
    random_id(16).bytes().fold(0, |number, byte| number.wrapping_mul(31).wrapping_add(byte.into()))
}

/// This node's address in one network, from which probes go and where they are answered.
struct Post {
    gateway: Ipv4Addr,
    mtu: u32,
    peers: BTreeMap<NodeId, Ipv4Addr>,
    socket: Arc<UdpSocket>,
    listening: JoinHandle<()>,
}

impl Drop for Post {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Post {
    /// `None` for a network that is on this node only, and while its bridge is not there yet.
    fn open(segment: &Segment, answers: mpsc::Sender<(u64, Path)>) -> Option<Self> {
        let peers = peers(segment)?;
        let gateway: Ipv4Addr = segment.gateway.parse().ok()?;
        let socket = match bind(gateway) {
            Ok(socket) => Arc::new(socket),
            Err(error) => {
                tracing::debug!(network = segment.name, %gateway, %error, "cannot try ways from here yet");
                return None;
            }
        };
        let by_address = peers
            .iter()
            .map(|(node, address)| (*address, Path { node: node.clone(), network: segment.name.clone() }));
        let listening = tokio::spawn(listen(socket.clone(), by_address.collect(), answers));
        Some(Self { gateway, mtu: segment.mtu, peers, socket, listening })
    }

    fn is_of(&self, segment: &Segment) -> bool {
        segment.gateway.parse() == Ok(self.gateway)
            && segment.mtu == self.mtu
            && peers(segment).as_ref() == Some(&self.peers)
    }

    fn ways(&self, network: &str) -> impl Iterator<Item = Path> {
        self.peers.keys().map(|node| Path { node: node.clone(), network: network.to_owned() })
    }

    /// What cannot be sent is lost, like what is lost on the way.
    fn send(&self, node: &NodeId, number: u64, large: bool) {
        let Some(address) = self.peers.get(node) else { return };
        let mut packet = message(ASK, number).to_vec();
        if large {
            packet.resize(self.mtu.saturating_sub(HEADERS).max(16) as usize, 0);
        }
        let _ = self.socket.try_send_to(&packet, SocketAddr::from((*address, PORT)));
    }
}

fn peers(segment: &Segment) -> Option<BTreeMap<NodeId, Ipv4Addr>> {
    let overlay = segment.overlay.as_ref()?;
    Some(overlay.peers.iter().map(|peer| (peer.node.clone(), peer.gateway)).collect())
}

fn bind(gateway: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind((gateway, PORT))?;
    socket.set_nonblocking(true)?;
    // A large probe that arrives in pieces would tell nothing.
    set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::PROBE)?;
    UdpSocket::from_std(socket)
}

/// Answers the network's other nodes, and nobody else; hands on what they answer.
async fn listen(socket: Arc<UdpSocket>, peers: BTreeMap<Ipv4Addr, Path>, answers: mpsc::Sender<(u64, Path)>) {
    let mut packet = vec![0; 1 << 16];
    loop {
        // Such as a refusal by a node whose agent is away: the next packet may be fine.
        let Ok((length, from)) = socket.recv_from(&mut packet).await else {
            sleep(AFTER_AN_ERROR).await;
            continue;
        };
        let IpAddr::V4(address) = from.ip() else { continue };
        let (Some(path), Some((kind, number))) = (peers.get(&address), read(&packet[..length])) else {
            continue;
        };
        if kind == ASK {
            let _ = socket.try_send_to(&message(ANSWER, number), from);
        } else if kind == ANSWER {
            let _ = answers.try_send((number, path.clone()));
        }
    }
}

fn message(kind: [u8; 8], number: u64) -> [u8; 16] {
    let mut packet = [0; 16];
    packet[..8].copy_from_slice(&kind);
    packet[8..].copy_from_slice(&number.to_be_bytes());
    packet
}

fn read(packet: &[u8]) -> Option<([u8; 8], u64)> {
    let kind = packet.first_chunk::<8>()?;
    let number = packet.get(8..)?.first_chunk::<8>()?;
    Some((*kind, u64::from_be_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reads_as_it_was_written_whatever_is_behind_it() {
        let mut packet = message(ASK, u64::MAX - 1).to_vec();
        packet.resize(1400, 7);
        assert_eq!(read(&packet), Some((ASK, u64::MAX - 1)));
        assert_eq!(read(&packet[..15]), None);
    }
}
