//! The data plane as a whole: cores, listeners and the plan that they serve by.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket as RawSocket, Type};
use tokio::sync::oneshot;

use crate::balance::Registry;
use crate::plan::{Place, Plan};
use crate::spec::Spec;
use crate::worker::{self, Order, Settings, Socket, Worker};

const BACKLOG: i32 = 4096;

/// A listening socket; the cores have copies of it.
pub enum Listening {
    /// For connections.
    Tcp(TcpListener),
    /// For packets.
    Udp(UdpSocket),
}

/// The data plane.
pub struct Engine {
    /// The cores.
    pub workers: Vec<Worker>,
    /// What is known of endpoints.
    pub registry: Arc<Registry>,
    listening: HashMap<Place, (Listening, usize)>,
    /// Sockets that another process has left to this one.
    inherited: HashMap<Place, Listening>,
    plan: Arc<Plan>,
    next_core: usize,
    /// No connections are taken any more.
    closed: bool,
}

impl Engine {
    /// Starts so many cores, which serve nothing yet.
    pub fn start(
        cores: usize,
        settings: &Settings,
        inherited: HashMap<Place, Listening>,
    ) -> io::Result<Self> {
        let registry = Arc::new(Registry::new(cores));
        let workers = worker::start(cores, &registry, settings)?;
        Ok(Self {
            workers,
            registry,
            listening: HashMap::new(),
            inherited,
            plan: Arc::default(),
            next_core: 0,
            closed: false,
        })
    }

    /// The plan that is served by.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Serves by `spec` from now on, and answers what of it cannot be used. When it returns, no core
    /// begins anything by the plan before.
    pub async fn apply(&mut self, spec: Spec, members: HashMap<IpAddr, Vec<String>>) -> Vec<String> {
        let (mut plan, mut problems) = Plan::new(self.plan.number + 1, spec, members);
        let mut opened = Vec::new();
        let wanted: Vec<Place> = plan.sites.keys().copied().collect();
        for place in wanted {
            if self.closed || self.listening.contains_key(&place) {
                continue;
            }
            match self.open(place) {
                Ok(listening) => opened.push((place, listening)),
                Err(error) => {
                    let owner = plan.sites.remove(&place).map(|site| site.owner.clone()).unwrap_or_default();
                    let error = match error.kind() {
                        io::ErrorKind::AddrInUse => "another program has this port".to_owned(),
                        _ => error.to_string(),
                    };
                    problems.push(format!("cannot listen on {place} for {owner}: {error}"));
                }
            }
        }
        let plan = Arc::new(plan);
        self.plan = plan.clone();
        let mut done = Vec::new();
        for worker in &self.workers {
            let (sender, receiver) = oneshot::channel();
            if worker.orders.send(Order::Adopt(plan.clone(), sender)).await.is_ok() {
                done.push(receiver);
            }
        }
        for one in done {
            let _ = one.await;
        }
        for (place, listening) in opened {
            if let Err(error) = self.listen(place, listening, false).await {
                problems.push(format!("cannot listen on {place}: {error}"));
            }
        }
        let unwanted: Vec<Place> =
            self.listening.keys().filter(|place| !plan.sites.contains_key(place)).copied().collect();
        for place in unwanted {
            if !matches!(place, Place::Virtual(..)) {
                self.leave(place).await;
            }
        }
        self.registry.sweep();
        problems
    }

    /// Takes connections that the kernel redirects to `port`.
    pub async fn listen_redirected(&mut self, port: u16) -> io::Result<()> {
        let place = Place::Virtual([0, 0, 0, 0].into(), port);
        let listening = self.open(place)?;
        self.listen(place, listening, true).await
    }

    /// Takes no connections any more; those that are there end when their requests do.
    pub async fn close(&mut self) {
        self.closed = true;
        let places: Vec<Place> = self.listening.keys().copied().collect();
        for place in places {
            self.leave(place).await;
        }
        for worker in &self.workers {
            let _ = worker.orders.send(Order::Close).await;
        }
    }

    /// The clients' connections on all cores.
    pub fn connections(&self) -> u64 {
        self.workers
            .iter()
            .map(|worker| worker.gauges.connections.load(std::sync::atomic::Ordering::Relaxed))
            .sum()
    }

    /// Copies of all listening sockets, for a successor.
    pub fn copies(&self) -> io::Result<Vec<(Place, Listening)>> {
        self.listening
            .iter()
            .map(|(place, (listening, _))| {
                let copy = match listening {
                    Listening::Tcp(listener) => Listening::Tcp(listener.try_clone()?),
                    Listening::Udp(socket) => Listening::Udp(socket.try_clone()?),
                };
                Ok((*place, copy))
            })
            .collect()
    }

    /// Gives up what was inherited and is not used.
    pub fn forget_inherited(&mut self) {
        self.inherited.clear();
    }

    fn open(&mut self, place: Place) -> io::Result<Listening> {
        if let Some(inherited) = self.inherited.remove(&place) {
            return Ok(inherited);
        }
        let address = place.address();
        match place {
            Place::Udp(..) => Ok(Listening::Udp(bind(address, Type::DGRAM, Protocol::UDP)?.into())),
            Place::Tcp(..) | Place::Virtual(..) => {
                let socket = bind(address, Type::STREAM, Protocol::TCP)?;
                socket.listen(BACKLOG)?;
                Ok(Listening::Tcp(socket.into()))
            }
        }
    }

    async fn listen(&mut self, place: Place, listening: Listening, redirected: bool) -> io::Result<()> {
        let socket = match &listening {
            Listening::Tcp(listener) if redirected => Socket::Redirected(listener.try_clone()?),
            Listening::Tcp(listener) => Socket::Tcp(listener.try_clone()?),
            Listening::Udp(socket) => Socket::Udp(socket.try_clone()?),
        };
        let core = self.next_core % self.workers.len();
        self.next_core += 1;
        let sent = self.workers[core].orders.send(Order::Listen(place, socket)).await;
        sent.map_err(|_| io::Error::other("a core has ended"))?;
        self.listening.insert(place, (listening, core));
        Ok(())
    }

    async fn leave(&mut self, place: Place) {
        let Some((listening, core)) = self.listening.remove(&place) else { return };
        let (sender, receiver) = oneshot::channel();
        if self.workers[core].orders.send(Order::Leave(place, sender)).await.is_ok() {
            let _ = receiver.await;
        }
        drop(listening);
    }
}

fn bind(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<RawSocket> {
    let socket = RawSocket::new(Domain::for_address(address), kind, Some(protocol))?;
    if kind == Type::STREAM {
        // A port whose last connections are still fading can be opened again.
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
