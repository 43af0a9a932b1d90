//! What one core has of its own. Nothing here is shared, so nothing here is locked.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::access::AccessLog;
use crate::balance::{Backend, Endpoint, Group, Registry};
use crate::http::ClientLimits;
use crate::plan::{Place, Plan, Router, Rule, Site};
use crate::pulse::Pulse;
use crate::spec::{self, Protocol, Target};
use crate::tls;

/// Ports of virtual addresses that a core remembers; one more, and all are looked up anew.
const MAX_VIRTUALS: usize = 4096;

/// What one core has of its own.
pub struct Core {
    /// Its number.
    pub index: usize,
    /// Its time.
    pub pulse: Rc<Pulse>,
    /// What clients may do.
    pub limits: ClientLimits,
    /// Where requests are written down.
    pub log: Option<AccessLog>,
    /// What others may read.
    pub gauges: Arc<Gauges>,
    /// The process ends, or another has taken over: connections end when their request does.
    pub closing: Cell<bool>,
    registry: Arc<Registry>,
    routes: RefCell<Rc<Routes>>,
    endpoints: RefCell<HashMap<usize, Rc<Endpoint>>>,
    leaving: RefCell<Vec<(Rc<Endpoint>, Instant)>>,
    seed: Cell<u64>,
}

/// What a core tells others about itself.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Gauges {
    /// Clients' connections.
    pub connections: AtomicU64,
    /// Connections that were ever taken.
    pub accepted: AtomicU64,
    /// Requests that the proxy answered itself.
    pub own_answers: AtomicU64,
    /// Requests in flight that were cut when their endpoint had to go.
    pub cut: AtomicU64,
}

/// A plan, tied to this core's endpoints.
pub struct Routes {
    /// The plan.
    pub plan: Arc<Plan>,
    sites: HashMap<Place, Rc<Served>>,
    virtuals: RefCell<Virtuals>,
}

/// Ports of virtual addresses that were asked for, with what is served there.
type Virtuals = HashMap<(Ipv4Addr, u16), Option<Rc<Served>>>;

/// A site, with the backends that its rules name.
pub struct Served {
    /// The site.
    pub site: Arc<Site>,
    /// By [`Rule::slot`].
    backends: Rc<[Rc<Backend>]>,
}

impl Served {
    /// The backend of a rule.
    pub fn backend(&self, rule: &Rule) -> &Rc<Backend> {
        &self.backends[rule.slot]
    }
}

impl Core {
    /// A core that serves nothing yet.
    pub fn new(
        index: usize,
        registry: Arc<Registry>,
        limits: ClientLimits,
        log: Option<AccessLog>,
        gauges: Arc<Gauges>,
    ) -> Rc<Self> {
        let routes = Routes { plan: Arc::default(), sites: HashMap::new(), virtuals: RefCell::default() };
        Rc::new(Self {
            index,
            pulse: Pulse::new(),
            limits,
            log,
            gauges,
            closing: Cell::new(false),
            registry,
            routes: RefCell::new(Rc::new(routes)),
            endpoints: RefCell::default(),
            leaving: RefCell::default(),
            seed: Cell::new(rand::random::<u64>() | 1),
        })
    }

    /// What is served now.
    pub fn routes(&self) -> Rc<Routes> {
        self.routes.borrow().clone()
    }

    /// A number that nobody can be hurt by guessing: xorshift64* (Vigna 2016).
    pub fn random(&self) -> u64 {
        let mut seed = self.seed.get();
        seed ^= seed >> 12;
        seed ^= seed << 25;
        seed ^= seed >> 27;
        self.seed.set(seed);
        seed.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Serves by `plan` from now on: no request that is chosen an endpoint for after this goes to one
    /// that the plan does not have. What is in flight there may end.
    pub fn adopt(&self, plan: Arc<Plan>) {
        let before = std::mem::take(&mut *self.endpoints.borrow_mut());
        let known = RefCell::new(before);
        let current = RefCell::new(HashMap::new());
        let backends: Vec<Rc<Backend>> = plan
            .targets
            .iter()
            .map(|target| {
                let groups = plan.spec.backends.get(&target.backend).map(|backend| backend.groups.as_slice());
                self.link(&plan, target, groups.unwrap_or_default(), &known, &current)
            })
            .collect();
        let backends: Rc<[Rc<Backend>]> = backends.into();
        let served = |site: &Arc<Site>| Rc::new(Served { site: site.clone(), backends: backends.clone() });
        let sites = plan.sites.iter().map(|(place, site)| (*place, served(site))).collect();
        // Ports of virtual addresses that are in use stay so.
        let used: Vec<_> = self.routes.borrow().virtuals.borrow().keys().copied().collect();
        let routes = Rc::new(Routes { plan, sites, virtuals: RefCell::default() });
        for (address, port) in used {
            let served = self.virtual_site(&routes, address, port, &known, &current);
            routes.virtuals.borrow_mut().insert((address, port), served);
        }
        *self.routes.borrow_mut() = routes;
        *self.endpoints.borrow_mut() = current.into_inner();
        let now = self.pulse.now();
        for (_, gone) in known.into_inner() {
            gone.state.leaving.store(true, Relaxed);
            gone.connections.close_idle();
            let cut_at = now + gone.drain_timeout.get();
            self.leaving.borrow_mut().push((gone, cut_at));
        }
        for (_, state) in self.registry.backends() {
            state.room.notify_waiters();
        }
    }

    /// The site at a place.
    pub fn site(&self, place: Place) -> Option<Rc<Served>> {
        let routes = self.routes();
        let Place::Virtual(address, port) = place else { return routes.sites.get(&place).cloned() };
        if let Some(known) = routes.virtuals.borrow().get(&(address, port)) {
            return known.clone();
        }
        let known = RefCell::new(std::mem::take(&mut *self.endpoints.borrow_mut()));
        let current = RefCell::new(HashMap::new());
        let served = self.virtual_site(&routes, address, port, &known, &current);
        let mut all = known.into_inner();
        all.extend(current.into_inner());
        *self.endpoints.borrow_mut() = all;
        let mut virtuals = routes.virtuals.borrow_mut();
        if virtuals.len() >= MAX_VIRTUALS {
            virtuals.clear();
        }
        virtuals.insert((address, port), served.clone());
        served
    }

    /// Closes what was idle for too long, and cuts what should have ended.
    pub fn sweep(&self) {
        let now = self.pulse.now();
        for endpoint in self.endpoints.borrow().values() {
            endpoint.connections.sweep(now);
        }
        let mut cut = false;
        self.leaving.borrow_mut().retain(|(endpoint, cut_at)| {
            let left = endpoint.in_flight();
            if left > 0 && *cut_at <= now {
                tracing::warn!(
                    backend = endpoint.state.backend,
                    endpoint = endpoint.state.name,
                    left,
                    "cut what had not ended in time"
                );
                self.gauges.cut.store(self.gauges.cut.load(Relaxed) + u64::from(left), Relaxed);
                endpoint.cut.set(true);
                endpoint.connections.cut();
                cut = true;
                return false;
            }
            left > 0
        });
        if cut {
            self.pulse.wake_all();
        }
    }

    /// Connections end when the request that they are at does.
    pub fn close(&self) {
        self.closing.set(true);
        self.pulse.wake_all();
    }

    fn virtual_site(
        &self,
        routes: &Routes,
        address: Ipv4Addr,
        port: u16,
        known: &RefCell<HashMap<usize, Rc<Endpoint>>>,
        current: &RefCell<HashMap<usize, Rc<Endpoint>>>,
    ) -> Option<Rc<Served>> {
        let plan = &routes.plan;
        let virtual_address = &plan.spec.addresses[*plan.virtuals.get(&address)?];
        let target = Target { backend: virtual_address.backend.clone(), port: Some(port) };
        let backend = self.link(plan, &target, &virtual_address.groups, known, current);
        let site = Site {
            protocol: Protocol::Detect,
            router: Router::default().with_fallback(Some(Arc::new(Rule::plain(0, target)))),
            tls: None,
            port,
            proxy_protocol_from: Vec::new(),
            trusted_proxies: Vec::new(),
            owner: virtual_address.backend.clone(),
        };
        Some(Rc::new(Served { site: Arc::new(site), backends: Rc::new([backend]) }))
    }

    fn link(
        &self,
        plan: &Plan,
        target: &Target,
        groups: &[spec::Group],
        known: &RefCell<HashMap<usize, Rc<Endpoint>>>,
        current: &RefCell<HashMap<usize, Rc<Endpoint>>>,
    ) -> Rc<Backend> {
        let policy = plan.policy(target);
        let link = |endpoint: &spec::Endpoint| {
            let port =
                if endpoint.address.port() == 0 { target.port.unwrap_or(0) } else { endpoint.address.port() };
            let address = SocketAddr::new(endpoint.address.ip(), port);
            let state = self.registry.endpoint(&target.backend, &endpoint.name, address, endpoint.ready_for);
            state.leaving.store(false, Relaxed);
            let key = Arc::as_ptr(&state).addr();
            let local = current.borrow().get(&key).cloned();
            let local = local
                .or_else(|| known.borrow_mut().remove(&key))
                .unwrap_or_else(|| Rc::new(Endpoint::new(state, self.index)));
            local.cut.set(false);
            local.weight.set(endpoint.weight);
            local.drain_timeout.set(policy.drain_timeout);
            current.borrow_mut().insert(key, local.clone());
            local
        };
        let groups = groups
            .iter()
            .map(|group| Group::new(group.weight, group.endpoints.iter().map(link).collect()))
            .collect();
        let tls = policy.tls.as_ref().and_then(|wanted| match tls::client(wanted) {
            Ok(secure) => Some(Arc::new(secure)),
            Err(problem) => {
                tracing::warn!(backend = target.backend, problem, "cannot use TLS to this backend");
                None
            }
        });
        let state = self.registry.backend(&target.backend, target.port);
        Rc::new(Backend::new(target.clone(), policy, tls, groups, state, self.pulse.now()))
    }

    /// Whether the container at `asker` may use a virtual address.
    pub fn may_use(&self, asker: IpAddr, address: Ipv4Addr) -> bool {
        let routes = self.routes();
        let plan = &routes.plan;
        let Some(at) = plan.virtuals.get(&address) else { return false };
        let network = &plan.spec.addresses[*at].network;
        plan.members.get(&asker).is_some_and(|networks| networks.contains(network))
    }
}
