//! `gantry.cluster.v1.TrafficService`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gantry_api::cluster::v1 as wire;
use gantry_api::cluster::v1::traffic_service_server::TrafficService;
use gantry_api::cluster::v1::{
    GetTrafficRequest, GetTrafficResponse, TrafficQuery, TrafficReport, WatchTrafficRequest,
    WatchTrafficResponse,
};
use gantry_model::wire::write_duration;
use gantry_model::{Goal, ReplicaId, Service, ServiceId, Snapshot};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::find_service;
use super::usage::sum;
use crate::autoscale::{Autoscaler, Entry};
use crate::state::State;
use crate::traffic::{Counts, LONGEST, Rates, Traffic, Window};
use crate::usage::{Sample, Usage};

const DEFAULT_WINDOW: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_secs(1);
const QUEUE: usize = 2;

/// Serves the traffic of services.
#[derive(Clone)]
pub struct TrafficRates {
    state: State,
    traffic: Traffic,
    autoscaler: Autoscaler,
    usage: Usage,
}

impl TrafficRates {
    /// Serves `traffic` and `usage` of the services of `state`, and what `autoscaler` has found of it.
    pub fn new(state: State, traffic: Traffic, autoscaler: Autoscaler, usage: Usage) -> Self {
        Self { state, traffic, autoscaler, usage }
    }

    fn report(&self, wanted: &Wanted) -> TrafficReport {
        let (windows, proxies) = self.traffic.window(wanted.window);
        let mut report = report(&self.state.snapshot(), wanted, &windows, proxies, &self.usage.all());
        self.autoscaler.look(|_, book| {
            for service in &mut report.services {
                let entry = service.service.parse().ok().and_then(|id| book.entry(&id));
                service.bottleneck = entry.and_then(Entry::bottleneck).unwrap_or_default();
            }
        });
        report
    }
}

#[tonic::async_trait]
impl TrafficService for TrafficRates {
    async fn get_traffic(
        &self,
        request: Request<GetTrafficRequest>,
    ) -> Result<Response<GetTrafficResponse>, Status> {
        let query = request.into_inner().query.unwrap_or_default();
        let wanted = Wanted::read(&self.state.snapshot(), query)?;
        Ok(Response::new(GetTrafficResponse { report: Some(self.report(&wanted)) }))
    }

    type WatchTrafficStream = ReceiverStream<Result<WatchTrafficResponse, Status>>;

    async fn watch_traffic(
        &self,
        request: Request<WatchTrafficRequest>,
    ) -> Result<Response<Self::WatchTrafficStream>, Status> {
        let query = request.into_inner().query.unwrap_or_default();
        let wanted = Wanted::read(&self.state.snapshot(), query)?;
        let (answers, stream) = mpsc::channel(QUEUE);
        let rates = self.clone();
        tokio::spawn(async move {
            let mut seconds = interval(EVERY);
            seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = seconds.tick() => {}
                    () = answers.closed() => return,
                }
                let report = Some(rates.report(&wanted));
                if answers.send(Ok(WatchTrafficResponse { report })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// What was asked for.
struct Wanted {
    /// Only these, where there are any.
    services: BTreeSet<ServiceId>,
    /// Only those of this stack; empty is all.
    stack: String,
    window: Duration,
    replicas: bool,
}

impl Wanted {
    fn read(snapshot: &Snapshot, query: TrafficQuery) -> Result<Self, Status> {
        let services = query.services.iter().map(|name| Ok(find_service(snapshot, name)?.id.clone()));
        let window = query.window.map_or(Ok(DEFAULT_WINDOW), Duration::try_from);
        let window =
            window.ok().filter(|window| *window >= EVERY && *window <= LONGEST).ok_or_else(|| {
                Status::invalid_argument("window must be from 1 s to 60 s: no more than a minute is kept")
            })?;
        Ok(Self {
            services: services.collect::<Result<_, Status>>()?,
            stack: query.stack,
            window,
            replicas: query.replicas,
        })
    }

    fn has(&self, service: &Service) -> bool {
        if self.services.is_empty() {
            self.stack.is_empty() || service.id.stack().as_str() == self.stack
        } else {
            self.services.contains(&service.id)
        }
    }
}

/// The traffic of what was asked for, as far as it is still on record.
fn report(
    snapshot: &Snapshot,
    wanted: &Wanted,
    windows: &BTreeMap<ServiceId, Window>,
    proxies: usize,
    used: &BTreeMap<ReplicaId, Sample>,
) -> TrafficReport {
    let services = snapshot.services.values().filter(|service| wanted.has(service));
    TrafficReport {
        services: services.map(|service| of_service(snapshot, service, wanted, windows, used)).collect(),
        window: Some(write_duration(Duration::from_secs(wanted.window.as_secs()))),
        proxies: u32::try_from(proxies).unwrap_or(u32::MAX),
    }
}

fn of_service(
    snapshot: &Snapshot,
    service: &Service,
    wanted: &Wanted,
    windows: &BTreeMap<ServiceId, Window>,
    used: &BTreeMap<ReplicaId, Sample>,
) -> wire::ServiceTraffic {
    let none = Window::default();
    let window = windows.get(&service.id).unwrap_or(&none);
    let seconds = wanted.window.as_secs();
    let replicas = || {
        let with_traffic = snapshot.replicas_of(&service.id).filter_map(|replica| {
            let (seen, used) = (window.replicas.get(&replica.id), used.get(&replica.id));
            if seen.is_none() && used.is_none() {
                return None;
            }
            let seen = seen.copied().unwrap_or_default();
            let node = replica.node.as_ref().and_then(|node| snapshot.nodes.get(node));
            Some(wire::ReplicaTraffic {
                replica: replica.id.to_string(),
                slot: replica.slot,
                node: node.map(|node| node.name.clone()).unwrap_or_default(),
                traffic: Some(traffic(&seen.counts, seen.in_flight, seconds)),
                usage: sum(used.copied()),
            })
        });
        with_traffic.collect()
    };
    let ready = snapshot
        .replicas_of(&service.id)
        .filter(|replica| replica.goal == Goal::Run && snapshot.takes_traffic(replica));
    wire::ServiceTraffic {
        service: service.id.to_string(),
        wanted: service.wanted(),
        ready: u32::try_from(ready.count()).unwrap_or(u32::MAX),
        traffic: Some(traffic(&window.counts, window.in_flight, seconds)),
        waiting: window.waiting,
        replicas: if wanted.replicas { replicas() } else { Vec::new() },
        bottleneck: String::new(),
        usage: sum(snapshot.replicas_of(&service.id).filter_map(|replica| used.get(&replica.id).copied())),
    }
}

fn traffic(counts: &Counts, in_flight: u64, seconds: u64) -> wire::Traffic {
    let rates = Rates::new(counts, seconds);
    wire::Traffic {
        requests_per_second: rates.requests_per_second,
        error_rate: rates.error_rate,
        p50: rates.p50.map(write_duration),
        p95: rates.p95.map(write_duration),
        p99: rates.p99.map(write_duration),
        in_flight,
    }
}

#[cfg(test)]
mod tests {
    use gantry_model::Timestamp;
    use gantry_testkit::World;

    use super::*;
    use crate::traffic::OfReplica;

    fn world() -> World {
        let world = World::new(Timestamp::from_millis(1)).node("n1");
        let mut world = world.service("shop/web", |web| web.replicas(2)).service("blog/web", |web| web);
        let plan = crate::decide::decide(&world.snapshot, world.now);
        world.commit(&plan.changes);
        world.run_all();
        world
    }

    fn wanted(world: &World, query: TrafficQuery) -> Wanted {
        Wanted::read(&world.snapshot, query).unwrap()
    }

    #[test]
    fn every_service_that_was_asked_for_is_shown_also_without_traffic() {
        let world = world();
        let names = |query| {
            let report =
                report(&world.snapshot, &wanted(&world, query), &BTreeMap::new(), 0, &BTreeMap::new());
            report.services.into_iter().map(|service| service.service).collect::<Vec<_>>()
        };
        assert_eq!(names(TrafficQuery::default()), ["blog/web", "shop/web"]);
        assert_eq!(names(TrafficQuery { stack: "shop".into(), ..Default::default() }), ["shop/web"]);
        let one = TrafficQuery { services: vec!["blog/web".into()], ..Default::default() };
        assert_eq!(names(one), ["blog/web"]);
    }

    #[test]
    fn replicas_are_shown_with_their_own_share_where_asked_for() {
        let world = world();
        let first = world.replicas("shop/web")[0].id.clone();
        let mut window = Window { in_flight: 3, waiting: 1, ..Window::default() };
        window.counts.classes[2] = 100;
        let of_first = OfReplica { counts: window.counts, in_flight: 3 };
        window.replicas.insert(first.clone(), of_first);
        let windows = BTreeMap::from([("shop/web".parse().unwrap(), window)]);
        let query = TrafficQuery { stack: "shop".into(), replicas: true, ..Default::default() };
        let sample = Sample { cpu_cores: 0.5, memory_bytes: Some(7), at: world.now };
        let used = world.replicas("shop/web").into_iter().map(|replica| (replica.id, sample)).collect();
        let none = BTreeMap::new();
        let asked = wanted(&world, query);
        let report_of = |used| report(&world.snapshot, &asked, &windows, 1, used);
        let usage = report_of(&used).services[0].clone();
        assert_eq!(usage.usage.map(|usage| (usage.memory, usage.replicas)), Some((Some(14), 2)));
        assert_eq!(usage.replicas.len(), 2, "those that were measured, too");
        assert!(usage.replicas[1].usage.is_some_and(|usage| (usage.cpu_cores - 0.5).abs() < 1e-9));
        let report = report_of(&none);
        let web = &report.services[0];
        assert_eq!((web.wanted, web.ready, web.waiting, report.proxies), (2, 2, 1, 1));
        assert!((web.traffic.unwrap().requests_per_second - 10.0).abs() < 1e-9);
        assert_eq!(web.replicas.len(), 1, "only those with traffic");
        assert_eq!((web.replicas[0].replica.as_str(), web.replicas[0].slot), (first.as_str(), 1));
    }

    #[test]
    fn a_window_is_at_most_a_minute_and_a_service_must_be_there() {
        let world = world();
        let read = |query| Wanted::read(&world.snapshot, query).map(|wanted| wanted.window);
        let window = |seconds| {
            let window = Some(prost_types::Duration { seconds, nanos: 0 });
            read(TrafficQuery { window, ..Default::default() })
        };
        assert_eq!(read(TrafficQuery::default()).unwrap(), DEFAULT_WINDOW);
        assert_eq!(window(60).unwrap(), LONGEST);
        assert!(window(61).is_err() && window(0).is_err() && window(-5).is_err());
        assert!(read(TrafficQuery { services: vec!["shop/gone".into()], ..Default::default() }).is_err());
    }
}
