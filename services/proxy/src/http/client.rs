//! A client's connection, as its requests see it.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use http::HeaderValue;
use tokio::sync::oneshot;

use super::guard::Signals;
use crate::access::Finished;
use crate::balance::InFlight;
use crate::core::{Core, Served};
use crate::plan::Place;
use crate::upstream::Switched;

/// Where and how a connection came in.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The place that was connected to.
    pub place: Place,
    /// The client, as far as it is known.
    pub peer: SocketAddr,
    /// The address that it connected to.
    pub local: SocketAddr,
    /// It speaks TLS.
    pub https: bool,
}

/// A connection is counted for as long as it has one.
pub struct Seat(Rc<Core>);

impl Seat {
    fn take(core: &Rc<Core>) -> Self {
        let gauges = &core.gauges;
        gauges.connections.store(gauges.connections.load(Relaxed) + 1, Relaxed);
        gauges.accepted.store(gauges.accepted.load(Relaxed) + 1, Relaxed);
        Self(core.clone())
    }

    /// The core that serves it.
    pub fn core(&self) -> &Rc<Core> {
        &self.0
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let gauges = &self.0.gauges;
        gauges.connections.store(gauges.connections.load(Relaxed) - 1, Relaxed);
    }
}

/// A client's connection.
pub struct Client {
    seat: Seat,
    /// The core that serves it.
    pub core: Rc<Core>,
    /// Where it came in.
    pub entry: Entry,
    /// What it and its guard tell each other.
    pub signals: Rc<Signals>,
    /// What comes after the protocol was switched.
    pub upgrade: RefCell<Option<Upgrade>>,
    /// Its address, for headers.
    pub address: HeaderValue,
    site: RefCell<Option<(u64, Rc<Served>)>>,
    /// The last host that was asked for, with the headers that are made of it.
    pub(super) forwarded: RefCell<Option<Forwarded>>,
}

/// The headers that say for whom a request is passed on; they are the same from request to request.
pub(super) struct Forwarded {
    pub host: HeaderValue,
    pub forwarded: HeaderValue,
}

/// A connection whose protocol was switched.
pub struct Upgrade {
    /// The endpoint's side, once it is there.
    pub stream: oneshot::Receiver<Switched>,
    /// The place that it holds.
    pub place: InFlight,
    /// The line of it in the log.
    pub finished: Option<Box<Finished>>,
}

impl Client {
    /// A connection that `core` serves.
    pub fn new(core: &Rc<Core>, entry: Entry) -> Rc<Self> {
        Self::back(Seat::take(core), entry)
    }

    /// The same connection as the one that was left with these.
    pub fn back(seat: Seat, entry: Entry) -> Rc<Self> {
        let address = entry.peer.ip().to_canonical().to_string();
        let address = HeaderValue::from_str(&address).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Rc::new(Self {
            core: seat.core().clone(),
            seat,
            entry,
            signals: Rc::default(),
            upgrade: RefCell::default(),
            address,
            site: RefCell::default(),
            forwarded: RefCell::default(),
        })
    }

    /// All that has to be kept of it while it is silent.
    pub fn leave(self) -> (Seat, Entry) {
        (self.seat, self.entry)
    }

    /// What is served where it came in, by the plan of this moment.
    pub fn site(&self) -> Option<Rc<Served>> {
        let number = self.core.routes().plan.number;
        if let Some((known, site)) = &*self.site.borrow()
            && *known == number
        {
            return Some(site.clone());
        }
        let site = self.core.site(self.entry.place)?;
        *self.site.borrow_mut() = Some((number, site.clone()));
        Some(site)
    }
}
