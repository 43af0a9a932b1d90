//! One thread a core: takes connections, gives them to the core that has the fewest, and serves those
//! that it is given.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream, UdpSocket as StdUdp};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::access::AccessLog;
use crate::balance::Registry;
use crate::connection;
use crate::core::{Core, Gauges};
use crate::http::ClientLimits;
use crate::plan::{Place, Plan};
use crate::pulse::TICK;
use crate::{l4, redirect};

/// Connections that were given to a core and not yet looked at; more stay with whoever took them.
const QUEUE: usize = 1024;
const SWEEP_EVERY: u32 = 10;
/// A pause when no connection can be taken, because there are no descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Something for a core to do.
pub enum Order {
    /// Serve a connection.
    Serve(StdStream, Place, SocketAddr),
    /// Serve by a plan from now on, and say when.
    Adopt(Arc<Plan>, oneshot::Sender<()>),
    /// Take connections, or packets.
    Listen(Place, Socket),
    /// Do not any more, and say when.
    Leave(Place, oneshot::Sender<()>),
    /// End connections when their requests end.
    Close,
}

/// A socket that is listened on.
pub enum Socket {
    /// For connections.
    Tcp(StdListener),
    /// For packets.
    Udp(StdUdp),
    /// For connections that the kernel has redirected from virtual addresses.
    Redirected(StdListener),
}

/// A core's thread, as others see it.
#[derive(Clone)]
pub struct Worker {
    /// Where orders go.
    pub orders: mpsc::Sender<Order>,
    /// What it counts.
    pub gauges: Arc<Gauges>,
}

/// What all cores are started with.
#[derive(Clone)]
pub struct Settings {
    /// What clients may do.
    pub limits: ClientLimits,
    /// The access log.
    pub log: Option<AccessLog>,
    /// Connections of clients on one core at most.
    pub max_connections: u64,
}

/// Starts one thread for each core.
pub fn start(cores: usize, registry: &Arc<Registry>, settings: &Settings) -> io::Result<Vec<Worker>> {
    let mut workers = Vec::new();
    let mut inboxes = Vec::new();
    for _ in 0..cores {
        let (orders, inbox) = mpsc::channel(QUEUE);
        workers.push(Worker { orders, gauges: Arc::default() });
        inboxes.push(inbox);
    }
    for (index, inbox) in inboxes.into_iter().enumerate() {
        let (all, registry, settings) = (workers.clone(), registry.clone(), settings.clone());
        let (ready, started) = std::sync::mpsc::channel();
        std::thread::Builder::new().name(format!("core-{index}")).spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
            match runtime {
                Ok(runtime) => {
                    let _ = ready.send(Ok(()));
                    runtime.block_on(run(index, &all, registry, settings, inbox));
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
        started.recv().map_err(io::Error::other)??;
    }
    Ok(workers)
}

async fn run(
    index: usize,
    workers: &[Worker],
    registry: Arc<Registry>,
    settings: Settings,
    mut inbox: mpsc::Receiver<Order>,
) {
    let gauges = workers[index].gauges.clone();
    let core = Core::new(index, registry, settings.limits, settings.log, gauges);
    let ticking = core.clone();
    tokio::task::spawn_local(async move {
        let mut count = 0_u32;
        loop {
            tokio::time::sleep(TICK).await;
            ticking.pulse.tick();
            count = count.wrapping_add(1);
            if count.is_multiple_of(SWEEP_EVERY) {
                ticking.sweep();
            }
        }
    });
    let workers: Rc<[Worker]> = workers.into();
    let mut listening: Vec<(Place, JoinHandle<()>)> = Vec::new();
    while let Some(order) = inbox.recv().await {
        match order {
            Order::Serve(stream, place, peer) => serve(&core, place, stream, peer),
            Order::Adopt(plan, done) => {
                core.adopt(plan);
                let _ = done.send(());
            }
            Order::Listen(place, socket) => {
                let acceptor = Acceptor {
                    core: core.clone(),
                    place,
                    workers: workers.clone(),
                    max: settings.max_connections,
                };
                let task = match socket {
                    Socket::Tcp(listener) => tokio::task::spawn_local(acceptor.run(listener, false)),
                    Socket::Redirected(listener) => tokio::task::spawn_local(acceptor.run(listener, true)),
                    Socket::Udp(socket) => match UdpSocket::from_std(socket) {
                        Ok(socket) => tokio::task::spawn_local(l4::serve_udp(core.clone(), place, socket)),
                        Err(error) => {
                            tracing::error!(%place, %error, "cannot listen");
                            continue;
                        }
                    },
                };
                listening.push((place, task));
            }
            Order::Leave(place, done) => {
                for (_, task) in listening.extract_if(.., |(known, _)| *known == place) {
                    task.abort();
                    let _ = task.await;
                }
                let _ = done.send(());
            }
            Order::Close => core.close(),
        }
    }
}

struct Acceptor {
    core: Rc<Core>,
    place: Place,
    workers: Rc<[Worker]>,
    max: u64,
}

impl Acceptor {
    async fn run(self, listener: StdListener, redirected: bool) {
        let listener = match TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(place = %self.place, %error, "cannot listen");
                return;
            }
        };
        let mut exhausted = false;
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    exhausted = false;
                    self.take(stream, peer, redirected);
                }
                // One that was reset before it was taken is nobody's problem.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !std::mem::replace(&mut exhausted, true) {
                        tracing::warn!(place = %self.place, %error, "cannot take connections");
                    }
                    tokio::time::sleep(EXHAUSTED).await;
                }
            }
        }
    }

    /// Serves a connection here, or gives it to the core that has the fewest.
    fn take(&self, stream: TcpStream, peer: SocketAddr, redirected: bool) {
        let place = if redirected {
            match redirect::meant(&stream, &self.core, peer) {
                Some(place) => place,
                // Closed at once: nobody is there.
                None => return,
            }
        } else {
            self.place
        };
        let load = |worker: &Worker| worker.gauges.connections.load(Relaxed);
        let own = load(&self.workers[self.core.index]);
        let least = self.workers.iter().enumerate().map(|(at, worker)| (load(worker), at)).min();
        let Some((least, at)) = least else { return };
        if least >= self.max {
            return;
        }
        if own <= least {
            begin(&self.core, place, stream, peer);
            return;
        }
        let Ok(stream) = stream.into_std() else { return };
        let given = self.workers[at].orders.try_send(Order::Serve(stream, place, peer));
        if let Err(mpsc::error::TrySendError::Full(Order::Serve(stream, place, peer))) = given {
            serve(&self.core, place, stream, peer);
        }
    }
}

fn serve(core: &Rc<Core>, place: Place, stream: StdStream, peer: SocketAddr) {
    if let Ok(stream) = TcpStream::from_std(stream) {
        begin(core, place, stream, peer);
    }
}

fn begin(core: &Rc<Core>, place: Place, stream: TcpStream, peer: SocketAddr) {
    tokio::task::spawn_local(connection::serve(core.clone(), place, stream, peer));
}
