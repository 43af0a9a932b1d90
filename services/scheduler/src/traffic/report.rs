//! One proxy's second, as it came over the wire.

use gantry_api::Invalid;
use gantry_api::node::v1::{EndpointTraffic, ReportTrafficRequest, ServiceTraffic};
use gantry_model::{ReplicaId, ServiceId, Snapshot};

use super::histogram;
use super::ring::{CLASSES, Counts};

/// More buckets than this are nonsense.
const MAX_BUCKETS: usize = 100;

/// What one proxy saw in one second.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Services with what was seen of them.
    pub services: Vec<(ServiceId, OfService)>,
}

/// What one proxy saw of one service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OfService {
    /// Requests that wait for an endpoint.
    pub waiting: u32,
    /// Requests for which none was found in time.
    pub turned_away: u32,
    /// Its endpoints; `None` are those that have no name of their own.
    pub endpoints: Vec<(Option<ReplicaId>, OfEndpoint)>,
}

/// What one proxy saw of one replica.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct OfEndpoint {
    /// What has ended.
    pub counts: Counts,
    /// What is being answered.
    pub in_flight: u32,
}

impl Report {
    /// Reads a message. Services that are not on record are left out, and replicas that are not count
    /// for their service only, so nothing that a proxy says makes the scheduler remember new names.
    pub fn read(message: &ReportTrafficRequest, known: &Snapshot) -> Result<Self, Invalid> {
        if message.latency_bounds.len() > MAX_BUCKETS {
            return Err(Invalid::new("latency_bounds", "are too many"));
        }
        let mut services = Vec::new();
        for traffic in &message.services {
            let Ok(id) = traffic.service.parse::<ServiceId>() else { continue };
            if known.services.contains_key(&id) {
                let service = service(traffic, &id, &message.latency_bounds, known)?;
                services.push((id, service));
            }
        }
        Ok(Self { services })
    }
}

fn service(
    traffic: &ServiceTraffic,
    id: &ServiceId,
    bounds: &[f64],
    known: &Snapshot,
) -> Result<OfService, Invalid> {
    let endpoints = traffic.endpoints.iter().map(|traffic| {
        let replica = ReplicaId::new(&traffic.replica_id).ok();
        let replica =
            replica.filter(|replica| known.replicas.get(replica).is_some_and(|one| one.service == *id));
        Ok((replica, endpoint(traffic, bounds)?))
    });
    Ok(OfService {
        waiting: traffic.waiting,
        turned_away: traffic.turned_away,
        endpoints: endpoints.collect::<Result<_, Invalid>>()?,
    })
}

fn endpoint(traffic: &EndpointTraffic, bounds: &[f64]) -> Result<OfEndpoint, Invalid> {
    let mut classes = [0; CLASSES];
    match traffic.classes.len() {
        0 => {}
        CLASSES => classes.copy_from_slice(&traffic.classes),
        _ => return Err(Invalid::new("classes", "must be six numbers, or none")),
    }
    if traffic.latency.len() > bounds.len() + 1 {
        return Err(Invalid::new("latency", "has more buckets than there are bounds"));
    }
    let counts = Counts { classes, latency: histogram::read(bounds, &traffic.latency) };
    Ok(OfEndpoint { counts, in_flight: traffic.in_flight })
}

#[cfg(test)]
mod tests {
    use gantry_model::Timestamp;
    use gantry_testkit::World;

    use super::*;

    fn endpoint(replica_id: &str) -> EndpointTraffic {
        EndpointTraffic {
            replica_id: replica_id.to_owned(),
            classes: vec![0, 0, 3, 0, 0, 1],
            latency: vec![4, 0],
            in_flight: 2,
        }
    }

    fn message(service: &str, endpoints: Vec<EndpointTraffic>) -> ReportTrafficRequest {
        let service = ServiceTraffic { service: service.to_owned(), endpoints, ..ServiceTraffic::default() };
        ReportTrafficRequest {
            latency_bounds: histogram::BOUNDS.to_vec(),
            services: vec![service],
            ..ReportTrafficRequest::default()
        }
    }

    fn world() -> World {
        let mut world = World::new(Timestamp::from_millis(1)).node("n1").service("shop/web", |one| one);
        let plan = crate::decide::decide(&world.snapshot, world.now);
        world.commit(&plan.changes);
        world
    }

    #[test]
    fn names_that_are_not_on_record_are_not_remembered() {
        let world = world();
        let read = |message| Report::read(&message, &world.snapshot).unwrap();
        assert_eq!(read(message("shop/gone", vec![endpoint("r1")])), Report::default());
        assert_eq!(read(message("no name", vec![endpoint("r1")])), Report::default());
        let known = world.snapshot.replicas.keys().next().unwrap().clone();
        let report =
            read(message("shop/web", vec![endpoint(known.as_str()), endpoint("gone"), endpoint("")]));
        let names: Vec<_> =
            report.services[0].1.endpoints.iter().map(|(replica, _)| replica.clone()).collect();
        assert_eq!(names, [Some(known), None, None]);
        assert_eq!(report.services[0].1.endpoints[1].1.counts.classes, [0, 0, 3, 0, 0, 1]);
    }

    #[test]
    fn a_report_that_makes_no_sense_is_refused() {
        let world = world();
        let refused = |change: fn(&mut ReportTrafficRequest)| {
            let mut message = message("shop/web", vec![endpoint("r1")]);
            change(&mut message);
            Report::read(&message, &world.snapshot).is_err()
        };
        assert!(!refused(|_| {}));
        assert!(refused(|message| message.services[0].endpoints[0].classes = vec![1, 2]));
        assert!(refused(|message| message.services[0].endpoints[0].latency = vec![0; 18]));
        assert!(refused(|message| message.latency_bounds = vec![1.0; 1_000]));
    }
}
