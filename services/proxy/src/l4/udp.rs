//! UDP: the packets of one client address go to one endpoint for as long as they keep coming.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::task::AbortHandle;
use tokio::time::interval;

use crate::balance::{Backend, Counters, InFlight, Key, hash_of};
use crate::core::Core;
use crate::plan::Place;

/// Clients of one port at once; packets of more are dropped.
const MAX_SESSIONS: usize = 16_384;
const PACKET: usize = 65_536;
const SWEEP_EVERY: Duration = Duration::from_secs(1);
const LAST_ANSWERS: Duration = Duration::from_secs(1);

struct Session {
    socket: Rc<UdpSocket>,
    used: Rc<Cell<Instant>>,
    replies: AbortHandle,
    place: Rc<InFlight>,
}

impl Session {
    /// Whether packets are still expected. Of one whose endpoint has left, only those that answer what
    /// was just sent.
    fn goes_on(&self, now: Instant) -> bool {
        let endpoint = &self.place.endpoint;
        let leaving = endpoint.state.leaving.load(Relaxed);
        let idle = if leaving { LAST_ANSWERS } else { self.place.backend().policy.idle_timeout };
        now.saturating_duration_since(self.used.get()) < idle && !endpoint.cut.get()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.replies.abort();
    }
}

/// Passes packets that come in at `place` on, until the task is ended.
pub async fn serve(core: Rc<Core>, place: Place, socket: UdpSocket) {
    let socket = Rc::new(socket);
    let sessions: RefCell<HashMap<SocketAddr, Session>> = RefCell::default();
    // One for all sessions: a packet is passed on before the next is read.
    let packet = Rc::new(RefCell::new(vec![0; PACKET]));
    let mut sweeping = interval(SWEEP_EVERY);
    loop {
        let received = tokio::select! {
            ready = socket.readable() => match ready {
                Ok(()) => socket.try_recv_from(&mut packet.borrow_mut()),
                Err(_) => continue,
            },
            _ = sweeping.tick() => {
                let now = core.pulse.now();
                sessions.borrow_mut().retain(|_, session| session.goes_on(now));
                continue;
            }
        };
        // An answer that nobody took (ICMP) is reported here: of no use.
        let Ok((size, client)) = received else { continue };
        let now = core.pulse.now();
        let known = sessions.borrow().get(&client).map(|session| {
            // One whose endpoint has left goes to another with its next packet.
            let gone = session.place.endpoint.state.leaving.load(Relaxed);
            (!gone).then(|| {
                session.used.set(now);
                (session.socket.clone(), session.place.clone())
            })
        });
        let Some((to, at)) = known.flatten() else {
            sessions.borrow_mut().remove(&client);
            if sessions.borrow().len() >= MAX_SESSIONS {
                continue;
            }
            let Some(backend) = backend(&core, place) else { continue };
            // Nothing can be sent before the socket is seen to be writable, and meanwhile others use
            // the buffer.
            let first = packet.borrow()[..size].to_vec();
            let Ok(session) = begin(&core, &backend, &socket, client, &packet).await else { continue };
            Counters::add(&session.place.endpoint.counters().bytes_in, size as u64);
            let _ = session.socket.send(&first).await;
            sessions.borrow_mut().insert(client, session);
            continue;
        };
        Counters::add(&at.endpoint.counters().bytes_in, size as u64);
        // A full queue loses packets: that is what UDP does.
        let _ = to.try_send(&packet.borrow()[..size]);
    }
}

fn backend(core: &Core, place: Place) -> Option<Rc<Backend>> {
    let served = core.site(place)?;
    let rule = served.site.router.fallback()?;
    Some(served.backend(rule).clone())
}

async fn begin(
    core: &Rc<Core>,
    backend: &Rc<Backend>,
    listener: &Rc<UdpSocket>,
    client: SocketAddr,
    packet: &Rc<RefCell<Vec<u8>>>,
) -> io::Result<Session> {
    let hash = hash_of(client.ip().to_canonical().to_string().as_bytes());
    let key = Key { hash, sticky: None, tried: &[], now: core.pulse.now() };
    let place = backend.choose(&key, &mut || core.random()).ok_or(io::ErrorKind::NotConnected)?;
    let address = place.endpoint.state.address;
    let any: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 8], 0).into() };
    let socket = Rc::new(UdpSocket::bind(any).await?);
    socket.connect(address).await?;
    place.endpoint.counters().ended(2);
    let used = Rc::new(Cell::new(core.pulse.now()));
    let place = Rc::new(place);
    let (from, back, at) = (socket.clone(), listener.clone(), place.clone());
    let (pulse, fresh, packet) = (core.pulse.clone(), used.clone(), packet.clone());
    let replies = tokio::task::spawn_local(async move {
        while from.readable().await.is_ok() {
            let mut packet = packet.borrow_mut();
            // A refusal of one packet says nothing about the next.
            let Ok(size) = from.try_recv(&mut packet) else { continue };
            fresh.set(pulse.now());
            Counters::add(&at.endpoint.counters().bytes_out, size as u64);
            let _ = back.try_send_to(&packet[..size], client);
        }
    });
    Ok(Session { socket, used, replies: replies.abort_handle(), place })
}
