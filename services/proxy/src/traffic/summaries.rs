//! From what was counted since the start to what is new since the last look.

use std::collections::{BTreeMap, HashMap};

use gantry_api::node::v1::{EndpointTraffic, ServiceTraffic};

use super::totals::{Counts, OfEndpoint, OfQueue, Totals};
use crate::balance::Life;

/// Endpoints in one summary at most; what others of a service had is added up under no name.
const MAX_ENDPOINTS: usize = 10_000;

/// What was known at the last look. It knows no clock: whoever calls it once a second gets seconds.
#[derive(Debug, Default)]
pub struct Summaries {
    endpoints: HashMap<Life, Counts>,
    turned_away: HashMap<Life, u64>,
}

impl Summaries {
    /// What is new in `totals`, and what is in flight or waits, by service. An endpoint that was not
    /// there at the last look has counted from zero.
    pub fn next(&mut self, totals: Totals) -> Vec<ServiceTraffic> {
        let mut services = BTreeMap::new();
        let mut seen = HashMap::with_capacity(totals.endpoints.len());
        let mut new: Vec<OfEndpoint> = Vec::new();
        for mut endpoint in totals.endpoints {
            let before = self.endpoints.get(&endpoint.life).copied().unwrap_or_default();
            seen.insert(endpoint.life, endpoint.counts);
            endpoint.counts = endpoint.counts.since(&before);
            if endpoint.counts != Counts::default() || endpoint.in_flight > 0 {
                new.push(endpoint);
            }
        }
        self.endpoints = seen;
        // Where there are too many it is always the same ones that are told.
        new.sort_by(|a, b| (&a.service, &a.replica).cmp(&(&b.service, &b.replica)));
        let mut told = 0;
        for endpoint in &new {
            add_endpoint(&mut services, endpoint, &mut told);
        }
        let seen = totals.queues.iter().map(|queue| (queue.life, queue.turned_away)).collect();
        let before = std::mem::replace(&mut self.turned_away, seen);
        for queue in &totals.queues {
            let before = before.get(&queue.life).copied().unwrap_or_default();
            add_queue(&mut services, queue, queue.turned_away.wrapping_sub(before));
        }
        services.into_values().collect()
    }
}

type Services = BTreeMap<String, ServiceTraffic>;

fn service<'a>(services: &'a mut Services, name: &str) -> &'a mut ServiceTraffic {
    services
        .entry(name.to_owned())
        .or_insert_with(|| ServiceTraffic { service: name.to_owned(), ..ServiceTraffic::default() })
}

/// Adds an endpoint; the ports of one replica are added up.
fn add_endpoint(services: &mut Services, endpoint: &OfEndpoint, told: &mut usize) {
    let service = service(services, &endpoint.service);
    let last = service.endpoints.last().map(|last| last.replica_id.as_str());
    if last != Some(&endpoint.replica) {
        let name = if *told < MAX_ENDPOINTS { endpoint.replica.as_str() } else { "" };
        if last != Some(name) {
            *told += 1;
            let replica_id = name.to_owned();
            service.endpoints.push(EndpointTraffic { replica_id, ..EndpointTraffic::default() });
        }
    }
    if let Some(into) = service.endpoints.last_mut() {
        add(&mut into.classes, &endpoint.counts.classes);
        add(&mut into.latency, &endpoint.counts.latency);
        into.in_flight = into.in_flight.saturating_add(small(endpoint.in_flight));
    }
}

fn add_queue(services: &mut Services, queue: &OfQueue, turned_away: u64) {
    if queue.waiting == 0 && turned_away == 0 {
        return;
    }
    let service = service(services, &queue.service);
    service.waiting = service.waiting.saturating_add(queue.waiting);
    service.turned_away = service.turned_away.saturating_add(small(turned_away));
}

/// Adds counts; nothing at all is written as an empty list.
fn add(into: &mut Vec<u32>, counts: &[u64]) {
    if counts.iter().all(|count| *count == 0) {
        return;
    }
    into.resize(counts.len(), 0);
    for (into, count) in into.iter_mut().zip(counts) {
        *into = into.saturating_add(small(*count));
    }
}

fn small(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::balance::{CLASSES, LATENCY_BOUNDS};

    fn endpoint(life: u64, service: &str, replica: &str, ok: u64) -> OfEndpoint {
        let mut counts = Counts::default();
        counts.classes[2] = ok;
        counts.latency[1] = ok;
        let (service, replica) = (service.to_owned(), replica.to_owned());
        OfEndpoint { life: Life(life), service, replica, counts, in_flight: 0 }
    }

    fn queue(life: u64, waiting: u32, turned_away: u64) -> OfQueue {
        OfQueue { life: Life(life), service: "shop/web".to_owned(), waiting, turned_away }
    }

    fn totals(endpoints: impl IntoIterator<Item = OfEndpoint>) -> Totals {
        Totals { endpoints: endpoints.into_iter().collect(), queues: Vec::new() }
    }

    /// Replica and requests with 2xx of every endpoint.
    fn shown(services: &[ServiceTraffic]) -> Vec<(String, u32)> {
        let endpoints = services.iter().flat_map(|service| &service.endpoints);
        endpoints.map(|one| (one.replica_id.clone(), one.classes.get(2).copied().unwrap_or(0))).collect()
    }

    #[test]
    fn only_what_is_new_is_told_and_each_request_once() {
        let mut summaries = Summaries::default();
        let first = summaries.next(totals([endpoint(1, "shop/web", "a", 5), endpoint(2, "shop/db", "b", 1)]));
        assert_eq!(shown(&first), [("b".to_owned(), 1), ("a".to_owned(), 5)]);
        let second =
            summaries.next(totals([endpoint(1, "shop/web", "a", 8), endpoint(2, "shop/db", "b", 1)]));
        assert_eq!(shown(&second), [("a".to_owned(), 3)]);
        assert_eq!(second[0].endpoints[0].latency[1], 3);
        assert_eq!(second[0].endpoints[0].latency.len(), LATENCY_BOUNDS.len() + 1);
        assert_eq!(second[0].endpoints[0].classes.len(), CLASSES);
        assert!(
            summaries.next(totals([endpoint(1, "shop/web", "a", 8)])).is_empty(),
            "a quiet second has nothing"
        );
    }

    #[test]
    fn an_endpoint_that_went_away_and_came_back_counts_from_zero() {
        let mut summaries = Summaries::default();
        summaries.next(totals([endpoint(1, "shop/web", "a", 5)]));
        let back = summaries.next(totals([endpoint(2, "shop/web", "a", 7)]));
        assert_eq!(shown(&back), [("a".to_owned(), 7)], "also where it has counted further than before");
        let fewer = summaries.next(totals([endpoint(3, "shop/web", "a", 2)]));
        assert_eq!(shown(&fewer), [("a".to_owned(), 2)]);
        assert_eq!(summaries.endpoints.len(), 1, "what is gone is forgotten");
    }

    #[test]
    fn a_counter_goes_on_after_its_largest_number() {
        let mut summaries = Summaries::default();
        summaries.next(totals([endpoint(1, "shop/web", "a", u64::MAX - 1)]));
        let wrapped = summaries.next(totals([endpoint(1, "shop/web", "a", 3)]));
        assert_eq!(shown(&wrapped), [("a".to_owned(), 5)]);
    }

    #[test]
    fn the_ports_of_a_replica_and_of_a_service_are_added_up() {
        let mut other = endpoint(2, "shop/web", "a", 2);
        other.in_flight = 4;
        let mut all = totals([endpoint(1, "shop/web", "a", 1), endpoint(3, "shop/web", "b", 1), other]);
        all.queues = vec![queue(8, 2, 0), queue(9, 1, 6)];
        let mut summaries = Summaries::default();
        let first = summaries.next(all);
        assert_eq!(shown(&first), [("a".to_owned(), 3), ("b".to_owned(), 1)]);
        assert_eq!((first[0].waiting, first[0].turned_away), (3, 6));
        assert_eq!(first[0].endpoints[0].in_flight, 4);
    }

    #[test]
    fn whoever_waits_or_is_in_flight_is_told_again_each_second_and_who_was_sent_away_once() {
        let mut summaries = Summaries::default();
        let mut busy = endpoint(1, "shop/web", "a", 0);
        busy.in_flight = 1;
        let all = Totals { endpoints: vec![busy], queues: vec![queue(9, 2, 3)] };
        let first = summaries.next(all.clone());
        let second = summaries.next(all);
        assert_eq!((first[0].turned_away, second[0].turned_away), (3, 0));
        assert_eq!((second[0].waiting, second[0].endpoints[0].in_flight), (2, 1));
    }

    #[test]
    fn too_many_endpoints_are_told_together_and_none_is_lost() {
        let count = MAX_ENDPOINTS as u64 + 5;
        let many = (0..count).map(|at| endpoint(at, "shop/web", &format!("{at:06}"), 1));
        let summary = Summaries::default().next(totals(many));
        let shown = shown(&summary);
        assert_eq!(shown.len(), MAX_ENDPOINTS + 1);
        assert_eq!(shown.last(), Some(&(String::new(), 5)));
    }
}
